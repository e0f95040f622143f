"""What the item list is sent, and what of it an address may name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jglue_app.results.control_characters import CONTROLS
from jglue_app.results.marks import ItemMarks
from jglue_app.ui.views import Rows, items
from tests.ui.test_views import A, B, answered, paragraph, row, salt, similarity


def unpacked(value: dict[str, Any], number: int) -> dict[str, Any]:
    """A row as `static/items.js` takes it apart."""
    task, id_, question, gold, label, bits, *sides = value["rows"][number]
    found = {"k": value["tasks"][task][0], "t": value["tasks"][task][1], "i": id_, "q": question}
    found |= {"g": value["golds"][gold], "l": value["labels"][label]}
    found["f"] = [name for at, name in enumerate(value["bits"]) if bits >> at & 1]
    for at, side in enumerate("ab"[: len(sides) // 4]):
        text, outcome, rule, length = sides[4 * at : 4 * at + 4]
        found |= {side: text, f"{side}o": value["outcomes"][outcome], f"{side}r": value["rules"][rule][0]}
        found[f"{side}n"] = length
    return found


@pytest.mark.parametrize("b", [B, None])
def test_a_packed_row_has_all_that_it_had(b: Rows | None) -> None:
    value = items.item_list(A, b, "ja")
    assert [unpacked(value, at) for at in range(len(value["rows"]))] == items.item_rows(A, b, "ja")


def test_what_many_rows_share_is_sent_once() -> None:
    many = {"jnli": {str(i): answered(str(i), "neutral", "含意") for i in range(500)}}
    value = items.item_list(many, many, "ja")
    assert value["golds"] == ["neutral"]
    assert [name for name, _ in value["rules"]] == ["exact"]
    packed, plain = (len(json.dumps(rows)) for rows in (value["rows"], items.item_rows(many, many, "ja")))
    assert packed < plain / 2


def test_rules_are_explained_in_the_language_of_the_page() -> None:
    ja, en = (dict(items.item_list(A, None, lang)["rules"]) for lang in ("ja", "en"))
    assert en["exact"] == "the output as it is, apart from surrounding white space"
    assert ja["exact"] == "前後の空白を除き、出力がそのまま答え"


def test_gold_labels_are_offered_where_there_are_few() -> None:
    rows = {
        "jnli": {"1": answered("1", "neutral", "中立")},
        "jcommonsenseqa": {"q1": row(salt(), "塩")},
        "jsquad": {"s1": row(paragraph("東京は首都。", "東京"), "東京")},
        "jsts": {"t1": row(similarity(2.5), "2"), "t2": row(similarity(5.0, "t2"), "5")},
    }
    assert {found["i"]: found["l"] for found in items.item_rows(rows, None, "ja")} == {
        **{"1": "neutral", "q1": "1", "s1": "", "t1": "2–3", "t2": "5"},
    }


def test_a_row_counts_the_characters_of_the_whole_output() -> None:
    rows = {"jnli": {"1": answered("1", "neutral", "あ" * 500), "2": answered("2", "neutral", None)}}
    assert [(found["an"], len(found["a"])) for found in items.item_rows(rows, None, "ja")] == [(500, 60), (None, 5)]


def test_marks_come_with_their_item_and_a_long_note_with_its_beginning() -> None:
    marks = {("jnli", "1"): ItemMarks(("star", "problem"), "長" * 2_000), ("jnli", "gone"): ItemMarks(("star",))}
    value = items.item_list(A, B, "ja", marks=({}, marks))
    (found,) = value["marked"].items()
    assert found == ("jnli/1", {"b": {"marks": ["star", "problem"], "note": "長" * 199 + "…"}})
    assert value["signs"] == {"star": ["★", "重要"], "question": ["?", "要確認"], "problem": ["!", "問題あり"]}
    assert items.item_list(A, B, "ja")["marked"] == {}


def test_no_row_turns_the_text_around_it() -> None:
    hostile = {"jnli": {"\u2066id": answered("\u2066id", "neutral", "\u202eあ\x1b[31m\u200b")}}
    value = items.item_list(hostile, None, "ja", marks=({("jnli", "\u2066id"): ItemMarks((), "\u202eメモ")}, {}))
    (found,) = value["rows"]
    assert found[6] == "‹U+202E›あ‹U+001B›[31m‹U+200B›"
    # The id names the item to the server, and has a text to show.
    assert value["ids"] == {"\u2066id": "‹U+2066›id"}
    shown = [text for text in (*found, *value["golds"], *value["labels"]) if isinstance(text, str) and text != found[1]]
    assert not [text for text in shown if CONTROLS.search(text)]
    assert value["marked"]["jnli/\u2066id"]["a"]["note"] == "‹U+202E›メモ"


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("disagree", ""),
        ("all;ao=wrong;m=star", ""),
        ("all;l=neutral", ""),
        ("nothing", "nothing"),
        ("nothing;ao=wrong", "nothing"),
        ("all;zz=1;ao=wrong", "zz"),
        ("all;", ""),
    ],
)
def test_a_filter_of_an_address_is_known_or_named(text: str, unknown: str) -> None:
    assert items.unknown_filter(text, ["all", "disagree"]) == unknown
