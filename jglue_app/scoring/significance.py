"""How sure the metrics are: 95 % intervals, paired tests and their power. Deterministic: all seeds are fixed.

Wilson's interval for proportions, the percentile bootstrap over items (Efron and Tibshirani 1993, section 13.3) for the
rest. No items is no data (`Estimate.value` is None), never 0.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from jglue_app.messages import Message
from jglue_app.scoring import metrics
from jglue_app.scoring.metrics import Floats, Metric
from jglue_app.scoring.types import Estimate, PairedTest

RESAMPLES = 1_000
Z95 = 1.959963984540054
"""Quantile .975 of the normal distribution: 5 % level, two-sided."""
Z80 = 0.8416212335729143
"""Quantile .80: power of 80 %."""

Correlation = Literal["pearson", "spearman"]
Agreement = Literal["balanced_accuracy", "macro_f1", "mcc"]
K = TypeVar("K", bound=Hashable)

_CORRELATIONS = {"pearson": metrics.pearson, "spearman": metrics.spearman}
_AGREEMENTS = {"balanced_accuracy": metrics.balanced_accuracy, "macro_f1": metrics.macro_f1, "mcc": metrics.mcc}
_MIN_DIFFERING = 6
"""Items that differ without which no p can fall below 5 %: `_min_p` of 5 is 1/16."""
_SEED = 20230701
_BLOCK_CELLS = 125_000
"""Items times resamples worked on at a time: few enough to stay in a processor's cache.

And few enough that BLAS starts no threads, which on a busy machine wait for each other longer than they work.
"""
_KEPT_ITEMS = 10_000
"""Resamples of more items than this are drawn each time instead of being kept in memory."""


# --- one run ---------------------------------------------------------------------------------------------


def proportion(successes: int, n: int) -> Estimate:
    """A share with its Wilson score interval (Wilson 1927; Brown, Cai and DasGupta 2001, section 3.1.1)."""
    if n == 0:
        return Estimate(None, None, None, 0)
    p = successes / n
    denominator = 1 + Z95**2 / n
    centre = (p + Z95**2 / (2 * n)) / denominator
    half = Z95 / denominator * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n**2))
    # At 0 and at n one end is the proportion itself; rounding must not push it past.
    return Estimate(p, max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half)), n)


def mean(values: Sequence[float] | Floats) -> Estimate:
    """An average; no value when one of the values is not finite."""
    return _bootstrap(len(values), metrics.mean(values))[0]


def correlation(kind: Correlation, predictions: Sequence[float] | Floats, golds: Sequence[float] | Floats) -> Estimate:
    """Pearson's r or Spearman's ρ; no value when a side is constant or a value is not finite."""
    return _bootstrap(_length(predictions, golds), _CORRELATIONS[kind](predictions, golds))[0]


def agreement(kind: Agreement, predictions: Sequence[str | None], golds: Sequence[str]) -> Estimate:
    """Balanced accuracy, macro F1 or Matthews' correlation; a prediction that is None is unreadable, hence wrong."""
    return _bootstrap(_length(predictions, golds), _AGREEMENTS[kind](predictions, golds))[0]


def resampled(n: int, metric: Metric) -> Estimate:
    """Any metric of n items, given by how often each item counts, with its percentile bootstrap interval."""
    return _bootstrap(n, metric)[0]


def average(estimates: Sequence[Estimate]) -> Estimate:
    """Unweighted mean of independent estimates, with the MOVER interval (Zou and Donner 2008, section 2).

    No value unless all have one, no interval unless all have one; n is the sum.
    """
    n, k = sum(e.n for e in estimates), len(estimates)
    values = [e.value for e in estimates if e.value is not None]
    if not estimates or len(values) < k:
        return Estimate(None, None, None, n)
    value = math.fsum(values) / k
    lows = [v - e.low for v, e in zip(values, estimates, strict=True) if e.low is not None]
    highs = [e.high - v for v, e in zip(values, estimates, strict=True) if e.high is not None]
    if len(lows) < k or len(highs) < k:
        return Estimate(value, None, None, n)
    return Estimate(value, value - math.hypot(*lows) / k, value + math.hypot(*highs) / k, n)


# --- two runs on the same items: B minus A ---------------------------------------------------------------


def mean_difference_test(a: Sequence[float] | Floats, b: Sequence[float] | Floats) -> PairedTest:
    """Of the averages."""
    n = _length(a, b)
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        difference = y - x
    size = float(np.max(np.abs([x, y]), initial=0.0))
    return _paired(n, metrics.mean(difference), int(np.count_nonzero(difference)), size)


