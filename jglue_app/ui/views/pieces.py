"""Texts in pieces: what was read of them, special tokens, line ends, characters that are not seen, and differences.

The macro `pieces` of `templates/parts.html` writes them; `shaded` in groups of pieces, some folded.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from jglue_app.results.control_characters import CONTROLS
from jglue_app.ui.views import signs

Range = tuple[int, int]
"""Begin and end in a text."""
Piece = dict[str, Any]

SPECIAL = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|</?s>|<(?:bos|eos|pad|unk|sep|cls|mask|start_of_turn|end_of_turn|NL)>|\[/?INST\]|<</?SYS>>"
)
"""Special tokens of common prompt formats and tokenizers, which are highlighted."""


def pieces(text: str, spans: Sequence[Range] = (), differs: tuple[int, str] | None = None) -> list[Piece]:
    """A text in pieces, each marked or not, split at line ends, at the borders of spans, and around characters that are
    not seen (`signs`).

    `differs` is a position with its description: the piece that begins there has the description under `differs`.
    """
    return layered(text, {"mark": spans}, differs)


def special_pieces(text: str, special_texts: Sequence[str] = (), *, chat: bool = True) -> list[Piece]:
    """A prompt in pieces, with the texts of special tokens as separate pieces; see `special_spans`."""
    return layered(text, {"special": special_spans(text, special_texts, chat=chat)})


def special_spans(text: str, special_texts: Sequence[str] = (), *, chat: bool = True) -> list[Range]:
    """Where special tokens stand in a prompt.

    Args:
        text: the prompt.
        special_texts: the model's BOS and EOS texts.
        chat: whether the model's chat template rendered it; otherwise common special tokens are ordinary text.
    """
    patterns = [re.escape(mark) for mark in special_texts if mark] + ([SPECIAL.pattern] if chat else [])
    return [(m.start(), m.end()) for m in re.finditer("|".join(patterns), text)] if patterns else []


def layered(text: str, layers: Mapping[str, Sequence[Range]], differs: tuple[int, str] | None = None) -> list[Piece]:
    """A text in pieces that each say of every layer whether they are in one of its ranges; see `pieces`."""
    at, description = differs or (0, "")
    merged = {name: merge(spans) for name, spans in layers.items()}
    hidden = [(m.start(), m.end()) for m in CONTROLS.finditer(text)]
    spans = [*hidden, *(span for of in merged.values() for span in of)]
    borders = sorted({0, len(text), min(at, len(text)), *(min(border, len(text)) for span in spans for border in span)})
    out: list[Piece] = []
    for start, end in pairwise(borders):
        flags = {name: _covered(of, start) for name, of in merged.items()}
        part = text[start:end]
        if _covered(hidden, start):
            new = [{"text": signs.sign(part), "sign": signs.names(part), "eol": False, **flags}]
        else:
            lines = part.split("\n")
            last = len(lines) - 1
            new = [{"text": line, "eol": i < last, **flags} for i, line in enumerate(lines) if line or i < last]
        if description and start == at:
            new[0]["differs"] = description
        out += new
    if description and at == len(text):
        out.append({"text": "", "eol": False, **dict.fromkeys(merged, False), "differs": description})
    return out


def part_of(layers: Mapping[str, Sequence[Range]], start: int, end: int) -> dict[str, list[Range]]:
    """The ranges of layers inside a part of the text, as positions in the part."""
    return {
        name: [(max(a, start) - start, min(b, end) - start) for a, b in spans if a < end and b > start]
        for name, spans in layers.items()
    }


def merge(spans: Sequence[Range]) -> list[Range]:
    """Ranges in order, with overlapping ones as one; empty ones are left out."""
    out: list[Range] = []
    for start, end in sorted(span for span in spans if span[1] > span[0]):
        if out and start < out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out


def _covered(merged: Sequence[Range], at: int) -> bool:
    """Whether a position is in one of the ranges, which are in order."""
    before = bisect_right(merged, at, key=lambda span: span[0]) - 1
    return before >= 0 and at < merged[before][1]
