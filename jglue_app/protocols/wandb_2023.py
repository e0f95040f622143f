"""`wandb-2023-0shot`, `wandb-2023-4shot`: the free-generation evaluation of 2023 that set five JGLUE subsets side by
side on a Weights & Biases report.

Greedy, at most 5, 3, 3, 25 and 5 new tokens (MARC-ja, JSTS, JNLI, JSQuAD, JCommonsenseQA), no stop strings. The two
differ in their presets alone.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import partial

from rapidfuzz import fuzz, utils

from jglue_app.protocols.common import is_right, judge_text, nfkc, references
from jglue_app.types import Item, Judgement, Parsed, Preset, Record, ScoringProtocol, Task

DEFAULTS: dict[str, str | float] = {"marc_ja": "positive", "jnli": "entailment", "jcommonsenseqa": "0", "jsts": 2.0}
"""What an unreadable answer counts as: constants that score like skill where they happen to be the gold."""

_DIGITS = re.compile(r"\d+")
_NOT_NUMERIC = re.compile(r"[^0-9.]")
_BRACKETS = "「」『』。"


def judge(name: str, task: Task, item: Item, record: Record) -> Judgement:
    """Judge as that evaluation did. Its quirks, on purpose:

    - MARC-ja: negative if the output contains `negative`, otherwise positive.
    - JNLI: exactly entailment, contradiction or neutral after trimming and lower-casing, otherwise entailment.
    - JCommonsenseQA: the digits the output begins with (before any trimming), otherwise 0.
    - JSTS: all characters but `0-9.` are dropped; the rest as a number clipped to 0–5, otherwise 2.0.
    - JSQuAD: NFKC, then 「」『』。 off both ends, on the prediction alone and not on the references, so a reference
      with such an end, or with full-width letters, cannot be met; exact match with any; `f1` is rapidfuzz's
      `token_sort_ratio` (in whole percent), the best over the references.
    """
    if task.kind == "span":
        return judge_text(name, task, item, record, _span, lambda value: _span_scores(item, str(value)))
    read = READERS[task.name]
    return judge_text(
        name, task, item, record, read, lambda v: {} if task.kind == "score" else {"accuracy": float(is_right(item, v))}
    )


def _marc_ja(text: str) -> Parsed:
    at = text.find("negative")
    if at >= 0:
        return Parsed("negative", "recovered", "contains", (at, at + len("negative")))
    if "positive" in text:
        return Parsed("positive", "recovered", "contains_no_negative")
    return _default("marc_ja", text)


def _jnli(text: str) -> Parsed:
    label = text.strip().lower()
    if label in ("entailment", "contradiction", "neutral"):
        start = len(text) - len(text.lstrip())
        return Parsed(label, "exact", "exact", (start, start + len(label)))
    return _default("jnli", text)


def _jcommonsenseqa(text: str) -> Parsed:
    found = _DIGITS.match(text)
    if not found:
        return _default("jcommonsenseqa", text)
    # Digits of any script count, as in Python's int(); a number that is no choice is an answer, and wrong.
    number = "".join(str(unicodedata.digit(char)) for char in found.group()[:20]).lstrip("0") or "0"
    return Parsed(number, "recovered", "digits_first", found.span())


def _jsts(text: str) -> Parsed:
    kept = _NOT_NUMERIC.sub("", text)
    try:
        # Beyond a few hundred digits the number is only larger than 5.
        value = float(kept[:400])
    except ValueError:
        return _default("jsts", text)
    return Parsed(min(max(value, 0.0), 5.0), "recovered", "digits_kept" if 0.0 <= value <= 5.0 else "clipped")


def _span(text: str) -> Parsed:
    prediction = nfkc(text).strip().strip(_BRACKETS).strip()
    return Parsed(prediction, "exact" if prediction else "empty", "nfkc_without_brackets")


def _span_scores(item: Item, prediction: str) -> dict[str, float]:
    words = utils.default_process(prediction)
    ratios = (fuzz.token_sort_ratio(words, utils.default_process(ref)) for ref in references(item))
    return {"exact_match": float(prediction in references(item)), "f1": round(max(ratios)) / 100}


def _default(task: str, text: str) -> Parsed:
    return Parsed(DEFAULTS[task], "off_format" if text.strip() else "empty", "default")


READERS: dict[str, Callable[[str], Parsed]] = {
    "marc_ja": _marc_ja,
    "jnli": _jnli,
    "jcommonsenseqa": _jcommonsenseqa,
    "jsts": _jsts,
}


def _protocol(shots: int) -> ScoringProtocol:
    name = f"wandb-2023-{shots}shot"
    return ScoringProtocol(
        name=name,
        metrics={
            "marc_ja": ("accuracy",),
            "jsts": ("pearson", "spearman"),
            "jnli": ("accuracy",),
            "jsquad": ("exact_match", "f1"),
            "jcommonsenseqa": ("accuracy",),
        },
        judge=partial(judge, name),
        defaults=DEFAULTS,
        literal=frozenset(("marc_ja", "jnli", "jcommonsenseqa")),
        preset=Preset("wandb-2023", shots),
    )


ZERO_SHOT, FOUR_SHOT = _protocol(0), _protocol(4)
