"""How far the score of each model of a grid depends on how it is asked. No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from jglue_app.scoring.design import Design
from jglue_app.scoring.effect_types import EffectFactor, Levels, Stability
from jglue_app.scoring.grid_intervals import ROUNDING, Sample, weighted_estimate, within
from jglue_app.scoring.metrics import Floats


def model_of(levels: Levels, factors: Sequence[EffectFactor]) -> str:
    """What a run's model is called: its levels of the factors that concern the model."""
    return " · ".join(str(levels[f.name]) for f in factors if f.group == "model" and levels.get(f.name) is not None)


def stabilities(
    design: Design, sample: Sample, bounds: tuple[float, float], numbers: Sequence[int]
) -> Iterator[Stability]:
    """The stability of every model of a grid.

    Args:
        design: the linear model of the runs.
        sample: their scores.
        bounds: least and largest value of the metric.
        numbers: what the runs are numbered as.
    """
    y = sample.y
    models = [model_of(row, design.factors) for row in design.rows]
    best = _best(design, models, y)
    for model in dict.fromkeys(models):
        mine = np.array([other == model for other in models])
        low, high = (int(np.flatnonzero(mine)[pick(y[mine])]) for pick in (np.argmin, np.argmax))
        mean = weighted_estimate(mine / mine.sum(), _without_levels(design, mine), sample)
        spread = _spread(design, mine, y, sample.covariance)
        unknown = sample.n < 2 or (spread is not None and spread[1] <= ROUNDING and sample.alike[mine].any())
        yield Stability(
            model=model,
            runs=int(mine.sum()),
            mean=within(mean, bounds),
            spread=None if spread is None else math.sqrt(spread[0]),
            items=None if spread is None or unknown else math.sqrt(spread[1]),
            beyond_items=None if spread is None or sample.n < 2 else math.sqrt(max(0.0, spread[0] - spread[1])),
            lowest=float(y[low]),
            lowest_run=numbers[low],
            highest=float(y[high]),
            highest_run=numbers[high],
            best=best.get(model),
        )


def _without_levels(design: Design, mine: Floats) -> list[list[Floats]]:
    """For each replicate factor that occurs in some runs with two levels or more: the weights of their mean without
    each level."""
    found = []
    for factor in design.factors:
        of_runs = [row.get(factor.name) if own else None for row, own in zip(design.rows, mine, strict=True)]
        levels = [level for level in factor.levels if level in of_runs]
        if factor.replicate and len(levels) > 1:
            kept = [mine * np.array([level != one for one in of_runs]) for level in levels]
            found.append([each / each.sum() for each in kept])
    return found


def _spread(design: Design, mine: Floats, y: Floats, covariance: Floats) -> tuple[float, float] | None:
    """Variance of some runs about the mean of those that differ in their prompts alone, and what of it the sampling of
    items alone would give; None without two such runs."""
    others = [f.name for f in design.factors if f.group in ("answering", "questions") and not f.replicate]
    groups: dict[tuple[str | None, ...], list[int]] = {}
    for i, (row, own) in enumerate(zip(design.rows, mine, strict=True)):
        if own:
            groups.setdefault(tuple(row.get(name) for name in others), []).append(i)
    square = noise = 0.0
    df = 0
    for places in groups.values():
        part = covariance[np.ix_(places, places)]
        square += float(np.sum((y[places] - y[places].mean()) ** 2))
        noise += float(np.trace(part) - part.sum() / len(places))
        df += len(places) - 1
    return (square / df, max(0.0, noise / df)) if df else None


def _best(design: Design, models: Sequence[str], y: Floats) -> Mapping[str, float]:
    """Model → share of the prompts under which it scores highest, of those that all models have; empty for one."""
    names = list(dict.fromkeys(models))
    others = [factor.name for factor in design.factors if factor.group != "model"]
    prompts: dict[tuple[str | None, ...], dict[str, float]] = {}
    for row, model, value in zip(design.rows, models, y, strict=True):
        prompts.setdefault(tuple(row.get(name) for name in others), {})[model] = float(value)
    complete = [scores for scores in prompts.values() if len(scores) == len(names)]
    if len(names) < 2 or not complete:
        return {}
    won = dict.fromkeys(names, 0.0)
    for scores in complete:
        first = [name for name, value in scores.items() if value >= max(scores.values()) - ROUNDING]
        for name in first:
            won[name] += 1 / len(first)
    return {name: count / len(complete) for name, count in won.items()}
