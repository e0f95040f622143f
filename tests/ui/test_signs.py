"""Characters that are not seen, or that turn a text around, are shown as signs wherever a text is shown."""

from __future__ import annotations

import re
import unicodedata

import pytest

from jglue_app.results.control_characters import CONTROLS
from jglue_app.ui import views
from jglue_app.ui.views.next_tokens import token_text
from jglue_app.ui.views.pieces import layered, pieces, special_pieces
from jglue_app.ui.views.signs import names, sign, visible

RLO, PDF = "\u202e", "\u202c"


@pytest.mark.parametrize(
    ("characters", "shown"),
    [
        (RLO, "U+202E"),
        ("\u2066\u2069", "U+2066 U+2069"),
        ("\u200b" * 300, "U+200B×300"),
        ("\x1b", "U+001B"),
        ("\x00\x07\r", "U+0000 U+0007 U+000D"),
        ("\x85", "U+0085"),
        ("\ufeff", "U+FEFF"),
        ("\u180b\u180f", "U+180B U+180F"),
        ("\u2800", "U+2800"),
        ("\U00013430\U0001343f", "U+13430 U+1343F"),
        ("\U000110bd", "U+110BD"),
        ("\u0600\u0605", "U+0600 U+0605"),
        ("\U000e0041", "U+E0041"),
        ("\ud83d", "U+D83D"),
        ("\ue000\U00100000", "U+E000 U+100000"),
        ("".join(map(chr, range(0x2066, 0x2070))), "U+2066 U+2067 U+2068 U+2069 U+206A U+206B +4"),
    ],
)
def test_each_is_written_as_its_code_point_and_many_are_counted(characters: str, shown: str) -> None:
    assert sign(characters) == shown
    assert visible(f"答{characters}え") == f"答‹{shown}›え"


def test_a_sign_has_the_names_that_unicode_gives() -> None:
    assert names(RLO + PDF) == "RIGHT-TO-LEFT OVERRIDE, POP DIRECTIONAL FORMATTING"
    assert names("\x1b") == "U+001B"


def test_every_character_that_formats_or_controls_is_among_them_but_line_ends_and_tabs() -> None:
    seen = [
        code
        for code in range(0x110000)
        if unicodedata.category(chr(code)) in ("Cc", "Cf", "Zl", "Zp", "Co", "Cs") and not CONTROLS.match(chr(code))
    ]
    # Signs of Arabic, Syriac, Kaithi and Egyptian that have a glyph are of category Cf too.
    assert [code for code in seen if unicodedata.category(chr(code)) != "Cf"] == [0x09, 0x0A]
    assert {unicodedata.name(chr(code)).split()[0] for code in seen if unicodedata.category(chr(code)) == "Cf"} <= {
        *("ARABIC", "SYRIAC", "KAITHI", "EGYPTIAN"),
    }


@pytest.mark.parametrize(
    "text", ["答え：中立です\n\t「１」 ABC", "שלום", "👍🏽 ☺️", "葛\U000e0100城", "　全角 NBSP\u00a0"]
)
def test_ordinary_characters_stay_as_they_are(text: str) -> None:
    assert visible(text) == text
    assert [piece.get("sign") for piece in pieces(text)] == [None] * len(pieces(text))


def test_in_pieces_they_stand_apart_and_keep_the_mark_around_them() -> None:
    found = pieces(f"答{RLO}え\n", [(1, 3)])
    assert found == [
        {"text": "答", "mark": False, "eol": False},
        {"text": "U+202E", "sign": "RIGHT-TO-LEFT OVERRIDE", "mark": True, "eol": False},
        {"text": "え", "mark": True, "eol": False},
        {"text": "", "mark": False, "eol": True},
    ]
    assert [piece["text"] for piece in special_pieces(f"<s>{RLO}</s>")] == ["<s>", "U+202E", "</s>"]


def test_ten_thousand_of_them_between_ten_thousand_differences_are_cut_in_time() -> None:
    text = "あ\u200b" * 10_000
    found = layered(text, {"only": [(i, i + 1) for i in range(0, 20_000, 2)], "mark": [(5, 19_000)]})
    assert len(found) == 20_000
    assert sum(piece["only"] for piece in found) == 10_000


def test_no_template_writes_one() -> None:
    hostile = f"{RLO}evil\u200b\x1b[31m\ud83d"
    html = views.sentence(hostile, "ja") + views.empty(hostile) + views.note(hostile)
    assert not CONTROLS.search(re.sub(r"[\n\t]", "", html))
    assert html.count("‹U+202E›evil‹U+200B U+001B›[31m‹U+D83D›") == 3
    assert views.short(hostile) == "‹U+202E›evil‹U+200B U+001B›[31m‹U+D83D›"


def test_a_space_that_does_not_break_is_seen_in_a_token() -> None:
    assert token_text("a\u00a0b c") == "a⍽b␣c"
