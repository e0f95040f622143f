"""Raw text → a free answer. Pure; see `parsing` for what strict and lenient mean."""

from __future__ import annotations

import re
from collections.abc import Iterator

from jglue_app import thought as thoughts
from jglue_app.parsing.text import Readings, strict_part, trimmed_span, unfinished
from jglue_app.types import Parsed

MAX_PEELS = 8

_CUE_WORD = (
    r"(?:答え|回答|解答|正解|抜き出し(?:た部分)?|該当(?:箇所|部分)|語句|応答|アシスタント|システム|"
    r"(?:the )?(?:correct )?answer|assistant)"
)
_CUE = re.compile(
    r"[#*【\s]*(?:(?:[^\n。「」『』:：]{0,20}(?:の|、))?"
    + _CUE_WORD
    + r"[*」】]*\s*(?:は[、,]?|[:：=]|(?:is\b)|(?<=】)|(?=\n))"
    r"|A\s*[:：])[*\s]*",
    re.IGNORECASE,
)
_QUESTION = re.compile(r"(?:質問|問題|題名|文章|question|q)\s*[:：]", re.IGNORECASE)
_LATER_CUE = re.compile(r"\n\s*" + _CUE_WORD + r"\s*[:：]", re.IGNORECASE)
_COPULA = re.compile(r"(?:(?:だと思います|です|でした|となります|になります)[。．]*|である[。．]+|[。．]+)$")
_SENTENCE = re.compile(r"(?:です|でした)[。．]+\s*(?=\S)")
_WRAPPERS = (
    *(("「", "」"), ("『", "』"), ("“", "”"), ('"', '"'), ("'", "'"), ("【", "】"), ("（", "）"), ("(", ")")),
    *(("**", "**"), ("`", "`"), ("《", "》"), ("〈", "〉")),
)


def read_span(text: str, thought: str = "") -> Readings:
    """Read a free answer; `thought` is what the prompt has opened, see `types.Prompt.thought`.

    Strictly, any text that is not blank is an answer, taken whole; behind a thought that the prompt has opened, what
    follows it.

    Lenient rules, repeated until none applies and named in order with `+`: `after_thought` (a thought cut off),
    `after_question` (the question repeated before 「答え：」 cut off), `cue` (「答え：」 before it), `first_line` (cut
    at a line break), `first_sentence` (cut after the first です。), `quoted` (wrapped in quotation marks, brackets or
    Markdown), `copula` (です。 or 。 after it). A thought that never ends has no reading.
    """
    if not text.strip():
        empty = Parsed(None, "empty", "empty")
        return Readings(empty, empty)
    parts = thoughts.split(text, thought)
    if parts.answer is None:
        return unfinished()
    nothing = Parsed(None, "off_format", "no_answer")
    start, end = strict_part(text, parts, thought)
    if start == end:
        return Readings(nothing, nothing)
    strict = Parsed(text[start:end], "exact", "exact", (start, end))
    rules = []
    left, right = _trimmed(text, parts.answer, parts.end)
    if left == right:
        return Readings(strict, nothing)
    if (left, right) != (start, end):
        rules.append("after_thought")
        start, end = left, right
    for rule, left, right in _peel(text, start, end):
        rules.append(rule)
        start, end = left, right
    if not rules:
        return Readings(strict, strict)
    name = "+".join(dict.fromkeys(rules))
    return Readings(strict, Parsed(text[start:end], "recovered", name, (start, end)))


def _peel(text: str, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    """Each step that makes the span smaller, as (rule, start, end); never down to nothing."""
    for _ in range(MAX_PEELS):
        for rule, left, right in _steps(text, start, end):
            left, right = _trimmed(text, left, right)
            if left < right:
                start, end = left, right
                yield rule, start, end
                break
        else:
            return


def _steps(text: str, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    """What could be cut off next, in order of preference."""
    question = _QUESTION.match(text, start, end)
    later = _LATER_CUE.search(text, question.end(), end) if question else None
    if later:
        yield "after_question", later.start(), end
    cue = _CUE.match(text, start, end)
    if cue:
        yield "cue", cue.end(), end
    line = text.find("\n", start, end)
    if line >= 0:
        yield "first_line", start, line
        return
    for opener, closer in _WRAPPERS:
        inside = (start + len(opener), end - len(closer))
        wrapped = inside[0] < inside[1] and text.startswith(opener, start) and text.startswith(closer, inside[1])
        if wrapped and text.find(closer, *inside) < 0:
            yield "quoted", *inside
    sentence = _SENTENCE.search(text, start, end)
    if sentence and _balanced(text[start : sentence.start()]):
        yield "first_sentence", start, sentence.start()
    copula = _COPULA.search(text, max(start, end - 40), end)
    if copula:
        yield "copula", start, copula.start()


def _balanced(text: str) -> bool:
    return all(text.count(opener) == text.count(closer) for opener, closer in ("「」", "『』", "（）", "()"))


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    left, right = trimmed_span(text[start:end])
    return start + left, start + right
