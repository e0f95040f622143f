"""Stored runs → rankings of those that can be compared. What is read comes from `library`, which caches it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from jglue_app.errors import StoreError
from jglue_app.messages import Message
from jglue_app.results.library import Library
from jglue_app.results.pair_tests import PairTests
from jglue_app.scoring import ranking
from jglue_app.scoring.columns import Column, Differences
from jglue_app.scoring.judged import Judged
from jglue_app.scoring.metrics import Floats
from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.protocols.common import SHARES
from jglue_app.scoring.ranking import Place
from jglue_app.scoring.summary import RunSummary
from jglue_app.scoring.types import Difference, Report


@dataclass(frozen=True, slots=True)
class Reader:
    """What a ranking reads of runs, by their names; each raises StoreError for a run that is gone."""

    judged: Callable[[str], Judged]
    """Under the protocol that ranks."""
    report: Callable[[str], Report]
    difference: Callable[[str, str, str], Difference | None]
    """Names of A and B, and a subset → the difference of its main metric, B minus A."""
    summary: Callable[[str], RunSummary]
    column: Callable[[str, str], Column]
    """Name of a run, and a subset in which something of it counts."""
    tests: PairTests
    """Of all pairs of runs, as far as they were tested before."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Runs on the same items, the best first."""

    items: Mapping[str, int]
    """Subset → number of items."""
    places: Mapping[str, Place]
    """Run → its place."""
    by_likelihood: tuple[str, ...] = ()
    """The subsets in which the ranking of the answers by log-likelihood is scored, and not a text."""


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


def rankings(names: Collection[str], reader: Reader, tasks: Sequence[str], protocol: str) -> Rankings:
    """Rank the runs that have the same items, by the mean of their main metrics; see `scoring.ranking`.

    Args:
        names: the runs; one that cannot be read is left out.
        reader: reads them, under the protocol.
        tasks: subsets that count, all of which the protocol scores.
        protocol: a key of `PROTOCOLS`.

    Raises:
        StoreError: runs change, or are deleted, again and again while they are compared.
    """
    try:
        return _rankings(names, reader, tasks, protocol)
    except StoreError:
        # A run that is still answering has grown: what is there now can be ranked.
        return _rankings(names, reader, tasks, protocol)


def _rankings(names: Collection[str], reader: Reader, tasks: Sequence[str], protocol: str) -> Rankings:
    candidates: dict[str, RunSummary] = {}
    for name in names:
        with contextlib.suppress(StoreError):
            candidates[name] = reader.summary(name)

    def average(name: str) -> float:
        values = [candidates[name].subsets[task].score.value or 0.0 for task in tasks]
        return sum(values) / len(values)

    groups, apart = ranking.comparable(candidates, tasks)
    ranked: list[Ranking] = []
    for group in groups:
        in_order = sorted(group.names, key=average, reverse=True)
        value, p = _mean_tests({name: candidates[name] for name in in_order}, reader, tasks, protocol)
        subsets = candidates[in_order[0]].subsets
        by_likelihood = tuple(task for task in tasks if subsets[task].reading == "choose")
        ranked.append(Ranking(group.items, ranking.places_of_pairs(in_order, value, p), by_likelihood))
    return Rankings(tuple(ranked), apart)


def _mean_tests(
    runs: Mapping[str, RunSummary], reader: Reader, tasks: Sequence[str], protocol: str
) -> tuple[Floats, Floats]:
    """The test of the mean over subsets, of all pairs of some runs of one group: B minus A and p, of shape (pairs,)."""
    names = list(runs)

    def differences(task: str) -> Differences:
        subsets = [run.subsets[task] for run in runs.values()]
        key = (protocol, task, subsets[0].reading, subsets[0].items)
        columns = [(subset.column, subset.score.n) for subset in subsets]
        return reader.tests.of(key, columns, lambda i: reader.column(names[i], task))

    single_share = len(tasks) == 1 and get_protocol(protocol).metrics[tasks[0]][0] in SHARES
    return ranking.mean_tests(map(differences, tasks), single_share=single_share)


def reader_of(library: Library, protocol: str) -> Reader:
    """Reads the runs below the folder of a library."""
    return Reader(
        lambda name: library.judged(library.runs_dir / name, protocol),
        lambda name: library.report(library.runs_dir / name, protocol),
        lambda a, b, task: library.main_difference(library.runs_dir / a, library.runs_dir / b, task, protocol),
        lambda name: library.summary(library.runs_dir / name, protocol),
        lambda name, task: library.column(library.runs_dir / name, task, protocol),
        library.pair_tests,
    )