def right_wrong_test(a: Sequence[float] | Floats, b: Sequence[float] | Floats) -> PairedTest:
    """Of the shares of right answers (1.0 or 0.0 per item): p by McNemar's exact test.

    `needed` is that of Connor (1987, page 209) for the shares of discordant items seen here, at least `_MIN_DIFFERING`.
    """
    difference = mean_difference_test(a, b).difference
    if difference.value is None:
        return PairedTest(difference, None, "mcnemar", None)
    only_a, only_b = _discordant(a, b)
    needed = None
    if only_a != only_b:
        needed = _needed((only_a + only_b) / difference.n, (only_b - only_a) / difference.n)
    return PairedTest(difference, mcnemar(a, b), "mcnemar", needed)


def smallest_difference(n: int, discordant: float = 1 / 3, tests: int = 1) -> float:
    """The smallest difference of two accuracies for whose test `right_wrong_test` would need no more than `n` items.

    Args:
        n: items that both runs answer.
        discordant: the share of items of which just one run has right; at least the difference itself.
        tests: how many are corrected together; with Holm's correction, the first has this many times as strict a level.
    """
    level = Z95 if tests == 1 else NormalDist().inv_cdf(1 - 0.05 / tests / 2)
    low, high = 0.0, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if _needed(max(discordant, middle), middle, level) <= n else (middle, high)
    return high


def fewest_differing(tests: int = 1) -> int:
    """Items that have to differ, all in one direction, for McNemar's exact p to be below 5 % after a correction for
    this many tests: with k of them it is 2 · ½ᵏ."""
    return next(k for k in range(1, 100) if 2.0 ** (1 - k) * tests < 0.05)


def needed_of_several(needed: int | None, tests: int) -> int | None:
    """Items that a difference needs where several tests are corrected together: with Holm's correction, the first has
    so many times as strict a level.

    Args:
        needed: items that it needs alone, with the normal quantiles of 5 %, two-sided, and of a power of 80 %.
        tests: how many are corrected together.
    """
    if needed is None or tests <= 1:
        return needed
    level = NormalDist().inv_cdf(1 - 0.05 / tests / 2)
    return max(fewest_differing(tests), math.ceil(needed * ((level + Z80) / (Z95 + Z80)) ** 2))


def _needed(discordant: float, difference: float, level: float = Z95) -> int:
    """Items that a test of a difference needs at 5 %, two-sided, with a power of 80 % (Connor 1987, page 209).

    Args:
        discordant, difference: the share of items of which just one run has right, and the difference to be found.
        level: the normal quantile of the level.
    """
    root = level * math.sqrt(discordant) + Z80 * math.sqrt(discordant - difference * difference)
    return max(_MIN_DIFFERING, math.ceil((root / difference) ** 2))


def correlation_test(
    kind: Correlation,
    a: Sequence[float] | Floats,
    b: Sequence[float] | Floats,
    golds: Sequence[float] | Floats,
) -> PairedTest:
    """Of the correlations with gold."""
    n, metric = _length(a, b, golds), _CORRELATIONS[kind]
    return _paired(n, _difference(metric(a, golds), metric(b, golds)), _differing(a, b))


def agreement_test(
    kind: Agreement, a: Sequence[str | None], b: Sequence[str | None], golds: Sequence[str]
) -> PairedTest:
    """Of the agreements with gold."""
    n, metric = _length(a, b, golds), _AGREEMENTS[kind]
    return _paired(n, _difference(metric(a, golds), metric(b, golds)), _differing(a, b))


def average_test(tests: Sequence[PairedTest]) -> PairedTest:
    """Of the averages over subsets: MOVER interval, and a normal p with the standard error that its width implies."""
    difference = average([t.difference for t in tests])
    d, low, high = difference.value, difference.low, difference.high
    if d is None or low is None or high is None:
        return PairedTest(difference, None, "normal", None)
    error = (high - low) / (2 * Z95)
    p = math.erfc(abs(d) / error / math.sqrt(2)) if error > 0 else float(d == 0)
    return PairedTest(difference, max(p, _min_p(difference.n)), "normal", None)


