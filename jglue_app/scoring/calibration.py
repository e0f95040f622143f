"""How far the probabilities that a run gives its choices can be believed: reliability diagram and expected calibration
error (Guo, Pleiss, Sun and Weinberger 2017, "On Calibration of Modern Neural Networks", section 2). No I/O.

The probability of a choice is that of its text, renormalised over the item's choices; the confidence in an item is that
of its most likely choice. Bins hold as many items each (the adaptive bins of Nguyen and O'Connor 2015), because with a
few dozen items most bins of equal width would hold none. Even probabilities that are right show some error by chance:
how much is simulated with outcomes drawn from the probabilities themselves (Bröcker and Smith 2007).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from jglue_app.scoring import significance
from jglue_app.scoring.comparison import MIN_PAIRED
from jglue_app.scoring.judged import ScoredItem
from jglue_app.scoring.metrics import Floats
from jglue_app.scoring.protocols.common import best_choice, is_right, usable_logprobs
from jglue_app.scoring.types import Estimate

MAX_BINS = 10
SIMULATIONS = 1_000
_BLOCK = 100
"""Simulations at a time: of thousands of items all together would take a hundred megabytes."""
_SEED = 20170614


@dataclass(frozen=True, slots=True)
class Bin:
    """Items of similar confidence."""

    n: int
    confidence: float
    """Mean confidence."""
    accuracy: Estimate
    """Share of items whose most likely choice is right, with Wilson's interval."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Of one subset of a run."""

    n: int
    """Items with log-likelihoods."""
    confidence: float
    """Mean confidence."""
    accuracy: Estimate
    bins: tuple[Bin, ...]
    """By increasing confidence; none is empty."""
    error: Estimate
    """Expected calibration error with its bootstrap interval."""
    by_chance: float
    """What 95 of 100 runs whose probabilities are right would stay below, with these confidences and bins."""


def calibration(rows: Iterable[ScoredItem]) -> Calibration | None:
    """Of the items whose choices were ranked; None where there is none."""
    found = [(_confidence(row), right(row)) for row in rows if usable_logprobs(row.item, row.record) is not None]
    if not found:
        return None
    return of_confidences([confidence for confidence, _ in found], [is_correct for _, is_correct in found])


def right(row: ScoredItem) -> bool:
    """Whether the most likely choice is the gold one."""
    return is_right(row.item, best_choice(row.item, row.record))


def _confidence(row: ScoredItem) -> float:
    """Probability of the most likely choice."""
    logprobs = usable_logprobs(row.item, row.record)
    assert logprobs is not None
    best = max(logprobs)
    return 1 / math.fsum(math.exp(value - best) for value in logprobs)


def of_confidences(confidences: Sequence[float], correct: Sequence[bool]) -> Calibration:
    """Of items that are known by their confidence and whether it was right; at least one."""
    sure, hits = np.asarray(confidences, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    n = len(sure)
    numbers = bin_numbers(sure)
    member = np.equal.outer(np.unique(numbers), numbers).astype(np.float64)
    bins = tuple(
        Bin(
            int(one.sum()),
            float(one @ sure / one.sum()),
            significance.proportion(round(float(one @ hits)), int(one.sum())),
        )
        for one in member
    )

    def error(weights: Floats) -> Floats:
        gaps: Floats = np.abs(member @ (weights * (hits - sure)[:, None])).sum(axis=0) / n
        return gaps

    rng = np.random.default_rng(_SEED)
    chance = np.concatenate([_errors_by_chance(sure, member, rng) for _ in range(SIMULATIONS // _BLOCK)])
    return Calibration(
        n,
        float(sure.mean()),
        significance.proportion(int(hits.sum()), n),
        bins,
        significance.resampled(n, error),
        float(np.quantile(chance, 0.95)),
    )


def _errors_by_chance(sure: Floats, member: Floats, rng: np.random.Generator) -> Floats:
    """Errors of `_BLOCK` runs whose probabilities are right."""
    drawn = rng.random((len(sure), _BLOCK)) < sure[:, None]
    errors: Floats = np.abs(member @ (drawn - sure[:, None])).sum(axis=0) / len(sure)
    return errors


def bin_numbers(confidences: Floats) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """The bin of each item, from 0: bins of as many items as there can be without dividing equal confidences, each of
    at least `MIN_PAIRED` items on average."""
    count = max(1, min(MAX_BINS, len(confidences) // MIN_PAIRED))
    edges = np.quantile(confidences, np.linspace(0, 1, count + 1)[1:-1])
    return np.searchsorted(edges, confidences)
