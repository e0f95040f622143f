"""Payloads and HTML of the views, without a browser."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jglue_app.errors import InputError
from jglue_app.hub_sink import HubPush
from jglue_app.messages import Message
from jglue_app.prompt_lab import TYPED, Foreseen, Inspected, LegalAnswer, SweepRow, Token, Tried
from jglue_app.prompts.findings import Finding
from jglue_app.results.library import StoredRun
from jglue_app.results.rankings import Ranking, Rankings
from jglue_app.runs.events import Event
from jglue_app.runs.request import Side
from jglue_app.scoring.calibration import of_confidences
from jglue_app.scoring.comparison import compare_runs
from jglue_app.scoring.effect_types import EffectFactor, EffectTable, GridScores, LeftOut
from jglue_app.scoring.effects import metric_effects
from jglue_app.scoring.judged import ScoredItem, knows_answer
from jglue_app.scoring.leaderboard import Entry
from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.scoring.protocols.official import judge as official
from jglue_app.scoring.ranking import UNSCORED as WHY_UNSCORED
from jglue_app.scoring.ranking import Place
from jglue_app.scoring.report import report_run
from jglue_app.scoring.slices import Slice
from jglue_app.scoring.types import Estimate, Flips, Judgement
from jglue_app.tasks import TASKS
from jglue_app.tasks.item_text import gold_with_choice
from jglue_app.types import (
    Decoding,
    Finish,
    Item,
    ModelInfo,
    ModelSpec,
    NextToken,
    NextTokens,
    Notice,
    Output,
    Prompt,
    PromptSpec,
    Record,
    RunData,
    RunError,
    RunSpec,
)
from jglue_app.ui import hub_push, progress, views, wandb_push
from jglue_app.ui.jobs import Job, State
from jglue_app.ui.views import items, prompt, sweep
from jglue_app.ui.views import ranking as board_of_runs
from jglue_app.ui.views.board import board, span_of
from jglue_app.ui.views.calibration import calibration_view
from jglue_app.ui.views.effects import effects_view
from jglue_app.ui.views.first import first_card
from jglue_app.ui.views.item import MAX_CHARS, SideView, bars, item_view
from jglue_app.ui.views.matrix import score_matrix
from jglue_app.ui.views.pieces import pieces, special_pieces
from jglue_app.ui.views.ranking import Listed, Marked
from jglue_app.ui.views.slices import slice_table
from jglue_app.ui.views.strips import _counts
from jglue_app.wandb_sink import PushResult
from tests.scoring.test_report import pairs

SPEC = RunSpec(ModelSpec("m"), ("jnli",), "v", {}, PromptSpec(), "", Decoding(), "0")
OTHER = replace(SPEC, model=ModelSpec("n"))
LABELS = ("entailment", "contradiction", "neutral")
ANSWERS = ("含意", "矛盾", "中立")
NUMBERS = ("0", "1", "2", "3", "4")
NONE = Estimate(None, None, None, 0)


def item(id_: str, gold: str) -> Item:
    return Item("jnli", id_, {"sentence1": f"前提{id_}", "sentence2": f"仮説{id_}"}, (gold,), LABELS)


def salt() -> Item:
    """A question of JCommonsenseQA whose answer is 塩."""
    choices = {f"choice{i}": text for i, text in enumerate(("砂糖", "塩", "酢", "油", "水"))}
    return Item("jcommonsenseqa", "q1", {"question": "海の水はどうしてしょっぱい？", **choices}, ("1",), NUMBERS)


def paragraph(context: str, *golds: str) -> Item:
    return Item("jsquad", "s1", {"title": "", "context": context, "question": "首都は？"}, golds)


def similarity(gold: float, id_: str = "t1") -> Item:
    return Item("jsts", id_, {"sentence1": "犬", "sentence2": "猫"}, gold)


def asked(one: Item, text: str = "一行目\n関係：", **changes: Any) -> Prompt:
    answers = ANSWERS if one.choices == LABELS else one.choices
    usual = Prompt(one.task, one.id, text, None, ("\n",), answers, "", (), hashlib.sha256(b"").hexdigest())
    return replace(usual, **changes)


def row(
    one: Item,
    text: str | None,
    logprobs: tuple[float, ...] | None = None,
    finish: Finish = "stop",
    asks: Prompt | None = None,
) -> ScoredItem:
    """An item with what was said; neither text nor ranking for an error."""
    made = asks or asked(one)
    if text is None and logprobs is None:
        record = Record("s", one.task, one.id, made, None, RunError("out_of_memory", "大きすぎる"))
    else:
        record = Record("s", one.task, one.id, made, Output(text, finish, 9, 2, 0.25, logprobs))
    return ScoredItem(one, record, official(TASKS[one.task], one, record))


def answered(id_: str, gold: str, text: str | None, logprobs: tuple[float, ...] | None = None) -> ScoredItem:
    return row(item(id_, gold), text, logprobs)


def everyones(one: ScoredItem) -> dict[str, Judgement]:
    """What each protocol that scores the subset makes of an output."""
    return {
        name: how.judge(TASKS[one.item.task], one.item, one.record)
        for name, how in PROTOCOLS.items()
        if one.item.task in how.metrics
    }


INLINE = {"b", "code", "i", "mark", "small", "span", "strong"}
"""Elements that do not part the words before them from those behind."""


class Seen(HTMLParser):
    """What a browser would make of a text: its elements, in order, with their attributes, and what is to be read."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.shape: list[tuple[str, tuple[str, ...]]] = []
        self.attributes: list[dict[str, str]] = []
        self.text = self._spaced = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._spaced += "" if tag in INLINE else " "
        self.shape.append((tag, tuple(name for name, _ in attrs)))
        self.attributes.append({name: value or "" for name, value in attrs} | {"": tag})

    def handle_endtag(self, tag: str) -> None:
        self._spaced += "" if tag in INLINE else " "

    def handle_data(self, data: str) -> None:
        self.text += data
        self._spaced += data

    def of(self, name: str) -> list[dict[str, str]]:
        """Attributes of all elements of a class; the element's name is that of the attribute without one."""
        return [found for found in self.attributes if name in found.get("class", "").split()]

    @property
    def line(self) -> str:
        """All there is to read, in one line."""
        return " ".join(self._spaced.split())


def html_of(sides: Sequence[SideView], lang: str = "ja", **how: Any) -> str:
    return views.render("item", item_view(sides, lang, **how), lang)


def read(html: str) -> str:
    return Seen(html).line


# --- texts ------------------------------------------------------------------------------------------------


def test_long_and_many_lined_texts_become_one_short_line() -> None:
    assert views.short("一行目\n二行目") == "一行目 ⏎ 二行目"
    assert views.short("長" * 60) == "長" * 60
    assert views.short("長" * 61) == "長" * 59 + "…"
    assert views.short("長" * 10**6) == "長" * 59 + "…"
    assert views.short("四文字超", 3) == "四文…"
    assert views.short("") == ""


def test_a_question_and_its_gold_answer_are_one_line_each() -> None:
    assert views.question(item("1", "neutral")) == "前提1 / 仮説1"
    assert views.question(salt()) == "海の水はどうしてしょっぱい？"
    assert views.question(paragraph("長い文章", "東京")) == "首都は？"
    assert gold_with_choice(item("1", "neutral")) == "neutral"
    assert gold_with_choice(salt()) == "1 塩"
    assert gold_with_choice(similarity(2.25)) == "2.2"
    assert gold_with_choice(paragraph("", "東京", "東京都", "東京")) == "東京 / 東京都"


def test_a_subset_is_named_with_where_its_items_came_from_unless_they_are_official() -> None:
    assert views.subset_title("jnli", "sample", "ja") == "JNLI（見本）"
    assert views.subset_title("marc_ja", "user", "en") == "MARC-ja (own file)"
    assert views.subset_title("jnli", "official", "ja") == "JNLI"


def test_what_went_wrong_is_read_aloud() -> None:
    told = views.sentence("モデルがありません。", "ja")
    assert read(told) == "できませんでした モデルがありません。"
    assert Seen(told).attributes[0]["role"] == "alert"
    assert read(views.sentence("なし", "ja", head="cannot_render")) == "この書式は使えません なし"
    assert views.note("") == ""
    assert read(views.note("止めています…")) == "止めています…"
    assert read(views.empty("まだ何もありません")) == "まだ何もありません"


# --- the item list ----------------------------------------------------------------------------------------

RIGHT, FIRST_IS_WRONG = (-3.0, -2.0, -1.0), (-1.0, -2.0, -3.0)
"""Log-probabilities that rank neutral first, and last."""

A = {
    "jnli": {
        "1": answered("1", "entailment", "含意"),
        "2": answered("2", "neutral", "含意"),
        "3": answered("3", "neutral", "答え：中立"),
        "4": answered("4", "neutral", ""),
        "5": answered("5", "neutral", "中立"),
        "6": answered("6", "neutral", "？", RIGHT),
        "7": answered("7", "neutral", "？", FIRST_IS_WRONG),
    }
}
B = {
    "jnli": {
        "1": answered("1", "entailment", "矛盾"),
        "2": answered("2", "neutral", "中立"),
        "3": answered("3", "neutral", "中立"),
        "4": answered("4", "neutral", None),
        "5": answered("5", "neutral", "中立"),
        "6": answered("6", "neutral", "？"),
        "7": answered("7", "neutral", "含意", RIGHT),
        "8": answered("8", "neutral", "中立"),
    }
}


@pytest.mark.parametrize(
    ("which", "ids"),
    [
        # In the fourth, B failed: no answer is nothing to compare.
        ("disagree", ["1", "2", "3", "7"]),
        ("only_a", ["1"]),
        ("only_b", ["2", "3"]),
        ("knows", ["6"]),
        ("form", ["3"]),
        ("unreadable", ["4", "6", "7"]),
    ],
)
def test_a_filter_keeps_the_items_it_names(which: str, ids: list[str]) -> None:
    assert [found["i"] for found in items.item_rows(A, B, "ja") if which in found["f"]] == ids


def test_a_text_is_not_held_against_a_ranking() -> None:
    a = {"rankings": ("？", RIGHT), "none": ("中立", None), "alike": ("？", RIGHT)}
    b = {"rankings": (None, FIRST_IS_WRONG), "none": (None, FIRST_IS_WRONG), "alike": (None, RIGHT)}
    left, right = ({"jnli": {id_: answered(id_, "neutral", *said) for id_, said in side.items()}} for side in (a, b))
    rows = items.item_rows(left, right, "ja")
    paired = {found["i"]: [name for name in found["f"] if name in items.PAIRED] for found in rows}
    # What A wrote to the first cannot be read, and it ranks the right answer first; of the second it has no ranking.
    assert paired == {"rankings": ["disagree", "only_a"], "none": [], "alike": []}


def test_a_row_shows_question_gold_outputs_and_how_they_fell_out() -> None:
    rows = items.item_rows(A, B, "ja")
    assert rows[0] == {
        **{"t": "JNLI", "k": "jnli", "i": "1", "q": "前提1 / 仮説1", "g": "entailment", "l": "entailment"},
        **{"a": "含意", "ao": "correct", "ar": "exact", "an": 2},
        **{"b": "矛盾", "bo": "wrong", "br": "exact", "bn": 2},
        "f": ["disagree", "only_a"],
    }
    assert [rows[3][key] for key in ("a", "ao", "b", "bo")] == ["", "empty", "大きすぎる", "error"]


def test_the_source_of_all_items_of_a_list_stands_once_and_several_in_their_rows() -> None:
    listed = items.item_list(A, B, "ja", sources={"jnli": "sample"})
    assert (listed["source"], listed["tasks"]) == ("見本", [["jnli", "JNLI"]])
    assert items.item_list(A, B, "ja", sources={"jnli": "official"})["source"] == ""
    several = A | {"jsts": {"1": row(similarity(2.0, "1"), "2")}}
    mixed = items.item_list(several, None, "ja", sources={"jnli": "sample", "jsts": "official"})
    assert (mixed["source"], mixed["tasks"]) == ("", [["jsts", "JSTS"], ["jnli", "JNLI（見本）"]])


