"""Scores of a run on parts of its items: by gold label, by length of the question, by the rule that read the answer,
and by what is known against an item. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from jglue_app.scoring.comparison import corrected, main_difference
from jglue_app.scoring.item_groups import groups
from jglue_app.scoring.judged import Judged, ScoredItem
from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.report import has_score, metrics_of
from jglue_app.scoring.types import Difference, Estimate, ScoringProtocol
from jglue_app.tasks import TASKS
from jglue_app.types import Item, RunData

Kind = Literal["label", "length", "rule", "fault"]
KINDS: tuple[Kind, ...] = ("label", "length", "rule", "fault")
LENGTHS = ("short", "middle", "long")
CLEAN = "clean"
"""Key of the items that are in none of the groups of `item_groups`."""
Rows = Mapping[str, ScoredItem]
"""Item id → row, of one subset."""


@dataclass(frozen=True, slots=True)
class Slice:
    """The main metric of a subset on a part of its items."""

    task: str
    kind: Kind
    key: str
    """A gold label, one of `LENGTHS`, a rule of `rules.RULES`, a key of `item_groups.GROUPS` or `CLEAN`."""
    metric: str
    score: Estimate
    difference: Difference | None = None
    """To a baseline, run minus baseline, on the items of the part that both have answered; p is corrected over all
    parts together. None without a baseline, or where there is nothing to compare."""
    characters: tuple[int, int] | None = None
    """Least and most characters of a question, of a part by length."""


def slices(data: RunData, protocol: str, judged: Judged, baseline: Judged | None = None) -> tuple[Slice, ...]:
    """Every part of every subset that the protocol scores.

    Args:
        data: what is stored of the run.
        protocol: a key of `PROTOCOLS`.
        judged: what `judge_run` has made of the run under it.
        baseline: the same of the run to compare with; None for none.

    Raises:
        UnknownNameError: no such protocol.
    """
    scoring = get_protocol(protocol)
    faults = groups(data)
    found: list[Slice] = []
    for task, rows in judged.items():
        if not rows:
            continue
        of_task = {group: ids[task] for group, ids in faults.items() if task in ids}
        for kind, key, part in _parts(scoring, task, rows, of_task):
            if (one := _slice(scoring, task, kind, key, part)) is not None:
                other = baseline.get(task, {}) if baseline is not None else {}
                difference = main_difference(TASKS[task], other, part, scoring) if other else None
                found.append(replace(one, difference=difference))
    family = {i: one.difference for i, one in enumerate(found) if one.difference is not None}
    differences = corrected(family)
    return tuple(replace(one, difference=differences.get(i)) for i, one in enumerate(found))


def _slice(scoring: ScoringProtocol, task: str, kind: Kind, key: str, part: Rows) -> Slice | None:
    scores = metrics_of(scoring, TASKS[task], list(part.values()))
    metric = scoring.metrics[task][0]
    if metric not in scores:
        return None
    lengths = [length(row.item) for row in part.values()]
    characters = (min(lengths), max(lengths)) if kind == "length" else None
    return Slice(task, kind, key, metric, scores[metric], characters=characters)


def _parts(
    scoring: ScoringProtocol, task: str, rows: Rows, faults: Mapping[str, frozenset[str]]
) -> Iterator[tuple[Kind, str, Rows]]:
    if TASKS[task].kind == "choice":
        for label in TASKS[task].labels or _labels(rows):
            yield from _part("label", label, {i: row for i, row in rows.items() if _has_label(row, label)})
    yield from (("length", name, part) for name, part in by_length(rows).items())
    if any(has_score(row, scoring) for row in rows.values()) and task not in scoring.ranked:
        for rule in sorted({row.judgement.strict.rule for row in rows.values()}):
            yield from _part("rule", rule, {i: r for i, r in rows.items() if r.judgement.strict.rule == rule})
    if faults:
        for group, ids in faults.items():
            yield from _part("fault", group, {i: row for i, row in rows.items() if i in ids})
        known = frozenset().union(*faults.values())
        yield from _part("fault", CLEAN, {i: row for i, row in rows.items() if i not in known})


def _part(kind: Kind, key: str, part: Rows) -> Iterator[tuple[Kind, str, Rows]]:
    if part:
        yield kind, key, part


def _labels(rows: Rows) -> list[str]:
    return sorted({row.item.gold[0] for row in rows.values() if isinstance(row.item.gold, tuple)})


def _has_label(row: ScoredItem, label: str) -> bool:
    return isinstance(row.item.gold, tuple) and row.item.gold[0] == label


def length(item: Item) -> int:
    """Characters of a question: of all its fields together."""
    return sum(map(len, item.fields.values()))


def by_length(rows: Rows) -> dict[str, Rows]:
    """`LENGTHS` → rows, in thirds by length. Items of the same length stay together, so a third may be larger or
    missing."""
    lengths = {id_: length(row.item) for id_, row in rows.items()}
    edges = np.quantile(list(lengths.values()), (1 / 3, 2 / 3), method="inverted_cdf")
    third = {id_: int(np.searchsorted(edges, characters)) for id_, characters in lengths.items()}
    parts = {name: {id_: rows[id_] for id_ in rows if third[id_] == i} for i, name in enumerate(LENGTHS)}
    return {name: part for name, part in parts.items() if part}
