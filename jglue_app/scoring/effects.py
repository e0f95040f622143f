"""What each factor of a grid of runs moves: main effects, shares of variance, and how stable each model is.

**Which runs.** Every run is one observation: its score on the grid's items. Runs without a value are left out.

**Shares of variance** are of an analysis of variance by least squares with main effects and interactions of two
factors, and sums of squares of type II: what a term explains beyond all terms that do not contain it. In a balanced
grid they add up to the whole; with exclusions they need not.

**Items' sampling noise is no effect.** Other items would have given every run another score, and would have spread the
runs even if nothing else did. The covariance Σ of the scores over samples of items is estimated by leaving out items
(`GridScores.covariance`); the sum of squares of a term with orthonormal columns B is expected to hold tr(BᵀΣB) of it.
That is taken off, and shown as a share of its own. No share is below 0, or above what the items leave of the whole.
Leaving out items does not move a run whose answers are all right or all wrong. Its variance is that of the interval
which its report has, Wilson's (`grid_scores.unseen_errors`); of other metrics than means of right answers a notice says
that it is not known. One item shows no sampling: there are means then, without intervals and shares.

**Means of levels** are least-squares means: as if every combination of the other factors' levels had been run equally
often; of the model with interactions of two factors, or of the additive one where combinations are missing. Their
intervals cover two things: other items (wᵀΣw for weights w of the runs), and other wordings and seeds than those of the
grid, by leaving out one level of each replicate factor at a time (jackknife; Efron and Tibshirani 1993, section 11.2)
less the noise of items in that. Formats, numbers of examples and other settings are taken as they are. The degrees of
freedom are Satterthwaite's (1946).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from jglue_app.messages import Joined, Message
from jglue_app.scoring.design import Design, Term, design_of
from jglue_app.scoring.effect_types import EffectFactor, GridScores, LevelMean, Levels, MetricEffects, Share
from jglue_app.scoring.grid_intervals import ROUNDING, Sample, sample_of, weighted_estimate, within
from jglue_app.scoring.metrics import Floats
from jglue_app.scoring.prompt_stability import stabilities


def metric_effects(
    factors: Sequence[EffectFactor],
    rows: Sequence[Levels],
    scores: GridScores,
    designs: dict[tuple[int, ...], Design] | None = None,
) -> MetricEffects | None:
    """What the factors do to one metric; None where fewer than two runs have a value.

    Args:
        factors: of the grid.
        rows: levels of each run.
        scores: of the same runs.
        designs: keeps linear models for other metrics of the same runs.
    """
    kept = np.flatnonzero(scores.usable)
    if len(kept) < 2:
        return None
    key = tuple(int(i) for i in kept)
    designs = {} if designs is None else designs
    if key not in designs:
        designs[key] = design_of(factors, [rows[i] for i in key])
    design = designs[key]
    sample = sample_of(scores, kept)
    y = sample.y
    shares, items_share = _shares(design, sample)
    bounds = (scores.low, 1.0)
    return MetricEffects(
        task=scores.task,
        metric=scores.metric,
        reading=scores.reading,
        runs=len(kept),
        items=scores.n,
        low=scores.low,
        mean=float(y.mean()),
        deviation=float(y.std(ddof=1)),
        items_share=None if items_share is None else min(1.0, items_share),
        shares=tuple(shares),
        by_group=_by_group(shares, items_share or 0.0),
        levels={f.name: tuple(_level_means(f, design, sample, bounds)) for f in design.factors},
        stability=tuple(stabilities(design, sample, bounds, key)),
        undefined=tuple(i for i in range(len(rows)) if i not in set(key)),
        notices=tuple(_notices(factors, design, shares, items_share, sample, len(rows) - len(kept))),
    )


# --- shares of variance ----------------------------------------------------------------------------------


def _shares(design: Design, sample: Sample) -> tuple[list[Share], float | None]:
    """The share of every term and of what is left, and that of the sampling of items; nothing without variance, and
    nothing of one item, from which what it alone does cannot be taken off."""
    y, covariance = sample.y, sample.covariance
    centred = y - y.mean()
    total = float(centred @ centred)
    if total <= ROUNDING * len(y) or sample.n < 2:
        return [], None
    ones = np.full((len(y), 1), len(y) ** -0.5)
    noise = float(np.trace(covariance) - _noise(ones, covariance))
    rest = max(0.0, total - float(np.sum((design.full.T @ centred) ** 2)))
    rest_df = len(y) - design.full.shape[1]
    rest_noise = max(0.0, float(np.trace(covariance)) - _noise(design.full, covariance))
    error = rest / rest_df if rest_df else None
    found = []
    for term, basis in design.bases.items():
        square, of_items, df = float(np.sum((basis.T @ centred) ** 2)), _noise(basis, covariance), basis.shape[1]
        found.append(
            Share(
                term=term,
                group=_group(term, design),
                df=df,
                observed=square / total,
                of_items=of_items / total,
                beyond_items=_beyond((square - of_items) / total, noise / total),
                omega=None if error is None or not df else (square - df * error) / (total + error),
            )
        )
    beyond = _beyond((rest - rest_noise) / total, noise / total)
    left = Share((), "rest", rest_df, rest / total, rest_noise / total, beyond, None)
    return [*found, *([left] if rest_df else [])], noise / total


def _beyond(share: float, items_share: float) -> float:
    """A share of the variance that is not of the items: not below 0, and not above what they leave of the whole."""
    return min(max(0.0, share), max(0.0, 1 - items_share))


def _by_group(shares: Sequence[Share], items_share: float) -> dict[str, float]:
    """Group → what its terms account for beyond items, together: one that is below 0 by chance makes up for another."""
    groups = dict.fromkeys(share.group for share in shares)
    return {
        group: _beyond(sum(one.observed - one.of_items for one in shares if one.group == group), items_share)
        for group in groups
    }


def _noise(basis: Floats, covariance: Floats) -> float:
    """What the sampling of items adds to the sum of squares on a basis: tr(BᵀΣB)."""
    return float(np.sum(basis * (covariance @ basis)))


def _group(term: Term, design: Design) -> str:
    groups = {factor.group for factor in design.factors if factor.name in term}
    return next(iter(groups)) if len(groups) == 1 else "mixed"


# --- means and their intervals ---------------------------------------------------------------------------


def _level_means(
    factor: EffectFactor, design: Design, sample: Sample, bounds: tuple[float, float]
) -> Iterator[LevelMean]:
    weights = design.means[factor.name]
    without = {
        name: [means[factor.name] for means in left_out]
        for name, left_out in design.means_without.items()
        if name != factor.name
    }
    for place, level in enumerate(factor.levels):
        runs = sum(row.get(factor.name) == level for row in design.rows)
        mean = weighted_estimate(weights[place], [[one[place] for one in each] for each in without.values()], sample)
        effect = weighted_estimate(
            weights[place] - weights.mean(axis=0),
            [[one[place] - one.mean(axis=0) for one in each] for each in without.values()],
            sample,
        )
        yield LevelMean(level, runs, within(mean, bounds), effect)


# --- what a reader has to know ---------------------------------------------------------------------------


def _notices(
    factors: Sequence[EffectFactor],
    design: Design,
    shares: Sequence[Share],
    items_share: float | None,
    sample: Sample,
    undefined: int,
) -> Iterator[Message]:
    if undefined:
        yield Message(
            "Left out here: {count:,} of {all:,} runs, without a value of all items or of some (all answers alike "
            "have no correlation).",
            count=undefined,
            all=len(sample.y) + undefined,
        )
    if sample.n < 2:
        yield Message("One item is no sample: there are no intervals.")
    elif items_share is None:
        yield Message("All runs score the same: there is no variance to explain.")
    elif items_share >= 1:
        yield Message("The runs differ no more than the sampling of items alone would make them differ.")
    if confounded := [share.term[0] for share in shares if len(share.term) == 1 and not share.df]:
        yield Message(
            "{factors} cannot be told from other factors: their levels occur only together.",
            factors=Joined(", ", confounded),
        )
    if single := [f.name for f in factors if f.name not in design.names and len(f.levels) > 1]:
        yield Message("Only one level of {factors} has scores here.", factors=Joined(", ", single))
    total = sum(share.observed for share in shares)
    if shares and abs(total - 1) > 0.005:
        yield Message(
            "The grid is not balanced, so the shares need not add up: what several factors explain together counts for "
            "none of them, or for each."
        )
    if sample.n > 1 and sample.hidden:
        yield Message(
            "In {count:,} runs all answers count alike, so that the sampling of their items cannot be seen: intervals "
            "are without it, and what lies beyond items may be overstated.",
            count=sample.hidden,
        )
