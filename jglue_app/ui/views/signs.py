"""Characters that are not seen or that change how others are laid out, written as signs.

A model may write any character. Bidirectional controls can make a text read as another, zero-width characters hide in
it, and control characters do what the program that shows them makes of them. So none of them is shown as it is: U+202E
stands there in its place. Line ends and tabs are left to who shows the text. Pure.
"""

from __future__ import annotations

import unicodedata

from jglue_app.results.unseen_characters import UNSEEN

MAX_NAMED = 6
"""Characters of one row of them to write out; the number of the others is given."""
CONTROLS = UNSEEN
"""A row of such characters."""


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
