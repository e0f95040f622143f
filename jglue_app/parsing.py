"""Raw text → what was meant by it. Pure; never looks at the gold answer.

Each reader gives two readings. The *strict* one accepts the output only if, after trimming white space, it is
exactly a legal answer. The *lenient* one accepts whatever contains exactly one recoverable legal answer. Spans are
character positions in the raw text. The lenient reading looks at the first `MAX_CHARS` characters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from jglue_app.types import Parsed

MAX_CHARS = 4_000

_CUE = re.compile(
    r"(?:答え|回答|解答|正解|評価|判定|関係|分類|番号|記号|選択肢|ラベル|感情|気持ち|近さ|類似度|スコア|点数|"
    r"抜き出し|語句|answer|label|score)\s*(?:は|が|:|=|→|⇒)+\s*"
)
_OPENERS = "「『“\"'‘(（[【<〈《*#・- \t\n\r\u3000"
_CLOSERS = "」』”\"'’)）]】>〉》*。．.、,!！?？:： \t\n\r\u3000"
_AFTER_ANSWER = re.compile(
    r"$|[\s」』”\"'’)）\]】>〉》*。．.、,!！:：;/|(（]|です|だ[。\s]|である|になり|となり|が正|に該当|を選"
)
_NEGATION = re.compile(
    r"[」』”\"']?(?:で[はも]?な[いくし]|じゃな[いく]|で[はも]ありませ|しない|しませ|し得な|しておら|しな[いく]|"
    r"[はがの]な[いく]|[はが]ありませ|とは[言い]え|なし)"
)
_NEGATION_BEFORE = re.compile(r"(?:\bnot|\bno|\bnon|n't)[\s-]*(?:an?\s+|the\s+)?$")
_COUNTER = re.compile(r"[つ人匹枚個本台頭羽年月日時分秒回度歳才階番目%％]")
_KANJI_DIGITS = {"〇": "0", "零": "0", "一": "1", "二": "2", "三": "3", "四": "4", "五": "5"}
_LIST_SEPARATORS = "、,・/ \n"
_QUOTED = re.compile(r"[「『“\"]([^「」『』“”\"]{1,60})[」』”\"]")


@dataclass(frozen=True, slots=True)
class Readings:
    """Both readings of one output."""

    strict: Parsed
    lenient: Parsed


@dataclass(frozen=True, slots=True)
class _Folded:
    """Text with width and case folded, each character knowing where it came from."""

    text: str
    origin: tuple[int, ...]

    def span(self, start: int, end: int) -> tuple[int, int]:
        return self.origin[start], self.origin[end - 1] + 1


def _fold_text(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _fold(text: str) -> _Folded:
    chars: list[str] = []
    origin: list[int] = []
    for position, char in enumerate(text[:MAX_CHARS]):
        folded = _fold_text(char)
        chars.append(folded)
        origin += [position] * len(folded)
    return _Folded("".join(chars), tuple(origin))


def _trimmed_span(text: str) -> tuple[int, int]:
    start = len(text) - len(text.lstrip())
    return start, start + len(text.strip())


# --- closed labels --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Candidate:
    surface: str
    label: str
    legal: bool


@dataclass(frozen=True, slots=True)
class _Mention:
    start: int
    end: int
    candidate: _Candidate


def read_choice(
    text: str, answers: Mapping[str, str], aliases: Mapping[str, tuple[str, ...]] | None = None
) -> Readings:
    """Read one of several labels.

    Args:
        text: the raw output.
        answers: label → the surface form that was asked for.
        aliases: label → further words that mean it (used by the lenient reading only).

    Lenient rules, in this order; the first that finds something decides:
        `notation` the answer in another width, case or script of numerals, or within punctuation or quotes;
        `alias` nothing but another word for a label; `cue` an answer after 「答え：」 and the like;
        `leading` an answer followed by other text; `quoted` one label in quotation marks;
        `mention` exactly one label occurs, negated ones not counted. Two labels make the output `ambiguous`.
    """
    trimmed = text.strip()
    if not trimmed:
        empty = Parsed(None, "empty", "empty")
        return Readings(empty, empty)
    for label, surface in answers.items():
        if trimmed == surface.strip():
            exact = Parsed(label, "exact", "exact", _trimmed_span(text))
            return Readings(exact, exact)
    return Readings(Parsed(None, "off_format", "not_exact"), _lenient_choice(text, answers, aliases or {}))


def _lenient_choice(text: str, answers: Mapping[str, str], aliases: Mapping[str, tuple[str, ...]]) -> Parsed:
    folded = _fold(text)
    candidates = _candidates(answers, aliases)
    found = _whole(folded, candidates)
    if found:
        return found
    mentions = [m for m in _mentions(folded.text, candidates) if not _negated(folded.text, m)]
    found = (
        _after_cue(folded, mentions)
        or _leading(folded, mentions)
        or _unanimous(folded, _in_quotes(folded.text, mentions), "quoted")
        or _unanimous(folded, mentions, "mention")
    )
    if found:
        return found
    if mentions:
        return Parsed(None, "ambiguous", "several_labels")
    return Parsed(None, "off_format", "no_label")


def _candidates(answers: Mapping[str, str], aliases: Mapping[str, tuple[str, ...]]) -> list[_Candidate]:
    legal = {_fold_text(surface.strip()): label for label, surface in answers.items()}
    others: dict[str, set[str]] = {}
    for label in answers:
        for word in (label, *aliases.get(label, ())):
            surface = _fold_text(word.strip())
            if surface and surface not in legal:
                others.setdefault(surface, set()).add(label)
    out = [_Candidate(surface, label, True) for surface, label in legal.items() if surface]
    # Canonical labels that are bare numbers mean nothing unless numbers were asked for.
    out += [
        _Candidate(surface, next(iter(labels)), False)
        for surface, labels in others.items()
        if len(labels) == 1 and not (surface.isdigit() and surface in answers)
    ]
    return sorted(out, key=lambda c: -len(c.surface))


def _whole(folded: _Folded, candidates: list[_Candidate]) -> Parsed | None:
    body = folded.text.rstrip(_CLOSERS)
    start = len(body) - len(body.lstrip(_OPENERS))
    body = body[start:]
    if not body:
        return None
    numeral = _KANJI_DIGITS.get(body)
    for candidate in candidates:
        if body == candidate.surface or (numeral == candidate.surface and candidate.legal):
            rule = "notation" if candidate.legal else "alias"
            return Parsed(candidate.label, "recovered", rule, folded.span(start, start + len(body)))
    return None


def _mentions(text: str, candidates: list[_Candidate]) -> list[_Mention]:
    """All places where a candidate stands as a word of its own; of overlapping ones the longer wins."""
    taken = [False] * len(text)
    out: list[_Mention] = []
    for candidate in candidates:
        start = text.find(candidate.surface)
        while start >= 0:
            end = start + len(candidate.surface)
            if not any(taken[start:end]) and _stands_alone(text, start, end):
                taken[start:end] = [True] * (end - start)
                out.append(_Mention(start, end, candidate))
            start = text.find(candidate.surface, start + 1)
    out += _cut_off(text, taken, candidates)
    return sorted(out, key=lambda m: m.start)


def _cut_off(text: str, taken: list[bool], candidates: list[_Candidate]) -> list[_Mention]:
    """A label that the output's end cut short, as in 「かしわもち、ちま」 for 「ちまき」: it counts as mentioned."""
    start = max(text.rfind(separator) for separator in _LIST_SEPARATORS) + 1
    tail = text[start:]
    if start == 0 or len(tail) < 2 or any(taken[start:]):
        return []
    return [_Mention(start, len(text), c) for c in candidates if c.surface.startswith(tail)][:1]