def test_an_item_that_one_run_has_not_answered_yet_has_empty_cells_and_is_no_disagreement() -> None:
    last = items.item_rows(A, B, "ja")[-1]
    assert [last[key] for key in ("i", "a", "ao", "b", "bo", "f")] == ["8", "", "", "中立", "correct", []]
    alone = items.item_rows(A, None, "ja")
    assert [found["i"] for found in alone] == ["1", "2", "3", "4", "5", "6", "7"]
    assert {key for found in alone for key in found} == {"t", "k", "i", "q", "g", "l", "a", "ao", "ar", "an", "f"}
    assert alone[2]["f"] == ["form"]


@pytest.mark.parametrize(
    ("text", "finish", "shapeless"),
    [
        ("？", "stop", True),
        ("？", "length", True),
        ("", "empty", True),
        ("", "overflow", True),
        (None, "stop", True),
        ("答え：中立", "stop", False),
        ("矛盾", "stop", False),
        ("中立", "stop", False),
    ],
)
def test_whatever_could_not_be_read_is_found_as_unreadable(text: str | None, finish: Finish, shapeless: bool) -> None:
    run_alone = {"jnli": {"1": row(item("1", "neutral"), text, None, finish)}}
    (found,) = items.item_rows(run_alone, None, "ja")
    assert ("unreadable" in found["f"]) is shapeless


def test_rows_stand_in_the_order_of_the_subsets() -> None:
    mixed = {"jsts": {"t1": row(similarity(3.0), "3")}, "marc_ja": {}, **A}
    assert [found["k"] for found in items.item_rows(mixed, None, "ja")] == ["jsts", *["jnli"] * 7]


def test_a_run_without_texts_says_what_it_ranked_first() -> None:
    ranked = {"jnli": {"1": row(item("1", "neutral"), None, RIGHT, "scored")}}
    (found,) = items.item_rows(ranked, None, "ja")
    assert (found["a"], found["ao"], found["f"]) == ("neutral", "correct", [])


@pytest.mark.parametrize(
    ("text", "logprobs", "known"),
    [
        ("答え：中立", RIGHT, True),
        ("？", RIGHT, True),
        ("", RIGHT, True),
        ("中立", RIGHT, False),
        ("矛盾", RIGHT, False),
        ("？", FIRST_IS_WRONG, False),
        ("？", None, False),
        ("？", (-3.0, -math.inf, -1.0), False),
        (None, RIGHT, False),
        (None, None, False),
    ],
)
def test_only_what_is_ranked_right_and_written_in_no_form_is_known_but_not_written(
    text: str | None, logprobs: tuple[float, ...] | None, known: bool
) -> None:
    assert bool(knows_answer(answered("1", "neutral", text, logprobs))) is known


def test_filters_and_orders_that_need_two_runs_are_offered_for_two_alone() -> None:
    two, one = items.item_list(A, B, "ja"), items.item_list(A, None, "en")
    assert [name for name, _ in two["filters"]] == [
        *("all", "disagree", "only_a", "only_b", "knows", "form", "unreadable"),
    ]
    assert one["filters"] == [
        ["all", "All"],
        ["knows", "Knows but cannot write it"],
        ["form", "Wrong form"],
        ["unreadable", "Unreadable, cut off, empty"],
    ]
    assert [name for name, _ in two["sorts"]] == ["order", "a", "b", "apart"]
    assert one["sorts"] == [["order", "Original order"], ["a", "By A's outcome"]]
    assert two["marks"]["wrong_form"] == ["△", "中身は正解、形だけ誤り"]
    assert [one["words"][name] for name in ("gold", "task", "every")] == ["Gold", "Subset", "All subsets"]
    assert len(one["rows"]) == 7


def test_the_list_brings_back_its_runs_and_names_the_address_to_show() -> None:
    found = items.item_list(A, B, "ja", names=("a1", "b1"), link="tasks=jnli")
    assert (found["a"], found["b"], found["link"], found["open"]) == ("a1", "b1", "?tasks=jnli", None)
    assert items.item_list(A, B, "ja", link="")["link"] == ""
    assert "link" not in items.item_list(A, B, "ja")
    assert [items.item_list(A, B, "ja", fetch=fetch)["fetch"] for fetch in (True, False)] == [True, False]
    assert found["fetch"] is False


def test_the_most_telling_item_is_known_by_one_side_not_written_and_written_by_the_other() -> None:
    sure, unsure = (math.log(0.05), math.log(0.05), math.log(0.9)), (math.log(0.3), math.log(0.3), math.log(0.4))
    a = {
        "jnli": {
            "alike": answered("alike", "neutral", "中立"),
            "only a": answered("only a", "neutral", "中立"),
            # 2 · 0.9; 2 · 0.9 + 1 + ½; 2 · 0.4 + 1 + ½
            "both know": answered("both know", "neutral", "？", sure),
            "telling": answered("telling", "neutral", "？", sure),
            "less sure": answered("less sure", "neutral", "？", unsure),
        }
    }
    b = {
        "jnli": {
            "alike": answered("alike", "neutral", "中立"),
            "only a": answered("only a", "neutral", "矛盾"),
            "both know": answered("both know", "neutral", "？", sure),
            "telling": answered("telling", "neutral", "中立"),
            "less sure": answered("less sure", "neutral", "中立"),
        }
    }
    assert items.most_informative_item(a, b) == ("jnli", "telling")
    assert items.item_list(a, b, "ja", open_first=True)["open"] == {"task": "jnli", "id": "telling"}
    assert items.most_informative_item(b, a) == ("jnli", "telling")
    assert items.most_informative_item(a, None) == ("jnli", "both know")
    del a["jnli"]["telling"], a["jnli"]["less sure"]
    # 2 · 0.9 is more than 1 + ½.
    assert items.most_informative_item(a, {"jnli": {key: b["jnli"][key] for key in a["jnli"]}}) == ("jnli", "both know")
    del a["jnli"]["both know"]
    assert items.most_informative_item(a, {"jnli": {key: b["jnli"][key] for key in a["jnli"]}}) == ("jnli", "only a")
    assert items.most_informative_item({}, {}) is None
    assert items.item_list({}, None, "ja", open_first=True)["open"] is None


# --- texts in pieces --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "spans", "expected"),
    [
        ("答え：中立", [(3, 5)], [("答え：", False, False), ("中立", True, False)]),
        ("一\n二", [], [("一", False, True), ("二", False, False)]),
        ("一\n二三", [(0, 3)], [("一", True, True), ("二", True, False), ("三", False, False)]),
        ("一二三", [(0, 1), (2, 3)], [("一", True, False), ("二", False, False), ("三", True, False)]),
        ("一二", [(1, 90)], [("一", False, False), ("二", True, False)]),
        ("", [], []),
    ],
)
def test_pieces_mark_the_spans_and_keep_line_ends(
    text: str, spans: list[tuple[int, int]], expected: list[tuple[str, bool, bool]]
) -> None:
    assert [(p["text"], p["mark"], p["eol"]) for p in pieces(text, spans)] == expected


@pytest.mark.parametrize(
    ("text", "own", "special"),
    [
        ("<|im_start|>user\n犬<|im_end|>", (), ["<|im_start|>", "<|im_end|>"]),
        ("<s>[INST] <<SYS>>犬<</SYS>> 猫 [/INST]</s>", (), ["<s>", "[INST]", "<<SYS>>", "<</SYS>>", "[/INST]", "</s>"]),
        ("<bos><start_of_turn>犬<end_of_turn>", (), ["<bos>", "<start_of_turn>", "<end_of_turn>"]),
        ("犬<NL>猫", (), ["<NL>"]),
        ("⟨始⟩犬⟨終⟩", ("⟨始⟩", "⟨終⟩"), ["⟨始⟩", "⟨終⟩"]),
        ("⟨始⟩犬⟨終⟩", ("", ""), []),
        ("a.b axb", ("a.b", ""), ["a.b"]),
        ("犬 <b>猫</b> < | > [x] <|いぬ ねこ|> <strong>", (), []),
    ],
)
def test_marks_of_formats_and_of_the_model_itself_stand_apart(
    text: str, own: tuple[str, ...], special: list[str]
) -> None:
    found = special_pieces(text, own)
    assert [p["text"] for p in found if p["special"]] == special
    assert "".join(p["text"] + "\n" * p["eol"] for p in found) == text


@pytest.mark.parametrize(
    ("text", "own", "special"),
    [
        ("犬</s>猫<NL>", (), []),
        ("犬</s>猫<NL>", ("", ""), []),
        ("<s>犬</s>猫<NL>", ("<s>", "</s>"), ["<s>", "</s>"]),
    ],
)
def test_without_a_chat_template_the_models_own_marks_alone_stand_apart(
    text: str, own: tuple[str, ...], special: list[str]
) -> None:
    found = special_pieces(text, own, chat=False)
    assert [p["text"] for p in found if p["special"]] == special
    assert "".join(p["text"] + "\n" * p["eol"] for p in found) == text


# --- thoughts ---------------------------------------------------------------------------------------------

THOUGHT = "<b>含意</b>かな。\n答え：矛盾</think>\n\n"


def test_a_thought_is_folded_escaped_and_told_from_the_answer_whose_marks_stay_in_place() -> None:
    one = item("1", "neutral")
    asks = asked(one, "問い<think>\n", thought="<think>")
    html = html_of([SideView("A", "m", row(one, THOUGHT + "答えは中立です。", asks=asks))], "ja")
    folded, shown = html.split('<details class="jg-thought">')[1].split("</details>", 1)
    assert "思考（" in folded and "&lt;b&gt;含意&lt;/b&gt;かな。" in folded and "&lt;/think&gt;" in folded
    assert "<mark>" not in folded
    raw = shown.split("</pre>")[0]
    assert "答えは<mark>中立</mark>です。" in raw and "含意" not in raw
    (side,) = item_view([SideView("A", "m", row(one, THOUGHT + "中立", asks=asks))], "en")["sides"]
    assert "".join(p["text"] + "\n" * p["eol"] for p in side["thought"]["pieces"] + side["raw"]) == THOUGHT + "中立"
    assert side["thought"]["name"] == f"Thought ({len(THOUGHT) - 2} characters, no part of the answer)"


def test_an_unfinished_thought_is_all_thought_and_has_a_mark_of_its_own() -> None:
    one = item("1", "neutral")
    cut = row(one, "中立かな", finish="length", asks=asked(one, "問い<think>\n", thought="<think>"))
    (side,) = item_view([SideView("A", "m", cut)], "ja")["sides"]
    assert (side["outcome"], side["mark"], side["outcome_text"]) == ("unfinished_thought", "◔", "思考の途中")
    assert side["thought"]["name"].startswith("終わっていない思考（4 文字")
    assert side["raw"] == []
    assert [r["read"] for r in side["readings"]] == [False, False]
    html = html_of([SideView("A", "m", cut)], "en")
    assert "jg-o-unfinished_thought" in html and "Unfinished thought (4 characters, no answer)" in html


def test_a_label_that_a_protocol_found_in_the_thought_is_marked_there_and_the_thought_is_open() -> None:
    one = Item("marc_ja", "m1", {"sentence": "だめ"}, ("negative",), ("positive", "negative"))
    asks = Prompt("marc_ja", "m1", "問い<think>\n", None, (), ("positive", "negative"), "", (), "", thought="<think>")
    record = Record("s", "marc_ja", "m1", asks, Output("negative?</think>positive", "stop", 9, 2, 0.25))
    judged = PROTOCOLS["wandb-2023-0shot"].judge(TASKS["marc_ja"], one, record)
    (side,) = item_view([SideView("A", "m", ScoredItem(one, record, judged))], "ja")["sides"]
    assert side["thought"]["open"]
    assert [p["text"] for p in side["thought"]["pieces"] if p["mark"]] == ["negative"]


