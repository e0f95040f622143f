"""Raw text → a free answer. No I/O; see `parsing` for what strict and lenient mean."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from jglue_app.prompts import thoughts
from jglue_app.scoring.parsing.markup import SPAN_KEYS, from_json, from_marks, unfenced
from jglue_app.scoring.parsing.negation import contrasts, is_negated
from jglue_app.scoring.parsing.normalization import (
    INVISIBLE,
    MAX_CHARS,
    NEXT_QUESTION,
    Readings,
    normalize_text,
    strict_part,
    unfinished,
)
from jglue_app.scoring.types import Parsed

MAX_WRAPPERS = 8
MAX_TAIL = 2_000
"""Characters behind an answer that are searched for a denial of it."""

_CUE_WORD = (
    r"(?:答え|回答|解答|正解|抜き出し(?:た部分)?|該当(?:箇所|部分)|語句|応答|アシスタント|システム|"
    r"(?:the )?(?:correct )?answer|assistant)"
)
_CUE = re.compile(
    r"[#\s]*+(?:(?P<bold>\*\*|__|【)?\s*(?P<before>(?:[^\n。「」『』:：*]{0,20}(?:の|、))?)"
    + _CUE_WORD
    + r"(?P<close>\*\*|__|[」】])?\s*(?:(?P<topic>は[、,]?|is\b[:：]?)|(?P<colon>[:：=])(?P<late>\*\*|"
    r"__)?|(?<=】)|(?=\n))" + r"|A\s*[:：])\s*",
    re.IGNORECASE,
)
_WRONG_CUE = re.compile(
    r"誤|間違|違う|不正|正しくな|ではな|以外|以前の|前回|前の|彼の|彼女の|他の|ほかの|別の|次の|逆の|ユーザーの|"
    r"\b(?:wrong|incorrect|false|bad|previous|other|another|not)\b",
    re.IGNORECASE,
)
_NO_ANSWER = re.compile(
    r"(?:(?:ない|無い|無し|なし|ありません|ございません|見つかりません|見当たりません|存在しません|わかりません|分かりません|わからない|分からない|"
    r"不明|書かれてい(?:ない|ません)|記載(?:が|は|されて)?(?:い)?(?:ない|ません|なし)|文章(?:中)?(?:に|から)は?[^。\n]{0,20}(?:ない|ません|なし)|"
    r"どこにも|何もない|特にない|得られない|出せない|言えない|答えられない|できない|できません|未定|"
    r"not\b|none\b|unknown\b|n/a|nothing\b|unclear\b|no answer|missing\b|absent\b))",
    re.IGNORECASE,
)
_QUESTION = re.compile(r"(?:質問|問題|題名|文章|question|q)\s*[:：]", re.IGNORECASE)
_LATER_CUE = re.compile(r"(?<=\s)" + _CUE_WORD + r"\s*[:：]", re.IGNORECASE)
"""A cue behind white space, which has to hold a line break; see `_later_cue`."""
_POLITE = (
    r"(?:だと思います|だと考えられます|だと言えます|となっております|となっています|となります|"
    r"になります|でございます|でございました|でしょう|です|でした)"
)
_COPULA = re.compile(rf"(?:{_POLITE}[ね]?[。．｡.!！]*|(?<!\.)[。．｡]+)$")
_ENGLISH_END = re.compile(
    r"(?<![A-Za-z]\.[A-Za-z])(?<!\b[A-Za-z])(?<!\bInc)(?<!\bLtd)(?<!\bJr)(?<!\bSr)(?<!\bCo)(?<!\bNo)(?<!\bSt)(?<!\.)\.$"
)
_JAPANESE_END = re.compile(r"(?<=[ぁ-んァ-ヺー一-鿿」』）])\.$")
_SENTENCE = re.compile(r"(?:(?<=[」』])|です|でした|でございます|になります|となります)[。．｡]+\s*(?=\S)")
_AGAIN = re.compile(
    r"^[^\S\n]*" + _CUE_WORD + r"\s*[:は]\s*[「『\"*]*(?P<answer>[^\n。」』\"*]+?)(?:です)?[。」』\"*]*\s*$",
    re.MULTILINE,
)
_BULLET = re.compile(r"\s*(?:[-*・•]|\d+[.)．）]|[①-⑳])\s*\S")
_WRAPPERS = (
    *(("「", "」"), ("『", "』"), ("“", "”"), ('"', '"'), ("'", "'"), ("【", "】"), ("（", "）"), ("(", ")")),
    *(
        ("***", "***"),
        ("**", "**"),
        ("__", "__"),
        ("*", "*"),
        ("`", "`"),
        ("《", "》"),
        ("〈", "〉"),
        ("｢", "｣"),
        ("〝", "〟"),
        ("〝", "〞"),
    ),
    *(
        ("‘", "’"),
        ("«", "»"),
        ("〔", "〕"),
        ("［", "］"),
        ("＂", "＂"),
        ("„", "“"),
        ("❝", "❞"),
        ("$", "$"),
        ("<b>", "</b>"),
        ("<strong>", "</strong>"),
    ),
)


def read_span(text: str, thought: str = "") -> Readings:
    """Read a free answer; `thought` is what the prompt has opened, see `types.Prompt.thought`.

    Strictly, any text that is not blank is an answer, taken whole; behind a thought that the prompt has opened, what
    follows it.

    Lenient rules, repeated until none applies and named in order with `+`: `after_thought` (a thought cut off),
    `marked` (the only answer in a JSON object, in \\boxed{} or <answer>), `after_question` (the question repeated
    before 「答え：」 cut off), `cue` (「答え：」 before it), `first_line` (cut at a line break), `first_sentence` (cut
    after the first です。), `quoted` (wrapped in a pair of quotation marks, brackets or Markdown), `copula` (です。
    or 。 after it), and last `notation` (without signs that nobody sees, letters and their marks joined). Nothing is
    cut off that takes the answer back. A thought that never ends has no reading.
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
    marked = from_json(text, start, end, SPAN_KEYS)
    if marked and marked.value is None:
        return Readings(strict, Parsed(None, "off_format", "not_asserted"))
    if marked and marked.value is not None:
        # The value's escapes stay in the raw text: nothing more is taken off it.
        value = _cleaned(marked.value).strip()
        lenient = (
            Parsed(value, "recovered", "+".join([*rules, "marked"]), (marked.start, marked.end)) if value else nothing
        )
        return Readings(strict, lenient)
    for rule, left, right in _strip_wrappers(text, start, end):
        rules.append(rule)
        start, end = left, right
    value = _cleaned(text[start:end])
    if value != text[start:end]:
        rules.append("notation")
    if not rules:
        return Readings(strict, strict)
    if not value.strip():
        return Readings(strict, nothing)
    name = "+".join(dict.fromkeys(rules))
    return Readings(strict, Parsed(value, "recovered", name, (start, end)))


