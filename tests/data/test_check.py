"""What leaks, repeats and changed, in small files of our own and in the official ones."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from jglue_app.backends.pool import ModelPool
from jglue_app.data import files, pools
from jglue_app.data.check import overlaps, relabelled, repeats
from jglue_app.errors import InputError
from jglue_app.runs.plan import make_plan
from jglue_app.runs.runner import run_plan
from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings
from jglue_app.types import Dataset, Item, ModelSpec, PromptSpec

LABELS = ("entailment", "contradiction", "neutral")


def nli(id_: str, first: str, second: str, label: str = "neutral") -> Item:
    return Item("jnli", id_, {"sentence1": first, "sentence2": second}, (label,), LABELS)


def sts(id_: str, first: str, second: str, label: float = 2.0) -> Item:
    return Item("jsts", id_, {"sentence1": first, "sentence2": second}, label)


def squad(id_: str, context: str, question: str, *gold: str) -> Item:
    return Item("jsquad", id_, {"title": "寺", "context": context, "question": question}, gold)


def dataset(split: str, *items: Item, path: str = "file.json") -> Dataset:
    return Dataset(items[0].task, split, items, "user", "v", path, "")


def test_an_evaluated_item_is_found_in_the_train_file_of_another_subset_in_any_order_and_spacing() -> None:
    valid = dataset("valid", nli("a", "犬が走る。", "猫が寝る。"), nli("b", "空は青い。", "海も青い。"))
    train = dataset("train", sts("1", "月が出た。", "星が出た。"), sts("2", "猫が 寝る。", "犬が走る。\n"))
    (found,) = overlaps([valid], [train])
    assert (found.evaluated, found.other, found.items, found.of) == ("jnli/valid", "jsts/train", 1, 2)
    assert found.examples == (("a", "2"),)


def test_files_that_share_nothing_and_a_file_with_itself_are_not_listed() -> None:
    valid = dataset("valid", nli("a", "犬が走る。", "猫が寝る。"))
    assert overlaps([valid], [valid, dataset("train", sts("1", "月が出た。", "星が出た。"))]) == ()
    assert overlaps([], []) == ()


def test_every_item_counts_and_the_first_few_are_named_with_the_first_of_their_like() -> None:
    valid = dataset("valid", *(nli(f"v{i}", "同じ文。", "同じ文。") for i in range(5)))
    train = dataset("train", *(sts(f"t{i}", "同じ文。", "同じ文。") for i in range(3)))
    (found,) = overlaps([valid], [train])
    assert (found.items, found.of, found.examples) == (5, 5, (("v0", "t0"), ("v1", "t0"), ("v2", "t0")))


def test_an_item_stands_twice_when_it_asks_the_same_in_the_same_order() -> None:
    found = repeats(
        dataset(
            "valid",
            nli("1", "犬が走る。", "猫が寝る。", "neutral"),
            nli("2", "猫が寝る。", "犬が走る。", "entailment"),  # the other direction is another question
            nli("3", "犬が走る。 ", "猫が寝る。", "neutral"),
            nli("4", "犬が走る。", "猫が寝る。", "contradiction"),
        )
    )
    assert (found.file, found.items, found.contradicting) == ("jnli/valid", 2, 1)
    assert found.examples == (("3", "1"), ("4", "1"))


def test_questions_about_one_paragraph_are_no_repeats() -> None:
    found = repeats(
        dataset(
            "valid",
            squad("1", "寺は京都にある。", "どこ？", "京都"),
            squad("2", "寺は京都にある。", "何がある？", "寺"),
            squad("3", "寺は京都にある。", "どこ？", "京都"),
        )
    )
    assert (found.items, found.contradicting, found.examples) == (1, 0, (("3", "1"),))


def test_changed_labels_are_counted_by_kind_and_named() -> None:
    old = dataset(
        "valid",
        nli("1", "犬が走る。", "動物が動く。", "neutral"),
        nli("2", "空は青い。", "空は赤い。", "neutral"),
        nli("3", "月が出た。", "夜だ。", "neutral"),
        nli("4", "消えた文。", "消えた文。"),
        nli("5", "書き直す前。", "文。"),
        path="old.json",
    )
    new = dataset(
        "valid",
        nli("1", "犬が走る。", "動物が動く。", "entailment"),
        nli("2", "空は青い。", "空は赤い。", "contradiction"),
        nli("3", "月が出た。", "夜だ。", "neutral"),
        nli("5", "書き直した後。", "文。"),
        nli("6", "増えた文。", "増えた文。"),
    )
    found = relabelled(old, new)
    assert (found.old, found.common, found.ids, found.added, found.removed) == ("old.json", 3, ("1", "2"), 2, 2)
    assert found.changed == {"neutral → entailment": 1, "neutral → contradiction": 1}


# --- the guard of few-shot examples -----------------------------------------------------------------------


def official(settings: Settings, name: str, *rows: dict[str, object]) -> None:
    path = (settings.data_dir or Path()) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def pair(id_: int, first: str, second: str, label: object = 2.0) -> dict[str, object]:
    return {"sentence_pair_id": str(id_), "sentence1": first, "sentence2": second, "label": label}


@pytest.fixture
def guarded(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A data folder in which two of five JSTS train items are JNLI items under evaluation."""
    monkeypatch.setattr(files, "PINNED_SHA256", {})
    found = replace(settings, data_dir=tmp_path / "jglue")
    shared = [("犬が走る。", "猫が寝る。"), ("空は青い。", "海も青い。")]
    official(found, "jnli-v1.3/valid-v1.3.json", *(pair(i, *p, "neutral") for i, p in enumerate(shared)))
    official(found, "jsts-v1.3/valid-v1.3.json", pair(0, "山が高い。", "川が長い。"))
    others = [(f"文{i}。", f"別の文{i}。") for i in range(3)]
    official(found, "jsts-v1.3/train-v1.3.json", *(pair(i, *p) for i, p in enumerate([*shared, *others])))
    return found


