"""Metrics and their uncertainty. Pure; all randomness comes from fixed seeds.

Intervals are 95 %: Wilson for proportions, percentile bootstrap over items (1,000 resamples) for the rest.
No items is no data (`Estimate.value` is None), never 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from jglue_app.types import Estimate

RESAMPLES = 1_000
Z95 = 1.959963984540054
Floats = NDArray[np.float64]

_CHUNK_CELLS = 2_000_000


def normalize_span(text: str) -> str:
    """JSQuAD normalisation of the JGLUE repository's evaluation: lower case, trailing 「。」 off, spaces collapsed.

    Punctuation stays; no Unicode normalisation.
    """
    return " ".join(text.lower().rstrip("。").split())


def span_exact_match(prediction: str, references: Sequence[str]) -> float:
    """1.0 if the normalised prediction equals one of the normalised references, else 0.0."""
    return float(any(normalize_span(prediction) == normalize_span(r) for r in references))


def span_f1(prediction: str, references: Sequence[str]) -> float:
    """Highest F1 over the references, each over the bag of normalised characters, spaces included: 2PR/(P+R)."""
    return max(_bag_f1(normalize_span(prediction), normalize_span(r)) for r in references)


def _bag_f1(prediction: str, reference: str) -> float:
    if not prediction or not reference:
        return float(prediction == reference)
    common = sum((Counter(prediction) & Counter(reference)).values())
    return 2 * common / (len(prediction) + len(reference))


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
    """An average with its bootstrap interval."""
    x = np.asarray(values, dtype=np.float64)
    return _bootstrap((x,), lambda columns: columns[0].mean(axis=-1))


def correlation(kind: str, predictions: Sequence[float], golds: Sequence[float]) -> Estimate:
    """`pearson` or `spearman` with its bootstrap interval; no value when either side is constant."""
    columns = (np.asarray(predictions, dtype=np.float64), np.asarray(golds, dtype=np.float64))
    return _bootstrap(columns, _CORRELATIONS[kind])


def mean_difference(a: Sequence[float], b: Sequence[float]) -> Estimate:
    """mean(b) − mean(a) over the same items, with its paired bootstrap interval."""
    return mean(np.asarray(b, dtype=np.float64) - np.asarray(a, dtype=np.float64))


def mcnemar(a: Sequence[float], b: Sequence[float]) -> float:
    """Two-sided p of McNemar's exact test for two runs that were right (1.0) or wrong (0.0) on the same items.

    Under the null hypothesis the items on which they differ fall to either with probability 1/2 (McNemar 1947, in the
    exact binomial form). 1.0 when they differ on none.
    """
    only_a = sum(x > y for x, y in zip(a, b, strict=True))
    only_b = sum(x < y for x, y in zip(a, b, strict=True))
    n, k = only_a + only_b, min(only_a, only_b)
    return float(min(1.0, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n))


def correlation_difference(kind: str, a: Sequence[float], b: Sequence[float], golds: Sequence[float]) -> Estimate:
    """Correlation of b with gold minus that of a, over the same items, with its paired bootstrap interval."""
    statistic = _CORRELATIONS[kind]
    columns = tuple(np.asarray(c, dtype=np.float64) for c in (a, b, golds))
    return _bootstrap(columns, lambda c: statistic((c[1], c[2])) - statistic((c[0], c[2])))


Statistic = Callable[[tuple[Floats, ...]], Floats]


def _bootstrap(columns: tuple[Floats, ...], statistic: Statistic) -> Estimate:
    n = len(columns[0])
    if n == 0:
        return Estimate(None, None, None, 0)
    value = float(statistic(columns))
    if not math.isfinite(value):
        return Estimate(None, None, None, n)
    draws = np.concatenate([statistic(tuple(c[index] for c in columns)) for index in _resamples(n)])
    draws = draws[np.isfinite(draws)]
    if len(draws) < RESAMPLES // 2:
        return Estimate(value, None, None, n)
    low, high = np.percentile(draws, (2.5, 97.5))
    return Estimate(value, float(low), float(high), n)


def _resamples(n: int) -> Iterator[NDArray[np.int64]]:
    """Item indices of the resamples, (rows, n), in blocks that bound memory; the same for the same n."""
    rng = np.random.default_rng(20230701)
    rows = max(1, _CHUNK_CELLS // n)
    for done in range(0, RESAMPLES, rows):
        yield rng.integers(0, n, size=(min(rows, RESAMPLES - done), n))


def _pearson(columns: tuple[Floats, ...]) -> Floats:
    """Along the last axis; NaN where a side is constant, told by its range: 2.7 minus its rounded mean is not 0."""
    varied = np.all([np.ptp(c, axis=-1) > 0 for c in columns], axis=0)
    x, y = (c - c.mean(axis=-1, keepdims=True) for c in columns)
    with np.errstate(invalid="ignore", divide="ignore"):
        r = (x * y).sum(axis=-1) / np.sqrt((x * x).sum(axis=-1) * (y * y).sum(axis=-1))
    clipped: Floats = np.where(varied, np.clip(r, -1, 1), np.nan)
    return clipped


def _spearman(columns: tuple[Floats, ...]) -> Floats:
    from scipy.stats import rankdata  # takes longer to import than all the rest of the command line

    x, y = columns
    return _pearson((rankdata(x, axis=-1), rankdata(y, axis=-1)))


_CORRELATIONS: dict[str, Statistic] = {"pearson": _pearson, "spearman": _spearman}