def test_the_text_that_answers_were_ranked_after_is_shown_where_it_is_another() -> None:
    one = item("1", "neutral")
    asks = asked(one, "問い<think>\n", thought="<think>", ranked_text="問い<think>\n\n</think>\n\n")
    html = html_of([SideView("A", "m", row(one, "a</think>中立", (-1.0, -2.0, -3.0), asks=asks))], "en")
    ranked = html.split('<details class="jg-ranked">')[1].split("</details>")[0]
    assert "&lt;think&gt;" in ranked and "&lt;/think&gt;" in ranked
    assert "jg-ranked" not in html_of([SideView("A", "m", row(one, "中立", (-1.0, -2.0, -3.0)))], "en")


def test_the_list_shows_what_follows_a_thought() -> None:
    one = item("1", "neutral")
    asks = asked(one, thought="<think>")
    (line,) = items.item_rows({"jnli": {"1": row(one, "含意かな</think>\n中立", asks=asks)}}, None, "ja")
    assert (line["a"], line["ao"]) == ("中立", "correct")
    (line,) = items.item_rows({"jnli": {"1": row(one, "含意かな", asks=asks)}}, None, "ja")
    assert (line["ao"], line["f"]) == ("unfinished_thought", ["unreadable"])


# --- bars -------------------------------------------------------------------------------------------------


def logs(*shares: float) -> tuple[float, ...]:
    return tuple(math.log(share) if share else -math.inf for share in shares)


@pytest.mark.parametrize(
    ("logprobs", "shares", "best"),
    [
        # 1 : e⁻¹ : e⁻² of 1.503
        ((-1.0, -2.0, -3.0), ["67", "24", "9"], [True, False, False]),
        ((-1001.0, -1002.0, -1003.0), ["67", "24", "9"], [True, False, False]),
        (logs(0.2, 0.5, 0.3), ["20", "50", "30"], [False, True, False]),
        # What is left of the others shares the whole.
        (logs(0.3, 0, 0.1), ["75", "0", "25"], [True, False, False]),
        ((-math.inf, -7.0, math.nan), ["0", "100", "0"], [False, True, False]),
        ((-math.inf, -math.inf, -math.inf), ["0", "0", "0"], [False, False, False]),
        ((-2.0, -2.0, -900.0), ["50", "50", "0"], [True, True, False]),
    ],
)
def test_bars_are_the_share_of_each_answer(logprobs: tuple[float, ...], shares: list[str], best: list[bool]) -> None:
    found = bars(answered("1", "neutral", "？", logprobs))
    assert [bar["share"] for bar in found] == shares
    assert [bar["best"] for bar in found] == best
    assert [bar["name"] for bar in found] == list(ANSWERS)
    assert [bar["gold"] for bar in found] == [False, False, True]


def test_bars_name_the_words_of_numbered_choices_and_the_log_likelihoods() -> None:
    found = bars(row(salt(), "1", (-1.0, -math.inf, -2.345, -4.0, -5.0)))
    assert [bar["name"] for bar in found] == ["0 砂糖", "1 塩", "2 酢", "3 油", "4 水"]
    assert [bar["value"] for bar in found] == ["-1.00", "-inf", "-2.35", "-4.00", "-5.00"]
    words = ("砂糖", "塩", "酢", "油", "水")
    named = bars(row(salt(), "塩", (-1.0, -2.0, -3.0, -4.0, -5.0), asks=asked(salt(), answers=words)))
    assert [bar["name"] for bar in named] == list(words)
    assert bars(answered("1", "neutral", "中立")) == []
    assert bars(answered("1", "neutral", None)) == []


# --- one item ---------------------------------------------------------------------------------------------


def test_the_item_view_shows_prompt_outputs_readings_and_bars() -> None:
    left = answered("7", "neutral", "関係は「中立」です。", (-3.0, -1.0, -2.0))
    html = html_of([SideView("A", "左", left, "<bos>"), SideView("B", "右", None)])
    assert "関係は「<mark>中立</mark>」です。" in html
    assert (
        '<span class="jg-special">&lt;bos&gt;</span>一行目<span class="jg-eol" aria-hidden="true">⏎</span>\n関係：'
        in html
    )
    text = read(html)
    assert "厳密な読み取り 読み取れない 出力が答えそのものではない not_exact" in text
    assert "寛容な読み取り neutral 「答え：」などの合図のあと cue" in text
    assert "正解 neutral （中立）" in text
    assert "○ 中立" in text
    assert "矛盾 ◀" in text
    assert "入力 9 トークン、出力 2 トークン、0.25 秒" in text
    for share in (9, 67, 24):
        assert f"width:{share}%" in html
    assert text.count("未実行") == 1
    assert ("A 左" in text, "B 右" in text) == (True, True)


def test_an_item_is_asked_about_in_the_language_of_the_page() -> None:
    one = answered("1", "neutral", "中立")
    assert read(html_of([SideView("A", "m", one)])).startswith("JNLI 1 前提の文から仮説の文が言えるか")
    english = read(html_of([SideView("A", "m", one)], "en", source="sample"))
    assert english.startswith("JNLI sample 1 Does the premise entail the hypothesis?")
    assert "Sentence 1 前提1 Sentence 2 仮説1 Gold neutral （中立）" in english


@pytest.mark.parametrize(
    ("text", "logprobs", "finish", "shown"),
    [
        (None, None, "stop", "！エラー 出力 大きすぎる A プロンプト"),
        (None, RIGHT, "scored", "○正解 出力 （文章は生成していません） 各答えの"),
        ("", None, "empty", "∅空 正解率 0.000 出力 （何も書かれていません） 厳密な読み取り"),
        ("中", None, "length", "…途中で切れた 正解率 0.000 出力 中 厳密な読み取り"),
        ("", None, "overflow", "≫長すぎる 出力 （何も書かれていません）"),
    ],
)
def test_an_output_that_is_none_says_why(
    text: str | None, logprobs: tuple[float, ...] | None, finish: Finish, shown: str
) -> None:
    html = read(html_of([SideView("A", "m", row(item("1", "neutral"), text, logprobs, finish))]))
    assert shown in html
    assert ("長さの上限で打ち切り" in html) is (finish == "length")
    assert ("プロンプトがコンテキスト長を超えています" in html) is (finish == "overflow")


def test_examples_are_named_and_white_space_in_an_output_is_kept() -> None:
    one = item("1", "neutral")
    html = html_of([SideView("A", "m", row(one, " 中立\n\n", asks=asked(one, shot_ids=("sn3", "sn9"))))])
    assert "例題：sn3、sn9" in html
    eol = '<span class="jg-eol" aria-hidden="true">⏎</span>\n'
    assert f'<pre class="jg-text jg-raw" tabindex="0"> <mark>中立</mark>{eol}{eol}</pre>' in html


def test_a_chat_template_has_its_marks_in_the_prompt_and_no_mark_before_it() -> None:
    one = item("1", "neutral")
    chat = asked(one, "<|im_start|>user\n犬", messages=({"role": "user", "content": "犬"},))
    html = html_of([SideView("A", "m", row(one, "中立", asks=chat), "<|im_start|>", "<|im_end|>")])
    (prompt_box,) = (found for found in html.split("<pre") if "jg-text jg-prompt" in found)
    assert prompt_box.count("jg-special") == 1


@pytest.mark.parametrize(("messages", "special"), [(None, ["⟨終⟩"]), (({"role": "user"},), ["</s>", "⟨終⟩", "<NL>"])])
def test_the_usual_marks_are_ordinary_text_in_a_prompt_that_no_chat_template_laid_out(
    messages: tuple[dict[str, str], ...] | None, special: list[str]
) -> None:
    one = item("1", "neutral")
    asks = asked(one, "犬</s>猫⟨終⟩鳥<NL>", messages=messages)
    (side,) = item_view([SideView("A", "m", row(one, "中立", asks=asks), "", "⟨終⟩")], "ja")["sides"]
    assert [p["text"] for p in side["prompt"] if p["special"]] == special


def test_choices_are_shown_with_the_right_one_marked_and_answers_with_their_words() -> None:
    html = html_of([SideView("A", "m", row(salt(), "1"))])
    text = read(html)
    assert "選択肢 0 砂糖 選択肢 1 ○ 塩 選択肢 2 酢" in text
    assert "正解 1 塩" in text
    assert "厳密な読み取り 1 塩" in text
    assert [found[""] for found in Seen(html).of("jg-gold")] == ["dd", "dd"]


def test_accepted_answers_are_marked_in_the_paragraph_and_overlapping_ones_as_one() -> None:
    one = paragraph("東京都は首都。昔は京都、今は東京。", "東京", "東京都", "")
    payload = item_view([SideView("A", "m", row(one, "東京"))], "ja")
    (context,) = (found for found in payload["fields"] if found["name"] == "文章")
    marked = [(p["text"], p["mark"]) for p in context["pieces"]]
    assert marked == [("東京都", True), ("は首都。昔は京都、今は", False), ("東京", True), ("。", False)]
    # A title that is empty is not shown, and nothing is marked in the question.
    assert [found["name"] for found in payload["fields"]] == ["文章", "質問"]
    assert [p["mark"] for p in payload["fields"][1]["pieces"]] == [False]


def test_answers_with_signs_of_a_pattern_are_found_as_they_are() -> None:
    one = paragraph("a.b と axb と (c)", "a.b", "(c)")
    payload = item_view([SideView("A", "m", row(one, "a.b"))], "ja")
    assert [p["text"] for p in payload["fields"][0]["pieces"] if p["mark"]] == ["a.b", "(c)"]


@pytest.mark.parametrize(("text", "distance"), [("3.5", "正解との差 0.5"), ("3", "正解との差 0.0"), ("？", "")])
def test_a_similarity_is_shown_with_how_far_off_it_is(text: str, distance: str) -> None:
    payload = item_view([SideView("A", "m", row(similarity(3.0), text))], "ja")
    assert (payload["gold"], payload["sides"][0]["scores"]) == ("3.0", distance)


def test_the_way_to_other_items_and_to_the_lab_is_shown_where_there_is_one() -> None:
    one = SideView("A", "m", answered("1", "neutral", "中立"))
    steps = [found["data-jg-do"] for found in Seen(html_of([one])).of("jg-button") if "data-jg-do" in found]
    assert steps == ["back", "step", "step"]
    assert Seen(html_of([one], steps=False)).of("jg-button") == []
    (button,) = Seen(html_of([one], steps=False, lab={"task": "jnli", "id": "1", "a": "run"})).of("jg-button")
    assert (button["data-jg-do"], button["data-task"], button["data-id"], button["data-a"]) == (
        *("lab", "jnli", "1", "run"),
    )


def test_a_text_of_a_million_characters_is_cut_and_the_rest_is_counted() -> None:
    one = paragraph("東京", "東京")
    long = row(one, "あ" * 10**6, asks=asked(one, "い" * MAX_CHARS + "問"))
    html = html_of([SideView("A", "m", long)])
    (raw,) = (found.split("</pre>")[0] for found in html.split("<pre") if "jg-raw" in found)
    assert raw.count("あ") == MAX_CHARS == 20_000
    assert "（ほかに 980,000 文字）" in html
    # Of a prompt the beginning and the end, where the question stands.
    assert (html.count("い"), "…（間の 1 文字を省略）…" in html) == (MAX_CHARS - 1, True)
    assert 'い問<span class="jg-cursor"' in html.replace('</span><span class="jg-cursor', '<span class="jg-cursor')
    # The two readings, which are the whole text, are cut to a line.
    assert html.count("あ") == MAX_CHARS + 2 * 300
    assert "more characters" not in html_of([SideView("A", "m", row(one, "あ" * MAX_CHARS))], "en")
    assert "(1 more characters)" in html_of([SideView("A", "m", row(one, "あ" * (MAX_CHARS + 1)))], "en")


def test_a_span_behind_the_cut_marks_nothing() -> None:
    one = item("1", "neutral")
    html = html_of([SideView("A", "m", row(one, "\n" * MAX_CHARS + "中立"))])
    assert "<mark>" not in html