def mcnemar(a: Sequence[float] | Floats, b: Sequence[float] | Floats) -> float:
    """Two-sided p of McNemar's exact test for two runs that were right (1.0) or wrong (0.0) on the same items.

    Under the null hypothesis the items on which they differ fall to either with probability ½ (McNemar 1947, in the
    exact binomial form). 1.0 when they differ on none.
    """
    from scipy.special import bdtr  # scipy.stats takes longer to import than all the rest of the command line

    only_a, only_b = _discordant(a, b)
    return min(1.0, 2 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def holm(ps: Mapping[K, float | None]) -> dict[K, float | None]:
    """Step-down adjusted p values (Holm 1979); a p that is None stays None and does not count."""
    tested = sorted((p, i) for i, p in enumerate(ps.values()) if p is not None)
    adjusted: dict[int, float] = {}
    highest = 0.0
    for rank, (p, i) in enumerate(tested):
        highest = max(highest, min(1.0, (len(tested) - rank) * p))
        adjusted[i] = highest
    return {key: adjusted.get(i) for i, key in enumerate(ps)}


# --- bootstrap -------------------------------------------------------------------------------------------


def _bootstrap(n: int, metric: Metric, noise: float = 0.0) -> tuple[Estimate, Floats]:
    """The metric with its interval, and the finite draws; what is within ± `noise` counts as 0.

    Neither interval nor draws if one resample in twenty or more has no value (nine of ten answers alike have no
    correlation without the tenth: an interval over the others would leave out what it is to show), or there is one
    item, which cannot show how items vary.
    """
    none = np.empty(0)
    if n == 0:
        return Estimate(None, None, None, 0), none

    def clean(block: Floats) -> Floats:
        values = metric(block)
        values[np.abs(values) <= noise] = 0.0
        return values

    value = float(clean(np.ones((n, 1)))[0])
    if not math.isfinite(value):
        return Estimate(None, None, None, n), none
    if n == 1:
        return Estimate(value, None, None, 1), none
    draws = np.concatenate([clean(block.astype(np.float64)) for block in _resamples(n)])
    draws = draws[np.isfinite(draws)]
    if len(draws) <= 0.95 * RESAMPLES:
        return Estimate(value, None, None, n), none
    low, high = np.percentile(draws, (2.5, 97.5))
    # A skewed metric of few items may lie just outside its percentiles.
    return Estimate(value, min(value, float(low)), max(value, float(high)), n), draws


def _paired(n: int, metric: Metric, differing: int, size: float = 1.0) -> PairedTest:
    """Test of a difference: p by inverting the percentile interval (Efron and Tibshirani 1993, section 15.4).

    Not below `_min_p` of the items on which the two differ, which resamples of few items do not respect. `size` is
    the largest that either side can be: sums in another order differ by rounding, which must not break the ties at 0.
    """
    difference, draws = _bootstrap(n, metric, 1e-12 * size)
    d = difference.value
    if d is None or not len(draws):
        return PairedTest(difference, None, "bootstrap", None)
    fewer = float(min(np.sum(draws <= 0), np.sum(draws >= 0)))
    p = min(1.0, max(2 * (fewer + 1) / (len(draws) + 1), _min_p(differing)))
    needed = None
    if d:
        # Divided first: squares of the largest and smallest floats are not finite.
        error = float(np.std(draws / d, ddof=1))
        needed = max(_MIN_DIFFERING, math.ceil(n * ((Z95 + Z80) * error) ** 2))
    return PairedTest(difference, p, "bootstrap", needed)


def _min_p(differing: int) -> float:
    """Two-sided p of the most extreme of all ways to swap A and B on the items on which they differ."""
    return min(1.0, math.ldexp(1.0, 1 - differing))


def resamples(n: int) -> Floats:
    """How often each of n items counts: once, and then in each resample; shape (n, 1 + resamples)."""
    return np.concatenate([np.ones((n, 1)), *(block.astype(np.float64) for block in _resamples(n))], axis=1)


def value_and_draws(n: int, metric: Metric) -> Floats:
    """A metric of n items, and of each resample of them, the same for the same n: shape (1 + resamples,); NaN where it
    is undefined."""
    return np.concatenate([metric(np.ones((n, 1))), *(metric(block.astype(np.float64)) for block in _resamples(n))])


def _resamples(n: int) -> Iterator[NDArray[np.uint8]]:
    """How often each item is drawn, in blocks of shape (n, resamples); the same for the same n."""
    yield from _kept(n) if n <= _KEPT_ITEMS else _drawn(n)


@lru_cache(maxsize=16)
def _kept(n: int) -> tuple[NDArray[np.uint8], ...]:
    return tuple(_drawn(n))


def _drawn(n: int) -> Iterator[NDArray[np.uint8]]:
    rng = np.random.default_rng(_SEED)
    columns = max(1, _BLOCK_CELLS // n)
    for done in range(0, RESAMPLES, columns):
        block = np.empty((n, min(columns, RESAMPLES - done)), dtype=np.uint8)
        for column in block.T:
            # No item is ever drawn 256 times: the chance is below 1 in 256!.
            column[:] = np.bincount(rng.integers(0, n, size=n), minlength=n)
        yield block


def _difference(a: Metric, b: Metric) -> Metric:
    return lambda weights: b(weights) - a(weights)


def _length(*columns: Sequence[object] | Floats) -> int:
    """Raises ValueError unless all have as many items."""
    n = len(columns[0])
    if any(len(c) != n for c in columns):
        raise ValueError(Message("columns of {columns} items", columns=", ".join(str(len(c)) for c in columns)))
    return n


def _differing(a: Sequence[object] | Floats, b: Sequence[object] | Floats) -> int:
    return sum(bool(x != y) for x, y in zip(a, b, strict=True))


def _discordant(a: Sequence[float] | Floats, b: Sequence[float] | Floats) -> tuple[int, int]:
    """Items that only A and that only B has right."""
    _length(a, b)
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return int(np.sum(x > y)), int(np.sum(x < y))
