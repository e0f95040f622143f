"""Raw text → a number on a scale. No I/O; see `parsing` for what strict and lenient mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise

from jglue_app.prompts import thoughts
from jglue_app.scoring.parsing.markup import SCORE_KEYS, Marked, from_json, from_marks
from jglue_app.scoring.parsing.negation import introduces_wrong_answers, is_negated
from jglue_app.scoring.parsing.normalization import (
    CLOSERS,
    MAX_CHARS,
    OPENERS,
    SCORE_CUE,
    NormalizedText,
    Readings,
    cues,
    is_listing,
    is_signed,
    normalize_answer,
    normalize_text,
    skip,
    strict_part,
    unfinished,
)
from jglue_app.scoring.parsing.numbers import Number, masked_scale, numbers, unit_end
from jglue_app.scoring.parsing.sentence_patterns import answer_pattern_end, is_condition, is_presented_as_answer
from jglue_app.scoring.types import Parsed

MAX_NUMBERS = 100
"""Numbers that are looked at as possible answers; any further ones can only contradict."""

_PLAIN_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_ROUGHLY = re.compile(r"(?:くらい|ぐらい|程度|前後|ほど|あたり)?")
_NEGATED = re.compile(r"点?[」』”\"'’)]*(?:では?な|じゃな|では?あり|以外|は(?:違|間違|誤))")
_ABOUT = re.compile(r"(?:約|およそ|だいたい|大体|ほぼ)\s*$")
_SENTENCE_END = re.compile(r"[。\n!?]")
_ENGLISH_SENTENCE = re.compile(r"[a-z]+\s+(?:[a-z]+\s+)+$")


def read_score(text: str, low: float = 0.0, high: float = 5.0, thought: str = "") -> Readings:
    """Read a number between `low` and `high`; `thought` is what the prompt has opened, see `types.Prompt.thought`.

    Lenient rules: `notation` (other width or script, within punctuation or with 点), `cue`, `leading`, `mention`, and
    `marked` as for labels. Each needs all numbers it could be to agree: those on the same line, those of a list, for
    `mention` all of them. Not counted are a mention of the scale itself such as 「5点満点」 or `/5`, a count or order
    of things (2人, 3つ, 文1), a share (80%), and a number that is negated. As for labels, only what `frames` and
    `denial` let pass is an answer. A number off the scale is `off_format` by the rule `out_of_scale`.
    """
    if not text.strip():
        empty = Parsed(None, "empty", "empty")
        return Readings(empty, empty)
    parts = thoughts.split(text, thought)
    if parts.unfinished:
        return unfinished()
    start, end = strict_part(text, parts, thought)
    trimmed = text[start : min(end, start + 40)]
    if len(trimmed) < 40 and _PLAIN_NUMBER.fullmatch(trimmed) and low <= float(trimmed) <= high:
        exact = Parsed(float(trimmed), "exact", "exact", (start, end))
        return Readings(exact, exact)
    lenient = _lenient_score(text, parts, low, high)
    if lenient.value is None and parts.breaks_off:
        return unfinished()
    return Readings(Parsed(None, "off_format", "not_exact" if trimmed else "no_answer"), lenient)


def _lenient_score(text: str, parts: thoughts.Split, low: float, high: float) -> Parsed:
    assert parts.answer is not None
    start, end = parts.answer, min(parts.end, len(text))
    fields = from_json(text, start, end, SCORE_KEYS)
    if fields:
        return _inside(fields, "cue", low, high)
    normalized = normalize_answer(text, parts)
    read = _read(normalized, low, high)
    if read.value is not None or read.rule == "out_of_scale":
        return read
    marked = from_marks(text, start, min(end, start + MAX_CHARS))
    if (
        marked
        and not is_negated(normalize_text(text[marked.end : marked.end + MAX_CHARS]), 0, repeats=())
        and not is_negated(normalized.last, 0)
    ):
        inside = _inside(marked, "marked", low, high)
        return inside if inside.value is not None else read
    return read


def _inside(marked: Marked, rule: str, low: float, high: float) -> Parsed:
    """The number in what is marked as the answer."""
    if marked.value is None:
        return Parsed(None, "off_format", "not_asserted")
    read = _read(normalize_answer(marked.value, thoughts.Split(0, len(marked.value))), low, high)
    return Parsed(read.value, "recovered", rule, (marked.start, marked.end)) if read.value is not None else read


def _read(normalized: NormalizedText, low: float, high: float) -> Parsed:
    masked = masked_scale(normalized.text)
    every = numbers(masked)
    affirmed = [n for n in every if not _NEGATED.match(masked, n.end)]
    # A single kanji numeral is part of many words: it counts where it is the answer, and contradicts nothing.
    counted = [n for n in affirmed if not n.kanji]
    ends = {n: _given(masked, n) for n in affirmed[:MAX_NUMBERS]}
    given = [n for n in affirmed if ends.get(n) is not None]
    whole = next((n for n in given if _is_whole(masked, n)), None)
    if whole:
        return _on_scale(normalized, whole, "notation", low, high)
    claims = _claims(masked, given, counted)
    if not counted and not claims:
        return Parsed(None, "off_format", "not_asserted" if affirmed else "no_number")
    if claims:
        agree = len({n.value for n, _ in claims}) == 1 and _agree([n for n, _ in claims], masked, counted, given)
        if not agree:
            return Parsed(None, "ambiguous", "several_numbers")
        return _kept(normalized, masked, claims[0], ends, every, low, high)
    if len({n.value for n in counted}) > 1:
        return Parsed(None, "ambiguous", "several_numbers")
    presented = [n for n in given if not n.kanji and is_presented_as_answer(_head(masked, n), verdict=True)]
    if not presented:
        return Parsed(None, "off_format", "not_asserted")
    if not normalized.complete:
        return Parsed(None, "off_format", "too_long")
    return _kept(normalized, masked, (presented[0], "mention"), ends, every, low, high)


def _kept(
    normalized: NormalizedText,
    masked: str,
    claim: tuple[Number, str],
    ends: Mapping[Number, int | None],
    every: list[Number],
    low: float,
    high: float,
) -> Parsed:
    """The number as the answer, unless something takes it back."""
    number, rule = claim
    others = [(n.start, n.end) for n in every if n.value != number.value and not n.kanji]
    same_value = [(n.start, n.end) for n in every if n.value == number.value]
    if any(n.value == number.value and _NEGATED.match(masked, n.end) for n in every):
        return Parsed(None, "off_format", "not_asserted")
    tail = ends[number] or number.end
    # The text as it is, for the scale has been made blank in the other: 「5ではありません」 denies 5.
    if (
        is_negated(normalized.text, tail, others, repeats=same_value)
        or is_negated(normalized.last, 0)
        or introduces_wrong_answers(masked, number.start)
    ):
        return Parsed(None, "off_format", "not_asserted")
    return _on_scale(normalized, number, rule, low, high)


def _on_scale(normalized: NormalizedText, number: Number, rule: str, low: float, high: float) -> Parsed:
    if not low <= number.value <= high:
        return Parsed(None, "off_format", "out_of_scale")
    return Parsed(number.value, "recovered", rule, normalized.span(number.start, number.end))


def _given(text: str, number: Number) -> int | None:
    """Where the words end that give the number as the answer; None if it is not given."""
    if is_signed(text, number.start):
        return None
    end = unit_end(text, number.end)
    roughly = _ROUGHLY.match(text, end)
    tail = answer_pattern_end(text, roughly.end() if roughly else end)
    if tail is None:
        return None
    # 「3.」 at the very end may be the beginning of 3.5, unless it ends an English sentence.
    if text[number.end :] == "." and "." not in text[number.start : number.end]:
        return tail if _ENGLISH_SENTENCE.search(text, max(0, number.start - 60), number.start) else None
    return tail


def _is_whole(text: str, number: Number) -> bool:
    """Whether nothing but signs stands around the number and its unit."""
    before = text[: number.start].strip()
    if before.endswith(("<", "-", "–", "—")) and not text[number.start - 1].isspace():
        return False
    after = text[unit_end(text, number.end) :]
    return not before.strip(OPENERS + CLOSERS) and not after.strip(CLOSERS)


def _claims(text: str, given: list[Number], counted: list[Number]) -> list[tuple[Number, str]]:
    """What is announced by a cue or stands at the very beginning; with an answer, what else a cue announces."""
    at = {n.start: n for n in (*counted, *given)}
    cue_positions = {skip(text, cue.end(), OPENERS): cue for cue in cues(text, SCORE_CUE)}
    claims = [
        (at[position], "cue")
        for position, cue in sorted(cue_positions.items())
        if position in at and not is_condition(text[_sentence_start(text, cue.start()) : cue.start()])
    ]
    first = at.get(skip(text, 0, OPENERS))
    claims += [(first, "leading")] if first in given else []
    return claims if any(number in given for number, _ in claims) else []


def _agree(claims: list[Number], text: str, counted: list[Number], given: list[Number]) -> bool:
    """Whether no other number on a claim's line, none listed beside it and none given elsewhere contradicts it."""
    presented = [n for n in given if is_presented_as_answer(_head(text, n), verdict=True)]
    return all(_agrees(text, claim, counted, presented) for claim in claims)


def _agrees(text: str, claim: Number, counted: list[Number], presented: list[Number]) -> bool:
    line_end = text.find("\n", claim.end)
    for before, after in pairwise(counted):
        if claim in (before, after) and before.value != after.value and is_listing(text[before.end : after.start]):
            return False
    rest = [n for n in counted if n.start >= claim.start and (line_end < 0 or n.start < line_end)]
    return all(n.value == claim.value for n in (*rest, *presented))


def _head(text: str, number: Number) -> str:
    return _ABOUT.sub("", text[_sentence_start(text, number.start) : number.start])


def _sentence_start(text: str, position: int) -> int:
    begin = max(0, position - 200)
    ends = [match.end() for match in _SENTENCE_END.finditer(text, begin, position)]
    return ends[-1] if ends else begin