# --- what each protocol makes of an item ------------------------------------------------------------------


def verdicts(one: ScoredItem, lang: str = "ja") -> dict[str, tuple[str, str]]:
    """Protocol → mark and value, for one side."""
    found = item_view([SideView("A", "m", one, judged=everyones(one))], lang)["protocols"]
    return {line["name"]: (line["cells"][0]["mark"], line["cells"][0]["value"]) for line in found}


def test_the_same_output_is_right_under_some_protocols_and_wrong_under_others() -> None:
    one = answered("1", "entailment", "含意です", (-1.0, -2.0, -3.0))
    assert verdicts(one) == {
        # The lenient reading finds it.
        "official": ("△", "読み取れない"),
        # An unreadable answer counts as entailment, which happens to be right. Its variants read alike.
        "wandb-2023-0shot": ("？", "entailment · 正解として数える"),
        "stability-jp": ("○", "entailment"),
        "llm-jp-eval": ("？", "読み取れない"),
        "swallow-202411": ("？", "読み取れない"),
        "nejumi-4": ("？", "読み取れない"),
        "flexeval": ("？", "読み取れない"),
        "lm-eval-ja": ("○", "entailment"),
    }
    html = read(html_of([SideView("A", "m", one, judged=everyones(one))]))
    assert (
        "wandb-2023-0shot 2023 年の W&B 評価、読めなければ既定値 ？読み取れない entailment · 正解として数える "
        "読めないので、この採点方法の既定値" in html
    )
    assert (
        "official JGLUE 論文の指標、出力が答えそのものなら正解 △中身は正解、形だけ誤り 読み取れない "
        "出力が答えそのものではない" in html
    )


def test_of_the_forms_of_a_protocol_the_one_that_the_run_is_scored_by_is_shown_as_the_menus_call_it() -> None:
    one = answered("1", "neutral", "中立")
    sides = [SideView("A", "m", one, judged=everyones(one))]

    def names(protocol: str) -> list[str]:
        return [line["name"] for line in item_view(sides, "ja", protocol=protocol)["protocols"]]

    assert set(names("official")) < set(PROTOCOLS)
    assert names("wandb-2023-0shot") == names("flexeval") == names("official")
    october = names("wandb-2023-10-0shot")
    assert [(a, b) for a, b in zip(names("official"), october, strict=True) if a != b] == [
        ("wandb-2023-0shot", "wandb-2023-10-0shot")
    ]
    assert "stability-jp-capped" in names("stability-jp-capped")


def test_a_protocol_that_finds_nothing_to_look_at_gives_no_verdict() -> None:
    one = answered("1", "neutral", "中立")
    found = verdicts(one, "en")
    assert found["stability-jp"] == found["lm-eval-ja"] == ("－", "nothing to score")
    assert found["official"] == found["flexeval"] == ("○", "neutral")
    ranked = verdicts(row(item("1", "neutral"), None, RIGHT, "scored"), "en")
    assert ranked["flexeval"] == ("－", "nothing to score")
    assert ranked["lm-eval-ja"] == ("○", "neutral")


def test_a_side_without_a_record_has_an_empty_verdict() -> None:
    one = answered("1", "neutral", "中立")
    sides = [SideView("A", "m", one, judged=everyones(one)), SideView("B", "n", None)]
    (first, *_) = item_view(sides, "ja")["protocols"]
    assert [(cell["side"], cell["mark"], cell["value"]) for cell in first["cells"]] == [
        ("A", "○", "neutral"),
        ("B", "", "–"),
    ]
    assert item_view([SideView("A", "m", one)], "ja")["protocols"] == []


def test_a_similarity_is_a_number_under_each_protocol_and_the_default_where_it_is_unreadable() -> None:
    uncovered = dict.fromkeys(("stability-jp", "nejumi-4", "lm-eval-ja"), ("－", "採点しない"))
    assert verdicts(row(similarity(3.0), "3.2")) == uncovered | dict.fromkeys(
        ("official", "wandb-2023-0shot", "llm-jp-eval", "swallow-202411", "flexeval"), ("", "3.2")
    )
    assert verdicts(row(similarity(3.0), "わかりません")) == uncovered | {
        "official": ("？", "読み取れない"),
        "wandb-2023-0shot": ("", "2.0"),
        "llm-jp-eval": ("", "-2.0"),
        "swallow-202411": ("", "-2.0"),
        "flexeval": ("", "0.0"),
    }
    one = row(similarity(3.0), "3.2")
    # No number is right or wrong by itself.
    lines = item_view([SideView("A", "m", one, judged=everyones(one))], "ja")["protocols"]
    assert {cell.get("name", "") for line in lines for cell in line["cells"]} == {""}


def test_a_span_is_shown_with_its_overlap_and_a_choice_with_its_words() -> None:
    # 2 · 2 / (2 + 3)
    found = verdicts(row(paragraph("東京都", "東京都"), "東京"))
    assert found["official"] == ("×", "東京 · F1 0.80")
    assert found["flexeval"] == ("×", "東京")
    assert verdicts(row(salt(), "1"))["official"] == ("○", "1 塩")
    assert verdicts(row(salt(), "塩"))["wandb-2023-0shot"] == ("？", "0 砂糖")


def test_what_a_model_has_just_answered_is_shown_like_a_stored_item_without_others_to_go_on_to() -> None:
    info = ModelInfo("m", "c", "float32", "cpu", None, "<bos>", True, "</s>", False, 0)
    found = {
        "A": Tried(row(similarity(3.0), "3.5"), info, "左"),
        "B": Tried(row(similarity(3.0), "4"), replace(info, adds_bos=False), "右"),
    }
    payload = prompt.answers_view(found, "ja")
    assert [side["label"] for side in payload["sides"]] == ["左", "右"]
    scored = [line["name"] for line in payload["protocols"] if line["cells"][0]["value"] == "3.5"]
    assert scored == ["official", "wandb-2023-0shot", "llm-jp-eval", "swallow-202411", "flexeval"]
    assert [side["prompt"][0]["special"] for side in payload["sides"]] == [True, False]
    assert (payload["steps"], payload["lab"]) == (False, None)


# --- the scoreboard ---------------------------------------------------------------------------------------


def record(id_: str, text: str | None, logprobs: tuple[float, ...] | None = None) -> Record:
    return answered(id_, "neutral", text, logprobs).record


def run(texts: Sequence[str], spec: RunSpec = SPEC) -> RunData:
    golds = ["entailment", "neutral", "neutral", "contradiction"]
    asks = {str(i): item(str(i), gold) for i, gold in enumerate(golds)}
    return RunData(spec, {"jnli": asks}, {"jnli": "sample"}, [record(str(i), text) for i, text in enumerate(texts)])


def similarities(golds: Mapping[float, str]) -> RunData:
    asks = {str(i): similarity(gold, str(i)) for i, gold in enumerate(golds)}
    records = [row(one, text).record for one, text in zip(asks.values(), golds.values(), strict=True)]
    return RunData(replace(SPEC, tasks=("jsts",)), {"jsts": asks}, {"jsts": "official"}, records)


def test_the_scoreboard_shows_scores_differences_and_where_the_data_came_from() -> None:
    comparison = compare_runs(run(["含意", "含意", "中立です", "？"]), run(["含意", "中立", "中立", "矛盾"], OTHER))
    payload = board(comparison.a, comparison.b, comparison, "en")
    (line,) = payload["rows"]
    assert (payload["source"], line["source"]) == ("sample", "")
    values = {name: [cell["value"] for cell in cells] for name, cells in line["cells"].items()}
    assert values == {"strict": ["0.250", "1.000"], "lenient": ["0.500", "1.000"]}
    assert line["details"][0] == {"side": "A", "text": "4 items · not readable strictly 2"}
    assert line["difference"] == "+0.750"
    assert line["floor"] == "0.500"
    counts = [[(p["name"], p["count"]) for p in picture["parts"]] for picture in payload["pictures"]]
    assert counts == [[("correct", 1), ("wrong_form", 1), ("wrong", 1), ("unreadable", 1)], [("correct", 4)]]
    text = read(views.render("board", payload, "en"))
    assert text.startswith("Scoreboard sample Protocol: official")
    assert text.count("sample") == 1
    # Strict, then lenient; Wilson of 1, 4 and 2 of 4.
    assert (
        "JNLI accuracy A 0.250 [0.046, 0.699] B 1.000 [0.510, 1.000] "
        "A 0.500 [0.150, 0.850] B 1.000 [0.510, 1.000] 0.500"
    ) in text
    assert "Cannot tell yet" in text
    assert "Mean of the main metrics (JNLI): 0.250 [" in text


def test_sources_that_differ_stand_at_each_subset_of_the_scoreboard() -> None:
    one, other = run(["含意", "中立", "中立", "矛盾"]), similarities({1.0: "1", 2.0: "2", 3.0: "3"})
    both = RunData(SPEC, {**one.items, **other.items}, {**one.sources, **other.sources}, [*one.records, *other.records])
    payload = board(report_run(both), None, None, "en")
    assert payload["source"] == ""
    assert [found["source"] for found in payload["rows"] if found["title"]] == ["", "sample"]
    assert [found["task"] for found in payload["pictures"]] == ["JSTS", "JNLI (sample)"]
    assert "(JNLI (sample), JSTS)" in payload["averages"][0]["text"]
    assert [(found["task"], found["source"]) for found in payload["strips"]] == [("jsts", ""), ("jnli", "sample")]


def test_one_run_alone_has_a_scoreboard_without_a_difference() -> None:
    payload = board(report_run(run(["含意", "含意", "中立", "中立"])), None, None, "ja")
    assert [len(cells) for cells in payload["rows"][0]["cells"].values()] == [1, 1]
    html = views.render("board", payload)
    assert "差（B−A）" not in html
    assert "jg-tag-b" not in html


@pytest.mark.parametrize("paired", [False, True])
def test_a_scoreboard_of_runs_that_have_only_begun_can_be_drawn(paired: bool) -> None:
    asks = {
        "jsts": {"1": similarity(2.0, "1")},
        "jnli": {"1": item("1", "neutral"), "2": item("2", "neutral")},
        "jsquad": {"1": replace(paragraph("東京", "東京"), id="1")},
    }
    begun = RunData(SPEC, asks, dict.fromkeys(asks, "sample"), [record("1", "中立")])
    nothing = RunData(SPEC, asks, dict.fromkeys(asks, "sample"), [])
    comparison = compare_runs(begun, nothing)
    payload = board(comparison.a, comparison.b if paired else None, comparison if paired else None, "ja")
    assert [line["title"] for line in payload["rows"]] == ["JNLI"]
    text = read(views.render("board", payload))
    assert "値のないサブセットがあるため平均なし（JSTS、JSQuAD）" in text
    assert board(comparison.b, None, None, "ja")["rows"] == []


def test_the_scoreboard_says_how_sure_a_difference_is_and_how_many_items_would_tell() -> None:
    golds = ["含意", "中立", "中立", "矛盾"]
    far = compare_runs(run(["？"] * 4), run(golds, OTHER))
    near = compare_runs(run([*golds[:3], "？"]), run(golds, OTHER))
    (line,), (less,) = (board(c.a, c.b, c, "en")["rows"] for c in (far, near))
    # McNemar, exact: 2 · ½⁴, and 1 for a single item; Miettinen's formula for one item in four.
    assert line["test"].startswith("p 0.125")
    assert less["test"] == f"p 1.000 · about {near.differences['jnli']['accuracy'].needed} items would tell"


@pytest.mark.parametrize(("only_a", "only_b", "verdict"), [(0, 6, "b"), (6, 0, "a")])
def test_how_many_items_would_tell_is_not_said_where_these_have_told(only_a: int, only_b: int, verdict: str) -> None:
    comparison = compare_runs(*pairs(only_a, only_b, 6))
    found = comparison.differences["jnli"]["accuracy"]
    # The usual power would need more than these twelve.
    assert (found.verdict, found.needed) == (verdict, 14)
    # McNemar: 2 · ½⁶.
    assert board(comparison.a, comparison.b, comparison, "en")["rows"][0]["test"] == "p 0.031"


