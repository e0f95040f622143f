"""What the judges of several protocols share: the cases in which there is nothing to judge, and log-likelihoods."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache

from jglue_app import thought as thoughts
from jglue_app.types import Item, Judgement, Outcome, Parsed, Record, Task

JSTS_TOLERANCE = 0.5
"""How far a similarity may be from the gold to count as right in the failure picture (never in a score)."""

Scores = Mapping[str, float]


def judge_text(
    protocol: str,
    task: Task,
    item: Item,
    record: Record,
    read: Callable[[str], Parsed],
    score: Callable[[str | float | None], Scores],
) -> Judgement:
    """Judge by one reading of the text alone.

    Args:
        read: raw text → what the protocol takes it for, with the rule that decided. A default has the status
            `off_format` (or `empty`) although there is a value. These systems know nothing of thoughts: what is read
            is the text as it was generated. That one never ended is said in the outcome, where nothing was read.
        score: that value → metrics of the item; `{}` for JSTS, which is scored over all items.
    """
    output = record.output
    if output is None:
        return no_answer(protocol, "error")
    if output.finish == "overflow":
        return no_answer(protocol, "overflow")
    if output.text is None:
        return no_answer(protocol, "unscored")
    parsed = read(output.text)
    scores = score(parsed.value)
    outcome: Outcome
    if parsed.status == "empty":
        outcome = "empty"
    elif parsed.status == "off_format":
        outcome = "truncated" if output.finish == "length" else "unreadable"
        if thoughts.split(output.text, record.prompt.thought).unfinished:
            outcome = "unfinished_thought"
    elif task.kind == "score":
        outcome = "correct" if near_enough(item, parsed.value) else "wrong"
    elif scores.get("exact_match", scores.get("accuracy")) == 1.0:
        outcome = "correct"
    else:
        outcome = "truncated" if task.kind == "span" and output.finish == "length" else "wrong"
    return Judgement(protocol, parsed, parsed, scores, scores, outcome)


def judge_ranking(protocol: str, item: Item, record: Record, score: Callable[[str], Scores]) -> Judgement:
    """Judge by the label with the highest summed log-probability alone; the text is not looked at."""
    if record.output is None:
        return no_answer(protocol, "error")
    choice = best_choice(item, record)
    if choice is None:
        if record.output.finish == "overflow":
            return no_answer(protocol, "overflow")
        return no_answer(protocol, "error" if record.output.choice_logprobs else "unscored")
    parsed = Parsed(choice, "exact", "highest_logprob")
    outcome: Outcome = "correct" if is_right(item, choice) else "wrong"
    scores = score(choice)
    return Judgement(protocol, parsed, parsed, scores, scores, outcome, choice)


def no_answer(protocol: str, outcome: Outcome, choice: str | None = None) -> Judgement:
    """The judgement where there is no text to read."""
    none = Parsed(None, "empty", "not_generated" if choice is not None else outcome)
    return Judgement(protocol, none, none, {}, {}, outcome, choice)


def usable_logprobs(item: Item, record: Record) -> tuple[float, ...] | None:
    """The log-probabilities of the item's choices; None if there are none, not as many, or not all finite."""
    logprobs = record.output.choice_logprobs if record.output else None
    if not logprobs or len(logprobs) != len(item.choices) or not all(map(math.isfinite, logprobs)):
        return None
    return logprobs


def best_choice(item: Item, record: Record) -> str | None:
    """The label with the highest summed log-probability, the first of equals; None without usable ones."""
    logprobs = usable_logprobs(item, record)
    return None if logprobs is None else item.choices[max(range(len(logprobs)), key=logprobs.__getitem__)]


def is_right(item: Item, value: str | float | None) -> bool:
    """Whether a label is the gold label."""
    return isinstance(item.gold, tuple) and value in item.gold


def near_enough(item: Item, value: str | float | None) -> bool:
    """Whether a similarity lies within `JSTS_TOLERANCE` of the gold."""
    return isinstance(item.gold, float) and isinstance(value, float) and abs(value - item.gold) <= JSTS_TOLERANCE


def references(item: Item) -> tuple[str, ...]:
    """The accepted spans or labels of an item that is not JSTS."""
    assert isinstance(item.gold, tuple)
    return item.gold


def asked_label(item: Item, record: Record, label: str) -> str:
    """How the prompt asked a label to be written; the label itself where there was no prompt."""
    return dict(zip(item.choices, record.prompt.answers, strict=False)).get(label, label)


def float_or(text: str, default: float) -> Parsed:
    """`float(text)` as Python reads it; `default` where that fails or gives no finite number."""
    start = len(text) - len(text.lstrip())
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isfinite(value):
        return Parsed(value, "exact", "number", (start, start + len(text.strip())))
    return Parsed(default, "off_format" if text.strip() else "empty", "default")


def nfkc(text: str) -> str:
    """Unicode normalisation form KC, in time linear in the length of the text.

    `unicodedata` puts marks in order by insertion, which takes minutes for a million of them; so long runs are sorted
    before.
    """
    if len(text) > 1_000:
        text = _mark_runs().sub(_in_order, text)
    return unicodedata.normalize("NFKC", text)


@lru_cache(maxsize=1)
def _mark_runs() -> re.Pattern[str]:
    """A hundred characters or more whose compatibility decompositions begin with a combining mark.

    All of these stand in the first two planes of Unicode.
    """
    marks = (c for c in map(chr, range(0x20000)) if unicodedata.combining(unicodedata.normalize("NFKD", c)[0]))
    return re.compile(f"[{''.join(marks)}]{{100,}}")


def _in_order(run: re.Match[str]) -> str:
    apart = (mark for char in run.group() for mark in unicodedata.normalize("NFKD", char))
    return "".join(sorted(apart, key=unicodedata.combining))
