"""Judged runs of a grid → every metric of every run, with and without groups of the items. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jglue_app.scoring.effect_types import AVERAGE, GridScores
from jglue_app.scoring.estimates import AGREEMENTS, CORRELATIONS, weighted
from jglue_app.scoring.judged import Judged, ScoredItem
from jglue_app.scoring.metrics import Floats
from jglue_app.scoring.report import has_score
from jglue_app.scoring.significance import Z95, proportion
from jglue_app.scoring.types import ScoringProtocol
from jglue_app.tasks import TASKS

MAX_GROUPS = 100
"""Groups of items that are left out one at a time; of fewer items each is one."""
ALIKE = 1e-9
"""Means of right answers (1) and wrong ones (0) nearer than this to 0 or 1 are of answers that are all alike."""
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
    if len(kept) > 1 and (of_group == of_group[0]).all():
        # Few items of many may all be in one group. Each is left out alone then, in the place of another: the variance
        # is right, and what the run has in common with others is lost.
        of_group = np.arange(len(kept)) % count
    weights = np.ones((len(kept), count + 1))
    weights[np.arange(len(kept)), of_group + 1] = 0.0
    empty = weights.sum(axis=0) == 0  # Of a single item.
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

    A metric of a reading that no run has is not there. Where all runs have one item, nothing can be left out: they have
    their values, and no covariance.
    """
    keys = dict.fromkeys(key for of_run in runs for key in of_run)
    first: dict[str, dict[str, GridScores]] = {}
    for task, metric, reading in keys:
        width = max(groups[task].values()) + 2
        none = np.full(width, np.nan), 0
        columns = [of_run.get((task, metric, reading), none) for of_run in runs]
        values = np.stack([values for values, _ in columns])
        counts = np.array([n for _, n in columns])
        if counts.max() == 1:
            values[:, 1:] = values[:, :1]
        n = int(min(counts[counts > min(1, counts.max() - 1)], default=0))
        unseen = unseen_errors(metric, values[:, 0], counts)
        scores = GridScores(task, metric, reading, values[:, 0], values[:, 1:], n, unseen)
        first.setdefault(reading, {}).setdefault(task, scores)
        yield scores
    for of_reading in first.values():
        if len(of_reading) > 1:
            of_subsets = list(of_reading.values())
            yield replace(_average(of_subsets), averaged=tuple(scores.metric for scores in of_subsets))


def unseen_errors(metric: str, values: Floats, counts: Sequence[int] | NDArray[np.int64]) -> Floats:
    """The standard errors of runs whose answers are all wrong (first column) or all right (second), as
    `GridScores.unseen` has them, shape (runs, 2).

    Leaving out items does not move such a value, and yet other items would. A report gives it Wilson's interval
    (`significance.proportion`), from 0 to z²/(n + z²); the standard error is what the width of this interval implies,
    z/2(n + z²). Errors of runs that are all wrong go together, as two of them differ on no item. For means of scores
    between 0 and 1 alone; 0 for other metrics.

    Args:
        metric: its name.
        values: of the runs, shape (runs,).
        counts: their items.
    """
    errors = np.zeros((len(values), 2))
    if metric in CORRELATIONS or metric in AGREEMENTS:
        return errors
    for run, (value, n) in enumerate(zip(values, counts, strict=True)):
        high = proportion(0, int(n)).high
        if high is not None and n > 1:
            errors[run] = high / (2 * Z95) * np.array([value <= ALIKE, -float(value >= 1 - ALIKE)])
    return errors


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
    unseen = np.hstack([scores.unseen / count for scores in of_subsets if scores.unseen is not None])
    return GridScores(AVERAGE, "mean", of_subsets[0].reading, values, np.hstack(parts), n, unseen)
