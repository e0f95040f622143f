"""Items with their records and what a protocol makes of them. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.protocols.judging import is_scored, with_label_version
from jglue_app.scoring.types import (
    Judgement,
)
from jglue_app.tasks import TASKS
from jglue_app.types import Item, Record, RunData


@dataclass(frozen=True, slots=True)
class Answered:
    """An item with its record and what a protocol makes of it."""

    item: Item
    record: Record
    judgement: Judgement


Judged = Mapping[str, Mapping[str, Answered]]
"""Task → item id → Answered."""


def judge_run(data: RunData, protocol: str) -> dict[str, dict[str, Answered]]:
    """Task → item id → Answered, in the order of the items, for every item that has a record.

    A subset that the protocol does not score has no rows, nor has an item that its system leaves out. Items bear the
    labels that the system held answers against.
    """
    how = get_protocol(protocol)
    records = {(r.task, r.item_id): r for r in data.records}
    out: dict[str, dict[str, Answered]] = {}
    for name, items in data.items.items():
        out[name] = {}
        if name not in how.metrics:
            continue
        task, rules = TASKS[name], how.rules[name]
        for id_, item in items.items():
            record = records.get((name, id_))
            if record and is_scored(rules, item):
                labelled = with_label_version(rules, item)
                out[name][id_] = Answered(labelled, record, how.judge(task, labelled, record))
    return out


def only(data: RunData, items: Mapping[str, Collection[str]]) -> RunData:
    """A run as if it had been asked for these items alone (task → ids); what else is stored is left out."""
    kept = {
        name: {id_: item for id_, item in found.items() if id_ in items[name]}
        for name, found in data.items.items()
        if name in items
    }
    return replace(data, items=kept)