def _stands_alone(text: str, start: int, end: int) -> bool:
    before = text[start - 1] if start else ""
    after = text[end] if end < len(text) else ""
    if _glued(before, text[start]) or _glued(text[end - 1], after):
        return False
    if text[start:end].isdigit():
        decimal = after == "." and text[end + 1 : end + 2].isdigit()
        fraction = before == "." and text[start - 2 : start - 1].isdigit()
        return not (decimal or fraction or before in "-−" * bool(before) or _COUNTER.match(after or " "))
    return True


def _glued(left: str, right: str) -> bool:
    """Whether two neighbouring characters belong to one word: both Latin or digits, or both katakana."""
    if not left or not right:
        return False

    def script(char: str) -> str:
        if char.isascii() and char.isalnum():
            return "latin"
        return "katakana" if "ァ" <= char <= "ヺ" or char == "ー" else ""

    return script(left) != "" and script(left) == script(right)


def _negated(text: str, mention: _Mention) -> bool:
    if _NEGATION.match(text, mention.end):
        return True
    return bool(_NEGATION_BEFORE.search(text[max(0, mention.start - 12) : mention.start]))


def _after_cue(folded: _Folded, mentions: list[_Mention]) -> Parsed | None:
    starts = {m.start: m for m in mentions}
    for cue in _CUE.finditer(folded.text):
        position = _skip(folded.text, cue.end(), _OPENERS)
        mention = starts.get(position)
        if mention and _AFTER_ANSWER.match(folded.text, mention.end):
            return _recovered(folded, mention, "cue")
    return None


