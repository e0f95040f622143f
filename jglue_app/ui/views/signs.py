"""Characters that are not seen or that change how others are laid out, written as signs.

A model may write any character. Bidirectional controls can make a text read as another, zero-width characters hide in
it, and control characters do what the program that shows them makes of them. So none of them is shown as it is: U+202E
stands there in its place. Line ends and tabs are left to who shows the text. Pure.
"""

from __future__ import annotations

import re
import unicodedata

MAX_NAMED = 6
"""Characters of one row of them to write out; the number of the others is given."""
CONTROLS = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 and C1
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u3164\uffa0"  # without a glyph
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"  # zero width, bidirectional controls, separators
    "\ufff0-\ufffb\ufffe\uffff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\ud800-\udfff"  # half a character
    "\ue000-\uf8ff\U000f0000-\U0010ffff"  # private use: no font has them
    "\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"  # tags
    "]+"
)
"""A row of such characters. The forms of kanji that U+E0100 to U+E01EF choose are not among them."""


def visible(text: str) -> str:
    """A text for a place without markup, with each row of such characters as `‹U+202E›`."""
    return CONTROLS.sub(lambda found: f"‹{sign(found[0])}›", text)


def sign(characters: str) -> str:
    """The code points of a row of characters, of a long one the first; equal neighbours are counted."""
    return _listed([f"U+{ord(character):04X}" for character in characters])


def names(characters: str) -> str:
    """Their names in Unicode, for those that have one."""
    return _listed([unicodedata.name(character, f"U+{ord(character):04X}") for character in characters], ", ")


def _listed(texts: list[str], between: str = " ") -> str:
    rows: list[tuple[str, int]] = []
    for text in texts:
        if rows and rows[-1][0] == text:
            rows[-1] = (text, rows[-1][1] + 1)
        else:
            rows.append((text, 1))
    shown = [text if times == 1 else f"{text}×{times}" for text, times in rows[:MAX_NAMED]]
    others = sum(times for _, times in rows[MAX_NAMED:])
    return between.join([*shown, f"+{others}"] if others else shown)