def test_the_scoreboard_warns_of_floors_and_counts_what_is_known_but_not_written() -> None:
    asks = {str(i): item(str(i), "entailment" if i % 2 else "neutral") for i in range(20)}
    records = [record(id_, "答え：どちらとも" if i < 5 else "含意", (-1.0, -2.0, -3.0)) for i, id_ in enumerate(asks)]
    data = RunData(SPEC, {"jnli": asks}, {"jnli": "sample"}, records)
    payload = board(report_run(data), None, None, "ja")
    assert [line["title"] for line in payload["notices"]] == ["JNLI", "JNLI"]
    assert payload["rows"][0]["marks"] == [{"side": "A", "text": "基準点と差がない"}]
    text = read(views.render("board", payload))
    assert "正解率 0.400 は、いつも同じ答えを出すときのスコア 0.500 と区別できません。" in text
    assert "対数尤度：正解率 0.500" in text
    assert "スコアを信じる前に（2）" in text
    # Items 1 and 3: the gold answer is ranked first, and the text names no label.
    assert [line["text"].endswith("：JNLI 2") for line in payload["knows"]] == [True]


def test_a_score_above_the_floor_has_no_mark_and_one_below_says_so() -> None:
    asks = {str(i): item(str(i), LABELS[i % 2]) for i in range(40)}
    right = [record(str(i), ANSWERS[i % 2]) for i in range(40)]
    wrong = [record(str(i), ANSWERS[(i + 1) % 2]) for i in range(40)]
    marks = [
        board(report_run(RunData(SPEC, {"jnli": asks}, {"jnli": "sample"}, made)), None, None, "ja")["rows"][0]
        for made in (right, wrong)
    ]
    assert [line["marks"] for line in marks] == [[], [{"side": "A", "text": "基準点に届かない"}]]


def test_a_ranking_on_the_floor_does_not_mark_the_score_of_the_texts() -> None:
    asks = {str(i): item(str(i), LABELS[i % 2]) for i in range(40)}
    records = [record(str(i), ANSWERS[i % 2], FIRST_IS_WRONG) for i in range(40)]
    payload = board(report_run(RunData(SPEC, {"jnli": asks}, {"jnli": "sample"}, records)), None, None, "ja")
    assert payload["rows"][0]["marks"] == []
    assert [line["text"].startswith("対数尤度：正解率 0.500") for line in payload["notices"]] == [True]


def test_similarities_without_a_correlation_are_marked() -> None:
    data = similarities({float(i): "2.0" if i % 2 else "3.0" for i in range(6)})
    payload = board(report_run(data), None, None, "ja")
    assert [line["metric"] for line in payload["rows"]] == [
        "ピアソン相関（Pearson correlation）",
        "スピアマン相関（Spearman correlation）",
    ]
    assert [line["title"] for line in payload["rows"]] == ["JSTS", ""]
    assert [line["marks"][0]["text"] for line in payload["rows"]] == ["0 と区別できない"] * 2
    assert [line["floor"] for line in payload["rows"]] == ["–"] * 2
    text = read(views.render("board", payload))
    assert "は 0 と区別できません。この問題数では、答えた数が類似度を表しているとは言えません。" in text
    assert "正解との差が 0.5 以内なら「正解」と数えます" in text


def test_unreadable_similarities_are_counted_and_filled_in_beside() -> None:
    data = similarities({0.0: "0", 1.0: "1", 2.0: "？", 3.0: "3", 4.0: "4"})
    detail = board(report_run(data), None, None, "en")["rows"][0]["details"][0]["text"]
    # r of (0, 1, 2.5, 3, 4) with (0, 1, 2, 3, 4): 10 / √(10 · 10.2).
    assert detail == f"4 items · filled with 2.5 {10 / math.sqrt(102):.3f} · not readable strictly 1"


def test_people_and_fine_tuned_models_stand_beside_official_items_alone() -> None:
    data = run(["含意"])
    assert board(report_run(data), None, None, "ja")["references"] == []
    dev = RunData(SPEC, data.items, {"jnli": "official"}, data.records)
    payload = board(report_run(dev), None, None, "ja")
    assert [line["text"] for line in payload["references"]] == ["JNLI 0.925", "JNLI 0.906", "JNLI 0.934"]
    assert "人間（参考、dev 全体）：JNLI 0.925" in views.render("board", payload)
    two = board(report_run(similarities({1.0: "1", 2.0: "2"})), None, None, "en")["references"]
    assert two[0]["text"] == "JSTS 0.899 / 0.861"


def test_an_average_names_what_it_counts_and_not_jcola_beside_it() -> None:
    data = run(["含意"])
    sentence = Item("jcola", "c", {"sentence": "犬が走る。"}, ("acceptable",), ("unacceptable", "acceptable"))
    prompt = Prompt("jcola", "c", "p", None, (), ("非文", "正文"), "", (), "")
    answered = Record("s", "jcola", "c", prompt, Output("正文", "stop", 1, 1, 0.1))
    both = RunData(
        SPEC, {**data.items, "jcola": {"c": sentence}}, {"jnli": "user", "jcola": "user"}, [*data.records, answered]
    )
    payload = board(report_run(both), None, None, "en")
    (average,) = payload["averages"]
    assert "JNLI" in average["text"]
    assert "JCoLA" not in average["text"]
    assert [line["metric"] for line in payload["rows"]] == ["accuracy", "accuracy", "Matthews correlation"]
    assert [(line["who"], line["text"]) for line in payload["references"]][3:] == [
        ("One person (for comparison, on the unpublished test set)", "JCoLA 0.760 / 0.384"),
        ("Tohoku BERT base, fine-tuned (for comparison, on the unpublished test set)", "JCoLA 0.838 / 0.350"),
        ("Waseda RoBERTa large, fine-tuned (for comparison, on the unpublished test set)", "JCoLA 0.860 / 0.419"),
    ]


def test_a_ranking_alone_is_scored_as_such() -> None:
    asks = {str(i): item(str(i), "neutral") for i in range(4)}
    records = [record(id_, None, RIGHT if i else FIRST_IS_WRONG) for i, id_ in enumerate(asks)]
    payload = board(report_run(RunData(SPEC, {"jnli": asks}, {"jnli": "sample"}, records)), None, None, "en")
    (line,) = payload["rows"]
    assert {name: cells[0]["value"] for name, cells in line["cells"].items()} == {"choose": "0.750"}
    assert [detail["text"] for detail in line["details"]] == ["4 items"]
    # All are neutral: Wilson to 0.954, and always saying that scores 1.
    assert line["marks"] == [{"side": "A", "text": "below it"}]


@pytest.mark.parametrize("lang", ["ja", "en"])
def test_whatever_stands_out_is_put_in_words_with_the_items_that_show_it(lang: str) -> None:
    asks = {str(i): item(str(i), LABELS[i % 3]) for i in range(12)}
    ranked_right = [tuple(-1.0 if i % 3 == k else -2.0 for k in range(3)) for i in range(12)]

    def made(texts: Sequence[str], spec: RunSpec) -> RunData:
        records = [record(str(i), texts[i % 3], ranked_right[i]) for i in range(12)]
        return RunData(spec, {"jnli": asks}, {"jnli": "sample"}, records)

    comparison = compare_runs(made("？？？", SPEC), made(ANSWERS, OTHER))
    payload = board(comparison.a, comparison.b, comparison, lang)
    assert [(found["side"], found["shows"]) for found in payload["insights"]] == [
        *(("B", "only_b"), ("A", "knows"), ("A", "unreadable"), ("A", "")),
    ]
    html = views.render("board", {**payload, "links": True}, lang)
    assert [(found["data-jg-filter"], found["data-jg-task"]) for found in Seen(html).of("jg-link")] == [
        *(("only_b", ""), ("knows", "jnli"), ("unreadable", "")),
    ]
    text = read(html)
    if lang == "en":
        assert "B Better on JNLI, by more than chance would explain." in text
        assert "JNLI: the written answers score 0.00, and the answers ranked first by log-likelihood 1.00." in text
    else:
        assert "B JNLI で上です（偶然とは言いにくい差）。" in text
        assert "A 12 問のうち 12 問は、答えとして読めません。" in text
        assert "A JNLI のスコアは、いつも同じ答えを出すだけで取れる基準点を下回っています。" in text
    assert Seen(views.render("board", payload, lang)).of("jg-link") == []
    formed = board(report_run(made(("答え：含意", "？", "中立"), SPEC)), None, None, lang)["insights"]
    sentence = {
        "ja": "12 問のうち 4 問は答えとして読めず、4 問は中身は合っていて形だけ違います。",
        "en": "Of 12 outputs 4 cannot be read as an answer, and 4 are right in the wrong form.",
    }
    assert sentence[lang] in [found["text"] for found in formed]
    undecided = compare_runs(made(ANSWERS, SPEC), made(ANSWERS, OTHER))
    first = board(undecided.a, undecided.b, undecided, lang)["insights"][0]
    assert (first["shows"], "JNLI" in first["text"]) == ("disagree", True)


@pytest.mark.parametrize(
    ("estimate", "how", "expected"),
    [
        (Estimate(0.25, 0.1, 0.4, 9), {}, ("10.0", "30.0", "25.0", "", "")),
        (Estimate(0.25, 0.1, 0.4, 9), {"floor": 0.5}, ("10.0", "30.0", "25.0", "50.0", "")),
        # −1 … 1: the middle is 0.
        (Estimate(0.0, -0.5, 0.5, 9), {"signed": True}, ("25.0", "50.0", "50.0", "", "50.0")),
        (Estimate(-1.0, -1.0, -0.8, 9), {"signed": True, "floor": 0.0}, ("0.0", "10.0", "0.0", "50.0", "50.0")),
        (Estimate(0.5, None, None, 1), {}, ("50.0", "1.0", "50.0", "", "")),
        # What would stand outside stands at the end.
        (Estimate(-0.3, -0.5, 1.7, 9), {}, ("0.0", "100.0", "0.0", "", "")),
        (Estimate(1.0, 1.0, 1.0, 9), {}, ("100.0", "1.0", "100.0", "", "")),
    ],
)
def test_an_interval_has_its_places_on_a_line(
    estimate: Estimate, how: dict[str, Any], expected: tuple[str, ...]
) -> None:
    found = span_of(estimate, **how)
    assert found is not None
    assert tuple(found[name] for name in ("low", "width", "value", "floor", "zero")) == expected


def test_what_has_no_value_has_no_place_on_a_line() -> None:
    assert span_of(None) is None
    assert span_of(Estimate(None, None, None, 3), signed=True) is None


# --- the leaderboard --------------------------------------------------------------------------------------


def entry(name: str, rank: int | None, usual: int | None, tasks: Mapping[str, Estimate], *missing: str) -> Entry:
    values = [found.value for found in tasks.values() if found.value is not None]
    average = NONE if missing or not values else Estimate(sum(values) / len(values), 0.1, 0.9, 9)
    return Entry(name, f"label {name}", rank, usual, average, tasks, missing)


def stored(name: str, folder: str = "runs") -> StoredRun:
    return StoredRun(name, Path(folder) / name, f"label {name}", "2026-01-02T03:04:05+00:00", 1200, 4442, {}, {})


def at(value: float, low: float | None = None, high: float | None = None) -> Estimate:
    return Estimate(value, low, high, 9)


ENTRIES = [
    entry("up", 1, 3, {"jnli": at(0.5, 0.4, 0.6), "jsts": at(0.25)}),
    entry("same", 2, 2, {"jnli": at(0.4), "jsts": at(0.2)}),
    entry("down", 3, 1, {"jnli": at(0.3), "jsts": at(0.1)}),
    entry("part", None, None, {"jnli": at(0.9), "jsts": NONE}, "jsts"),
]
RUNS = {name: stored(name) for name in ("up", "same", "down", "part")}


