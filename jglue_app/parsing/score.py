"""Raw text → a number on a scale. Pure; see `parsing` for what strict and lenient mean."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from jglue_app import thought as thoughts
from jglue_app.parsing.text import (
    CLOSERS,
    COUNTER,
    CUE,
    KANJI_DIGITS,
    OPENERS,
    Folded,
    Readings,
    fold_answer,
    is_listing,
    skip,
    strict_part,
    unfinished,
)
from jglue_app.types import Parsed

_PLAIN_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_NUMBER = re.compile(r"(?:(?<![\d.])[-−‐–])?(?<![\d.])\d+(?:\.\d+)?(?!\.?\d)", re.ASCII)
_SCALE = re.compile(
    r"(?<![\d.])0(?:\.0)?点?\s*(?:[~〜\-–—]|から|to)\s*5(?:\.0)?(?!\.?\d)(?:点満点|点|段階)?(?:の(?:間|範囲))?(?:で|のうち)?|"
    r"(?<![\d.])5(?:\.0)?\s*(?:点満点|段階)(?:評価)?(?:中|で|の(?:うち)?)?|(?<![\d.])5(?:\.0)?点(?:中|のうち)|"
    r"(?<=[\d点])\s*/\s*5(?:\.0)?(?!\.?\d)|\bout of 5(?:\.0)?(?!\.?\d)"
)
_ASSERTED = re.compile(
    r"点(?!満|以|未|差|目|数)|\s*(?:points?|pts?)\b|(?!\s+[a-z])(?:\s|$|["
    + re.escape(CLOSERS + ",、;|([<{「『→=\\")
    + r"])|"
    r"\s+(?:out|because|since|as|for|on|the|this|both|these|they|it)\b|です|で(?:し|あ[るり]|、)|だ(?:[。、\s]|$|と|ろう|から)|"
    r"くらい|ぐらい|程度|前後|ほど|と(?:思|考え|判断|評価|言え|いえ|な|し|答え|推)|に(?:な|近|相当)|が(?:適|妥当|正|最|良|よ)|"
    r"を(?:付|つけ|与|選)"
)
_NOT_AFTER = re.compile(r"点?(?:では?な|じゃな|では?あり|以外|は(?:違|間違|誤))")
_AND_NUMBER = re.compile(r"[、,~〜\-–]\d+(?:\.\d+)?(?=\D)", re.ASCII)
_LIST_POINT = re.compile(r"^[ \u3000]*\d+[.)](?!\d)[ \u3000]*(?=[^\s" + re.escape(CLOSERS) + "])", re.MULTILINE)
_WORD = re.compile(r"(?!点)[一-鿿ァ-ヺa-z%]")
_NAMED = re.compile(
    r"(?:近さ|類似度|スコア|点数?|評価値?|値|約|およそ|答え?|(?<![a-z])(?!sentence|text|example|step|no|item|part)[a-z]+\s)\s*$"
)


def read_score(text: str, low: float = 0.0, high: float = 5.0, thought: str = "") -> Readings:
    """Read a number between `low` and `high`; `thought` is what the prompt has opened, see `types.Prompt.thought`.

    Lenient rules: `notation` (other width or script, within punctuation or with 点), `cue`, `leading`, `mention`. Each
    needs all numbers it could be to agree: those on the same line, those of a list, for `mention` all of them. Not
    counted are a mention of the scale itself such as 「5点満点」 or `/5`, a count or order of things (2人, 3つ, 文1), a
    share (80%), and a number that is negated. A number off the scale is `off_format` by the rule `out_of_scale`.
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


@dataclass(frozen=True, slots=True)
class _Number:
    start: int
    end: int
    value: float
    framed: bool
    """What follows lets it be the answer; a number that is not framed can only contradict another."""


def _lenient_score(text: str, parts: thoughts.Split, low: float, high: float) -> Parsed:
    folded = fold_answer(text, parts)
    body = folded.text.strip(OPENERS + CLOSERS + "点")
    if body in KANJI_DIGITS:
        start = folded.text.index(body)
        return _on_scale(folded, _Number(start, start + 1, float(KANJI_DIGITS[body]), True), "notation", low, high)
    masked = _SCALE.sub(lambda m: " " * len(m.group()), folded.text)
    masked = _LIST_POINT.sub(lambda m: " " * len(m.group()), masked)
    numbers = _numbers(masked)
    if not numbers:
        return Parsed(None, "off_format", "no_number")
    first = numbers[0]
    if first.framed and masked.strip(OPENERS + CLOSERS + "点") == masked[first.start : first.end].lstrip("-−‐–"):
        return _on_scale(folded, first, "notation", low, high)
    claims = _claims(masked, numbers)
    if len({n.value for n, _ in claims}) == 1 and all(_agrees(masked, n, numbers) for n, _ in claims):
        return _on_scale(folded, *claims[0], low, high)
    if claims or len({n.value for n in numbers}) > 1:
        return Parsed(None, "ambiguous", "several_numbers")
    if not any(n.framed for n in numbers):
        return Parsed(None, "off_format", "not_asserted")
    if not folded.complete:
        return Parsed(None, "off_format", "too_long")
    return _on_scale(folded, next(n for n in numbers if n.framed), "mention", low, high)


def _on_scale(folded: Folded, number: _Number, rule: str, low: float, high: float) -> Parsed:
    if not low <= number.value <= high:
        return Parsed(None, "off_format", "out_of_scale")
    return Parsed(number.value, "recovered", rule, folded.span(number.start, number.end))


def _numbers(text: str) -> list[_Number]:
    out = []
    for match in _NUMBER.finditer(text):
        start, end = match.span()
        if _NOT_AFTER.match(text, end) or _is_of_something(text, start, end):
            continue
        value = float(re.sub("[−‐–]", "-", match.group()))
        # 「3.」 at the very end may be the beginning of 3.5.
        cut = "." not in match.group() and text[end:] == "."
        out.append(_Number(start, end, value, _ASSERTED.match(text, end) is not None and not cut))
    return out


def _is_of_something(text: str, start: int, end: int) -> bool:
    """Whether the number counts, orders or names things: 3人, the 3 of 3、4人, 80%, 文1, iPhone 15."""
    further = _AND_NUMBER.match(text, end)
    if further:
        end = further.end()
    if COUNTER.match(text, end) or (_WORD.match(text, end) and not _ASSERTED.match(text, end)):
        return True
    before = text[max(0, start - 16) : start].rstrip(" \u3000")[-1:]
    return _WORD.match(before) is not None and not _NAMED.search(text, max(0, start - 16), start)


def _claims(text: str, numbers: list[_Number]) -> list[tuple[_Number, str]]:
    """What is announced by a cue or stands at the very beginning."""
    framed = {n.start: n for n in numbers if n.framed}
    ends = {skip(text, cue.end(), OPENERS) for cue in CUE.finditer(text)}
    claims = [(framed[position], "cue") for position in sorted(ends) if position in framed]
    first = framed.get(skip(text, 0, OPENERS))
    return [*claims, (first, "leading")] if first else claims


def _agrees(text: str, claim: _Number, numbers: list[_Number]) -> bool:
    """Whether no other number on the claim's line, and none listed before or after it, says something else."""
    line_end = text.find("\n", claim.end)
    for before, after in pairwise(numbers):
        if claim in (before, after) and before.value != after.value and is_listing(text[before.end : after.start]):
            return False
    rest = [n for n in numbers if n.start >= claim.start and (line_end < 0 or n.start < line_end)]
    return all(n.value == claim.value for n in rest)
