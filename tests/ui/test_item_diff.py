"""The item view with what differs between A's and B's output, and between their prompts."""

from __future__ import annotations

import re
from dataclasses import replace

from jglue_app.ui.views.item import MAX_CHARS, SideView, item_view
from jglue_app.ui.views.item_diff import side_by_side
from tests.ui.test_views import Seen, asked, html_of, item, row

Layers = dict[str, list[tuple[int, int]]]
NOTHING: tuple[Layers, Layers] = ({}, {})


def two(text_a: str | None, text_b: str | None, prompt_a: str = "問い", prompt_b: str = "問い") -> list[SideView]:
    one = item("1", "neutral")
    return [
        SideView("A", "m", row(one, text_a, asks=asked(one, prompt_a))),
        SideView("B", "n", row(one, text_b, asks=asked(one, prompt_b))),
    ]


def test_what_only_one_side_wrote_is_shaded_there_with_the_mark_of_what_was_read() -> None:
    html = html_of(two("答え：中立です\n", "答え：含意です。\n"))
    eol = '<span class="jg-eol" aria-hidden="true">⏎</span>'
    left, right = re.findall(r'<div class="jg-text jg-raw jg-diff-raw.*?</div>', html, re.DOTALL)
    assert f'答え：<mark><ins class="jg-only">中立</ins></mark>です{eol}\n</div>' in left
    assert f'答え：<mark><ins class="jg-only">含意</ins></mark>です<ins class="jg-only">。</ins>{eol}\n</div>' in right
    assert ("jg-only-a" in left, "jg-only-b" in right) == (True, True)
    assert [found["data-jg-diff"] for found in Seen(html).attributes if "data-jg-diff" in found] == ["raw"]


def test_a_line_end_that_only_one_side_has_is_shaded_and_still_ends_the_line() -> None:
    html = html_of(two("犬\n\n猫", "犬\n猫"))
    eol = '<span class="jg-eol" aria-hidden="true">⏎</span>'
    assert f'犬{eol}\n<ins class="jg-only">{eol}</ins>\n猫</div>' in html


def test_a_sign_that_only_one_side_has_is_a_difference_that_is_seen() -> None:
    html = html_of(two("犬", "犬\u200b"))
    assert '犬<ins class="jg-only"><span class="jg-sign" title="ZERO WIDTH SPACE">U+200B</span></ins>' in html


def test_long_equal_parts_of_prompts_fold_and_special_tokens_stay_special() -> None:
    example = "例題。" * 200
    sides = two("中立", "中立", f"<s>{example}質問：犬", f"<s>{example}問い：犬")
    html = html_of([replace(side, eos="<s>") for side in sides])
    assert html.count("… 同じ 523 文字 …") == 2  # <s> and 600, less 40 at either end.
    left = html.split('jg-diff-prompt jg-only-a"')[1]
    assert '<details class="jg-fold"><summary>' in left
    assert '<ins class="jg-only">質問</ins>：犬<span class="jg-cursor"' in left
    assert '><span class="jg-special">&lt;s&gt;</span>例題。' in left
    # The outputs are the same, which is said instead of a switch.
    assert [found["data-jg-diff"] for found in Seen(html).attributes if "data-jg-diff" in found] == ["prompt"]
    assert "二つの文は同じです。" in html


def test_what_was_read_stays_in_sight_in_a_long_equal_part() -> None:
    text = "あ" * 300 + "中立" + "い" * 300
    found = side_by_side(text, text + "犬", ({"mark": [(300, 302)]}, {}), "en")
    folded = [group["folded"] for group in found["a"] if group["folded"]]
    assert folded == ["… 220 same characters …"] * 2
    (seen,) = (group for group in found["a"] if any(piece["mark"] for piece in group["pieces"]))
    assert not seen["folded"]
    # B's own reading is elsewhere: its text folds as a whole.
    assert [group["folded"] for group in found["b"] if group["folded"]] == ["… 522 same characters …"]


def test_there_is_no_switch_where_there_are_no_two_texts() -> None:
    alone = item_view(two("犬", "猫")[:1], "ja")
    assert alone["diffs"]["raw_diff"] == {"on": False, "note": ""}
    failed = item_view(two("犬", None), "ja")
    assert failed["diffs"]["raw_diff"] == {"on": False, "note": ""}
    assert failed["diffs"]["prompt_diff"] == {"on": False, "note": "二つの文は同じです。"}


def test_texts_beyond_the_limit_are_not_compared_and_it_says_so() -> None:
    long = "あ" * MAX_CHARS
    assert "a" in side_by_side(long, "犬", NOTHING, "ja")
    assert side_by_side(long + "あ", "犬", NOTHING, "ja") == {
        "note": "20,000 文字を超える文は、文字ごとの差分を表示しません。"
    }
