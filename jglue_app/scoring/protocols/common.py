"""What the judges of several protocols share: the cases in which there is nothing to judge, and log-likelihoods."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from jglue_app.prompts import thoughts
from jglue_app.scoring.types import Judgement, Outcome, Parsed
from jglue_app.tasks import TASKS
from jglue_app.types import Item, Record, Task

JSTS_TOLERANCE = 0.5
"""How far a similarity may be from the gold to count as right in the failure picture (never in a score)."""

SHARES = ("accuracy", "acc_norm", "exact_match")
"""Metrics that are a share of right answers."""

Scores = Mapping[str, float]


def judge_text(
    protocol: str,
    task: Task,
    item: Item,
    record: Record,
    read: Callable[[str], Parsed],
    score: Callable[[str | float | None], Scores],
    *,
    cut_at_blank_line: bool = False,
) -> Judgement:
    """Judge by one reading of the text alone.

    Args:
        read: raw text → what the protocol takes it for, with the rule that decided. A default has the status
            `off_format` (or `empty`) although there is a value. These systems know nothing of thoughts: what is read
            is the text as it was generated. That one never ended is said in the outcome, where nothing was read.
        score: that value → metrics of the item; `{}` for JSTS, which is scored over all items.
        cut_at_blank_line: whether a blank line ends an answer, so that the token limit behind it cut nothing off.
    """
    output = record.output
    if output is None:
        return no_answer(protocol, "error")
    if output.finish == "overflow":
        return no_answer(protocol, "overflow")
    if output.text is None or is_cosine(record):
        return no_answer(protocol, "unscored")
    parsed = read(output.text)
    scores = score(parsed.value)
    cut = output.finish == "length" and not (cut_at_blank_line and "\n\n" in output.text.strip())
    outcome: Outcome
    if thoughts.cut_in_thought(output):
        outcome = "unfinished_thought"
    elif parsed.status in ("empty", "unfinished_thought"):
        outcome = parsed.status
    elif parsed.status == "off_format":
        outcome = "truncated" if cut else "unreadable"
        if thoughts.split(output.text, record.prompt.thought).unfinished:
            outcome = "unfinished_thought"
    elif task.kind == "score":
        outcome = "correct" if is_within_tolerance(item, parsed.value) else "wrong"
    elif scores.get("exact_match", scores.get("accuracy", max(scores.values(), default=0.0))) == 1.0:
        outcome = "correct"
    else:
        outcome = "truncated" if task.kind == "span" and cut else "wrong"
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


def is_cosine(record: Record) -> bool:
    """Whether an output is the cosine of two embeddings: a number that no model wrote, on a scale of its own."""
    output, task = record.output, TASKS.get(record.task)
    if output is None or task is None or task.kind != "score":  # Only similarities are embedded.
        return False
    return output.finish == "scored" and output.text is not None and not output.choice_logprobs


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


def is_within_tolerance(item: Item, value: str | float | None) -> bool:
    """Whether a similarity lies within `JSTS_TOLERANCE` of the gold."""
    return isinstance(item.gold, float) and isinstance(value, float) and abs(value - item.gold) <= JSTS_TOLERANCE


def references(item: Item) -> tuple[str, ...]:
    """The accepted spans or labels of an item that is not JSTS."""
    assert isinstance(item.gold, tuple)
    return item.gold


def requested_label(item: Item, record: Record, label: str) -> str:
    """How the prompt asked a label to be written; the label itself where there was no prompt."""
    return dict(zip(item.choices, record.prompt.answers, strict=False)).get(label, label)
