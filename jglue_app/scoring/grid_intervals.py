"""Weighted sums of the scores of a grid's runs, with intervals over other items, wordings and seeds. No I/O.

How they are made stands in `effects`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from jglue_app.scoring.metrics import Floats
from jglue_app.scoring.types import Estimate

ROUNDING = 1e-12
"""Variance of scores below it is rounding."""
Component = tuple[float, int]
"""(Variance, degrees of freedom)."""


def weighted_estimate(
    weights: Floats, without: Sequence[Sequence[Floats]], y: Floats, covariance: Floats, n: int
) -> Estimate:
    """A weighted sum of scores with its interval.

    Args:
        weights: of the runs; NaN where there is no such sum.
        without: for each replicate factor, the weights without each of its levels.
        y: scores.
        covariance: of the scores over samples of items.
        n: items.
    """
    if not np.isfinite(weights).all():
        return Estimate(None, None, None, n)
    value = float(weights @ y)
    components: list[Component] = [(max(0.0, float(weights @ covariance @ weights)), n - 1)]
    for each in without:
        left = np.array(each)
        if not np.isfinite(left).all():
            return Estimate(value, None, None, n)
        factor = (len(left) - 1) / len(left)
        deviations = left - left.mean(axis=0)
        square = factor * float(np.sum((deviations @ y) ** 2))
        noise = factor * float(np.sum(deviations * (deviations @ covariance)))
        components.append((max(0.0, square - noise), len(left) - 1))
    variance = sum(one for one, _ in components)
    if variance <= ROUNDING or n < 2:  # A sum that no item and no replicate moves has an interval without width.
        return Estimate(value, None, None, n)
    df = variance**2 / sum(one**2 / df for one, df in components if one)
    half = _t_quantile(df) * math.sqrt(variance)
    return Estimate(value, value - half, value + half, n)


def _t_quantile(df: float) -> float:
    """Quantile .975 of Student's t."""
    from scipy.special import stdtrit  # scipy takes long to import

    return float(stdtrit(df, 0.975))


def within(estimate: Estimate, bounds: tuple[float, float]) -> Estimate:
    """An estimate whose interval has no values that the metric does not have; a mean of the additive model may itself
    be one where combinations are missing, and stays as it is."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if value is None or low is None or high is None:
        return estimate
    return Estimate(value, min(value, max(bounds[0], low)), max(value, min(bounds[1], high)), estimate.n)
