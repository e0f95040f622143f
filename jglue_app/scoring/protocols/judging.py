"""One judge for every system: what a system is, is its `Rules`. No I/O."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping

from jglue_app.data.known_items import with_labels_of
from jglue_app.prompts import thoughts
from jglue_app.scoring.parsing.normalization import strict_part
from jglue_app.scoring.protocols.common import (
    SHARES,
    is_right,
    judge_ranking,
    judge_text,
    references,
    requested_label,
    usable_logprobs,
)
from jglue_app.scoring.protocols.span_similarity import F1_FUNCTIONS
from jglue_app.scoring.protocols.text_normalization import prepare, prepare_reference
from jglue_app.scoring.types import Judgement, Parsed, Rules
from jglue_app.types import Item, Record, Task

_DIGITS = re.compile(r"\d+")
_PLAIN_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_LONGEST_REFERENCE = 37.5
"""One and a half times the 25 new tokens that the W&B evaluation of 2023 allowed."""


def judge(name: str, rules: Rules, task: Task, item: Item, record: Record) -> Judgement:
    """What a system with these rules makes of one record.

    Args:
        name: what the judgement is to be called.
        rules: of the subset.
        task: the subset.
        item: what was asked.
        record: what came back.
    """
    item = with_label_version(rules, item)
    if rules.evidence == "log_likelihood":
        return judge_ranking(name, item, record, lambda choice: _ranking_scores(rules, item, record, choice))
    return judge_text(
        name,
        task,
        item,
        record,
        lambda text: _read(rules, task, item, record, text),
        lambda value: _scores(rules, task, item, value),
        cut_at_blank_line=any(step == "to_blank_line" for step, _ in rules.text),
    )


def with_label_version(rules: Rules, item: Item) -> Item:
    """The item with the gold label that the system held answers against."""
    return item if rules.labels == "file" else with_labels_of(item, rules.labels)


def is_scored(rules: Rules, item: Item) -> bool:
    """Whether the system scores an item at all."""
    if rules.items == "short_references" and isinstance(item.gold, tuple):
        return len(max(item.gold)) <= _LONGEST_REFERENCE
    return True


# --- text -----------------------------------------------------------------------------------------------


def _read(rules: Rules, task: Task, item: Item, record: Record, text: str) -> Parsed:
    begin, end = 0, len(text)
    if rules.thought == "left_out":
        parts = thoughts.split(text, record.prompt.thought)
        if parts.unfinished or parts.answer is None:
            return Parsed(rules.unreadable, thoughts.UNFINISHED, thoughts.UNFINISHED)
        begin, end = strict_part(text, parts, record.prompt.thought)
    raw = text[begin:end]
    prepared, changed = prepare(rules.text, raw)
    if task.kind == "span":
        parsed = Parsed(prepared, "exact" if prepared.strip() else "empty", "+".join(changed) or "as_written")
    elif task.kind == "score":
        parsed = _number(rules, prepared, changed)
    else:
        parsed = _label(rules, item, record, prepared, changed)
    if parsed.rule == "no_match":
        if rules.unreadable is None:
            return Parsed(None, "off_format" if raw.strip() else "empty", "no_match")
        return Parsed(rules.unreadable, "off_format" if raw.strip() else "empty", "default")
    return _match_position(parsed, prepared, text, begin, end)


def _match_position(parsed: Parsed, prepared: str, text: str, begin: int, end: int) -> Parsed:
    """With the place in the raw text, where what was read stands there as it is."""
    if parsed.span is not None:
        prepared = prepared[slice(*parsed.span)]
    start = text.find(prepared, begin, end) if prepared else -1
    if start < 0 and len(text.lower()) == len(text):
        start = text.lower().find(prepared, begin, end) if prepared else -1
    place = (start, start + len(prepared)) if start >= 0 else None
    return Parsed(parsed.value, parsed.status, parsed.rule, place)


_NO_MATCH = Parsed(None, "off_format", "no_match")


def _label(rules: Rules, item: Item, record: Record, text: str, changed: tuple[str, ...]) -> Parsed:
    if rules.reading == "contains_negative":
        at = text.find("negative")
        if at >= 0:
            return Parsed("negative", "recovered", "contains", (at, at + len("negative")))
        if text == "ネガティブ":
            return Parsed("negative", "recovered", "equal", (0, len(text)))
        if "positive" in text or text == "ポジティブ":
            return Parsed("positive", "recovered", "contains_no_negative")
        return _NO_MATCH
    if rules.reading == "leading_digits":
        digits = _DIGITS.match(text)
        if not digits:
            return _NO_MATCH
        # Digits of any script count, as in Python's int(); a number that is no choice is an answer, and wrong.
        number = "".join(str(unicodedata.digit(char)) for char in digits.group()).lstrip("0")[:20] or "0"
        numbers = {str(n): label for n, label in enumerate(item.choices)}
        return Parsed(numbers.get(number, number), "recovered", "digits_first", digits.span())
    if rules.reading == "label":
        answers = {label: label for label in item.choices}
    elif rules.reading == "label_number":
        answers = {str(n): label for n, label in enumerate(item.choices)}
    else:
        answers = {
            prepare_reference(rules.text, requested_label(item, record, label)): label
            for label in reversed(item.choices)
        }
    label = answers.get(text)
    return Parsed(label, "exact", "+".join((*changed, "equal")), (0, len(text))) if label is not None else _NO_MATCH


def _number(rules: Rules, text: str, changed: tuple[str, ...]) -> Parsed:
    if rules.reading == "plain_number":
        if len(text) >= 40 or not _PLAIN_NUMBER.fullmatch(text) or not 0 <= float(text) <= 5:
            return _NO_MATCH
        return Parsed(float(text), "exact", "+".join((*changed, "number")), (0, len(text)))
    try:
        value = float(text)
    except ValueError:
        return _NO_MATCH
    # One object each, so that two judgements of one output are equal.
    value = math.nan if math.isnan(value) else math.inf if value == math.inf else value
    within = min(max(value, 0.0), 5.0) if rules.clip and not math.isnan(value) else value
    steps = (*changed, "number", "clipped") if within != value and not math.isnan(value) else (*changed, "number")
    start = len(text) - len(text.lstrip())
    place = (start, start + len(text.strip()))
    return Parsed(within, "recovered" if "digits_kept" in changed else "exact", "+".join(steps), place)


def _scores(rules: Rules, task: Task, item: Item, value: str | float | None) -> Mapping[str, float]:
    if task.kind == "score":
        return {}
    if task.kind == "choice":
        right = float(is_right(item, value))
        return {name: right for name in rules.metrics if name in SHARES and name != "acc_norm"}
    prediction = value if isinstance(value, str) else ""
    golds = references(item)[:1] if rules.references == "first" else references(item)
    prepared = [prepare_reference(rules.text, gold) for gold in golds]
    return {
        name: float(prediction in prepared)
        if name == "exact_match"
        else max(F1_FUNCTIONS[rules.f1](prediction, gold) for gold in prepared)
        for name in rules.metrics
    }


# --- log-likelihoods ------------------------------------------------------------------------------------


def _ranking_scores(rules: Rules, item: Item, record: Record, choice: str) -> dict[str, float]:
    scores = {name: float(is_right(item, choice)) for name in rules.metrics if name in SHARES}
    if "acc_norm" in scores:
        scores["acc_norm"] = float(is_right(item, normed_choice(item, record)))
    return scores


def normed_choice(item: Item, record: Record) -> str:
    """The label with the highest log-likelihood per character of the text that was ranked, the first of equals."""
    logprobs = usable_logprobs(item, record)
    assert logprobs is not None
    lengths = [len(answer) for answer in _ranked(item, record)]
    per_character = [p / max(1, n) for p, n in zip(logprobs, lengths, strict=True)]
    return item.choices[max(range(len(per_character)), key=per_character.__getitem__)]


def _ranked(item: Item, record: Record) -> tuple[str, ...]:
    """The texts that were ranked; for outputs made elsewhere that do not name them, the choices' words or labels."""
    if record.prompt.text or record.prompt.answers != item.choices:
        return record.prompt.answers
    return tuple(item.fields.get(f"choice{label}", label) for label in item.choices)
