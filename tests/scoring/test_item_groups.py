"""Scores with and without faulty, repeated, leaked and relabelled items."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from scipy import stats

from jglue_app.data import files as data
from jglue_app.data import pools
from jglue_app.data.known_items import JNLI_RELABELLED, JSQUAD_FAULTY, LEAKS
from jglue_app.errors import UnknownNameError
from jglue_app.scoring.item_groups import GroupScore, groups, with_and_without, with_labels
from jglue_app.scoring.judged import judge_run
from jglue_app.scoring.report import report_run
from jglue_app.settings import load_settings
from jglue_app.types import Decoding, Item, ModelSpec, Output, Prompt, PromptSpec, Record, RunData, RunSpec, Source

REAL = os.environ.get("JGLUE_DATA_DIR")
needs_jglue = pytest.mark.skipif(not REAL, reason="set JGLUE_DATA_DIR to a folder with the JGLUE v1.3 files")
LABELS = ("entailment", "contradiction", "neutral")


def run(
    *items: Item, says: Callable[[Item], str], source: Source = "official", sums: Mapping[str, str] | None = None
) -> RunData:
    """A run over items of one subset, each answered with what `says` makes of it, read as the official labels."""
    task = items[0].task
    spec = RunSpec(ModelSpec("m"), (task,), "v1.3", sums or {}, PromptSpec(), "", Decoding(), "0")
    records = []
    for item in items:
        prompt = Prompt(task, item.id, "p", None, (), item.choices, "", (), "")
        records.append(Record("s", task, item.id, prompt, Output(says(item), "stop", 5, 2, 0.1)))
    return RunData(spec, {task: {item.id: item for item in items}}, {task: source}, records)


def nli(id_: str, gold: str, premise: str) -> Item:
    return Item("jnli", id_, {"sentence1": premise, "sentence2": "動物が動いている。"}, (gold,), LABELS)


def squad(id_: str, question: str, *gold: str) -> Item:
    return Item("jsquad", id_, {"title": "寺", "context": "寺は京都にある。", "question": question}, gold)


def found(data: RunData, protocol: str = "official") -> dict[tuple[str, str], GroupScore]:
    rows = with_and_without(data, protocol, judge_run(data, protocol))
    return {(row.group, row.metric): row for row in rows}


def test_an_item_that_an_earlier_one_asks_too_counts_once() -> None:
    items = [
        nli("1", "neutral", "犬が走る。"),
        nli("2", "neutral", "犬が 走る。"),
        nli("3", "entailment", "猫が走る。"),
        nli("4", "contradiction", "犬が走る。"),
    ]
    told = run(*items, says=lambda _: "neutral", source="sample")
    assert groups(told) == {"repeated": {"jnli": frozenset({"2", "4"})}}
    row = found(told)["repeated", "accuracy"]
    # 2 of 4 are right; without the two that repeat the first, 1 of 2.
    assert (row.items, row.all.value, row.all.n, row.without.value, row.without.n) == (2, 0.5, 4, 0.5, 2)
    assert row.labels == {}
    assert row.without.low is not None


def test_scores_without_a_group_are_those_of_the_other_items_alone() -> None:
    faulty, good = (
        squad("a4596p0q0", "どこ？", "京都"),
        [squad("a1p0q0", "何？", "寺"), squad("a1p0q1", "何寺？", "寺")],
    )
    told = run(faulty, *good, says=lambda item: "京都" if item.id == "a1p0q0" else item.gold[0])  # type: ignore[index]
    row = found(told)["faulty", "exact_match"]
    assert (row.task, row.items) == ("jsquad", 1)
    assert (row.all.value, row.all.n) == (2 / 3, 3)
    assert (row.without.value, row.without.n) == (0.5, 2)
    assert found(told)["faulty", "f1"].without.value == 0.5


def test_a_group_that_is_the_whole_run_leaves_no_data_and_not_zero() -> None:
    told = run(squad("a4596p0q0", "どこ？", "京都"), says=lambda _: "京都")
    row = found(told)["faulty", "exact_match"]
    assert (row.all.value, row.without.value, row.without.n) == (1.0, None, 0)


def test_items_without_an_answer_are_in_no_count() -> None:
    told = run(squad("a4596p0q0", "どこ？", "京都"), squad("a4596p0q1", "何？", "寺"), says=lambda _: "京都")
    told = replace(told, records=told.records[:1])
    assert found(told)["faulty", "exact_match"].items == 1
    assert found(replace(told, records=[])) == {}


@pytest.mark.parametrize("source", ["sample", "user"])
def test_ids_of_other_data_mean_nothing(source: Source) -> None:
    told = run(squad("a4596p0q0", "どこ？", "京都"), says=lambda _: "京都", source=source)
    assert groups(told) == {}


def test_another_split_and_another_file_have_no_leaked_items() -> None:
    sums = {"jnli/valid": LEAKS["jnli"].sha256}
    told = run(nli("1", "neutral", "犬が走る。"), says=lambda _: "neutral", sums=sums)
    assert groups(told) == {"leaked": {"jnli": frozenset({"1"})}}
    assert groups(replace(told, spec=replace(told.spec, split="test"))) == {}
    assert groups(replace(told, spec=replace(told.spec, data_sha256={"jnli/valid": "0" * 64}))) == {}


def test_labels_of_an_unknown_version_are_refused() -> None:
    told = run(nli("1", "neutral", "犬が走る。"), says=lambda _: "neutral")
    with pytest.raises(UnknownNameError, match=r"Unknown label version 'v1\.2'"):
        with_labels(told, "v1.2")
    assert with_labels(told, "v1.1") == told
    # A part of a run keeps the sources of all its subsets.
    assert with_labels(replace(told, items={}), "v1.1").items == {}


# --- the official files -----------------------------------------------------------------------------------


def official(task: str, says: Callable[[Item], str], monkeypatch: pytest.MonkeyPatch) -> RunData:
    monkeypatch.setenv("JGLUE_DATA_DIR", str(REAL))
    dataset = data.load(load_settings(), task)
    return run(*dataset.items, says=says, sums={f"{task}/valid": dataset.sha256})


@needs_jglue
def test_leaked_ids_are_those_of_the_official_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JGLUE_DATA_DIR", str(REAL))
    settings = load_settings()
    for task, leak in LEAKS.items():
        assert leak.sha256 == data.PINNED_SHA256[f"{task}/valid"]
        train = {pools.fingerprint(item) for item in data.load(settings, leak.train, "train").items}
        assert leak.ids == {item.id for item in data.load(settings, task).items if pools.fingerprint(item) in train}
    assert {task: len(leak.ids) for task, leak in LEAKS.items()} == {"jnli": 1_487, "jcommonsenseqa": 19}


@needs_jglue
def test_every_group_of_jnli_has_its_items_and_its_score(monkeypatch: pytest.MonkeyPatch) -> None:
    told = official("jnli", lambda _: "contradiction", monkeypatch)
    rows = found(told)
    assert {group: len(of["jnli"]) for group, of in groups(told).items()} == {
        "repeated": 11,
        "leaked": 1_487,
        "relabelled": 29,
    }
    golds = {id_: item.gold for id_, item in told.items["jnli"].items()}
    for group, left in (("repeated", 2_423), ("leaked", 947), ("relabelled", 2_405)):
        row, ids = rows[group, "accuracy"], groups(told)[group]["jnli"]
        right = sum(gold == ("contradiction",) for id_, gold in golds.items() if id_ not in ids)
        assert (row.all.value, row.all.n) == (735 / 2434, 2434)
        assert (row.without.value, row.without.n) == (right / left, left)
        interval = stats.binomtest(right, left).proportion_ci(0.95, "wilson")
        assert [row.without.low, row.without.high] == pytest.approx([interval.low, interval.high])
    labels = {version: score.value for version, score in rows["relabelled", "accuracy"].labels.items()}
    assert labels == {"v1.1": 734 / 2434, "v1.3": 735 / 2434}
    # One of the 29 has become a contradiction; none was one.
    assert rows["relabelled", "accuracy"].without.value == 734 / 2405


@needs_jglue
def test_old_labels_are_a_view_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    told = official("jnli", lambda _: "entailment", monkeypatch)
    old = with_labels(told, "v1.1")
    assert report_run(old).tasks["jnli"].metrics["accuracy"].value == 353 / 2434
    assert report_run(told).tasks["jnli"].metrics["accuracy"].value == 349 / 2434
    assert old.records == told.records
    changed = {id_ for id_, item in old.items["jnli"].items() if item.gold != told.items["jnli"][id_].gold}
    assert changed == set(JNLI_RELABELLED)
    assert with_labels(old, "v1.3") == told


@needs_jglue
def test_faulty_and_repeated_questions_of_jsquad(monkeypatch: pytest.MonkeyPatch) -> None:
    # Right on faulty items alone: the score without them is 0.
    said = Counter[bool]()

    def says(item: Item) -> str:
        said[item.id in JSQUAD_FAULTY] += 1
        return item.gold[0] if item.id in JSQUAD_FAULTY else "〓"  # type: ignore[index]

    rows = found(official("jsquad", says, monkeypatch))
    assert said == {True: 116, False: 4_326}
    row = rows["faulty", "exact_match"]
    assert (row.items, row.all.value, row.without.value, row.without.n) == (116, 116 / 4442, 0.0, 4_326)
    assert rows["repeated", "exact_match"].without.n == 4_436


@needs_jglue
def test_repeated_pairs_of_jsts_are_left_out_of_the_correlation(monkeypatch: pytest.MonkeyPatch) -> None:
    told = official("jsts", lambda item: f"{5 - item.gold:.1f}", monkeypatch)  # type: ignore[operator]
    row = found(told)["repeated", "pearson"]
    assert (row.items, row.all.n, row.without.n) == (1, 1_457, 1_456)
    assert row.without.value == pytest.approx(-1, abs=1e-3)
