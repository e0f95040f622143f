"""Judged runs of a grid → every metric of every run, with and without groups of the items. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from jglue_app.scoring.effect_types import AVERAGE, GridScores
from jglue_app.scoring.estimates import weighted
from jglue_app.scoring.judged import Judged, ScoredItem
from jglue_app.scoring.metrics import Floats
from jglue_app.scoring.report import has_score
from jglue_app.scoring.types import ScoringProtocol
from jglue_app.tasks import TASKS

MAX_GROUPS = 100
"""Groups of items that are left out one at a time; of fewer items each is one."""
READINGS: tuple[Literal["strict", "lenient", "choose"], ...] = ("strict", "lenient", "choose")

Key = tuple[str, str, Literal["strict", "lenient", "choose"]]
"""(Subset, metric, reading)."""


def run_values(
    judged: Judged, protocol: ScoringProtocol, groups: Mapping[str, Mapping[str, int]]
) -> dict[Key, tuple[Floats, int]]:
    """(Subset, metric, reading) → the value of one run, then without each group of items, NaN where undefined; and the
    number of items.

    Args:
        judged: the run, under the protocol.
        protocol: whose metrics.
        groups: subset → item → number of its group; see `groups_of`.
    """
    found: dict[Key, tuple[Floats, int]] = {}
    for name, rows in judged.items():
        for reading in READINGS:
            chosen = _rows(list(rows.values()), protocol, reading)
            for metric in protocol.metrics.get(name, ()) if chosen else ():
                found[name, metric, reading] = _values(metric, name, chosen, reading, protocol, groups[name])
    return found


def _rows(rows: Sequence[ScoredItem], protocol: ScoringProtocol, reading: str) -> list[ScoredItem]:
    """The rows that a report scores in a reading."""
    if reading == "choose":
        return [row for row in rows if protocol.lenient and row.judgement.choice is not None]
    return [row for row in rows if has_score(row, protocol) and (reading == "strict" or protocol.lenient)]


def _values(
    metric: str,
    name: str,
    rows: list[ScoredItem],
    reading: str,
    protocol: ScoringProtocol,
    groups: Mapping[str, int],
) -> tuple[Floats, int]:
    task = TASKS[name]
    value, kept = weighted(metric, task, rows, reading)
    count = max(groups.values()) + 1
    if not kept:
        return np.full(count + 1, np.nan), 0
    of_group = np.array([groups[row.item.id] for row in kept])
    weights = np.ones((len(kept), count + 1))
    weights[np.arange(len(kept)), of_group + 1] = 0.0
    empty = weights.sum(axis=0) == 0
    weights[:, empty] = 1.0
    values = value(weights)
    values[empty] = np.nan
    if task.kind == "score" and reading == "strict" and protocol.rules[name].undefined == "zero" and len(kept) > 1:
        values = np.nan_to_num(values, nan=0.0)
    return values, len(kept)


def groups_of(items: Sequence[Mapping[str, Sequence[str]]]) -> dict[str, dict[str, int]]:
    """Subset → item → number of the group that it is left out with. Neighbours are in different groups, as questions
    about one paragraph stand together.

    Args:
        items: of each run, subset → ids of its items in their order.
    """
    found: dict[str, dict[str, int]] = {}
    for of_run in items:
        for task, ids in of_run.items():
            known = found.setdefault(task, {})
            for id_ in ids:
                known.setdefault(id_, len(known))
    return {
        task: {id_: place % min(MAX_GROUPS, len(known)) for id_, place in known.items()}
        for task, known in found.items()
    }


def grid_scores(
    runs: Sequence[Mapping[Key, tuple[Floats, int]]], groups: Mapping[str, Mapping[str, int]]
) -> Iterator[GridScores]:
    """The metrics of all runs, from `run_values` of each; then, for each reading, the average of the subsets' first
    metrics, where there are several.

    A metric of a reading that no run has is not there.
    """
    keys = dict.fromkeys(key for of_run in runs for key in of_run)
    first: dict[str, dict[str, GridScores]] = {}
    for task, metric, reading in keys:
        width = max(groups[task].values()) + 2
        none = np.full(width, np.nan), 0
        columns = [of_run.get((task, metric, reading), none) for of_run in runs]
        values = np.stack([values for values, _ in columns])
        counts = [n for _, n in columns if n]
        scores = GridScores(task, metric, reading, values[:, 0], values[:, 1:], min(counts, default=0))
        first.setdefault(reading, {}).setdefault(task, scores)
        yield scores
    for of_reading in first.values():
        if len(of_reading) > 1:
            of_subsets = list(of_reading.values())
            yield replace(_average(of_subsets), averaged=tuple(scores.metric for scores in of_subsets))


def _average(of_subsets: Sequence[GridScores]) -> GridScores:
    """The mean over subsets. Their items are different ones, so each is left out while the others stay whole; the
    deviations are scaled so that the covariance is that of independent samples, whatever the numbers of groups."""
    count = len(of_subsets)
    values = np.mean([scores.values for scores in of_subsets], axis=0)
    total = sum(scores.without.shape[1] for scores in of_subsets)
    parts = []
    for scores in of_subsets:
        groups = scores.without.shape[1]
        scale = np.sqrt((groups - 1) / groups / ((total - 1) / total)) / count
        middle = scores.without.mean(axis=1, keepdims=True)
        parts.append(values[:, None] + scale * (scores.without - middle))
    n = min(scores.n for scores in of_subsets)
    return GridScores(AVERAGE, "mean", of_subsets[0].reading, values, np.hstack(parts), n)
