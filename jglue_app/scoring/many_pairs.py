"""Paired tests of many pairs of runs on the same items, as arrays: the same numbers as `significance` gives for each
pair. NaN stands for None. No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jglue_app.scoring.metrics import Floats
from jglue_app.scoring.significance import RESAMPLES, Z95

Subset = tuple[Floats, Floats, Floats, NDArray[np.int64]]
_NOISE = 1e-12
"""Differences of two sums in another order that count as none, for sides of at most 1."""


def paired_draws(a: Floats, others: Floats, counted: int | None = None) -> tuple[Floats, Floats, Floats]:
    """Value, lower and upper end of B minus A for several B on the same items, as the tests of one pair give them.

    Args:
        a: what `significance.value_and_draws` gives of A; shape (1 + resamples,).
        others: of each B; shape (pairs, 1 + resamples).
        counted: the number of items, if every one is right or wrong: shares of so many are compared as whole numbers.

    Returns:
        Three arrays of shape (pairs,), NaN where there is none.
    """
    if counted is not None and np.isfinite(a).all() and np.isfinite(others).all():
        left, right = (np.rint(side * counted).astype(np.int16) for side in (a, others))
        whole = right - left
        value, low, high = _ends(whole[:, 0] / counted, np.sort(whole[:, 1:], axis=1), counted)
        return value, low, high
    with np.errstate(invalid="ignore"):
        found = others - a
        found[np.abs(found) <= _NOISE] = 0.0
    value, draws = found[:, 0].copy(), found[:, 1:]
    value[~np.isfinite(value)] = np.nan
    whole_rows = np.isfinite(draws).all(axis=1)
    _, low, high = _ends(value, np.sort(draws, axis=1), 1)
    for i in np.flatnonzero(~whole_rows):
        finite = draws[i][np.isfinite(draws[i])]
        low[i] = high[i] = np.nan
        if len(finite) > 0.95 * RESAMPLES:
            ends = np.percentile(finite, (2.5, 97.5))
            low[i], high[i] = min(value[i], ends[0]), max(value[i], ends[1])
    low[np.isnan(value)] = high[np.isnan(value)] = np.nan
    return value, low, high


def _ends(value: Floats, draws: NDArray[np.generic], scale: int) -> tuple[Floats, Floats, Floats]:
    """The value with the 2.5 and 97.5 percentiles of sorted draws, interpolated as numpy does."""
    ends = []
    for quantile in (0.025, 0.975):
        place = quantile * (RESAMPLES - 1)
        below = int(place)
        x, y = (draws[:, i].astype(np.float64) / scale for i in (below, below + 1))
        part = place - below
        ends.append(x + (y - x) * part if part < 0.5 else y - (y - x) * (1 - part))
    return value, np.minimum(value, ends[0]), np.maximum(value, ends[1])


def mcnemar(a: NDArray[Any], others: NDArray[Any]) -> Floats:
    """`significance.mcnemar` of A and each of several B; `others` is of shape (pairs, items)."""
    from scipy.special import bdtr  # scipy takes long to import

    with np.errstate(all="ignore"):
        only_a = np.count_nonzero(others < a, axis=1)
        only_b = np.count_nonzero(others > a, axis=1)
        p: Floats = np.minimum(1.0, 2 * bdtr(np.minimum(only_a, only_b).astype(np.float64), only_a + only_b, 0.5))
    return p


def average_test(subsets: Iterable[Subset]) -> tuple[Floats, Floats]:
    """`significance.average_test` of several pairs: the averages of their differences over subsets, and p.

    Args:
        subsets: of each subset value, lower and upper end, and number of items of the differences, all of shape
            (pairs,), NaN where there is none. One is taken after the other: a thousand runs have half a million pairs.

    Returns:
        Value and p, of shape (pairs,); NaN where there is none.
    """
    from scipy.special import erfc  # scipy takes long to import

    k = 0
    total, below, above, items = (np.zeros(1) for _ in range(4))
    for value, low, high, n in subsets:
        k += 1
        total, items = total + value, items + n
        below, above = below + np.square(value - low), above + np.square(high - value)
    total /= k
    error = (np.sqrt(below) + np.sqrt(above)) / (2 * Z95 * k)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(error > 0, erfc(np.abs(total) / error / math.sqrt(2)), total == 0)
    p = np.maximum(p, np.minimum(1.0, np.exp2(1 - items)))
    p[np.isnan(error)] = np.nan
    return total, p


def holm(ps: Floats) -> Floats:
    """`significance.holm` of an array; NaN stays NaN and does not count."""
    out = np.full(len(ps), np.nan)
    tested = np.flatnonzero(~np.isnan(ps))
    order = tested[np.argsort(ps[tested], kind="stable")]
    stricter = np.minimum(1.0, np.arange(len(order), 0, -1) * ps[order])
    out[order] = np.maximum.accumulate(stricter)
    return out