def place(rank: int, last: int, *alike: str) -> Place:
    return Place(rank, last, (), (), alike)


RANKINGS = Rankings(
    (
        Ranking(
            {"jnli": 45, "jsts": 48},
            {"up": place(1, 2, "same"), "same": place(1, 3, "up", "down"), "down": place(2, 3, "same")},
        ),
    ),
    {"part": Message("no score for {subsets}: {why}", subsets="JSTS", why=Message(WHY_UNSCORED["no_text"]))},
)
BEFORE = {"up": place(3, 3), "same": place(1, 2), "down": place(1, 2)}


def test_a_ranking_by_log_likelihood_says_so() -> None:
    one = replace(RANKINGS.rankings[0], by_likelihood=("jsts",))
    found = ranked(lang="en", rankings=replace(RANKINGS, rankings=(one,)))
    assert found["sections"][0]["title"] == "3 runs on the same items (JNLI 45, JSTS 48 · log-likelihood)"


def ranked(
    against: str = "official", lang: str = "ja", marked: Marked | None = None, rankings: Rankings = RANKINGS
) -> dict[str, Any]:
    shown = Listed(ENTRIES, rankings, BEFORE, ["jnli", "jsts"], "flexeval", against)
    return board_of_runs.ranking(shown, RUNS, lang, marked)


UNSCORED: Mapping[str, Mapping[str, Estimate]] = defaultdict(dict)


def no_test(a: str, b: str, task: str) -> None:
    return None


def rows_of(payload: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for section in payload["sections"] for part in section["parts"] for row in part["rows"]]


def test_a_run_that_gains_or_loses_places_says_so() -> None:
    payload = ranked()
    rows = rows_of(payload)
    assert [found["rank"] for found in rows] == ["1", "1", "2", "–"]
    assert [found["moved"] for found in rows] == ["▲2", "", "▼1", ""]
    assert [found["moved_text"] for found in rows] == ["2 つ上がった", "", "1 つ下がった", ""]
    assert rows_of(ranked(lang="en"))[2]["moved_text"] == "down by 1"
    seen = Seen(views.render("ranking", payload))
    assert [found["class"].split()[1] for found in seen.of("jg-moved")] == ["jg-up", "jg-down"]
    assert "▲2" in seen.text
    assert payload["moves_text"] in seen.text
    assert ranked(against="flexeval")["moves_text"] == ""


def test_runs_that_cannot_be_told_apart_share_a_rank_and_name_each_other() -> None:
    rows = rows_of(ranked(lang="en"))
    assert [(row["rank"], row["range"], row["alike"]) for row in rows] == [
        ("1", "1–2", "cannot be told apart from 1: label same"),
        ("1", "1–3", "cannot be told apart from 2: label up, label down"),
        ("2", "2–3", "cannot be told apart from 1: label same"),
        ("–", "", ""),
    ]
    assert "1–3" in read(views.render("ranking", ranked()))


def test_the_leaderboard_shows_averages_scores_and_what_is_missing() -> None:
    payload = ranked(lang="en")
    assert payload["heads"] == ["JNLI", "JSTS"]
    assert [section["title"] for section in payload["sections"]] == [
        "3 runs on the same items (JNLI 45, JSTS 48)",
        "Not ranked",
    ]
    first, *_, last = rows_of(payload)
    assert (first["average"]["value"], first["average"]["interval"]) == ("0.375", "[0.100, 0.900]")
    assert [(s["value"], s["interval"], s["n"]) for s in first["tasks"]] == [
        ("0.500", "[0.400, 0.600]", 9),
        ("0.250", "", 9),
    ]
    assert last["average"]["value"] == "–"
    assert last["why_not"].startswith("no score for JSTS: this protocol reads texts, and ")
    assert [s["value"] for s in last["tasks"]] == ["0.900", "–"]
    assert first["facts"] == "2026-01-02 03:04 UTC · 1,200/4,442 items · up"
    assert "no score for JSTS" in read(views.render("ranking", payload, "en"))
    assert rows_of(ranked())[-1]["why_not"].startswith("JSTS のスコアがない（この採点方法は文章を読むが")


def test_fragments_stand_in_one_line_that_is_open_where_one_of_them_is_chosen() -> None:
    few = {name: replace(RUNS[name], done=4, planned=4) for name in ("same", "part")}
    shown = Listed(ENTRIES, Rankings((), RANKINGS.apart), {}, ["jnli", "jsts"], "official", "official")
    (section,) = board_of_runs.ranking(shown, RUNS | few, "en")["sections"]
    folded = [(part["fold"], part["open"], [row["name"] for row in part["rows"]]) for part in section["parts"]]
    assert folded == [
        ("", True, ["up", "down"]),
        ("2 fragments (too few items for a verdict)", False, ["same", "part"]),
    ]
    chosen = board_of_runs.ranking(shown, RUNS | few, "en", Marked(ticked=["part"]))
    assert [part["open"] for part in chosen["sections"][0]["parts"]] == [True, True]
    seen = Seen(views.render("ranking", board_of_runs.ranking(shown, RUNS | few, "ja")))
    assert [found["aria-expanded"] for found in seen.of("jg-unfold")] == ["false"]
    assert ["hidden" in found for found in seen.of("jg-folded")] == [True]


def test_shipped_runs_say_that_they_are_and_others_how_their_name_begins() -> None:
    run_facts = {
        shipped: board_of_runs.facts(stored("0123456789ab"), "ja", shipped=shipped) for shipped in (True, False)
    }
    assert run_facts == {
        True: "付属 · 2026-01-02 03:04 UTC · 1,200/4,442 問",
        False: "2026-01-02 03:04 UTC · 1,200/4,442 問 · 01234567",
    }


def test_some_runs_are_listed_and_the_ranks_stay_those_of_all() -> None:
    shown = Listed(ENTRIES, RANKINGS, BEFORE, ["jnli", "jsts"], "flexeval", "official")
    assert board_of_runs.order_of_rows(shown, RUNS) == ["up", "same", "down", "part"]
    some = board_of_runs.ranking(shown, RUNS, "en", shown=["same", "part"])
    assert [(row["name"], row["rank"]) for row in rows_of(some)] == [("same", "1"), ("part", "–")]
    seen = Seen(views.render("ranking", {**some, "more": True}, "en"))
    assert "2 of 4 runs are listed." in seen.text
    assert len(seen.of("jg-more")) == 1
    assert ranked()["listed"] == ""
    found = board_of_runs.matching(list(RUNS), RUNS, "ＬＡＢＥＬ Do", "en")
    assert (found, board_of_runs.matching(list(RUNS), RUNS, " ", "en")) == (["down"], list(RUNS))


def test_the_two_picked_runs_are_pressed_and_runs_that_are_gone_are_left_out() -> None:
    seen = Seen(views.render("ranking", ranked(marked=Marked("same", "up", ["down", "gone"]))))
    pressed = [(b["data-run"], b["data-side"]) for b in seen.of("jg-pick") if b["aria-pressed"] == "true"]
    assert pressed == [("up", "b"), ("same", "a")]
    assert len(seen.of("jg-pick")) == 8
    assert [box["data-run"] for box in seen.of("jg-tick") if "checked" in box] == ["down"]
    shown = Listed(ENTRIES, RANKINGS, {}, ["jnli"], "official", "official")
    assert [found["name"] for found in rows_of(board_of_runs.ranking(shown, {"up": RUNS["up"]}, "ja"))] == ["up"]
    empty = board_of_runs.ranking(Listed([], Rankings((), {}), {}, ["jnli"], "official", "official"), {}, "ja")
    assert read(views.render("ranking", empty)).startswith("このデータの実行結果はまだありません。")


def test_bars_of_runs_are_as_wide_as_their_scores_with_the_interval_on_top() -> None:
    made = [
        entry("a", 1, 1, {"jnli": at(0.5, 0.4, 0.7)}),
        entry("b", 2, 2, {"jnli": at(0.2)}),
        entry("c", 3, 3, {"jnli": at(-0.2, -0.4, 0.1)}),
        entry("none", None, None, {"jnli": NONE}, "jnli"),
    ]
    (group,) = board_of_runs.pictures(made, ["jnli"], "en")["groups"]
    assert [(bar["letter"], bar["value"], bar["width"], bar["low"], bar["span"]) for bar in group["bars"]] == [
        ("A", "0.500", "50.0", "40.0", "30.0"),
        ("B", "0.200", "20.0", "20.0", "0.0"),
        ("C", "-0.200", "0.0", "0.0", "10.0"),
    ]


def test_no_more_runs_are_pictured_than_can_be_told_apart() -> None:
    made = [entry(str(i), i, i, {"jnli": at(0.5), "jsts": at(0.5)}) for i in range(1, 7)]
    payload = board_of_runs.pictures(made, ["jnli", "jsts"], "en")
    assert [s["letter"] for s in payload["series"]] == ["A", "B", "C", "D"]
    nothing = board_of_runs.pictures([entry("x", None, None, {}, "jnli")], ["jnli"], "en")
    assert nothing["series"] == []
    assert views.render("pictures", nothing).strip() == ""


# --- how far a job is -------------------------------------------------------------------------------------


def job(state: State, **changes: Any) -> Job:
    made = Job("id", "ana", "compare", state=state)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def answered_event(task: str, side: str, done: int, total: int, speed: float | None, left: float | None) -> Event:
    return Event("record", "m", side, "", task, done, total, done, total, speed, left)  # type: ignore[arg-type]


BARS = {
    ("a", "jnli"): answered_event("jnli", "a", 3, 10, 1.5, 4.7),
    ("b", "jnli"): answered_event("jnli", "b", 0, 10, None, None),
    ("a", "marc_ja"): answered_event("marc_ja", "a", 1234, 1234, 9.0, 0.0),
}


@pytest.mark.parametrize(
    ("made", "ja", "en"),
    [
        (job("preparing"), "準備中…", "Preparing …"),
        (job("running"), "準備中…", "Preparing …"),
        (job("running", activity="Downloading …"), "準備中… Downloading …", "Preparing … Downloading …"),
        (
            job("waiting"),
            "順番待ち：前に 2 件 …",
            "In line: 2 before you …",
        ),
        (job("done"), "終わりました。「結果」にも保存されています。", "Done. It is kept under “Results” too."),
        (
            job("stopped"),
            "止めました。終わった分は保存済みで、同じ設定でもう一度押すと続きから始まります。",
            "Stopped. What is finished is kept; the same settings go on from there.",
        ),
        (
            job("out_of_time"),
            "時間の上限に達したので止めました。もう一度押すと続きから始まります。",
            "Stopped at the time limit. Press again to go on from there.",
        ),
        (
            job("failed", failure=InputError("There is no model.")),
            "このままではできません There is no model.",
            "This cannot be done as asked There is no model.",
        ),
        (
            job("failed", incident="abc12345"),
            "できませんでした 予期しない不具合です。記録番号 abc12345 を添えてお知らせください。"
            "終わった分は保存されています。",
            "That did not work An unexpected fault. Please report it with the number abc12345. "
            "What was finished is kept.",
        ),
    ],
)
def test_each_state_of_a_job_has_its_sentence(made: Job, ja: str, en: str) -> None:
    assert read(progress.progress_html(made, "ja", ahead=2)) == ja
    assert read(progress.progress_html(made, "en", ahead=2)) == en
    going = made.state in ("preparing", "running", "waiting")
    assert bool(Seen(progress.progress_html(made, "ja")).of("jg-spin")) is going


def test_a_running_job_has_a_bar_for_each_side_and_subset_in_the_order_of_the_subsets() -> None:
    html = progress.progress_html(job("running", bars=BARS), "ja")
    assert read(html) == "実行中 A MARC-ja 1,234/1,234 A JNLI 3/10 · 1.5 問/秒 · 残り約 5 秒 B JNLI 0/10"
    tracks = [(found["aria-label"], found["aria-valuenow"]) for found in Seen(html).of("jg-track")]
    assert tracks == [("MARC-ja", "100"), ("JNLI", "30"), ("JNLI", "0")]
    assert [found["style"] for found in Seen(html).of("jg-fill")] == ["width:100%", "width:30%", "width:0%"]
    alone = {key: bar for key, bar in BARS.items() if key[0] == "a"}
    assert [bar["side"] for bar in progress.bars(job("running", bars=alone), "ja")] == ["", ""]


