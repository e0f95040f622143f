"""Reports of many runs → one ranking over chosen subsets, beside the ranking under another protocol. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jglue_app.scoring import significance
from jglue_app.scoring.report import NO_DATA, main_metric
from jglue_app.scoring.types import Estimate, Report


@dataclass(frozen=True, slots=True)
class Standing:
    """What of a run's scores the ranking rests on."""

    label: str
    tasks: Mapping[str, Estimate]
    """Subset that the protocol scores → main metric."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One run in the ranking."""

    name: str
    label: str
    rank: int | None
    """From 1; runs with the same average share a rank. None if a subset has no value."""
    usual_rank: int | None
    """The rank under the protocol it is compared with."""
    average: Estimate
    """Mean of the main metrics over the chosen subsets; no data unless each has a value."""
    tasks: Mapping[str, Estimate]
    """Subset → main metric, with its interval and number of items."""
    missing: tuple[str, ...]
    """Chosen subsets without a value."""

    @property
    def moved(self) -> int | None:
        """Places gained (positive) or lost against the usual ranking; None where one of the ranks is missing."""
        return None if self.rank is None or self.usual_rank is None else self.usual_rank - self.rank


def leaderboard(reports: Mapping[str, Report], usual: Mapping[str, Report], tasks: Sequence[str]) -> list[Entry]:
    """The runs, best first; those without an average last, in the order given.

    Args:
        reports: run → its report under the protocol that ranks.
        usual: run → its report under the protocol to compare ranks with.
        tasks: subsets that count; at least one.
    """
    first, second = ({name: standing(of) for name, of in found.items()} for found in (reports, usual))
    return rank(first, second, tasks)


def standing(report: Report) -> Standing:
    """A report as the ranking needs it."""
    found = {
        name: main_metric(of, report.protocol) for name, of in report.tasks.items() if of.unscored != "not_covered"
    }
    return Standing(report.label, found)


def rank(standings: Mapping[str, Standing], usual: Mapping[str, Standing], tasks: Sequence[str]) -> list[Entry]:
    """The same of runs that are known by their main metrics alone."""
    values = {name: _chosen(found, tasks) for name, found in standings.items()}
    averages = {name: _average(found, tasks) for name, found in values.items()}
    before = _ranks({name: _average(_chosen(found, tasks), tasks) for name, found in usual.items()})
    ranks = _ranks(averages)
    entries = [
        Entry(
            name,
            found.label,
            ranks.get(name),
            before.get(name),
            averages[name],
            values[name],
            tuple(task for task in tasks if values[name].get(task, NO_DATA).value is None),
        )
        for name, found in standings.items()
    ]
    return sorted(entries, key=lambda e: (e.rank is None, e.rank or 0))


def _chosen(found: Standing, tasks: Sequence[str]) -> dict[str, Estimate]:
    return {name: found.tasks[name] for name in tasks if name in found.tasks}


def _average(values: Mapping[str, Estimate], tasks: Sequence[str]) -> Estimate:
    if not tasks or any(values.get(name, NO_DATA).value is None for name in tasks):
        return NO_DATA
    return significance.average([values[name] for name in tasks])


def _ranks(averages: Mapping[str, Estimate]) -> dict[str, int]:
    found = {name: round(e.value, 9) for name, e in averages.items() if e.value is not None}
    return {name: 1 + sum(other > value for other in found.values()) for name, value in found.items()}