def table(tmp_path: Path) -> ModelSpec:
    path = tmp_path / "table.jsonl"
    path.write_text("".join(f'{{"item_id": "{i}", "text": "2.0"}}\n' for i in range(2)), "utf-8")
    return ModelSpec(str(path), "scripted")


def test_leaking_examples_are_left_out_counted_in_the_manifest_and_told_of(guarded: Settings, tmp_path: Path) -> None:
    plan = make_plan(guarded, table(tmp_path), ["jsts", "jnli"], prompt=PromptSpec(shots=2, style="number"))
    assert [item.id for item in plan.pools["jsts"].items] == ["2", "3", "4"]
    with ModelPool(guarded) as pool:
        events = list(run_plan(plan, pool, guarded.runs_dir))
    told = [e.message for e in events if e.kind == "notice" and "never shown" in e.message]
    assert told == ["Train items with the text of an evaluated item are never shown as examples: 2 in JSTS."]
    manifest = RunStore.of(guarded.runs_dir, plan.spec).manifest()
    assert manifest["data"]["jsts"]["examples"]["left_out"] == 2
    assert manifest["data"]["jnli"]["examples"]["left_out"] == 0


def test_jsts_alone_may_show_what_it_does_not_evaluate(guarded: Settings, tmp_path: Path) -> None:
    plan = make_plan(guarded, table(tmp_path), ["jsts"], prompt=PromptSpec(shots=2))
    assert (len(plan.pools["jsts"].items), plan.pools["jsts"].left_out) == (5, 0)


def test_a_pool_that_leaks_all_the_same_is_refused(
    guarded: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "exclude", lambda pool, evaluated: pool)
    with pytest.raises(InputError, match=r"The example jsts 0 has the text of the evaluated item jnli 0\. Take it out"):
        make_plan(guarded, table(tmp_path), ["jsts", "jnli"], prompt=PromptSpec(shots=2))


# --- the official files -----------------------------------------------------------------------------------


REAL = os.environ.get("JGLUE_DATA_DIR")


@pytest.mark.skipif(not REAL, reason="set JGLUE_DATA_DIR to a folder with the JGLUE v1.3 files")
def test_known_leaks_of_the_official_files(settings: Settings) -> None:
    settings = replace(settings, data_dir=Path(REAL or ""))
    jnli, jcqa = (files.load(settings, name) for name in ("jnli", "jcommonsenseqa"))
    trains = [files.load(settings, name, "train") for name in ("jsts", "jcommonsenseqa")]
    found = {(o.evaluated, o.other): (o.items, o.of) for o in overlaps([jnli, jcqa], trains)}
    assert found == {
        ("jnli/valid", "jsts/train"): (1_487, 2_434),
        ("jcommonsenseqa/valid", "jcommonsenseqa/train"): (19, 1_119),
    }
