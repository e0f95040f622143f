"""Named scoring protocols: what one system would make of one stored record.

A new protocol is one function `(Task, Item, Record) → Judgement` and a line in `PROTOCOLS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from jglue_app import metrics, parsing
from jglue_app.errors import UnknownNameError
from jglue_app.types import Item, Judgement, Outcome, Output, Parsed, Record, Task

JSTS_MIDDLE = 2.5
"""What an unreadable similarity counts as in the imputed score: the middle of the scale."""


def official(task: Task, item: Item, record: Record) -> Judgement:
    """Metrics as in the JGLUE paper (Kurihara, Kawahara and Shibata 2022) and repository.

    The strict reading is the score, the lenient one stands beside it. An answer that cannot be read is wrong; for
    JSTS it is left out of the correlation and counted. An error and a prompt that did not fit are no answers and have
    no score.
    """
    if record.output is None:
        none = Parsed(None, "empty", "error")
        return Judgement("official", none, none, {}, {}, "error")
    choice = _best_choice(item, record.output)
    if record.output.finish == "overflow":
        none = Parsed(None, "empty", "overflow")
        return Judgement("official", none, none, {}, {}, "overflow", choice)
    if record.output.text is None:
        none = Parsed(None, "empty", "not_generated")
        right = choice is not None and _right(item, choice)
        return Judgement("official", none, none, {}, {}, "correct" if right else "wrong", choice)
    read = read_output(task, item, record)
    strict_scores, lenient_scores = _scores(task, item, read.strict), _scores(task, item, read.lenient)
    outcome = _outcome(task, item, read)
    return Judgement("official", read.strict, read.lenient, strict_scores, lenient_scores, outcome, choice)


Judge = Callable[[Task, Item, Record], Judgement]
PROTOCOLS: dict[str, Judge] = {"official": official}


def get_protocol(name: str) -> Judge:
    """The protocol called `name`.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in PROTOCOLS:
        raise UnknownNameError("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


def read_output(task: Task, item: Item, record: Record) -> parsing.Readings:
    """Both readings of a record's text, against the answers its prompt asked for."""
    text = (record.output.text if record.output else None) or ""
    if task.kind == "choice":
        answers = dict(zip(item.choices, record.prompt.answers, strict=True))
        return parsing.read_choice(text, answers, task.aliases(item))
    if task.kind == "score":
        return parsing.read_score(text)
    return parsing.read_span(text)


def _best_choice(item: Item, output: Output) -> str | None:
    logprobs = output.choice_logprobs
    if not logprobs:
        return None
    return item.choices[max(range(len(logprobs)), key=logprobs.__getitem__)]


def _right(item: Item, value: str | float | None) -> bool:
    return isinstance(item.gold, tuple) and value in item.gold


def _scores(task: Task, item: Item, parsed: Parsed) -> Mapping[str, float]:
    if task.kind == "choice":
        return {"accuracy": float(_right(item, parsed.value))}
    if task.kind == "score":
        return {}
    assert isinstance(item.gold, tuple)
    text = parsed.value if isinstance(parsed.value, str) else ""
    return {
        "exact_match": metrics.span_exact_match(text, item.gold),
        "f1": metrics.span_f1(text, item.gold),
    }


def _outcome(task: Task, item: Item, read: parsing.Readings) -> Outcome:
    if read.lenient.status == "empty":
        return "empty"
    if read.lenient.value is None:
        return "unreadable"
    strict, lenient = (_is_correct(task, item, p) for p in (read.strict, read.lenient))
    if strict:
        return "correct"
    return "wrong_form" if lenient else "wrong"


def _is_correct(task: Task, item: Item, parsed: Parsed) -> bool:
    """Right or wrong for the failure picture.

    A similarity is right within half a point of the gold, a span on an exact match: an F1 of 1 is any order of letters.
    """
    if parsed.value is None:
        return False
    if task.kind == "score":
        assert isinstance(item.gold, float) and isinstance(parsed.value, float)
        return abs(parsed.value - item.gold) <= 0.5
    return _scores(task, item, parsed)[task.metrics[0]] == 1.0
