"""Which item an answer is to, and what is said of those of which that cannot be told."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jglue_app.data import files
from jglue_app.errors import DataError
from jglue_app.results.importers.build import Part, build
from jglue_app.results.importers.item_matching import Index, Match, resolve_by_order
from jglue_app.results.importers.log import Log, Row
from jglue_app.settings import Settings
from jglue_app.types import Dataset, Item, Output

LABELS = ("entailment", "contradiction", "neutral")
REAL = os.environ.get("JGLUE_DATA_DIR")


def pair(id_: str, first: str, second: str, gold: str = "neutral") -> Item:
    return Item("jnli", id_, {"sentence1": first, "sentence2": second}, (gold,), LABELS)


def question(id_: str, context: str, asked: str, *gold: str) -> Item:
    return Item("jsquad", id_, {"title": "寺", "context": context, "question": asked}, gold)


def dataset(*items: Item) -> Dataset:
    return Dataset(items[0].task, "valid", items, "official", "v1.3", "valid.json", "ab" * 32)


PAIRS = dataset(
    pair("0", "犬が庭を走る。", "動物が外にいる。", "entailment"),
    pair("1", "動物が外にいる。", "犬が庭を走る。", "neutral"),
    pair("2", "黒い犬が庭を走る。", "動物が外にいる。", "entailment"),
    pair("3", "猫が眠る。", "猫が起きている。", "contradiction"),
    pair("4", "店が開く。", "客が来る。", "neutral"),
    pair("5", "店が開く。", "客が来る。", "entailment"),
    pair("6", "空が青い。", "空が青い。", "entailment"),
)


def part(found: Dataset, rows: Sequence[Row], partial: bool = True) -> Part:
    (one,) = build([Log(Path("log.jsonl"), "harness", iter(rows))], lambda _: found, [found.task], partial)
    return one


def texts(found: Part) -> dict[str, str | None]:
    return {
        item.id: output.text
        for item, output in zip(found.items, found.outputs, strict=True)
        if isinstance(output, Output)
    }


def told(found: Part) -> dict[str, Any]:
    return {n.kind: n.facts["k"] for n in found.notices if n.kind not in ("imported_missing", "imported_gold_unknown")}


def inside(first: str, second: str, text: str, **more: Any) -> Row:
    return Row("line 1", subset="jnli", containing_text=f"前提：{first}\n仮説：{second}\n関係：", text=text, **more)


# --- by id ----------------------------------------------------------------------------------------------------


def test_an_id_is_believed_only_with_its_text() -> None:
    index = Index(PAIRS)
    right = {"sentence1": "猫が眠る。", "sentence2": "猫が起きている。"}
    assert index.find(Row("x", id="3", fields=right)) == Match((3,))
    # Ids of another data set: the text decides.
    assert index.find(Row("x", id="0", fields=right)).candidates == (3,)
    assert index.find(Row("x", id="3", fields={"sentence1": "別の文。", "sentence2": "違う話。"})).candidates == ()
    assert index.find(Row("x", id="3", containing_text="前提：別の文。")).candidates == ()


def test_width_and_white_space_make_no_other_text() -> None:
    wide = {"sentence1": "猫 が眠る｡", "sentence2": " 猫が\n起きている。"}
    assert Index(PAIRS).find(Row("x", fields=wide)).candidates == (3,)


def test_a_corrected_text_with_the_same_id_is_taken_and_said() -> None:
    row = Row("x", id="3", fields={"sentence1": "猫が眠る。", "sentence2": "猫は起きている。"}, text="neutral")
    found = part(PAIRS, [row])
    assert (list(texts(found)), told(found)) == (["3"], {"imported_changed": 1})


def test_a_corrected_choice_is_known_by_the_others_and_said() -> None:
    fields = {"question": "雨の日に使うものは？"} | {f"choice{k}": text for k, text in enumerate("傘靴本花石")}
    item = Item("jcommonsenseqa", "7", fields, ("0",), ("0", "1", "2", "3", "4"))
    row = Row(
        "x",
        subset="jcommonsenseqa",
        id="7",
        fields=fields | {"choice0": "雨傘"},
        choices=("花", "雨傘", "石", "靴", "本"),
        logprobs=(-1.0, -2.0, -3.0, -4.0, -5.0),
        gold_index=1,
    )
    found = part(dataset(item), [row])
    (output,) = found.outputs
    assert isinstance(output, Output) and output.choice_logprobs == (-2.0, -4.0, -5.0, -1.0, -3.0)
    assert found.prompts[0].answers == ("雨傘", "靴", "本", "花", "石")
    assert told(found) == {"imported_changed": 1}
    # Only another order is no other text.
    same = replace(row, fields=fields, choices=("花", "傘", "石", "靴", "本"))
    assert told(part(dataset(item), [same])) == {}


def test_an_id_without_any_text_is_taken_and_said() -> None:
    found = part(PAIRS, [Row("x", id="3", text="neutral")])
    assert (list(texts(found)), told(found)) == (["3"], {"imported_unchecked": 1})


# --- by text --------------------------------------------------------------------------------------------------


def test_a_pair_turned_round_is_another_item() -> None:
    rows = [
        inside("猫が眠る。", "猫が起きている。", "a"),
        inside("動物が外にいる。", "犬が庭を走る。", "b"),
        inside("犬が庭を走る。", "動物が外にいる。", "c"),
    ]
    assert texts(part(PAIRS, rows)) == {"3": "a", "1": "b", "0": "c"}
    # A prompt may have the hypothesis first; what is unmistakable shows it.
    turned = [replace(row, containing_text="\n".join(row.containing_text.split("\n")[1::-1])) for row in rows]
    assert texts(part(PAIRS, turned)) == {"3": "a", "1": "b", "0": "c"}


def test_a_text_that_holds_another_items_text_is_its_own() -> None:
    assert texts(part(PAIRS, [inside("黒い犬が庭を走る。", "動物が外にいる。", "a")])) == {"2": "a"}
    assert texts(part(PAIRS, [inside("空が青い。", "空が青い。", "a")])) == {"6": "a"}


def test_examples_before_the_question_are_not_what_is_asked() -> None:
    row = inside("犬が庭を走る。", "動物が外にいる。", "a")
    asked = inside("猫が眠る。", "猫が起きている。", "b")
    found = part(PAIRS, [replace(asked, containing_text=f"{row.containing_text}含意\n\n{asked.containing_text}")])
    assert texts(found) == {"3": "b"}


def test_the_same_question_over_two_paragraphs_is_told_by_the_paragraph() -> None:
    found = dataset(
        question("a", "寺は京都市にある。", "寺はどこにあるか。", "京都市"),
        question("b", "寺は奈良市にある。", "寺はどこにあるか。", "奈良市"),
    )
    rows = [
        Row("1", fields={"question": "寺はどこにあるか。", "context": "寺は奈良市にある。"}, text="B"),
        Row("2", containing_text="文章：寺は京都市にある。\n質問：寺はどこにあるか。", text="A"),
    ]
    assert texts(part(found, rows)) == {"a": "A", "b": "B"}
    # Without the paragraphs the answers tell, where the log has them.
    rows = [Row("1", fields={"question": "寺はどこにあるか。"}, text="B", gold=("奈良市",))]
    assert texts(part(found, rows)) == {"b": "B"}
    # What one has is not the other's.
    rows = [Row("1", fields={"question": "寺はどこにあるか。"}, text="x"), Row("2", id="a", text="A")]
    assert texts(part(found, rows)) == {"a": "A", "b": "x"}
    with pytest.raises(DataError, match="1 of 1 answers are to no item"):
        part(found, rows[:1])


def test_two_items_of_one_text_are_told_by_their_place_by_their_gold_or_not_at_all() -> None:
    three = inside("猫が眠る。", "猫が起きている。", "c")
    six = inside("空が青い。", "空が青い。", "f")
    x, y = inside("店が開く。", "客が来る。", "x"), inside("店が開く。", "客が来る。", "y")
    assert texts(part(PAIRS, [three, x, y, six])) == {"3": "c", "4": "x", "5": "y", "6": "f"}
    # Out of order nothing tells them apart, unless the log's gold answers do.
    mixed = part(PAIRS, [x, six, y, three])
    assert (texts(mixed), told(mixed)) == ({"3": "c", "6": "f"}, {"imported_doubtful": 2})
    golds = {"c": "contradiction", "f": "entailment", "x": "entailment", "y": "neutral"}
    rows = [replace(row, gold=(golds[str(row.text)],)) for row in (x, six, y, three)]
    assert texts(part(PAIRS, rows)) == {"3": "c", "4": "y", "5": "x", "6": "f"}
    # The same output to both is the answer of each.
    same = part(PAIRS, [x, six, replace(y, text="x"), three])
    assert texts(same) == {"3": "c", "4": "x", "5": "x", "6": "f"}


@pytest.mark.parametrize(
    ("places", "found"),
    [
        ([(0,), (1, 2), (2,)], [(0,), (1,), (2,)]),
        ([(0,), (1, 2), (1, 2), (3,)], [(0,), (1,), (2,), (3,)]),
        ([(0,), (1, 5), (3,)], [(0,), (1, 5), (3,)]),
        ([(0,), (4, 5), (2,)], [(0,), (4, 5), (2,)]),
        ([(2,), (1, 3), (0,)], [(2,), (1, 3), (0,)]),
    ],
)
def test_an_answer_is_told_by_those_around_it_only_where_they_follow_the_data(
    places: list[tuple[int, ...]], found: list[tuple[int, ...]]
) -> None:
    assert [one.candidates for one in resolve_by_order([Match(place) for place in places], 9)] == found


# --- gold -----------------------------------------------------------------------------------------------------


def test_another_gold_answer_is_counted_and_listed_and_the_datas_own_is_used() -> None:
    rows = [
        inside(
            i.fields["sentence1"],
            i.fields["sentence2"],
            "entailment",
            id=i.id,
            gold=("entailment",) if i.id == "3" else i.gold,
        )
        for i in PAIRS.items
        if isinstance(i.gold, tuple)
    ]
    found = part(PAIRS, rows, partial=False)
    (notice,) = found.notices
    assert (notice.kind, notice.facts["k"], notice.facts["n"]) == ("imported_gold", 1, 7)
    assert "3 (猫が眠る。)" in str(notice.facts["first"])
    assert next(item for item in found.items if item.id == "3").gold == ("contradiction",)


@pytest.mark.parametrize(
    ("numbers", "golds"),
    [
        # In the order of the alphabet: most items are neutral, whose number is the same in the order of the data.
        ({"contradiction": "0", "entailment": "1", "neutral": "2"}, ("neutral",) * 7 + ("entailment", "contradiction")),
        # Two numberings have the same number in the middle.
        ({"entailment": "0", "contradiction": "1", "neutral": "2"}, ("contradiction",) * 5),
        # Of one label it is not known how the others are numbered.
        ({"entailment": "0", "neutral": "1", "contradiction": "2"}, ("entailment",) * 5),
    ],
)
def test_a_numbering_that_fits_one_label_alone_is_not_taken(numbers: dict[str, str], golds: tuple[str, ...]) -> None:
    found = dataset(*(pair(str(k), f"{k}匹の犬が走る。", "動物が走る。", gold) for k, gold in enumerate(golds)))
    rows = [
        inside(i.fields["sentence1"], i.fields["sentence2"], "0", id=i.id, gold=(numbers[gold],))
        for i, gold in zip(found.items, golds, strict=True)
    ]
    made = part(found, rows, partial=False)
    assert {prompt.answers for prompt in made.prompts} == {LABELS}
    assert [(n.kind, n.facts["k"]) for n in made.notices] == [("imported_gold_unknown", len(golds))]


def test_numbers_for_labels_are_read_by_the_numbering_that_fits_the_log() -> None:
    numbers = {"entailment": "2", "contradiction": "1", "neutral": "0"}
    rows = [
        inside(
            i.fields["sentence1"],
            i.fields["sentence2"],
            numbers[str(i.gold[0])],
            id=i.id,
            gold=(numbers[str(i.gold[0])],),
        )
        for i in PAIRS.items
        if isinstance(i.gold, tuple)
    ]
    found = part(PAIRS, rows)
    assert [prompt.answers for prompt in found.prompts] == [("2", "1", "0")] * 7
    assert told(found) == {}
    # Where they fit hardly better than by chance, nothing is said of them, and the labels are asked for by name.
    odd = [replace(row, gold=(str(k % 3),)) for k, row in enumerate(rows)]
    assert {prompt.answers for prompt in part(PAIRS, odd).prompts} == {LABELS}
    assert "imported_gold" not in told(part(PAIRS, odd))


# --- the official files -----------------------------------------------------------------------------------------

WORDING = {
    "jcommonsenseqa": "質問：{question}\n選択肢：0.{choice0},1.{choice1},2.{choice2},3.{choice3},4.{choice4}\n回答：",
    "jnli": "前提：{sentence1}\n仮説：{sentence2}\n関係：",
    "jsts": "文1：{sentence1}\n文2：{sentence2}\n類似度：",
    "jsquad": "文章：{title} [SEP] {context}\n質問：{question}\n回答：",
}


@pytest.mark.skipif(not REAL, reason="set JGLUE_DATA_DIR to a folder with the JGLUE v1.3 files")
@pytest.mark.parametrize(("task", "doubtful"), [("jcommonsenseqa", 0), ("jnli", 22), ("jsts", 0), ("jsquad", 10)])
@pytest.mark.parametrize("shuffled", [False, True])
def test_no_official_item_is_taken_for_another_by_its_prompt(
    settings: Settings, task: str, doubtful: int, shuffled: bool
) -> None:
    found = files.load(replace(settings, data_dir=Path(REAL or "")), task)
    rng = random.Random(0)
    items = list(found.items)
    if shuffled:
        rng.shuffle(items)

    def rows() -> Iterator[Row]:
        for item in items:
            examples = [WORDING[task].format(**one.fields) + "答え" for one in rng.sample(found.items, 2)]
            prompt = "\n\n".join([*examples, WORDING[task].format(**item.fields)])
            yield Row("x", subset=task, containing_text=prompt, text=item.id, gold=tuple(map(str, gold(item))))

    def gold(item: Item) -> tuple[Any, ...]:
        return item.gold if isinstance(item.gold, tuple) else (item.gold,)

    one = part(found, list(rows()))
    assert [item_id for item_id, text in texts(one).items() if item_id != text] == []
    # Of a few items all texts and answers are those of another; in the data's order their place tells.
    assert len(one.items) == len(items) - (doubtful if shuffled else 0)
