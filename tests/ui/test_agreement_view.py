"""How far two runs agree, on the page: the table below the scores, and the line and the mark of one item."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from jglue_app.scoring.comparison import compare_runs
from jglue_app.types import ModelInfo
from jglue_app.ui import views
from jglue_app.ui.views.agreement import agreement_rows
from jglue_app.ui.views.board import board
from jglue_app.ui.views.item import SideView
from jglue_app.ui.views.pieces import pieces
from tests.scoring.test_report import nli, output
from tests.ui.test_views import Seen, answered, html_of, read, row, salt

HALVES = (math.log(0.5), math.log(0.5), -100.0)
NINE_TENTHS = (math.log(0.9), math.log(0.1), -100.0)
A = nli(("entailment", output("含意です", HALVES)), ("neutral", output("中立", HALVES)))
B = nli(("entailment", output("含意だよ", NINE_TENTHS)), ("neutral", output("中立", HALVES)))


def test_a_row_has_each_mean_with_its_interval_and_where_the_extremes_stand() -> None:
    (line,) = agreement_rows(compare_runs(A, B), "en")
    # KL of the first item is 0.5108 nats, and 0 of the second; total variation 0.4 and 0.
    assert line["kl"] == {"value": "0.255", "interval": "[0, 0.511]"}
    assert line["total_variation"] == {"value": "0.2", "interval": "[0, 0.4]"}
    assert line["n"] == "2 items"
    # −log2 0.5 for two characters, and 100 nats for two.
    bits = [(1 / 2 + 100 / math.log(2) / 2) / 2, (-math.log2(0.9) / 2 + 100 / math.log(2) / 2) / 2]
    assert [(side["side"], side["value"]) for side in line["bits"]] == [
        ("A", f"{bits[0]:.3g}"),
        ("B", f"{bits[1]:.3g}"),
    ]
    assert line["bits_difference"].startswith(f"B−A {bits[1] - bits[0]:+.3g} [")
    # |ln 0.9 − ln 0.5| and |ln 0.1 − ln 0.5|, and nothing between the third answers or of the second item.
    assert line["mean"]["value"] == f"{(math.log(1.8) + math.log(5)) / 6:.3g}"
    assert line["largest"] == "largest 1.61 (0, 矛盾)"
    assert (line["identical"], line["share"], line["median"], line["earliest"]) == (
        "1/2",
        "50.0 %",
        "2",
        "earliest 2 (0)",
    )
    assert line["notes"] == []


@pytest.mark.parametrize(
    ("lang", "summary", "same"),
    [("ja", "対数確率と文の一致度", "同じ文"), ("en", "How far log-probabilities and texts agree", "Identical texts")],
)
def test_the_board_has_the_table_collapsed_in_both_languages(lang: str, summary: str, same: str) -> None:
    comparison = compare_runs(A, B)
    html = views.render("board", board(comparison.a, comparison.b, comparison, lang), lang)
    assert f'<details class="jg-notices jg-agreement"><summary>{summary}</summary>' in html
    assert f'<td data-side="{same}">1/2' in html
    assert "jg-agreement" not in views.render("board", board(comparison.a, None, None, lang), lang)


def test_a_subset_whose_log_probabilities_are_not_compared_has_the_reason() -> None:
    info = ModelInfo("m", "c", "float32", "cpu", None, "", False, "", False, 0, ranking="first token")
    comparison = compare_runs(A, replace(B, model=info))
    (line,) = agreement_rows(comparison, "ja")
    assert "kl" not in line and line["identical"] == "1/2"
    html = views.render("board", board(comparison.a, comparison.b, comparison, "ja"), "ja")
    assert "<strong>JNLI</strong> 対数確率は比べません。少なくとも一方は" in html


def test_an_item_says_how_far_its_sides_agree_and_marks_where_the_texts_begin_to_differ() -> None:
    left, right = (
        answered("1", "entailment", text, p) for text, p in (("含意です", HALVES), ("含意だよ", NINE_TENTHS))
    )
    html = html_of([SideView("A", "m", left), SideView("B", "n", right)], "en")
    assert "KL(A‖B) 0.511 nats · Total variation 0.4 · texts differ after 2 characters" in read(html)
    (mark, other) = Seen(html).of("jg-differs")
    assert mark == other and mark["title"] == mark["aria-label"] == "Here the texts begin to differ"
    for rest in ("です", "だよ"):
        assert f'aria-label="Here the texts begin to differ"></span>{rest}' in html
    other_words = html_of([SideView("A", "m", left), SideView("B", "n", answered("1", "entailment", "矛盾"))], "en")
    assert "texts differ from the first character on" in read(other_words)
    assert "jg-differs" not in other_words
    alike = html_of([SideView("A", "m", left), SideView("B", "n", left)], "ja")
    assert "KL(A‖B) 0 ナット · 全変動距離 0 · 文は同じです" in read(alike)
    assert "jg-differs" not in alike


def test_an_item_of_a_ranking_by_first_tokens_has_no_divergence() -> None:
    left, right = (answered("1", "entailment", "含意", p) for p in (HALVES, NINE_TENTHS))
    line = read(html_of([SideView("A", "m", left), SideView("B", "n", right, approximate=True)], "en"))
    assert "KL(" not in line and "texts are identical" in line


def test_one_side_or_two_items_have_no_agreement() -> None:
    one = answered("1", "entailment", "含意", HALVES)
    for sides in (
        [SideView("A", "m", one)],
        [SideView("A", "m", one), SideView("B", "n", None)],
        [SideView("A", "m", one), SideView("B", "n", row(salt(), "1"))],
    ):
        assert "jg-agreement-line" not in html_of(sides)
    failed = html_of([SideView("A", "m", one), SideView("B", "n", answered("1", "entailment", None))])
    assert "jg-agreement-line" not in failed


@pytest.mark.parametrize(
    ("text", "spans", "at", "marked"),
    [
        ("含意です", [], 2, [("含意", False), ("です", True)]),
        ("含意です", [(0, 2)], 0, [("含意", True), ("です", False)]),
        ("含意", [], 2, [("含意", False), ("", True)]),
        ("一\n二", [], 2, [("一", False), ("二", True)]),
        ("", [], 0, [("", True)]),
    ],
)
def test_the_piece_that_begins_at_the_difference_is_marked(
    text: str, spans: list[tuple[int, int]], at: int, marked: list[tuple[str, bool]]
) -> None:
    found = pieces(text, spans, (at, "here"))
    assert [(piece["text"], "differs" in piece) for piece in found] == marked
    assert "".join(piece["text"] + "\n" * piece["eol"] for piece in found) == text


def test_within_a_thought_the_mark_stands_there_and_behind_it_not() -> None:
    texts = ("<think>犬は動物</think>含意", "<think>犬は生物</think>含意")
    left, right = (answered("1", "entailment", text) for text in texts)
    html = html_of([SideView("A", "m", left), SideView("B", "n", right)], "en")
    assert len(Seen(html).of("jg-differs")) == 2
    assert "></span>動物" in html and "></span>生物" in html
    longer = html_of([SideView("A", "m", left), SideView("B", "n", answered("1", "entailment", texts[0] + "。"))], "en")
    assert len(Seen(longer).of("jg-differs")) == 2
    unfinished = (answered("1", "entailment", text) for text in ("<think>犬は", "<think>犬は動物"))
    html = html_of([SideView(name, "m", one) for name, one in zip("AB", unfinished, strict=True)], "en")
    assert len(Seen(html).of("jg-differs")) == 2