def _leading(folded: _Folded, mentions: list[_Mention]) -> Parsed | None:
    if not mentions or mentions[0].start != _skip(folded.text, 0, _OPENERS):
        return None
    first = mentions[0]
    if not _AFTER_ANSWER.match(folded.text, first.end):
        return None
    line_end = folded.text.find("\n", first.end)
    rest = [m for m in mentions if line_end < 0 or m.start < line_end]
    if any(m.candidate.label != first.candidate.label for m in rest):
        return None
    return _recovered(folded, first, "leading")


def _in_quotes(text: str, mentions: list[_Mention]) -> list[_Mention]:
    spans = [(m.start(1), m.end(1)) for m in _QUOTED.finditer(text)]
    return [m for m in mentions if (m.start, m.end) in spans]


def _unanimous(folded: _Folded, mentions: list[_Mention], rule: str) -> Parsed | None:
    if len({m.candidate.label for m in mentions}) != 1:
        return None
    return _recovered(folded, mentions[0], rule)


def _recovered(folded: _Folded, mention: _Mention, rule: str) -> Parsed:
    return Parsed(mention.candidate.label, "recovered", rule, folded.span(mention.start, mention.end))


def _skip(text: str, position: int, chars: str) -> int:
    while position < len(text) and text[position] in chars:
        position += 1
    return position


# --- a number on a scale --------------------------------------------------------------------------------

_PLAIN_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_NUMBER = re.compile(r"(?<![\d.])[-−]?\d+(?:\.\d+)?", re.ASCII)
_SCALE = re.compile(
    r"0(?:\.0)?\s*(?:[~〜～\-–—]|から|to)\s*5(?:\.0)?(?:の(?:間|範囲))?|5(?:\.0)?\s*(?:点満点|段階)(?:中|で|評価で)?|"
    r"(?<=\d)\s*/\s*5(?:\.0)?(?![\d.])|\bout of 5(?:\.0)?\b"
)


def read_score(text: str, low: float = 0.0, high: float = 5.0) -> Readings:
    """Read a number between `low` and `high`.

    Lenient rules: `notation` (other width or script, within punctuation or with 点), `cue`, `leading`, `mention`
    (exactly one number on the scale, not counting a mention of the scale itself such as 「5点満点」 or `/5`).
    A number off the scale is `off_format` by the rule `out_of_scale`.
    """
    trimmed = text.strip()
    if not trimmed:
        empty = Parsed(None, "empty", "empty")
        return Readings(empty, empty)
    if len(trimmed) < 40 and _PLAIN_NUMBER.fullmatch(trimmed) and low <= float(trimmed) <= high:
        exact = Parsed(float(trimmed), "exact", "exact", _trimmed_span(text))
        return Readings(exact, exact)
    return Readings(Parsed(None, "off_format", "not_exact"), _lenient_score(text, low, high))


