"""What paired tests of many runs need of each of them: the column of its scores on a subset. No I/O.

Tests of all pairs of a thousand runs are half a million. The bootstrap of a difference draws the same items for every
pair with as many items, and its metric is a difference of two numbers, one of each run (`significance`). So the draws
of each run are computed once, and a pair takes their difference. It has the value and the interval that
`comparison.main_difference` gives for it, but for rounding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jglue_app.scoring import many_pairs, metrics, significance
from jglue_app.scoring.estimates import (
    AGREEMENTS,
    CORRELATIONS,
    gold_label,
    gold_similarity,
    is_readable,
    item_score,
    label_of,
    similarity_of,
)
from jglue_app.scoring.judged import ScoredItem
from jglue_app.scoring.metrics import Floats
from jglue_app.scoring.protocols.common import SHARES
from jglue_app.scoring.report import has_score
from jglue_app.scoring.types import PairedTest, ScoringProtocol
from jglue_app.types import Item, Task

MOST_COUNTED = 16_000
"""Items of a share whose draws are compared as whole numbers of 16 bits, which is three times as fast."""
BLOCK = 128
"""Pairs that are tested at a time: few enough to stay in a processor's cache."""
STACKED = 32
"""Pairs with items of their own whose moments are multiplied at a time."""
NOT_READ = -1
"""What stands for a label that could not be read."""


@dataclass(frozen=True, slots=True)
class Column:
    """The scores of one run on the items of one subset that count by one reading, in the run's order."""

    metric: str
    items: str
    """Checksum of the items and their order: columns of which it is equal are paired place by place."""
    positions: NDArray[Any]
    """Of each item among all of the subset that the run was given, sorted by id: whole numbers, shape (n,)."""
    values: NDArray[Any]
    """Of each item its score, its similarity, or the number of its label among `labels`: numbers, shape (n,)."""
    golds: NDArray[Any]
    """The same of the right answer; empty where scores need none."""
    labels: tuple[str, ...]
    draws: Floats
    """The metric, and the metric of each resample of the items; shape (1 + resamples,)."""

    @property
    def fingerprint(self) -> str:
        """Equal for columns that no test can tell apart."""
        checksum = hashlib.sha256(repr((self.metric, self.items, self.labels)).encode("utf-8", "surrogatepass"))
        for array in (self.positions, self.values, self.golds):
            checksum.update(array.dtype.str.encode())
            checksum.update(np.ascontiguousarray(array).tobytes())
        return checksum.hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Differences:
    """Of the main metric of a subset, B minus A, for several B. NaN where there is none; all of shape (pairs,)."""

    value: Floats
    low: Floats
    high: Floats
    p: Floats
    """Of McNemar's exact test for shares of right answers; NaN for other metrics, whose p an average gives."""
    n: NDArray[np.int64]
    """Items that both have answered."""


def column_of(
    task: Task, rows: Mapping[str, ScoredItem], items: Mapping[str, Item], reading: str, protocol: ScoringProtocol
) -> Column | None:
    """The column of a run on a subset; None where nothing counts.

    Args:
        task: the subset.
        rows: item id → judged item, in the run's order.
        items: item id → item, of all that the run was given.
        reading: `strict`, or `choose` for a ranking of the choices.
        protocol: whose main metric.
    """
    name = protocol.metrics[task.name][0]
    kept = [row for row in rows.values() if _counts(row, task, reading, protocol)]
    if not kept:
        return None
    place = {id_: i for i, id_ in enumerate(sorted(items))}
    checksum = hashlib.sha256()
    for row in kept:
        checksum.update(repr((row.item.id, row.item.gold)).encode("utf-8", "surrogatepass"))
    labels: tuple[str, ...] = ()
    golds: list[float] = []
    if name in CORRELATIONS:
        values, golds = [similarity_of(row, reading) for row in kept], [gold_similarity(row) for row in kept]
    elif name in AGREEMENTS:
        read, right = [label_of(row, reading) for row in kept], [gold_label(row) for row in kept]
        labels = tuple(sorted({*right, *(label for label in read if label is not None)}))
        number = {label: float(i) for i, label in enumerate(labels)}
        values = [NOT_READ if label is None else number[label] for label in read]
        golds = [number[label] for label in right]
    else:
        values = [item_score(name, row, reading) for row in kept]
    column = Column(
        name,
        checksum.hexdigest()[:32],
        _small(np.array([place[row.item.id] for row in kept], np.float64)),
        _small(np.array(values, np.float64)),
        _small(np.array(golds, np.float64)),
        labels,
        np.empty(0),
    )
    return replace(column, draws=_draws(column))


def _small(numbers: Floats) -> NDArray[Any]:
    """The same numbers in the smallest type that holds them exactly: a thousand columns are in memory at once."""
    for kind in (np.int8, np.uint16):
        with np.errstate(invalid="ignore"):
            smaller = numbers.astype(kind)
        if np.array_equal(smaller, numbers) and not np.signbit(numbers[numbers == 0]).any():
            return smaller
    return numbers


def _counts(row: ScoredItem, task: Task, reading: str, protocol: ScoringProtocol) -> bool:
    """Whether a row has a score by a reading; as in `comparison`."""
    if reading == "choose":
        return protocol.lenient and row.judgement.choice is not None
    return has_score(row, protocol) and (task.kind != "score" or is_readable(row, reading))


