"""Answers that are marked as such by form: a JSON object, `\\boxed{}`, `<answer>`. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass

from jglue_app.scoring.parsing.negation import is_negated
from jglue_app.scoring.parsing.normalization import normalize_text

MAX_JSON = 4_000

CHOICE_KEYS = frozenset(
    {
        *(
            "answer",
            "final_answer",
            "label",
            "relation",
            "relationship",
            "sentiment",
            "response",
            "result",
            "output",
            "choice",
        ),
        *(
            "prediction",
            "verdict",
            "class",
            "category",
            "option",
            "id",
            "number",
            "index",
            "answer_index",
            "judgment",
            "judgement",
        ),
        *(
            "答え",
            "回答",
            "解答",
            "正解",
            "ラベル",
            "関係",
            "判定",
            "分類",
            "番号",
            "記号",
            "選択",
            "選択肢",
            "評価",
            "感情",
            "気持ち",
            "結果",
        ),
    }
)
SCORE_KEYS = frozenset(
    {
        *(
            "answer",
            "final_answer",
            "score",
            "rating",
            "similarity",
            "similarity_score",
            "result",
            "output",
            "response",
            "prediction",
        ),
        *("答え", "回答", "解答", "類似度", "近さ", "スコア", "点数", "点", "評価", "評価値", "結果"),
    }
)
SPAN_KEYS = frozenset(
    {
        *(
            "answer",
            "final_answer",
            "response",
            "result",
            "output",
            "text",
            "span",
            "extracted",
            "extracted_answer",
            "prediction",
        ),
        *("答え", "回答", "解答", "正解", "抜き出し", "語句", "該当箇所", "結果"),
    }
)
_BESIDE = frozenset(
    {
        *(
            "reason",
            "reasoning",
            "explanation",
            "rationale",
            "thought",
            "question",
            "id",
            "confidence",
            "comment",
            "note",
            "evidence",
        ),
        *("理由", "説明", "解説", "根拠", "質問", "問題", "思考", "確信度", "補足", "備考"),
    }
)
"""Keys that may stand beside the answer's: they change nothing about it."""
_FENCE_HEAD = re.compile(r"[ \t]*[a-zA-Z0-9_+-]{0,12}[ \t]*\r?\n?")
"""What may stand behind an opening fence: a language, and the end of its line."""
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"|-?[\d.]+')
_BOXED = re.compile(
    r"\\(?:boxed|fbox)\s*+\{\s*+(?:\\(?:text|mathrm|textbf|mathbf)\s*+\{(?P<text>[^{}]*+)\}|(?P<plain>[^{}]*+))\s*+\}"
)
_TAGGED = re.compile(
    r"<(?P<tag>answer|final_answer|label|output|response|result|span|回答|答え)>(?P<inside>[^<>]*)</(?P=tag)>",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Marked:
    """What is marked as the answer."""

    value: str | None
    """The answer as text; None if the form is there and holds no answer, or more than one."""
    start: int = 0
    end: int = 0


def unfenced(text: str, start: int, end: int) -> tuple[int, int]:
    """The inside of a pair of code fences that holds all of a stretch of text; the stretch itself if there is none."""
    fence = text[start : min(start + 3, end)]
    last = start + len(text[start:end].rstrip()) - 3
    if fence not in ("```", "~~~") or last < start + 3 or not text.startswith(fence, last):
        return start, end
    head = _FENCE_HEAD.match(text, start + 3, last)
    assert head is not None
    inside = text[head.end() : last].rstrip()
    return (start, end) if "`" in inside else (head.end(), head.end() + len(inside))


def from_json(text: str, start: int, end: int, keys: Collection[str]) -> Marked | None:
    """The answer of a JSON object that is all of a stretch of text; None if the stretch is no JSON object or list.

    There is one only if a single key says so, all others say nothing about it, and its value is a text or number.
    """
    start, end = unfenced(text, start, end)
    body = text[start:end]
    if len(body) > MAX_JSON or not body.lstrip().startswith(("{", "[{", '["')):
        return None
    try:
        pairs = json.loads(body, object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None
    if not isinstance(pairs, list) or not all(isinstance(p, tuple) for p in pairs):
        return Marked(None)
    named = [(normalize_text(key).strip(), key, value) for key, value in pairs]
    answers = [(key, value) for name, key, value in named if name in keys]
    beside = [value for name, _, value in named if name not in keys]
    known = all(name in keys or name in _BESIDE for name, _, _ in named)
    if len(answers) != 1 or not known or any(isinstance(v, str) and is_negated(normalize_text(v), 0) for v in beside):
        return Marked(None)
    key, value = answers[0]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return Marked(None)
    position = re.compile(re.escape(json.dumps(key, ensure_ascii=False)) + r"\s*:\s*").search(text, start, end)
    literal = _STRING.match(text, position.end(), end) if position else None
    if not literal:
        return Marked(None)
    quoted = isinstance(value, str)
    left, right = literal.start() + quoted, literal.end() - quoted
    answer = value if isinstance(value, str) else literal.group()
    return Marked(answer, left, right) if answer.strip() and left < right else Marked(None)


def from_marks(text: str, start: int, end: int) -> Marked | None:
    r"""What stands in `\boxed{}` or `<answer>`; None if there are no such marks or they hold nothing."""
    spans = []
    for match in _BOXED.finditer(text, start, end):
        spans.append(match.span("text" if match.group("text") is not None else "plain"))
    spans += [match.span("inside") for match in _TAGGED.finditer(text, start, end)]
    values = {text[a:b].strip() for a, b in spans}
    if not spans:
        return None
    if len(values) > 1 or "" in values:
        return Marked(None)
    return Marked(text[spans[-1][0] : spans[-1][1]], *spans[-1])
