"""Reports of many runs → one ranking over chosen subsets, beside the ranking under another protocol. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jglue_app.scoring import significance
from jglue_app.scoring.report import NO_DATA, main_metric
from jglue_app.scoring.types import Estimate, Report


@dataclass(frozen=True, slots=True)
class RunScores:
    """The scores of one run that the ranking uses."""

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


def leaderboard(reports: Mapping[str, Report], baseline: Mapping[str, Report], tasks: Sequence[str]) -> list[Entry]:
    """The runs, best first; those without an average last, in the order given.

    Args:
        reports: run → its report under the protocol that ranks.
        baseline: run → its report under the protocol to compare ranks with.
        tasks: subsets that count; at least one.
    """
    first, second = ({name: run_scores(of) for name, of in found.items()} for found in (reports, baseline))
    return rank(first, second, tasks)


def run_scores(report: Report) -> RunScores:
    """A report as the ranking needs it."""
    main_metrics = {
        name: main_metric(task_report, report.protocol)
        for name, task_report in report.tasks.items()
        if task_report.unscored != "not_covered"
    }
    return RunScores(report.label, main_metrics)


def rank(scores: Mapping[str, RunScores], baseline: Mapping[str, RunScores], tasks: Sequence[str]) -> list[Entry]:
    """The same of runs that are known by their main metrics alone."""
    values = {name: _chosen(run, tasks) for name, run in scores.items()}
    averages = {name: _average(run, tasks) for name, run in values.items()}
    before = _ranks({name: _average(_chosen(run, tasks), tasks) for name, run in baseline.items()})
    ranks = _ranks(averages)
    entries = [
        Entry(
            name,
            run.label,
            ranks.get(name),
            before.get(name),
            averages[name],
            values[name],
            tuple(task for task in tasks if values[name].get(task, NO_DATA).value is None),
        )
        for name, run in scores.items()
    ]
    return sorted(entries, key=lambda e: (e.rank is None, e.rank or 0))


def _chosen(run: RunScores, tasks: Sequence[str]) -> dict[str, Estimate]:
    return {name: run.tasks[name] for name in tasks if name in run.tasks}


def _average(values: Mapping[str, Estimate], tasks: Sequence[str]) -> Estimate:
    if not tasks or any(values.get(name, NO_DATA).value is None for name in tasks):
        return NO_DATA
    return significance.average([values[name] for name in tasks])


def _ranks(averages: Mapping[str, Estimate]) -> dict[str, int]:
    rounded = {name: round(e.value, 9) for name, e in averages.items() if e.value is not None}
    return {name: 1 + sum(other > value for other in rounded.values()) for name, value in rounded.items()}