def _draws(column: Column) -> Floats:
    values, golds = column.values, column.golds
    if column.metric in CORRELATIONS:
        metric = (metrics.pearson if column.metric == "pearson" else metrics.spearman)(values, golds)
    elif column.metric in AGREEMENTS:
        of_labels = {"balanced_accuracy": metrics.balanced_accuracy, "macro_f1": metrics.macro_f1, "mcc": metrics.mcc}
        metric = of_labels[column.metric](_labels(column, values), _golds(column, golds))
    else:
        metric = metrics.mean(values.astype(np.float64))
    return significance.value_and_draws(len(values), metric)


def _labels(column: Column, numbers: NDArray[Any]) -> list[str | None]:
    return [None if number == NOT_READ else column.labels[int(number)] for number in numbers]


def _golds(column: Column, numbers: NDArray[Any]) -> list[str]:
    return [column.labels[int(number)] for number in numbers]


def differences(a: Column, others: Sequence[Column]) -> Differences:
    """Of each of some columns B, B minus A, on the same items in the same order.

    Args:
        a: the column of a run.
        others: those of other runs, `items` and `metric` as that of A.
    """
    value, low, high, p = (np.full(len(others), np.nan) for _ in range(4))
    out = Differences(value, low, high, p, np.full(len(others), len(a.values), np.int64))
    counted = len(a.values) if _is_counted(a) else None
    for part in (slice(first, first + BLOCK) for first in range(0, len(others), BLOCK)):
        draws = np.stack([b.draws for b in others[part]])
        out.value[part], out.low[part], out.high[part] = many_pairs.paired_draws(a.draws, draws, counted)
        if a.metric in SHARES:
            out.p[part] = many_pairs.mcnemar(a.values, np.stack([b.values for b in others[part]]))
    out.p[np.isnan(out.value)] = np.nan
    return out


def _is_counted(column: Column) -> bool:
    return (
        column.metric in SHARES and len(column.values) <= MOST_COUNTED and set(np.unique(column.values)) <= {0.0, 1.0}
    )


def in_common(a: Column, b: Column) -> int:
    """The number of items that two columns share."""
    return len(np.intersect1d(a.positions, b.positions, assume_unique=True))


def differences_in_common(pairs: Sequence[tuple[Column, Column]]) -> Differences:
    """Of some pairs A and B, B minus A over the items that both have, in the order of A.

    As many for every pair: resamples are the same for the same number of items.

    Each pair has items of its own, so that nothing of one is of use for another but the resamples.
    """
    numbers = np.full((4, len(pairs)), np.nan)
    n = in_common(*pairs[0])
    value, low, high, p = numbers
    out = Differences(value, low, high, p, np.full(len(pairs), n, np.int64))
    if n and pairs[0][0].metric == "pearson":
        weights = significance.resamples(n)
        for first in range(0, len(pairs), STACKED):
            sides = [side for a, b in pairs[first : first + STACKED] for side in _sides(a, b)]
            draws = _pearson_draws(sides, weights)
            for i, (of_a, of_b) in enumerate(zip(draws[::2], draws[1::2], strict=True), start=first):
                numbers[:3, i] = [found[0] for found in many_pairs.paired_draws(of_a, of_b[None])]
    elif n:
        for i, (a, b) in enumerate(pairs):
            test = _test(a, b)
            found = test.difference
            row = (found.value, found.low, found.high, test.p if a.metric in SHARES else None)
            numbers[:, i] = [np.nan if x is None else x for x in row]
    return out


def _sides(a: Column, b: Column) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """The values of A and of B, each with the golds, on the items that both have, in the order of A."""
    _, in_a, in_b = np.intersect1d(a.positions, b.positions, assume_unique=True, return_indices=True)
    order = np.argsort(in_a)
    in_a, in_b = in_a[order], in_b[order]
    golds = a.golds[in_a] if a.golds.size else a.golds
    x, y, gold = (numbers.astype(np.float64) for numbers in (a.values[in_a], b.values[in_b], golds))
    return (x, gold), (y, gold)


def _pearson_draws(sides: Sequence[tuple[Floats, Floats]], weights: Floats) -> list[Floats]:
    """Of predictions and golds of as many items each: value and draws of all, from one product of matrices."""
    moments = [metrics.pearson_moments(predicted, gold) for predicted, gold in sides]
    usable = [m for m in moments if m is not None]
    means = np.concatenate(usable) @ weights / weights.sum(axis=0) if usable else np.empty((0, weights.shape[1]))
    each = iter(means.reshape(-1, 5, weights.shape[1]))
    return [np.full(weights.shape[1], np.nan) if m is None else metrics.pearson_of(next(each)) for m in moments]


def _test(a: Column, b: Column) -> PairedTest:
    (x, gold), (y, _) = _sides(a, b)
    if a.metric in CORRELATIONS:
        return significance.correlation_test(CORRELATIONS[a.metric], x, y, gold)
    if a.metric in AGREEMENTS:
        # Each has its own numbers of labels.
        return significance.agreement_test(AGREEMENTS[a.metric], _labels(a, x), _labels(b, y), _golds(a, gold))
    return (significance.right_wrong_test if a.metric in SHARES else significance.mean_difference_test)(x, y)
