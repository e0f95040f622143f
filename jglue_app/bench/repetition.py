"""How often a workload runs, and what its times are then: single runs on a busy machine differ by a factor of two.

Runs that are compared take turns: here, there, here, there, …, here. The ratio of a pair is that of the run there to
the mean of the runs here before and after it, so that a machine that slows down does so for both.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

MAX_SPREAD = 0.05
"""Runs are repeated until they spread less than this."""
MAX_RUNS = 12
"""So many runs or pairs are the most, unless more are wanted."""


@dataclass(frozen=True, slots=True)
class Rule:
    """When to end. The spread is that of the last `runs` runs, so that slow first ones do not count."""

    runs: int = 3
    """Runs or pairs, at least; a spread is told from two on."""
    seconds: float = 120.0
    """After these, no more than that."""

    def ends(self, values: Sequence[float], seconds: float) -> bool:
        """Whether these values of the runs so far, which took so many seconds, are enough."""
        if len(values) < self.runs:
            return False
        if self.runs == 1 or len(values) >= max(MAX_RUNS, self.runs) or seconds >= self.seconds:
            return True
        return self.summary(values).steady

    def summary(self, values: Sequence[float]) -> Summary:
        """What the last runs amount to."""
        last = values[-self.runs :]
        median = statistics.median(last)
        spread = (max(last) - min(last)) / median if len(last) > 1 else None
        return Summary(median, spread, spread is not None and spread < MAX_SPREAD)


@dataclass(frozen=True, slots=True)
class Summary:
    """Of the last runs."""

    median: float
    spread: float | None
    """(largest − smallest) ÷ median; None for a single run."""
    steady: bool
    """Whether the spread is below `MAX_SPREAD`."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Seconds of runs that took turns."""

    ours: tuple[float, ...]
    """One more than of the others: the first and the last run are ours."""
    theirs: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        """How many times as long each run there took as those here around it."""
        around = [(before + after) / 2 for before, after in zip(self.ours, self.ours[1:], strict=False)]
        return [there / here for there, here in zip(self.theirs, around, strict=True)]


def repeated(run: Callable[[], float], rule: Rule) -> list[float]:
    """Run until the seconds agree, or as often as the rule allows; returns those of each run."""
    started = time.perf_counter()
    seconds: list[float] = []
    while not rule.ends(seconds, time.perf_counter() - started):
        seconds.append(run())
    return seconds


def taking_turns(ours: Callable[[], float], theirs: Callable[[], float], rule: Rule) -> Pairs:
    """Run both in turn until the ratios agree, or as often as the rule allows."""
    started = time.perf_counter()
    pairs = Pairs((ours(),), ())
    while not rule.ends(pairs.ratios, time.perf_counter() - started):
        there = theirs()
        pairs = Pairs((*pairs.ours, ours()), (*pairs.theirs, there))
    return pairs