def test_a_job_without_items_to_answer_can_be_drawn() -> None:
    empty = {("a", "jnli"): answered_event("jnli", "a", 0, 0, None, None)}
    (bar,) = progress.bars(job("running", bars=empty), "ja")
    assert (bar["percent"], bar["count"]) == ("0", "0/0")


def test_a_job_that_is_stopped_says_so_at_once_and_draws_no_bars() -> None:
    made = job("running", bars=BARS, activity="Downloading …")
    made.stop.set()
    html = progress.progress_html(made, "ja")
    assert read(html).startswith("止めました。")
    assert ("Downloading" in html, Seen(html).of("jg-track"), Seen(html).of("jg-spin")) == (False, [], [])


def test_at_its_end_a_job_tells_its_notices_and_counts_what_failed() -> None:
    made = job("done", notices=["No train file is at hand."], bars=BARS)
    text = read(progress.progress_html(made, "ja", failed_items=3, done="答えました"))
    assert text == "答えました No train file is at hand. 3 問はエラーで、スコアに入っていません。"
    assert Seen(progress.progress_html(made, "ja")).of("jg-track") == []


@pytest.mark.parametrize(
    ("seconds", "ja", "en"),
    [
        (0.2, "残り約 1 秒", "about 1 s left"),
        (99.4, "残り約 99 秒", "about 99 s left"),
        (100, "残り約 2 分", "about 2 min left"),
        (5399, "残り約 90 分", "about 90 min left"),
        (5400, "残り約 1.5 時間", "about 1.5 h left"),
        (86_400, "残り約 24.0 時間", "about 24.0 h left"),
    ],
)
def test_time_left_is_told_in_the_unit_that_people_would_use(seconds: float, ja: str, en: str) -> None:
    assert (progress.time_left(seconds, "ja"), progress.time_left(seconds, "en")) == (ja, en)


# --- a sweep ----------------------------------------------------------------------------------------------


def swept(format: str, n: int, flips: int | None, ranked: int | None, value: float = 0.5) -> SweepRow:
    found = Estimate(value, value - 0.25, value + 0.25, n)
    changed = [None if count is None else Flips(n, count, None, None) for count in (flips, ranked)]
    return SweepRow(Side("m", format, "ja-labels"), Path("r"), n, found, found, NONE, 4, changed[0], changed[1])


def test_a_flip_rate_is_over_the_items_that_both_have_answered() -> None:
    one = swept("alpaca", 12, None, None)
    payload = sweep.sweep_view([replace(one, flips=Flips(8, 2, None, None))], "jnli", "en")
    assert payload["rows"][0]["flips"] == "25 % (2/8)"


def test_a_sweep_shows_how_many_answers_changed_as_a_share() -> None:
    rows = [swept("plain", 12, None, None), swept("alpaca", 12, 3, 12), swept("rinna", 0, 0, 0)]
    payload = sweep.sweep_view(rows, "jnli", "en")
    assert [(found["flips"], found["ranked_flips"]) for found in payload["rows"]] == [
        ("–", "–"),
        ("25 % (3/12)", "100 % (12/12)"),
        ("–", "–"),
    ]
    text = read(views.render("sweep", payload, "en"))
    assert "strict (accuracy)" in text
    assert "alpaca ja-labels 12 0.500 [0.250, 0.750] 0.500 [0.250, 0.750] – 4 25 % (3/12) 100 % (12/12)" in text


def test_a_sweep_over_open_answers_has_no_ranking_and_one_over_similarities_reaches_below_zero() -> None:
    payload = sweep.sweep_view([swept("plain", 4, None, None, value=0.0)], "jsts", "en")
    assert payload["rows"][0]["strict"]["range"]["zero"] == "50.0"
    assert payload["rows"][0]["strict"]["range"]["value"] == "50.0"
    text = read(views.render("sweep", payload, "en"))
    assert "strict (Pearson correlation)" in text
    assert "ranking" not in text
    assert (
        sweep.sweep_view([swept("plain", 4, None, None)], "jsquad", "en")["rows"][0]["strict"]["range"]["value"]
        == "50.0"
    )


# --- a prompt token by token ------------------------------------------------------------------------------


def looked_at(
    tokens: Sequence[Token],
    answers: Sequence[LegalAnswer] = (),
    findings: Sequence[Finding] = (),
    stop: tuple[str, ...] = (),
    context: int | None = None,
    lang: str = "ja",
) -> dict[str, Any]:
    made = replace(asked(item("1", "neutral")), stop=stop)
    found = Inspected(made, tuple(tokens), 1234, tuple(answers), 5, context, tuple(findings))
    return prompt.prompt_view(found, "label", "A", lang)


def test_tokens_show_what_would_be_invisible() -> None:
    texts = ("犬", "\n", " ", "\u3000", "", "a\n", "\t", "犬 猫")
    tokens = [Token((i, i + 100), text, i == 0) for i, text in enumerate(texts)]
    found = looked_at(tokens)["tokens"]
    assert [token["text"] for token in found] == ["犬", "⏎", "␣", "□", "∅", "a⏎", "⇥", "犬 猫"]
    assert [token["break"] for token in found] == [False, True, False, False, False, True, False, False]
    assert [token["special"] for token in found] == [True] + [False] * 7
    assert found[2]["ids"] == "2 102"
    assert [token["tint"] for token in found] == [0, 1, 2, 3, 0, 1, 2, 3]


INFO = ModelInfo("m", "c", "float32", "cpu", 100, "", False, "", False, 0)


def foreseen(ids: tuple[int, ...] = (0, 1, 2, 3)) -> Foreseen:
    """What is expected in the prompt 犬 が⏎ 走 of four ids, of which the last two make one character."""
    tokens = (Token((0,), "犬", True), Token((1,), "が\n", False), Token((2, 3), "走", False))
    inspected = Inspected(asked(item("1", "neutral")), tokens, 4, (), 5, None, ())

    def place(*likely: tuple[str, float, int]) -> tuple[NextToken, ...]:
        return tuple(NextToken(text, math.log(share), id_) for text, share, id_ in likely)

    top = ((), place((" が\n", 0.5, 1), ("\u202e", 0.25, 9)), place(("<b>", 1.0, 7)), (), place(("る", 0.9, 5)))
    return Foreseen(inspected, NextTokens(ids, top, (None, math.log(0.5), math.log(1e-4), 0.0)), INFO)


def test_the_next_tokens_are_those_of_each_place_with_what_stands_there_marked() -> None:
    found = foreseen()
    payload = prompt.prompt_view(found.inspected, "label", "A", "ja", found)
    places = payload["next"]["places"]
    assert list(places) == ["end", "0", "1", "2"]
    assert places["end"] == {"title": "「ここから答え」で来やすいトークン", "own": -1, "rows": [["る", "5", "90.0"]]}
    assert places["0"]["rows"] == [] and "犬 は先頭" in places["0"]["title"]
    # White space is seen, and what would turn the line around is a sign.
    assert places["1"]["rows"] == [["␣が⏎", "1", "50.0"], ["‹U+202E›", "9", "25.0"]]
    assert (places["1"]["own"], places["1"]["title"]) == (0, "ここで出やすいと予測したトークン（実際は が⏎、50.0%）")
    # Of a character of two ids the place of the first; what stands there is not among the likely ones.
    assert (places["2"]["own"], places["2"]["rows"]) == (-1, [["<b>", "7", "100.0"]])
    assert "<0.1%" in places["2"]["title"]
    html = views.render("prompt_tokens", payload)
    assert [token["place"] for token in payload["tokens"]] == [0, 1, 2]
    assert html.count("data-place=") == 4
    assert "<b>" not in html.split("data-places=")[1].split("data-known")[0]
    assert "る 5 90.0%" in read(html)


def test_where_the_places_are_not_those_of_the_tokens_the_end_alone_is_shown() -> None:
    found = foreseen(ids=())
    view = prompt.prompt_view(found.inspected, "label", "A", "en", found)["next"]
    assert list(view["places"]) == ["end"]
    assert not view["known"]
    assert "at the end of the prompt alone" in view["note"]


def test_an_own_item_has_no_id_and_without_a_gold_answer_no_verdict() -> None:
    own = replace(item("1", "neutral"), id=TYPED, gold=())
    row = answered("1", "neutral", "中立")
    tried = Tried(ScoredItem(own, row.record, official(TASKS["jnli"], own, row.record)), INFO, "label")
    payload = prompt.answers_view({"A": tried}, "ja")
    assert (payload["id"], payload["gold"], payload["protocols"]) == ("自分の問題", "分からない（採点しない）", [])
    text = read(views.render("item", payload))
    assert "採点対象なし" in text
    assert "neutral" in text  # As it was read.


def test_of_a_long_prompt_the_beginning_and_the_end_are_drawn() -> None:
    payload = looked_at([Token((i,), f"t{i}.", False) for i in range(3_500)])
    texts = [token["text"] for token in payload["tokens"]]
    assert len(texts) == 3_000
    assert (texts[1_499], texts[1_500], texts[-1]) == ("t1499.", "t2000.", "t3499.")
    html = read(views.render("prompt_tokens", payload))
    assert "t1499.1499（間の 500 トークンを省略）t2000.2000" in html
    whole = looked_at([Token((i,), f"t{i}.", False) for i in range(3_000)])
    assert (len(whole["tokens"]), whole["left_out"]) == (3_000, "")
    assert "省略" not in views.render("prompt_tokens", whole)


def test_a_prompt_is_described_with_its_answers_stop_strings_and_findings() -> None:
    answers = [LegalAnswer("中立", 2, True), LegalAnswer("どちらともいえない", 9, False)]
    sentence = Message(
        "There is no stop string: a model that writes no end token goes on to its {max_new_tokens} new tokens, and the "
        "rest of the line counts as its answer. Add one to the style, such as a line end.",
        max_new_tokens=5,
    )
    finding = Finding("missing_stop", "warning", "", sentence)
    payload = looked_at([Token((1,), "犬", False)], answers, [finding], ("\n", "'", "###"), 8192)
    assert payload["facts"] == "1,234 トークン · 答えは 5 トークンまで · コンテキスト長 8,192"
    assert [(a["gold"], a["long"]) for a in payload["answers"]] == [(True, False), (False, True)]
    assert payload["stop"] == ["\\n", "'", "###"]
    text = read(views.render("prompt_tokens", payload))
    assert "注意：停止文字列がない 停止文字列がありません。終わりの印を書かないモデルは 5 トークンまで書き続け" in text
    assert "改行などを言い回しに足してください。 missing_stop" in text
    english = read(views.render("prompt_tokens", looked_at([], findings=[finding], lang="en"), "en"))
    assert (
        "Warning: No stop string There is no stop string: a model that writes no end token goes on to its 5" in english
    )
    assert "○ 中立 2 どちらともいえない 9" in text
    assert "点検：気になる点はありません" not in text
    bare = looked_at([Token((1,), "犬", False)])
    assert bare["facts"] == "1,234 トークン · 答えは 5 トークンまで"
    assert "点検：気になる点はありません" in read(views.render("prompt_tokens", bare))
    assert "停止文字列：なし" in read(views.render("prompt_tokens", bare))


# --- hostile texts ----------------------------------------------------------------------------------------

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    '"><script>alert(1)</script>',
    "</pre></div></details><iframe srcdoc=x>",
    "{{ 7 * 7 }}{% raw %}{0}{text}",
    "' onmouseover='x",
    "&lt;b&gt;&#60;b&#62;",
    "</textarea><svg/onload=alert(1)>",
    "javascript:alert(1)//`${alert(1)}`",
    "]]><!--<a href=x>-->",
)


