"""Characters that are not seen, or that change how others are laid out. No I/O."""

from __future__ import annotations

import re

CONTROLS = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 and C1
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\uffa0"  # without a glyph
    "\u0600-\u0605\U000110bd\U00013430-\U0001343f"  # around what follows or stands beside them
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"  # zero width, bidirectional controls, separators
    "\ufff0-\ufffb\ufffe\uffff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\ud800-\udfff"  # half a character
    "\ue000-\uf8ff\U000f0000-\U0010ffff"  # private use: no font has them
    "\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"  # tags
    "]+"
)
"""A row of such characters; line ends and tabs are not among them, nor are the forms of kanji that U+E0100 to U+E01EF
choose."""
