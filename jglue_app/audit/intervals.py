"""How sure a published score is, and whether two can be told apart, from value and number of items alone. No I/O.

The outputs behind a published score are not known, so two scores are compared as if of two samples of items. Models
tend to err on the same items; a paired test on their outputs could then tell smaller differences. In that sense all
statements here are conservative.

Sources: Wilson 1927 (share); Newcombe 1998, method 10 (difference of shares); Fisher's z with variance 1/(n-3) for
Pearson's r and (1 + r²/2)/(n-3) for Spearman's (Bonett and Wright 2000). Averages of values between 0 and 1 (F1) have
at most the variance of a share of the same mean (Bhatia and Davis 2000), so a share's interval is at least as wide.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

from jglue_app.audit.benchmarks import CORRELATIONS, MEANS, SHARES
from jglue_app.scoring.significance import Z95

MIN_ITEMS = 4
"""Items without which a correlation has no interval."""
SIGNIFICANCE_LEVEL = 0.05


def interval(metric: str, value: float, n: int, sizes: Mapping[str, int] | None = None) -> tuple[float, float] | None:
    """A 95 % interval; None where value and n do not give one.

    Args:
        metric: a key of `benchmarks.METRICS`.
        value: as a fraction of 1.
        n: items, at least 1.
        sizes: label → items, for balanced accuracy: the widest interval of any hits with that mean.
    """
    if metric in SHARES or metric in MEANS:
        return wilson(value, n)
    if metric in CORRELATIONS and n >= MIN_ITEMS and abs(value) < 1:
        z, half = math.atanh(value), Z95 * math.sqrt(_z_variance(metric, value, n))
        return math.tanh(z - half), math.tanh(z + half)
    if metric == "balanced_accuracy" and sizes:
        half = Z95 * math.sqrt(balanced_variance(value, sizes))
        return max(0.0, value - half), min(1.0, value + half)
    return None


def wilson(p: float, n: int) -> tuple[float, float]:
    """Wilson's score interval of a share."""
    centre = (p + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n**2))
    return max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))


def newcombe(p: float, n: int, q: float, m: int) -> tuple[float, float]:
    """Newcombe's interval of the difference p - q of two independent shares of n and m items."""
    (l1, u1), (l2, u2), d = wilson(p, n), wilson(q, m), p - q
    return d - math.hypot(p - l1, u2 - q), d + math.hypot(u1 - p, q - l2)


def p_value(metric: str, a: float, n: int, b: float, m: int, sizes: Mapping[str, int] | None = None) -> float | None:
    """Two-sided p of two scores of n and m items being equal; None where value and n do not give one.

    Shares and means: the score test with pooled variance. Correlations: the difference of Fisher's z. Balanced
    accuracy: the difference over the largest standard error that both can have.
    """
    if metric in SHARES or metric in MEANS:
        pooled = (a * n + b * m) / (n + m)
        return _two_sided(a - b, pooled * (1 - pooled) * (1 / n + 1 / m))
    if metric in CORRELATIONS and min(n, m) >= MIN_ITEMS:
        if max(abs(a), abs(b)) >= 1:
            return None
        return _two_sided(math.atanh(a) - math.atanh(b), _z_variance(metric, a, n) + _z_variance(metric, b, m))
    if metric == "balanced_accuracy" and sizes:
        return _two_sided(a - b, balanced_variance(a, sizes) + balanced_variance(b, sizes))
    return None


def test_of(metric: str) -> str:
    """The test that `p_value` makes for a metric, a key of `sentences.TEST_NAMES`; empty where there is none."""
    if metric in MEANS:
        return "means"
    if metric in SHARES:
        return "shares"
    return metric if metric in (*CORRELATIONS, "balanced_accuracy") else ""


def balanced_variance(mean: float, sizes: Mapping[str, int]) -> float:
    """The largest variance of a balanced accuracy with this mean.

    The variance is the sum of r(1-r)/c over the labels, divided by their number squared; the r of a label with c items
    that make it largest under a given mean are (1 - λc)/2, cut to 0 and 1, for the λ with that mean.
    """
    return _widest(mean, tuple(float(c) for c in sizes.values() if c))


@lru_cache(maxsize=4096)
def _widest(mean: float, counts: tuple[float, ...]) -> float:
    """`balanced_variance` for the numbers of items: of a table each score is compared with each."""
    k = len(counts)

    def shares(level: float) -> list[float]:
        return [min(1.0, max(0.0, (1 - level * c) / 2)) for c in counts]

    low, high = -1.0 / min(counts), 1.0 / min(counts)  # All shares are 1 at the one end and 0 at the other.
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(shares(middle)) / k > mean else (low, middle)
    return sum(r * (1 - r) / c for r, c in zip(shares((low + high) / 2), counts, strict=True)) / k**2


def holm(p_values: Sequence[float]) -> list[bool]:
    """Which of several differences hold at 5 % after the correction of Holm (1979)."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    held = [False] * len(p_values)
    for rank, i in enumerate(order):
        if p_values[i] > SIGNIFICANCE_LEVEL / (len(p_values) - rank):
            break
        held[i] = True
    return held


def _z_variance(metric: str, r: float, n: int) -> float:
    return (1 + r * r / 2 if metric == "spearman" else 1.0) / (n - 3)


def _two_sided(difference: float, variance: float) -> float:
    if variance <= 0:
        return 1.0 if difference == 0 else 0.0
    return math.erfc(abs(difference) / math.sqrt(2 * variance))