def _strip_wrappers(text: str, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    """Each step that makes the span smaller, as (rule, start, end); never down to nothing."""
    for _ in range(MAX_WRAPPERS):
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
    later = _later_cue(text, question.end(), end) if question else None
    if later is not None:
        yield "after_question", later, end
    fenced = unfenced(text, start, end)
    if fenced != (start, end):
        yield "quoted", *fenced
    marked = from_marks(text, start, min(end, start + MAX_TAIL))
    if marked and marked.value is not None and not _denied(text, marked.end, end):
        yield "marked", marked.start, marked.end
    wrapped = _wrapped(text, start, end)
    if wrapped and text.startswith(("**", "__"), start):
        yield "quoted", *wrapped
    cue = _cue_end(text, start, end)
    if cue:
        yield "cue", cue, end
    line = text.find("\n", start, end)
    if line >= 0:
        if not _denied(text, line, end) and not _is_list(text, start, line, end):
            yield "first_line", start, line
        return
    if wrapped:
        yield "quoted", *wrapped
    sentence = _SENTENCE.search(text, start, min(end, start + MAX_CHARS))
    if sentence and _balanced(text[start : sentence.start()]) and not _denied(text, sentence.end(), end):
        yield "first_sentence", start, sentence.start()
    copula = _COPULA.search(text, max(start, end - 40), end)
    if copula:
        yield "copula", start, copula.start()
    sentence_end = _ENGLISH_END if _after_english_cue(text, start) else _JAPANESE_END
    stop = sentence_end.search(text, max(start, end - 40), end)
    if stop:
        yield "copula", start, stop.start()


def _later_cue(text: str, start: int, end: int) -> int | None:
    """Where the first line break is, of those behind which nothing but white space stands before a cue."""
    for cue in _LATER_CUE.finditer(text, start, end):
        line_break = text.find("\n", start + len(text[start : cue.start()].rstrip()), cue.start())
        if line_break >= 0:
            return line_break
        start = cue.end()
    return None


def _wrapped(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The inside of a pair of signs around all of the span, unless the span is several such pairs."""
    for opener, closer in _WRAPPERS:
        left, right = start + len(opener), end - len(closer)
        if left >= right or not text.startswith(opener, start) or not text.startswith(closer, right):
            continue
        if opener == closer:
            if text.find(closer, left, right) < 0:
                return left, right
        elif _encloses(text, left, right, opener, closer):
            return left, right
    return None


def _encloses(text: str, left: int, right: int, opener: str, closer: str) -> bool:
    """Whether the signs before `left` and behind `right` are one pair."""
    depth = 0
    for sign in re.finditer(f"{re.escape(opener)}|{re.escape(closer)}", text[left:right]):
        depth += 1 if sign.group() == opener else -1
        if depth < 0:
            return False
    return depth == 0


def _cue_end(text: str, start: int, end: int) -> int | None:
    """Where a cue ends that the span begins with, if an answer follows it."""
    cue = _CUE.match(text, start, end)
    if not cue or _WRONG_CUE.search(cue.group("before") or ""):
        return None
    position = cue.end()
    bold = cue.group("bold")
    if bold in ("**", "__"):
        closed = bold in (cue.group("close"), cue.group("late"))
        if not closed:
            return None
    elif cue.group("late"):
        position -= len(cue.group()) - len(cue.group().rstrip()) + len(cue.group("late"))
    rest = text[position:end].lstrip()
    if cue.group("topic") and _NO_ANSWER.match(rest):
        return None
    return position


def _after_english_cue(text: str, start: int) -> bool:
    """Whether what stands before the span ends an English phrase such as `The answer is`."""
    return re.search(r"(?i)\b(?:answer\s+is|it\s+is)\s*[:：]?[\s\"'“*]*$", text[max(0, start - 40) : start]) is not None


def _denied(text: str, start: int, end: int) -> bool:
    rest = normalize_text(text[start : min(end, start + MAX_TAIL)])
    question = NEXT_QUESTION.search(rest)
    stop = question.start() if question else len(rest)
    return is_negated(rest, 0, end=stop) or contrasts(rest, 0, stop) or _answers_again(text, start, rest[:stop])


def _answers_again(text: str, start: int, rest: str) -> bool:
    """Whether what follows an answer announces another one."""
    again = _AGAIN.search(rest)
    answer = again.group("answer").strip() if again else ""
    line = normalize_text(text[text.rfind("\n", 0, start) + 1 : start])
    return bool(answer) and answer not in line


def _is_list(text: str, start: int, line: int, end: int) -> bool:
    """Whether the span is a list with marks before its entries."""
    following = text[line:end].lstrip().split("\n", 1)[0]
    return _BULLET.match(text[start:line]) is not None and _BULLET.match(following) is not None


def _balanced(text: str) -> bool:
    return all(text.count(opener) == text.count(closer) for opener, closer in ("「」", "『』", "（）", "()"))


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and (text[start].isspace() or text[start] in INVISIBLE):
        start += 1
    while start < end and (text[end - 1].isspace() or text[end - 1] in INVISIBLE):
        end -= 1
    return start, end


_MARKED_LETTER = re.compile(r"[^\s\u0300-\u036f\u3099\u309a][\u0300-\u036f\u3099\u309a]+")
_VOICED = re.compile(r"[\u3099\u309a\u0300-\u036f]")


def _cleaned(text: str) -> str:
    """Without signs that nobody sees, and with letters and the marks on them as one character where there is one."""
    if len(text) > MAX_CHARS:
        return text
    seen = text.translate(_NOTHING)
    if not _VOICED.search(seen):
        return seen
    return _MARKED_LETTER.sub(lambda m: unicodedata.normalize("NFC", m.group()), seen)


_NOTHING = dict.fromkeys(map(ord, INVISIBLE))
