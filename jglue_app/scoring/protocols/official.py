"""`official`: metrics as in the JGLUE paper and repository, read strictly, with a lenient reading beside it."""

from __future__ import annotations

from collections.abc import Mapping

from jglue_app.prompts import thoughts
from jglue_app.scoring import metrics, parsing
from jglue_app.scoring.protocols.common import best_choice, is_cosine, is_right, is_within_tolerance, no_answer
from jglue_app.scoring.types import Judgement, Outcome, Parsed, Rules, ScoringProtocol
from jglue_app.tasks import TASKS
from jglue_app.types import Item, Record, Task

NAME = "official"
JSTS_MIDDLE = 2.5
"""What an unreadable similarity counts as in the imputed score: the middle of the scale."""


def judge(task: Task, item: Item, record: Record) -> Judgement:
    """Metrics as in the JGLUE paper (Kurihara, Kawahara and Shibata 2022) and repository.

    The strict reading is the score, the lenient one stands beside it. JSQuAD is normalised as in the repository's
    script: lower case, trailing 「。」 off, spaces collapsed; F1 is over the bag of characters, both metrics take the
    best reference. White space is trimmed before that, which the script does not do: only here is 「UIA。 」 UIA. A
    thought is no part of the answer: where the prompt opens one or leaves it to the model, the strict reading too is
    of what follows it, and a thought that never ends is read as nothing. An answer that cannot be read is wrong; for
    JSTS it is left out of the correlation and counted. An error and a prompt that did not fit are no answers and have
    no score. The cosine of two embeddings is taken as it is: it has one reading, and is neither right nor wrong.
    """
    if item.gold == ():
        return _without_gold(task, item, record)
    output = record.output
    choice = best_choice(item, record)
    if output is None or (output.text is None and choice is None):
        return no_answer(NAME, "error")
    if output.finish == "overflow":
        return no_answer(NAME, "overflow", choice)
    if output.text is None:
        return no_answer(NAME, "correct" if is_right(item, choice) else "wrong", choice)
    if is_cosine(record):
        return _cosine(output.text)
    read = read_output(task, item, record)
    return Judgement(
        NAME,
        read.strict,
        read.lenient,
        _scores(task, item, read.strict),
        _scores(task, item, read.lenient),
        "unfinished_thought"
        if thoughts.cut_in_thought(output)
        else _outcome(task, item, read, output.finish == "length"),
        choice,
    )


def _without_gold(task: Task, item: Item, record: Record) -> Judgement:
    """How an answer is read to an item of which no right answer is known: neither right nor wrong."""
    output, choice = record.output, best_choice(item, record)
    if output is None or (output.text is None and choice is None):
        return no_answer(NAME, "error")
    if output.finish == "overflow":
        return no_answer(NAME, "overflow", choice)
    if output.text is None:
        return no_answer(NAME, "unscored", choice)
    if is_cosine(record):
        return _cosine(output.text)
    read = read_output(task, item, record)
    shapeless: dict[str, Outcome] = {"empty": "empty", "unfinished_thought": "unfinished_thought"}
    outcome = shapeless.get(read.lenient.status, "unscored")
    if outcome == "unscored" and read.lenient.value is None:
        outcome = "truncated" if output.finish == "length" else "unreadable"
    return Judgement(NAME, read.strict, read.lenient, {}, {}, outcome, choice)


def _cosine(text: str) -> Judgement:
    """The judgement of a cosine. No text was written, so there is no lenient reading."""
    try:
        value = float(text)
    except ValueError:  # Of a file that was edited.
        return no_answer(NAME, "error")
    if not -1 <= value <= 1:
        return no_answer(NAME, "error")
    return Judgement(NAME, Parsed(value, "exact", "cosine"), Parsed(None, "empty", "not_generated"), {}, {}, "cosine")


_READINGS = {"choice": "asked", "score": "plain_number", "span": "whole"}
_TEXT = {
    "choice": (("trimmed", "both"),),
    "score": (("trimmed", "prediction"),),
    "span": (("trimmed", "prediction"), ("lower", "both"), ("without_full_stop", "both"), ("collapsed", "both")),
}


def _rules(task: Task) -> Rules:
    """The decisions of the strict reading, as other systems' are written down."""
    return Rules(
        metrics=task.metrics,
        thought="left_out",
        text=_TEXT[task.kind],
        reading=_READINGS[task.kind],
        f1="character_bag" if task.kind == "span" else "",
    )


PROTOCOL = ScoringProtocol(
    NAME,
    {name: task.metrics for name, task in TASKS.items()},
    judge,
    lenient=True,
    rules={name: _rules(task) for name, task in TASKS.items()},
)


def read_output(task: Task, item: Item, record: Record) -> parsing.Readings:
    """Both readings of a record's text, against the answers its prompt asked for."""
    text = (record.output.text if record.output else None) or ""
    thought = record.prompt.thought
    if task.kind == "choice":
        answers = dict(zip(item.choices, record.prompt.answers, strict=True))
        return parsing.read_choice(text, answers, task.aliases(item), thought, task.whole_answers)
    if task.kind == "score":
        return parsing.read_score(text, thought=thought)
    return parsing.read_span(text, thought)


def _scores(task: Task, item: Item, parsed: Parsed) -> Mapping[str, float]:
    if task.kind == "choice":
        return {"accuracy": float(is_right(item, parsed.value))}
    if task.kind == "score":
        return {}
    assert isinstance(item.gold, tuple)
    text = parsed.value if isinstance(parsed.value, str) else ""
    return {
        "exact_match": metrics.span_exact_match(text, item.gold),
        "f1": metrics.span_f1(text, item.gold),
    }


def _outcome(task: Task, item: Item, read: parsing.Readings, cut: bool) -> Outcome:
    if read.lenient.status == "empty":
        return "empty"
    if read.lenient.status == "unfinished_thought":
        return "unfinished_thought"
    if read.lenient.value is None:
        return "truncated" if cut else "unreadable"
    strict, lenient = (_is_correct(task, item, p) for p in (read.strict, read.lenient))
    if strict:
        return "correct"
    if lenient:
        return "wrong_form"
    return "truncated" if cut and task.kind == "span" else "wrong"


def _is_correct(task: Task, item: Item, parsed: Parsed) -> bool:
    """Right or wrong for the failure picture.

    A similarity is right within half a point of the gold, a span on an exact match: an F1 of 1 is any order of letters.
    """
    if parsed.value is None:
        return False
    if task.kind == "score":
        return is_within_tolerance(item, parsed.value)
    if task.kind == "choice":
        return is_right(item, parsed.value)
    assert isinstance(item.gold, tuple)
    return isinstance(parsed.value, str) and metrics.span_exact_match(parsed.value, item.gold) == 1.0
