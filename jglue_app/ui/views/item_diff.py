"""What differs between A's and B's output, and between their prompts: each text again with what only it has shaded, and
long parts that both have folded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from jglue_app.messages import word
from jglue_app.scoring import text_diff
from jglue_app.ui.views.pieces import Range, layered, part_of

Layers = Mapping[str, Sequence[Range]]
Group = dict[str, Any]
"""`pieces`, and `folded`: what the fold is called, empty for pieces that are in sight."""

MAX_CHARS = text_diff.MAX_CHARS
"""Characters of the longer text up to which the two are compared."""


def side_by_side(a: str | None, b: str | None, layers: tuple[Layers, Layers], lang: str) -> dict[str, Any]:
    """Two texts with what differs.

    Args:
        a, b: None for a text that is not there.
        layers: of A's and B's text, what else is marked in it; `mark` stays in sight.
        lang: `ja` or `en`.

    Returns:
        `a` and `b`, the groups of each side; or instead of them `note`, why there are none, empty where one text is
        missing.
    """
    if a is None or b is None:
        return {"note": ""}
    if a == b:
        return {"note": word("diff_same", lang)}
    if max(len(a), len(b)) > MAX_CHARS:
        return {"note": word("diff_too_long", lang).format(f"{MAX_CHARS:,}")}
    pieces = text_diff.diff(a, b)
    return {"a": _groups(a, pieces, "a", layers[0], lang), "b": _groups(b, pieces, "b", layers[1], lang)}


def _groups(
    text: str, pieces: Sequence[text_diff.Piece], side: Literal["a", "b"], layers: Layers, lang: str
) -> list[Group]:
    only = [place for place, only in text_diff.ranges(pieces, side) if only]
    everything = {**layers, "only": only}
    groups: list[Group] = []
    at = 0
    for start, end in [*text_diff.folds(pieces, side, layers.get("mark", ())), (len(text), len(text))]:
        if start > at:
            groups.append({"pieces": layered(text[at:start], part_of(everything, at, start)), "folded": ""})
        if end > start:
            name = word("diff_folded", lang).format(f"{end - start:,}")
            groups.append({"pieces": layered(text[start:end], part_of(everything, start, end)), "folded": name})
        at = end
    return groups
