"""Items with their records and what a protocol makes of them. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.protocols.common import best_choice, is_right
from jglue_app.scoring.protocols.judging import is_scored, with_label_version
from jglue_app.scoring.types import Judgement, Outcome
from jglue_app.tasks import TASKS
from jglue_app.types import Item, Record, RunData

SHAPELESS = ("unreadable", "unfinished_thought", "truncated", "empty")
"""Outcomes of outputs in which no answer was found."""


@dataclass(frozen=True, slots=True)
class ScoredItem:
    """An item with its record and what a protocol makes of it."""

    item: Item
    record: Record
    judgement: Judgement


Judged = Mapping[str, Mapping[str, ScoredItem]]
"""Task → item id → ScoredItem."""


def judge_run(data: RunData, protocol: str, before: Judged | None = None) -> dict[str, dict[str, ScoredItem]]:
    """Task → item id → ScoredItem, in the order of the items, for every item that has a record.

    A subset that the protocol does not score has no rows, nor has an item that its system leaves out. Items bear the
    labels that the system held answers against.

    Args:
        data: what is stored of the run.
        protocol: a key of `PROTOCOLS`.
        before: what this has returned for the same run and protocol when fewer records were stored; judgements of
            records that are still the same are taken from there.

    Raises:
        UnknownNameError: no such protocol.
    """
    scoring = get_protocol(protocol)
    records = {(r.task, r.item_id): r for r in data.records}
    out: dict[str, dict[str, ScoredItem]] = {}
    for name, items in data.items.items():
        out[name] = {}
        if name not in scoring.metrics:
            continue
        task, rules = TASKS[name], scoring.rules[name]
        judged_before = before.get(name, {}) if before else {}
        for id_, item in items.items():
            record = records.get((name, id_))
            if record is None or not is_scored(rules, item):
                continue
            row = judged_before.get(id_)
            if row is None or row.record is not record:
                labelled = with_label_version(rules, item)
                row = ScoredItem(labelled, record, scoring.judge(task, labelled, record))
            out[name][id_] = row
    return out


def only_judged(judged: Judged, data: RunData) -> dict[str, dict[str, ScoredItem]]:
    """The rows of the items that a run has, of those that were judged for it or for a larger part of it."""
    return {
        task: {id_: row for id_, row in judged[task].items() if id_ in items}
        for task, items in data.items.items()
        if task in judged
    }


def only(data: RunData, items: Mapping[str, Collection[str]]) -> RunData:
    """A run as if it had been asked for these items alone (task → ids); what else is stored is left out."""
    kept = {
        name: {id_: item for id_, item in task_items.items() if id_ in items[name]}
        for name, task_items in data.items.items()
        if name in items
    }
    # Which items it was paid for is not known, and the others may be somebody else's.
    return replace(data, items=kept, paid_beside=data.paid_beside if kept == data.items else 0.0)


def verdict(row: ScoredItem) -> float | None:
    """Marks of an item in 0–1 by the protocol's first metric; of a similarity the number it was read as. None where
    there is neither."""
    if row.judgement.scores:
        return float(next(iter(row.judgement.scores.values())))
    value = row.judgement.strict.value
    return value if isinstance(value, float) else None


def is_correct(row: ScoredItem) -> bool | None:
    """Whether an answer counts in full by the protocol's first metric; None where there is no right and wrong."""
    return next(iter(row.judgement.scores.values())) == 1.0 if row.judgement.scores else None


def compared_outcomes(a: ScoredItem, b: ScoredItem) -> tuple[Outcome, Outcome] | None:
    """What became of an item in two runs, by one kind of evidence: where only one of them has a text, a text is not
    held against a ranking, but both rankings are compared. None where one has none."""
    if _has_text(a) == _has_text(b):
        return a.judgement.outcome, b.judgement.outcome
    choices = a.judgement.choice, b.judgement.choice
    if None in choices:
        return None
    of_a, of_b = (is_right(a.item, choice) for choice in choices)
    return "correct" if of_a else "wrong", "correct" if of_b else "wrong"


def _has_text(row: ScoredItem) -> bool:
    return row.record.output is not None and row.record.output.text is not None


def knows_answer(row: ScoredItem) -> bool | None:
    """Whether the model ranks the gold answer first and its text is in no shape to count: points lost on form, not on
    knowledge. None unless the item has both a text and a ranking."""
    output = row.record.output
    if output is None or output.text is None or (choice := best_choice(row.item, row.record)) is None:
        return None
    return row.judgement.outcome in ("wrong_form", *SHAPELESS) and is_right(row.item, choice)