def _grid_table(text: str, runs: int) -> EffectTable:
    """A grid of two models in two styles, all of one name but for a number, and a run that is left out."""
    factors = (
        EffectFactor("model", "model", (text, f"{text}1"), False),
        EffectFactor("style", "prompt", (text, f"{text}1"), True),
    )
    rows = [{"model": m, "style": s} for m in factors[0].levels for s in factors[1].levels][:runs]
    values = np.array([0.2, 0.4, 0.5, 0.9])[:runs]
    without = values[:, None] + np.array([[0.01, -0.02, 0.01]])
    found = metric_effects(factors, rows, GridScores("jnli", "accuracy", "strict", values, without, 3))
    left_out = (LeftOut(text, {"model": text}, Message("{count:,} items have no output.", count=3)),)
    return EffectTable(text, "official", factors, (text,) * runs, tuple(rows), left_out, (found,) if found else (), ())


def everything(text: str) -> dict[str, list[str]]:
    """Template → views in which every text of a stranger is `text`."""
    nli = Item("jnli", text, {"sentence1": text, "sentence2": text}, ("neutral",), LABELS)
    choice = Item("jcommonsenseqa", text, {"question": text, **{f"choice{i}": text for i in range(5)}}, ("1",), NUMBERS)
    span = Item("jsquad", text, {"title": text, "context": f"前{text}後", "question": text}, (text, "東京"))
    rows = [
        row(nli, text, (-1.0, -2.0, -3.0), asks=asked(nli, text, answers=(text, "矛盾", "中立"), shot_ids=(text,))),
        row(choice, text, (-1.0, -2.0, -3.0, -4.0, -5.0), asks=asked(choice, text)),
        row(span, text, asks=asked(span, text)),
    ]
    failed = Record("s", "jnli", text, asked(nli, text), None, RunError(text, text))
    rows.append(ScoredItem(nli, failed, official(TASKS["jnli"], nli, failed)))
    of_a = {one.item.task: {text: one} for one in rows[:3]}
    of_b = {"jnli": {text: rows[3]}}
    lab = {"task": text, "id": text, "a": text, "b": text}
    seen = [
        html_of([SideView("A", text, one, text, text, everyones(one)), SideView("B", text, None)], source=text, lab=lab)
        for one in rows
    ]
    notices = (Notice("other_settings", facts={"protocol": text, "settings": text}),)
    comparison = compare_runs(run(["含意", "？", "中立", "矛盾"]), run(["含意", "中立"], OTHER))
    a, b = (replace(report, label=text, notices=notices) for report in (comparison.a, comparison.b))
    payload = board(a, b, comparison, "ja")
    payload["insights"] = [{**found, "text": text, "shows": text} for found in payload["insights"]]
    going = job("running", bars=BARS, activity=text, notices=[text])
    tokens = [Token((1,), text, False), Token((2,), text, True)]
    finding = Finding("missing_stop", "error", "jnli", text)
    made = replace(entry("n", 1, 2, {"jnli": at(0.5), "jsts": at(0.5), "marc_ja": at(0.5)}), name=text, label=text)
    stored_run = replace(stored("n"), name=text, label=text, created=text)
    diagrams = calibration_view({"jnli": of_confidences([0.5] * 20, [True] * 20)}, "ja")
    diagrams["diagrams"][0]["title"] = text
    three = ["jnli", "jsts", "marc_ja"]
    swept_row = replace(swept("plain", 4, 1, 1), side=Side("m", "plain", text))
    side = {"name": "A", "text": text}
    bar = {"value": text, "share": 50, "change": text}
    decision: dict[str, Any] = dict.fromkeys(("name", "before", "after", "source", "moved"), text)
    rule = dict.fromkeys(("name", "value", "source"), text)
    decision |= {"scores": [bar], "more": 1, "items": [dict.fromkeys(("id", "text", "before", "after"), text)]}
    return {
        "item": seen,
        "board": [views.render("board", {**payload, "links": True})],
        "first": [views.render("first", first_card(a, b, comparison, (of_a, of_b), "ja"))],
        "groups": [
            views.render(
                "groups",
                {
                    "groups": [
                        {"first": "", "group": text, "task": text, "metric": text, "left_out": text}
                        | {"sides": [{"all": text, "without": text, "old": text}] * 2}
                    ],
                    "b": text,
                },
            )
        ],
        "agreement": [
            views.render(
                "agreement",
                {
                    "agreement": [
                        dict.fromkeys(("title", "n", "bits_difference", "largest", "identical", "share"), text)
                        | {"median": text, "earliest": text, "notes": [text]}
                        | {key: {"value": text, "interval": text} for key in ("kl", "total_variation", "mean")}
                        | {"bits": [{"side": "A", "value": text, "interval": text}]}
                    ]
                },
            )
        ],
        "waterfall": [
            views.render(
                "waterfall",
                {
                    "start": text,
                    "end": text,
                    "ways": [
                        {"title": text, "n": text, "metrics": [text], "start": [bar], "end": [bar]}
                        | {"steps": [decision], "still": [decision], "sentences": [text]}
                    ],
                    "other": [decision],
                    "command": text,
                },
            )
        ],
        "decisions": [
            views.render(
                "decisions",
                {"variant_of": text, "outputs": [rule], "subsets": [(text, [rule])]},
            )
        ],
        "audited": [
            views.render(
                "audited",
                {
                    "findings": [
                        {"weight": weight, "head": text, "rows": [{"what": text, "why": text}]}
                        for weight in ("alert", "info")
                    ],
                    "published": [
                        dict.fromkeys(("model", "score", "system", "prompt", "n", "apart", "source"), text)
                        | {"url": "https://example.org/"}
                    ],
                    "rankings": [
                        {
                            "title": text,
                            "rows": [dict.fromkeys(("place", "model", "score", "interval", "alike"), text)],
                        }
                    ],
                },
            )
        ],
        "status": [
            views.sentence(text, "ja"),
            views.note(text),
            progress.progress_html(going, "ja", done=text),
            progress.progress_html(job("failed", failure=InputError(text)), "ja"),
            progress.progress_html(job("done", notices=[text]), "ja", done=text),
        ],
        "empty": [views.empty(text)],
        "origin": [
            views.render(
                "origin",
                {"sides": [{"side": "A", "label": text, "made": text, "where": text, "n": text}], "shipped": shipped},
            )
            for shipped in (False, True)
        ],
        "setup": [views.render("setup", {"sides": [side], "facts": text})],
        "repeat": [
            views.render("repeat", {"error": text}),
            views.render("repeat", {"command": text, "link": text}),
        ],
        "prompt_tokens": [
            views.render("prompt_tokens", looked_at(tokens, [LegalAnswer(text, 1, True)], [finding], (text,))),
        ],
        "next_tokens": [
            views.render(
                "next_tokens",
                {
                    "next": {
                        "end": {"title": text, "rows": [[text, "1", "9.0"]]},
                        "places": {"end": {"title": text, "own": -1, "rows": [[text, "1", "9.0"]]}},
                        "note": text,
                        "known": True,
                    }
                },
            )
        ],
        "effects": [views.render("effects", effects_view(_grid_table(text, table), "ja")) for table in (0, 4)],
        "sweep": [views.render("sweep", sweep.sweep_view([swept_row], "jnli", "en"))],
        "ranking": [
            views.render(
                "ranking",
                board_of_runs.ranking(
                    Listed(
                        [made],
                        Rankings((Ranking({"jnli": 45}, {text: Place(1, 2, (), (), (text,))}),), {}),
                        {},
                        three,
                        text,
                        "",
                    ),
                    {text: replace(stored_run, description=text, made_as=f"{text}!")},
                    "ja",
                    Marked(text, text, [text]),
                ),
            )
        ],
        "pictures": [views.render("pictures", board_of_runs.pictures([made], three, "en"))],
        "matrix": [views.render("matrix", score_matrix({text: text, "": ""}, "", UNSCORED, no_test, ["jnli"], "ja"))],
        "slices": [
            views.render(
                "slices",
                slice_table([Slice("jnli", "label", text, "accuracy", at(0.5, 0.1, 0.9))], "ja", compared=compared),
            )
            for compared in (False, True)
        ],
        "calibration": [
            views.render("calibration", {**diagrams, "diagrams": [{**diagrams["diagrams"][0], "title": text}]})
        ],
        "course_step": [
            views.render(
                "course_step",
                {"number": 1, "of": 6, "title": text, "paragraphs": [text], "stored": [views.note(text)], "look": text},
            )
        ],
        "course_live": [views.render("course_live", {"text": text, "sides": [side, side]})],
        "course_answers": [
            views.render("course_answers", item_view([SideView("A", text, one, text, text, everyones(one))], "ja"))
            for one in rows
        ],
        "course_two_scores": [
            views.render(
                "course_two_scores",
                dict.fromkeys(("title", "run", "summary", "more"), text)
                | {"link": "?tab=results"}
                | {"scores": [dict.fromkeys(("name", "about", "score"), text)] * 2, "waterfall": views.note(text)}
                | {
                    "items": [
                        dict.fromkeys(("id", "question", "gold", "text"), text)
                        | {"verdicts": [dict.fromkeys(("mark", "class", "name", "because"), text)] * 2}
                    ]
                },
            )
        ],
        "limits": [views.render("limits", {"lines": [text, text]})],
        "side_by_side": [views.render("side_by_side", {"parts": [views.note(text), views.empty(text)]})],
        "head": [views.render("head", {"lang": text})],
        "before": [
            views.render(
                "before",
                {"head": views.note(text), "first": views.note(text), "tabs": [{"title": text, "link": "?tab=lab"}]},
            )
        ],
        "prompt_check": [
            views.render(
                "prompt_check",
                {
                    "rows": [
                        {"side": "a", "level": "error", "head": text, "text": text, "more": []},
                        {"side": "b", "level": "error", "head": text, "text": text}
                        | {"more": [{"level": "error", "head": text, "text": text}]},
                    ],
                    "note": text,
                    "fine": [text],
                },
            )
        ],
        "hub_account": [views.render("hub_account", {"sign_in": {"account": text, "url": "logout"}})],
        "hub_push": [
            hub_push.push_html(job("done", result=HubPush(text, "https://hub.example/a", private)), "ja")
            for private in (True, False)
        ],
        "wandb_push": [
            wandb_push.push_html(
                job("done", result=[PushResult(text, text, url, {text: 3}, 1, name=text)] * 3, notices=[text]), "ja"
            )
            for url in ("https://wandb.example/run", text)
        ],
    }


PLAIN = everything("ふつうの文")


def test_every_template_is_among_those_that_are_given_hostile_texts() -> None:
    folder = Path(views.__file__).parents[1] / "templates"
    # A report, a page of its own, is given them in tests/ui/test_static_report.py; the foot has no text but ours.
    assert {path.stem for path in folder.glob("*.html")} - {"parts", "report"} == set(PLAIN) | {"foot"}


def ours(seen: Seen) -> list[tuple[str, tuple[str, ...]]]:
    """The elements, without the marks of what an answer was read from: that is another part of each text."""
    return [found for found in seen.shape if found != ("mark", ())]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_a_model_an_item_a_name_or_an_error_becomes_markup(text: str) -> None:
    for template, drawn in everything(text).items():
        for html, plain in zip(drawn, PLAIN[template], strict=True):
            found, usual = Seen(html), Seen(plain)
            assert ours(found) == ours(usual), template
            values = [value for attributes in found.attributes for value in attributes.values()]
            if template != "head":
                # It is all there to be read, as it was.
                assert text in found.text or text in values, template
            assert not any(value.startswith("javascript:") for a in found.attributes for value in [a.get("href", "")])


def test_a_strip_tells_the_items_of_each_side_where_they_differ() -> None:
    assert _counts({"A": 25, "B": 13}, "ja") == "A 25、B 13"
    assert _counts({"A": 1_200, "B": 1_200}, "en") == "1,200"
