"""Weighted sums of the scores of a grid's runs, with intervals over other items, wordings and seeds. No I/O.

How they are made stands in `effects`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jglue_app.scoring.effect_types import GridScores
from jglue_app.scoring.metrics import Floats
from jglue_app.scoring.significance import Z95
from jglue_app.scoring.types import Estimate

ROUNDING = 1e-12
"""Variance of scores below it is rounding."""
Component = tuple[float, int]
"""(Variance, degrees of freedom)."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """The scores of some runs, and how other items would have moved them."""

    y: Floats
    """Scores, shape (runs,)."""
    seen: Floats
    """Their covariance over samples of items, as leaving out items shows it, shape (runs, runs)."""
    unseen: Floats
    """What that cannot show; see `GridScores.unseen`. Shape (runs, columns)."""
    covariance: Floats
    """Both together."""
    n: int
    """Items."""

    @property
    def alike(self) -> NDArray[np.bool_]:
        """Whether all answers of a run count alike, so that leaving out items does not move its score."""
        ends = np.isin(np.round(self.y, 9), (-1.0, 0.0, 1.0))
        return np.asarray(ends & (np.diag(self.seen) <= ROUNDING))

    @property
    def hidden(self) -> int:
        """Runs of these, by a metric for which there is nothing in `unseen` to make up for it."""
        return int(np.sum(self.alike & ~self.unseen.any(axis=1)))


def sample_of(scores: GridScores, kept: NDArray[np.int64]) -> Sample:
    """The scores of the runs with some numbers."""
    seen = scores.covariance[np.ix_(kept, kept)]
    unseen = np.zeros((len(kept), 0)) if scores.unseen is None else scores.unseen[kept]
    return Sample(scores.values[kept], seen, unseen, seen + unseen @ unseen.T, scores.n)


def weighted_estimate(weights: Floats, without: Sequence[Sequence[Floats]], sample: Sample) -> Estimate:
    """A weighted sum of scores with its interval.

    What leaving out items and replicates shows gives a t interval. What it cannot show, as the answers of a run are all
    right or all wrong, reaches to one side alone, as far as Wilson's interval does; its distances and those of the t
    interval are added in squares (MOVER; Zou and Donner 2008, section 2). So the mean over runs that are all wrong has
    the interval that the report of one of them has: they answer the same items, and more runs say no more of others.

    Args:
        weights: of the runs; NaN where there is no such sum.
        without: for each replicate factor, the weights without each of its levels.
        sample: scores.
    """
    y, covariance, n = sample.y, sample.covariance, sample.n
    if not np.isfinite(weights).all():
        return Estimate(None, None, None, n)
    value = float(weights @ y)
    components: list[Component] = [(max(0.0, float(weights @ sample.seen @ weights)), n - 1)]
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
    reach = 2 * Z95 * (weights @ sample.unseen)
    if n < 2 or (variance <= ROUNDING and not (np.abs(reach) > ROUNDING).any()):
        return Estimate(value, None, None, n)  # Of a sum that nothing moves, the interval has no width.
    half = 0.0
    if variance > ROUNDING:
        df = variance**2 / sum(one**2 / df for one, df in components if one)
        half = _t_quantile(df) * math.sqrt(variance)
    low, high = math.hypot(half, *np.minimum(0.0, reach)), math.hypot(half, *np.maximum(0.0, reach))
    return Estimate(value, value - low, value + high, n)


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
