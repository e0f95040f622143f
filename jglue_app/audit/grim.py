"""Which numbers of right answers a printed score can stand for (as GRIM, Brown and Heathers 2017, asks). No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

from jglue_app.audit.reported_score import ReportedScore


def counts(score: ReportedScore, n: int) -> range:
    """Numbers of right answers of n that round to a printed share; empty if none does."""
    low, high = score.bounds
    return range(max(0, math.ceil(low * n)), min(n, math.floor(high * n)) + 1)


def truncated_counts(score: ReportedScore, n: int) -> range:
    """The same for digits that are cut off, where none rounds to it."""
    if counts(score, n):
        return range(0)
    smallest = math.ceil(score.value * n)
    greatest = min(n, math.ceil((score.value + score.unit) * n) - 1)
    fitting = [k for k in range(smallest, greatest + 1) if score.cuts(Fraction(k, n))]
    return range(fitting[0], fitting[-1] + 1) if fitting else range(0)


def is_distinctive(score: ReportedScore, n: int) -> bool:
    """Whether a share of n items could fail to fit: neighbouring counts are further apart than digits."""
    return score.half * 2 * n < 1


def neighbours(score: ReportedScore, n: int) -> tuple[int, int]:
    """The counts just below and just above a share that no count gives."""
    below = math.floor(score.value * n)
    return below, min(n, below + 1)


def accuracies(balanced: Fraction, sizes: Mapping[str, int]) -> tuple[Fraction, Fraction]:
    """The least and the greatest accuracy that go with a balanced accuracy, for the number of items of each label.

    A balanced accuracy is the mean of the shares of right answers among each label's items. Their sum may lie with the
    rare labels, which gives few right answers, or with the frequent ones.
    """
    n, bounds = sum(sizes.values()), []
    for order in (sorted(sizes.values()), sorted(sizes.values(), reverse=True)):
        left, right = balanced * len(sizes), Fraction(0)
        for size in order:
            share = min(Fraction(1), left)
            right += share * size
            left -= share
        bounds.append(right / n)
    return bounds[0], bounds[1]


def macro_f1_of_constant(share: Fraction, classes: int) -> Fraction:
    """Macro F1 of one constant answer: that label has precision `share` and recall 1, the others have 0."""
    return 2 * share / (1 + share) / classes
