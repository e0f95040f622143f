"""Stored runs → rankings of those that can be compared. What is read comes from `library`, which caches it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from jglue_app.errors import StoreError
from jglue_app.messages import Message
from jglue_app.results.library import Library
from jglue_app.scoring import ranking
from jglue_app.scoring.judged import Judged
from jglue_app.scoring.leaderboard import run_scores
from jglue_app.scoring.ranking import Candidate, Place
from jglue_app.scoring.types import Difference, PairedTest, Report
from jglue_app.types import RunData


@dataclass(frozen=True, slots=True)
class Reader:
    """What a ranking reads of runs, by their names; each raises StoreError for a run that is gone."""

    data: Callable[[str], RunData]
    judged: Callable[[str], Judged]
    """Under the protocol that ranks."""
    report: Callable[[str], Report]
    difference: Callable[[str, str, str], Difference | None]
    """Names of A and B, and a subset → the difference of its main metric, B minus A."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Runs on the same items, the best first."""

    items: Mapping[str, int]
    """Subset → number of items."""
    places: Mapping[str, Place]
    """Run → its place."""


@dataclass(frozen=True, slots=True)
class Rankings:
    """The rankings of some runs, one for each group on the same items."""

    rankings: tuple[Ranking, ...]
    """The one of the most runs first."""
    apart: Mapping[str, Message]
    """Run that is in none of them → why, in a few words."""

    @property
    def places(self) -> dict[str, Place]:
        """Run → its place in its own ranking."""
        return {name: place for one in self.rankings for name, place in one.places.items()}


def rankings(names: Iterable[str], reader: Reader, tasks: Sequence[str], protocol: str) -> Rankings:
    """Rank the runs that have the same items, by the mean of their main metrics; see `scoring.ranking`.

    Args:
        names: the runs; one that cannot be read is left out.
        reader: reads them, under the protocol.
        tasks: subsets that count, all of which the protocol scores.
        protocol: a key of `PROTOCOLS`.
    """
    candidates: dict[str, Candidate] = {}
    for name in names:
        with contextlib.suppress(StoreError):
            scores = run_scores(reader.report(name)).tasks
            candidates[name] = Candidate(reader.data(name).items, reader.judged(name), scores)

    def average(name: str) -> float:
        values = [candidates[name].scores[task].value or 0.0 for task in tasks]
        return sum(values) / len(values)

    def test(a: str, b: str) -> PairedTest | None:
        return ranking.mean_test([reader.difference(a, b, task) for task in tasks])

    groups, apart = ranking.comparable(candidates, tasks, protocol)
    return Rankings(
        tuple(
            Ranking(
                group.items,
                ranking.places(sorted(group.names, key=average, reverse=True), test),
            )
            for group in groups
        ),
        apart,
    )


def reader_of(library: Library, protocol: str) -> Reader:
    """Reads the runs below the folder of a library."""
    return Reader(
        lambda name: library.data(library.runs_dir / name),
        lambda name: library.judged(library.runs_dir / name, protocol),
        lambda name: library.report(library.runs_dir / name, protocol),
        lambda a, b, task: library.main_difference(library.runs_dir / a, library.runs_dir / b, task, protocol),
    )
