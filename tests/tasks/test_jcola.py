"""JCoLA: its files and labels, the words that mean them, its metrics, and that it counts only where it is named."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sklearn.metrics import accuracy_score, matthews_corrcoef

from jglue_app import evaluate
from jglue_app.cli.tables import print_report
from jglue_app.data import files, pools
from jglue_app.errors import DataError, InputError
from jglue_app.prompts.styles import load_style, style_names
from jglue_app.runs import presets
from jglue_app.runs.predictions import read_predictions
from jglue_app.scoring.comparison import compare_runs
from jglue_app.scoring.leaderboard import leaderboard
from jglue_app.scoring.parsing import read_choice
from jglue_app.scoring.references import on_test_set, references_of
from jglue_app.scoring.report import report_run
from jglue_app.settings import Settings
from jglue_app.tasks import DEFAULT_TASKS, TASKS
from jglue_app.tasks.jcola import ALIASES, ANSWERS, TASK
from jglue_app.types import Dataset, Decoding, Item, ModelSpec, Output, Prompt, PromptSpec, Record, RunData, RunSpec

OK, BAD = "acceptable", "unacceptable"
LABELS = (BAD, OK)
FIVE = ("marc_ja", "jsts", "jnli", "jsquad", "jcommonsenseqa")


def row(uid: int, sentence: str, label: object) -> dict[str, Any]:
    """As the official file has it."""
    return {"uid": uid, "source": "s", "label": label, "diacritic": "g", "sentence": sentence, "original": sentence}


def put(path: Path, *rows: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), "utf-8")
    return path


@pytest.fixture
def home(settings: Settings, tmp_path: Path) -> Settings:
    (tmp_path / "jglue").mkdir()
    return replace(settings, data_dir=tmp_path / "jglue")


def folder(home: Settings) -> Path:
    assert home.data_dir is not None
    return home.data_dir / "jcola-v1.0"


# --- files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("label", "gold"), [(0, BAD), (1, OK), ("0", BAD), ("1", OK), (BAD, BAD), (OK, OK)])
def test_a_label_is_the_number_of_the_file_or_its_name(label: object, gold: str) -> None:
    assert TASK.item(row(7, "犬が走る。", label)) == Item("jcola", "7", {"sentence": "犬が走る。"}, (gold,), LABELS)


@pytest.mark.parametrize("label", [-1, 2, "2", "good", True, None, 0.5, [1], ""])
def test_another_label_is_refused_with_file_and_line(home: Settings, label: object) -> None:
    put(folder(home) / "in_domain_valid-v1.0.json", row(1, "犬が走る。", 1), row(2, "猫が寝る。", label))
    with pytest.raises(DataError, match=r"in_domain_valid-v1\.0\.json, line 2: unknown label .+ expected"):
        files.load(home, "jcola")


@pytest.mark.parametrize(
    ("split", "name"),
    [
        ("valid", "in_domain_valid-v1.0.json"),
        ("valid", "in_domain_valid-v1.0.jsonl"),
        ("train", "in_domain_train-v1.0.jsonl"),
        ("out_of_domain", "out_of_domain_valid-v1.0.json"),
    ],
)
def test_the_official_layout_below_the_data_folder_is_read_as_a_users_own_file(
    home: Settings, split: str, name: str
) -> None:
    path = put(folder(home) / name, row(1, "犬が走る。", 1))
    found = files.load(home, "jcola", split)
    assert (found.path, found.split, found.source, len(found.items)) == (str(path), split, "user", 1)


def test_the_tables_of_the_repository_are_read_too(home: Settings) -> None:
    folder(home).mkdir()
    head, line = "uid\tsource\tlabel\tdiacritic\tsentence\toriginal\n", "5\ts\t0\t*\t犬を走る。\t犬を走る。\n"
    (folder(home) / "in_domain_valid-v1.0.tsv").write_text(head + line, "utf-8")
    assert files.load(home, "jcola").items == (Item("jcola", "5", {"sentence": "犬を走る。"}, (BAD,), LABELS),)


def test_a_file_whose_checksum_is_known_is_the_official_one(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder(home) / "in_domain_valid-v1.0.json", row(1, "犬が走る。", 1))
    sha256 = files.load(home, "jcola").sha256
    assert TASK.files
    task = replace(TASK, files=replace(TASK.files, sha256={"valid": sha256}))
    monkeypatch.setitem(TASKS, "jcola", task)
    found = files.load(home, "jcola")
    assert (found.source, found.version) == ("official", "v1.0")
    states = {r["split"]: (r["state"], r["version"]) for r in files.verify(home) if r["task"] == "jcola"}
    assert states == {
        "valid": ("ok", "v1.0"),
        **dict.fromkeys(("train", "test", "out_of_domain"), ("missing", "user")),
    }


def test_without_a_file_the_samples_stand_in_and_say_so(home: Settings) -> None:
    found = files.load(home, "jcola")
    assert (found.source, len(found.items)) == ("sample", 44)


def test_what_is_nowhere_is_not_fetched_and_the_message_says_where_to_get_it(home: Settings) -> None:
    for ask in (files.fetch, files.load):
        with pytest.raises(InputError, match=r"osekilab/JCoLA.*JGLUE_DATA_DIR.*jcola-v1\.0/out_of_domain_valid-v1\.0"):
            ask(home, "jcola", "out_of_domain")


def test_a_split_that_only_jcola_has_is_refused_for_the_others(home: Settings) -> None:
    with pytest.raises(InputError, match=r"JNLI has no split 'out_of_domain'\. It has train, valid, test\."):
        files.load(home, "jnli", "out_of_domain", data="sample")


def test_an_example_that_is_also_evaluated_is_left_out_of_the_pool(home: Settings) -> None:
    put(folder(home) / "in_domain_train-v1.0.json", row(1, "犬が走る。", 1), row(2, "猫が寝る。", 1))
    put(folder(home) / "in_domain_valid-v1.0.json", row(3, "犬が 走る。", 0))
    pool = pools.few_shot_pool(home, files.load(home, "jcola"))
    assert ([item.id for item in pool.items], pool.left_out, pool.source) == (["2"], 1, "user")


def test_the_check_of_the_data_tells_leaks_between_its_files(home: Settings) -> None:
    from jglue_app.data.check import check

    put(folder(home) / "in_domain_train-v1.0.json", row(1, "犬が走る。", 1))
    put(folder(home) / "in_domain_valid-v1.0.json", row(3, "犬が走る。", 0))
    put(folder(home) / "out_of_domain_valid-v1.0.json", row(4, "犬が走る。", 0), row(5, "犬も走る。", 1))
    rows = files.verify(home)
    datasets = files.available_datasets(home, rows)
    assert [(d.task, d.split) for d in datasets] == [("jcola", split) for split in ("train", "valid", "out_of_domain")]
    leaks = {(leak.evaluated, leak.other, leak.items) for leak in check(rows, datasets, []).leaks}
    assert leaks >= {("jcola/valid", "jcola/train", 1), ("jcola/out_of_domain", "jcola/train", 1)}


# --- words that mean a label ------------------------------------------------------------------------------


def read(text: str, style: str = "number") -> str | None:
    answers = {label: template.template for label, template in load_style(style).of("jcola").answers.items()}
    value = read_choice(text, answers, ALIASES, "", ANSWERS).lenient.value
    assert value is None or isinstance(value, str)
    return value


@pytest.mark.parametrize("style", style_names())
@pytest.mark.parametrize(
    ("text", "label"),
    [
        *(
            (text, OK)
            for text in ("自然", "自然です。", "「自然」", "この文は自然です。", "答え：自然", "文法的", "適切")
        ),
        *(
            (text, BAD)
            for text in (
                "不自然",
                "不自然です。",
                "「不自然」",
                "この文は不自然です。",
                "答え：不自然",
                "非文法的",
                "不適切",
            )
        ),
        *((text, OK) for text in ("容認可能", "容認可能です", "よって、容認可能である。", "文法的に正しい文です。")),
        *(
            (text, BAD)
            for text in ("容認不可能", "容認不可", "容認できません。", "これは非文です。", "文法的に正しくない")
        ),
        *((text, OK) for text in ("acceptable", "Acceptable.", "The sentence is acceptable.", "grammatical")),
        *(
            (text, BAD)
            for text in ("unacceptable", "UNACCEPTABLE", "It is unacceptable.", "ungrammatical", "Not acceptable.")
        ),
    ],
)
def test_a_word_for_a_label_is_read_whatever_was_asked_for(style: str, text: str, label: str) -> None:
    assert read(text, style) == label


@pytest.mark.parametrize("style", ["ja-labels", "en-labels", "number", "choice-text"])
@pytest.mark.parametrize(
    "text",
    [
        # The word for one label is part of the word for the other, or of another word.
        *("大自然", "自然科学", "自然界の話です。", "容認可能性は低い。", "容認可能性の判断", "文法的性質", "正文化"),
        # A word that only describes something else.
        *(
            "文法的な問題があります。",
            "文法的に問題があります。",
            "文法的な誤りはありません。",
            "文法的におかしい点を探します。",
        ),
        *(
            "より自然な表現は「赤い花」です。",
            "自然な日本語としては問題があります。",
            "自然な文にするには「を」を「が」にします。",
        ),
        *(
            "正しくは「赤い花」です。",
            "正しい文は「赤い花」です。",
            "It contains a grammatical error.",
            "natural language",
        ),
        # Denied, asked, both.
        *("容認可能ではない", "容認不可能とは言えない。", "非文ではない。", "非文かどうか", "容認可能ですか？"),
        *("容認可能か容認不可能か", "acceptable or unacceptable", "自然か不自然か"),
        *("わかりません", "文", "2"),
    ],
)
def test_no_label_is_read_where_none_is_given(style: str, text: str) -> None:
    assert read(text, style) is None


def test_the_labels_of_a_style_are_read_strictly_and_never_for_one_another() -> None:
    for style in style_names():
        answers = {label: template.template for label, template in load_style(style).of("jcola").answers.items()}
        for label, word in answers.items():
            found = read_choice(word, answers, ALIASES, "", ANSWERS)
            assert (found.strict.value, found.strict.status) == (label, "exact")
        assert read("おかしくない", style) == (OK if style == "choice-text" else None)


def test_no_word_means_both_labels() -> None:
    for words in (ALIASES, ANSWERS):
        assert not set(words[OK]) & set(words[BAD])


def test_choices_that_name_the_labels_the_other_way_round_are_refused(tmp_path: Path) -> None:
    items = (Item("jcola", "1", {"sentence": "犬が走る。"}, (OK,), LABELS),)
    dataset = Dataset("jcola", "valid", items, "user", "user", "f", "0" * 64)
    lines = {"item_id": "1", "text": "自然", "choice_logprobs": [-1.0, -2.0]}
    sound = put(tmp_path / "a.jsonl", {**lines, "choices": ["不自然", "自然"]})
    turned = put(tmp_path / "b.jsonl", {**lines, "choices": ["自然", "不自然"]})
    assert read_predictions(sound, dataset).records[0].output is not None
    with pytest.raises(DataError, match="choices"):
        read_predictions(turned, dataset)


# --- metrics ----------------------------------------------------------------------------------------------

SPEC = RunSpec(ModelSpec("m"), ("jcola",), "v1.3", {}, PromptSpec(), "", Decoding("both"), "0")
GOLDS = (OK, OK, OK, BAD, OK, BAD, BAD, OK, OK, BAD, OK, BAD)
SAID = ("1", "1", "0", "0", "1", "1", "答えは0です。", "1です。", "不自然", "わからない", "自然", "0")
STRICT = (OK, OK, BAD, BAD, OK, OK, "?", "?", "?", "?", "?", BAD)
LENIENT = (OK, OK, BAD, BAD, OK, OK, BAD, OK, BAD, "?", OK, BAD)
RANKED = (OK, BAD, OK, BAD, OK, OK, BAD, OK, BAD, BAD, OK, OK)


def run(said: Sequence[str] = SAID, ranked: Sequence[str] = RANKED, model: str = "m") -> RunData:
    items = {str(i): Item("jcola", str(i), {"sentence": f"文{i}"}, (gold,), LABELS) for i, gold in enumerate(GOLDS)}
    records = [
        Record(
            "s",
            "jcola",
            id_,
            Prompt("jcola", id_, "p", None, (), ("0", "1"), "", (), ""),
            Output(text, "stop", 1, 1, 0.0, (-1.0, -2.0) if label == BAD else (-2.0, -1.0)),
        )
        for id_, text, label in zip(items, said, ranked, strict=True)
    ]
    return RunData(replace(SPEC, model=ModelSpec(model)), {"jcola": items}, {"jcola": "user"}, records)


def test_accuracy_and_mcc_of_each_reading_are_scikit_learns() -> None:
    task = report_run(run()).tasks["jcola"]
    for found, labels in ((task.metrics, STRICT), (task.lenient, LENIENT), (task.choose, RANKED)):
        assert found["accuracy"].value == pytest.approx(accuracy_score(GOLDS, labels))
        assert found["mcc"].value == pytest.approx(matthews_corrcoef(GOLDS, labels))
        assert (found["accuracy"].n, found["mcc"].n) == (12, 12)
    assert len({round(of["mcc"].value or 0, 6) for of in (task.metrics, task.lenient, task.choose)}) == 3
    assert (task.unreadable, task.unreadable_lenient) == (5, 1)


def test_the_difference_of_two_runs_in_mcc_is_that_of_each_reading() -> None:
    right = tuple("1" if gold == OK else "0" for gold in GOLDS)
    found = compare_runs(run(), run(right, GOLDS, "n"))
    for differences, labels in ((found.differences, STRICT), (found.lenient, LENIENT), (found.choose, RANKED)):
        mcc = differences["jcola"]["mcc"]
        assert mcc.a.value == pytest.approx(matthews_corrcoef(GOLDS, labels))
        assert mcc.b.value == pytest.approx(1.0)
        assert mcc.difference.value == pytest.approx(1 - matthews_corrcoef(GOLDS, labels))


def test_a_constant_answer_has_the_share_of_its_class_and_an_mcc_of_nothing() -> None:
    task = report_run(run(["1"] * 12, [OK] * 12)).tasks["jcola"]
    assert task.floors == {"accuracy": 7 / 12, "mcc": 0.0}
    for found in (task.metrics, task.lenient, task.choose):
        assert found["accuracy"].value == pytest.approx(7 / 12)
        assert found["mcc"].value == 0.0


# --- only where it is named -------------------------------------------------------------------------------


def table(path: Path, tasks: Sequence[str]) -> str:
    """A scripted model that is always right."""
    rows: list[dict[str, Any]] = []
    for name in tasks:
        for item in files.read_file(name, "valid", files.sample_path(name, "valid"), "sample", "sample-1").items:
            text = f"{item.gold:.1f}" if isinstance(item.gold, float) else item.gold[0]
            if item.choices:
                words = load_style("ja-labels").of(name).answers[text]
                text = words.substitute(item.fields)
            rows.append({"task": name, "item_id": item.id, "text": text})
    return str(put(path, *rows))


def test_a_run_over_our_samples_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = evaluate(table(tmp_path / "m.jsonl", ["jcola"]), ["jcola"], data="sample", shots=2).report()
    assert found.tasks["jcola"].metrics["accuracy"].value == 1.0
    assert found.tasks["jcola"].metrics["mcc"].value == pytest.approx(1.0)
    assert (found.tasks["jcola"].n, found.average_of, found.average.value) == (44, ("jcola",), 1.0)
    print_report(found)
    shown = capsys.readouterr().out
    assert "JCoLA" in shown
    assert "mcc" in shown


def test_an_average_does_not_change_by_its_presence(tmp_path: Path) -> None:
    model = table(tmp_path / "m.jsonl", ["jnli"])  # JCoLA is not in the table: every item of it fails.
    alone = evaluate(model, ["jnli"], data="sample").report()
    both = evaluate(model, ["jcola", "jnli"], data="sample").report()
    assert "jcola" in both.tasks
    assert (both.average, both.average_of, both.average_without) == (alone.average, ("jnli",), ())


def test_the_difference_of_two_averages_leaves_it_out_too() -> None:
    a, b = run(), run(["0"] * 12, model="n")
    item = Item("jnli", "n", {"sentence1": "犬", "sentence2": "猫"}, ("neutral",), ("entailment", "neutral"))
    prompt = Prompt("jnli", "n", "p", None, (), ("含意", "中立"), "", (), "")
    more = [Record("s", "jnli", "n", prompt, Output(text, "stop", 1, 1, 0.0)) for text in ("中立", "含意")]
    left, right = (
        replace(
            side,
            items={**side.items, "jnli": {"n": item}},
            sources={**side.sources, "jnli": "user"},
            records=[*side.records, record],
        )
        for side, record in zip((a, b), more, strict=True)
    )
    found = compare_runs(left, right)
    assert found.a.average_of == ("jnli",)
    assert found.average is not None
    assert found.average.difference.value == -1.0


def test_all_means_the_five_others_and_a_name_means_jcola() -> None:
    assert DEFAULT_TASKS == FIVE
    assert set(TASKS) == {*FIVE, "jcola"}
    assert presets.subsets("official") == list(FIVE)
    assert presets.subsets("official", ["jcola"]) == ["jcola"]


def test_a_leaderboard_counts_it_where_it_is_named_and_names_it_where_it_is_missing() -> None:
    reports = {"a": report_run(run())}
    (entry,) = leaderboard(reports, reports, ["jcola"])
    assert entry.average.value == pytest.approx(accuracy_score(GOLDS, STRICT))
    (entry,) = leaderboard(reports, reports, ["jnli", "jcola"])
    assert (entry.rank, entry.missing) == (None, ("jnli",))


# --- what it is held against ------------------------------------------------------------------------------


def test_published_scores_are_those_of_the_test_set_that_belongs_to_the_split() -> None:
    task = report_run(run()).tasks["jcola"]
    assert references_of(task, "valid") == {}
    waseda = "Waseda RoBERTa large (s512), fine-tuned"
    assert on_test_set(task, "valid")[waseda] == {"accuracy": 0.86, "mcc": 0.419}
    assert on_test_set(task, "out_of_domain")[waseda] == {"accuracy": 0.81, "mcc": 0.465}
    assert on_test_set(task, "train") == {}
    assert on_test_set(replace(task, source="sample"), "valid") == {}