def _lenient_score(text: str, low: float, high: float) -> Parsed:
    folded = _fold(text)
    body = folded.text.strip(_OPENERS + _CLOSERS + "点")
    if body in _KANJI_DIGITS and low <= float(_KANJI_DIGITS[body]) <= high:
        start = folded.text.index(body)
        return Parsed(float(_KANJI_DIGITS[body]), "recovered", "notation", folded.span(start, start + 1))
    masked = _SCALE.sub(lambda m: " " * len(m.group()), folded.text)
    numbers = [m for m in _NUMBER.finditer(masked) if not _counts_things(masked, m.end())]
    on_scale = [m for m in numbers if low <= _value(m) <= high]
    if not on_scale:
        return Parsed(None, "off_format", "out_of_scale" if numbers else "no_number")

    def recovered(match: re.Match[str], rule: str) -> Parsed:
        return Parsed(_value(match), "recovered", rule, folded.span(*match.span()))

    first = on_scale[0]
    if masked.strip(_OPENERS + _CLOSERS + "点") == first.group():
        return recovered(first, "notation")
    for cue in _CUE.finditer(masked):
        position = _skip(masked, cue.end(), _OPENERS)
        for match in on_scale:
            if match.start() == position:
                return recovered(match, "cue")
    line_end = masked.find("\n", first.end())
    rest = [m for m in numbers if line_end < 0 or m.start() < line_end]
    if first.start() == _skip(masked, 0, _OPENERS) and {_value(m) for m in rest} == {_value(first)}:
        return recovered(first, "leading")
    if len({_value(m) for m in numbers}) == 1:
        return recovered(first, "mention")
    return Parsed(None, "ambiguous", "several_numbers")


def _value(match: re.Match[str]) -> float:
    return float(match.group().replace("−", "-"))


def _counts_things(text: str, end: int) -> bool:
    return end < len(text) and bool(_COUNTER.match(text[end]) or (text[end].isascii() and text[end].isalpha()))


# --- a span of text -------------------------------------------------------------------------------------

_SPAN_CUE = re.compile(r"(?:答え|回答|解答|正解|抜き出し|語句|answer)\s*(?:は[、,]?|[:：=])\s*", re.IGNORECASE)
_COPULA = re.compile(r"(?:です|でした|である|となります|になります)?[。．]$|(?:です|でした|である)$")
_WRAPPERS = ("「」", "『』", "“”", '""', "''", "【】", "（）", "()")


def read_span(text: str) -> Readings:
    """Read a free answer. Strictly, any text that is not blank is an answer, taken whole.

    Lenient rules, repeated until none applies and named in order with `+`: `first_line` (cut at a line break), `cue`
    (「答え：」 before it), `quoted` (wrapped in quotation marks), `copula` (です。 or 。 after it).
    """
    start, end = _trimmed_span(text)
    if start == end:
        empty = Parsed(None, "empty", "empty")
        return Readings(empty, empty)
    strict = Parsed(text[start:end], "exact", "exact", (start, end))
    rules = list(_peel(text, start, end))
    if not rules:
        return Readings(strict, strict)
    _, start, end = rules[-1]
    name = "+".join(dict.fromkeys(rule for rule, _, _ in rules))
    return Readings(strict, Parsed(text[start:end], "recovered", name, (start, end)))


def _peel(text: str, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    """Each step that makes the span smaller, as (rule, start, end); never down to nothing."""
    while True:
        body = text[start:end]
        line, copula, cue = body.find("\n"), _COPULA.search(body), _SPAN_CUE.match(body)
        if line >= 0:
            step = ("first_line", start, start + line)
        elif cue:
            step = ("cue", start + cue.end(), end)
        elif len(body) > 2 and body[0] + body[-1] in _WRAPPERS and body[-1] not in body[1:-1]:
            step = ("quoted", start + 1, end - 1)
        elif copula:
            step = ("copula", start, start + copula.start())
        else:
            return
        rule, start, end = step
        left, right = _trimmed_span(text[start:end])
        start, end = start + left, start + right
        if start >= end:
            return
        yield rule, start, end
