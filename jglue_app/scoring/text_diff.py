"""Which characters of two texts differ: outputs of two models, or two prompts.

The alignment is a longest common subsequence (rapidfuzz, bit-parallel), over characters as they are read, so that a
letter is never parted from its accent. Equal characters that stand there by chance, inside parts that differ, count as
different: two unrelated sentences are then two pieces and not a hundred.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from rapidfuzz.distance import LCSseq

MAX_CHARS = 20_000
"""Characters of each text between their common ends that are aligned. Longer ones count as different throughout."""
CONTEXT = 40
"""Equal characters that stay beside a difference when the others are folded."""
FOLD_FROM = 200
"""Length from which an equal part is folded."""

Only = Literal["a", "b", ""]
Range = tuple[int, int]
"""Begin and end in a text."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the two texts."""

    text: str
    only: Only
    """The text that alone has it; empty for a part that both have."""


@dataclass(frozen=True, slots=True)
class _Step:
    """A part that both texts have, followed by what only one of them has."""

    same: list[str]
    a: list[str]
    b: list[str]


def diff(a: str, b: str) -> list[Piece]:
    """Two texts as one sequence of pieces: without those of `b` it is A's text, without those of `a` B's."""
    pieces: list[Piece] = []
    for step in _steps(a, b):
        parts: tuple[tuple[list[str], Only], ...] = ((step.same, ""), (step.a, "a"), (step.b, "b"))
        pieces += [Piece("".join(part), only) for part, only in parts if part]
    return pieces


def ranges(pieces: Sequence[Piece], side: Literal["a", "b"]) -> list[tuple[Range, bool]]:
    """The parts of one side's text in order, each with whether only that side has it."""
    found: list[tuple[Range, bool]] = []
    at = 0
    for piece in pieces:
        if piece.only in ("", side):
            found.append(((at, at + len(piece.text)), bool(piece.only)))
            at += len(piece.text)
    return found


def folds(pieces: Sequence[Piece], side: Literal["a", "b"], visible: Sequence[Range] = ()) -> list[Range]:
    """The parts of one side's text that may be folded: long ones that both have, without the characters next to a
    difference, to an end of the text, and to a part that is to stay visible."""
    found: list[Range] = []
    for (start, end), only in ranges(pieces, side):
        if only:
            continue
        cuts = sorted((max(start, a), min(end, b)) for a, b in visible if a < end and b > start)
        for left, right in _gaps((start, end), cuts):
            if right - left >= FOLD_FROM:
                found.append((left + CONTEXT, right - CONTEXT))
    return found


def _gaps(whole: Range, cuts: Sequence[Range]) -> Iterator[Range]:
    """What is left of a range without some parts of it."""
    at, end = whole
    for start, stop in cuts:
        if start > at:
            yield at, start
        at = max(at, stop)
    if at < end:
        yield at, end


def _steps(a: str, b: str) -> list[_Step]:
    """The texts aligned."""
    characters_a, characters_b = _characters(a), _characters(b)
    begin = _common(characters_a, characters_b)
    end = _common(characters_a[begin:][::-1], characters_b[begin:][::-1])
    middle_a, middle_b = (part[begin : len(part) - end] for part in (characters_a, characters_b))
    steps: list[_Step] = []
    for step in _aligned(characters_a[:begin], middle_a, middle_b):
        steps.append(step)
        while len(steps) > 1 and _by_chance(steps[-2], steps[-1]):
            last = steps.pop()
            steps[-1].a.extend(last.same + last.a)
            steps[-1].b.extend(last.same + last.b)
    steps.append(_Step(characters_a[len(characters_a) - end :], [], []))
    return list(_tightened(steps))


def _tightened(steps: Sequence[_Step]) -> Iterator[_Step]:
    """The steps with what both sides of a difference begin or end with moved to the equal parts around it."""
    moved: list[str] = []
    for step in steps:
        same = moved + step.same
        begin = _common(step.a, step.b)
        end = _common(step.a[begin:][::-1], step.b[begin:][::-1])
        a, b = (part[begin : len(part) - end] for part in (step.a, step.b))
        same += step.a[:begin]
        moved = step.a[len(step.a) - end :]
        if a or b:
            yield _Step(same, a, b)
        else:
            moved = same + moved
    yield _Step(moved, [], [])


def _by_chance(before: _Step, after: _Step) -> bool:
    """Whether the equal part between two differences is no longer than either of them."""
    return len(after.same) <= min(max(len(step.a), len(step.b)) for step in (before, after))


def _aligned(begin: list[str], a: list[str], b: list[str]) -> Iterator[_Step]:
    """The beginning that both have, and the middles by their longest common subsequence."""
    if max(len(a), len(b)) > MAX_CHARS:
        yield _Step(begin, a, b)
        return
    same = begin
    for block in LCSseq.opcodes(a, b):
        if block.tag == "equal":
            same = [*same, *a[block.src_start : block.src_end]]
        elif block.tag in ("delete", "insert", "replace"):
            yield _Step(same, a[block.src_start : block.src_end], b[block.dest_start : block.dest_end])
            same = []
    if same:
        yield _Step(same, [], [])


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    """Number of characters that two sequences have in common at their beginning."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _characters(text: str) -> list[str]:
    """The characters as they are read: each with the accents and variation selectors that follow it."""
    starts = [i for i, character in enumerate(text) if i == 0 or not unicodedata.category(character).startswith("M")]
    return [text[start:end] for start, end in pairwise([*starts, len(text)])]
