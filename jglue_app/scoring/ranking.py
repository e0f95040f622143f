"""Which runs can be ranked with each other, and the ranks that paired tests support. No I/O.

Runs are compared on the same items only. Within a group of such runs every pair is tested on the mean of the main
metrics, with Holm's correction over all pairs of the group (Holm 1979). A run's rank is one more than the number of
runs that are shown to be better, and its last place is the number of runs less those shown to be worse: together the
stepwise confidence set of its rank, which holds for all runs at once with 95 % confidence (Mogstad, Romano, Shaikh and
Wilhelm 2024, "Inference for ranks …", Review of Economic Studies 91; the same lower end ranks the models of Chatbot
Arena, Chiang et al. 2024). So runs that cannot be told apart share a rank.

"Cannot be told apart" is not transitive: the first may be better than the third where neither differs from the second.
A rank counts what each run itself was shown, so it needs no such chain; next to it stand the last place and the runs
from which this one cannot be told apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from jglue_app.messages import Message
from jglue_app.scoring import significance
from jglue_app.scoring.comparison import MIN_PAIRED
from jglue_app.scoring.judged import Judged
from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.protocols.judging import is_scored
from jglue_app.scoring.report import NO_DATA, has_score
from jglue_app.scoring.types import Difference, Estimate, PairedTest
from jglue_app.tasks import TASKS
from jglue_app.types import Item

LEAST_SCORED = 0.95
"""Share of the items of each subset that have to count in a ranked run's score: one whose failed or unreadable answers
are left out is scored on other items than the rest."""
LEVEL = 0.05

Test = Callable[[str, str], PairedTest | None]
"""Names of A and B → test of B minus A."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A run that may be ranked."""

    items: Mapping[str, Mapping[str, Item]]
    """Task → item id → item, of the items that it was to answer."""
    judged: Judged
    """Under the protocol that ranks."""
    scores: Mapping[str, Estimate]
    """Task → main metric under that protocol."""


@dataclass(frozen=True, slots=True)
class Group:
    """Runs on the same items."""

    names: tuple[str, ...]
    items: Mapping[str, int]
    """Subset → number of items."""


@dataclass(frozen=True, slots=True)
class Place:
    """A run's rank among those on the same items."""

    rank: int
    """One more than the number of runs that are shown to be better."""
    last: int
    """The number of runs less those that are shown to be worse: the last place that it may have."""
    better: tuple[str, ...]
    """Runs that are shown to be better."""
    worse: tuple[str, ...]
    alike: tuple[str, ...]
    """Runs from which it cannot be told apart."""


def comparable(
    candidates: Mapping[str, Candidate], tasks: Sequence[str], protocol: str
) -> tuple[list[Group], dict[str, Message]]:
    """The groups of runs that were given the same items, and why other runs are in none of them.

    Args:
        candidates: name → run, in the order in which groups list them.
        tasks: subsets that count; at least one, all of which the protocol scores.
        protocol: a key of `PROTOCOLS`.
    """
    apart: dict[str, Message] = {}
    groups: list[tuple[list[str], Candidate, tuple[str, ...]]] = []
    for name, run in candidates.items():
        if reason := _why_not_ranked(run, tasks, protocol):
            apart[name] = reason
            continue
        readings = tuple(_reading(run, task, protocol) for task in tasks)
        for names, first, readings_of_first in groups:
            if readings == readings_of_first and all(run.items[t] == first.items[t] for t in tasks):
                names.append(name)
                break
        else:
            groups.append(([name], run, readings))
    alone = {names[0] for names, _, _ in groups if len(names) == 1}
    if len(candidates) > 1:
        apart |= {name: Message("no other run has the same items") for name in candidates if name in alone}
    ranked = [
        Group(tuple(names), {task: len(run.items[task]) for task in tasks})
        for names, run, _ in groups
        if len(names) > 1 or len(candidates) == 1
    ]
    # The largest group first: it is what most of the runs are.
    ranked.sort(key=lambda group: (-len(group.names), -sum(group.items.values())))
    return ranked, {name: apart[name] for name in candidates if name in apart}


def _reading(run: Candidate, task: str, protocol: str) -> str:
    """`strict`, or `choose` where only a ranking of the choices is scored."""
    scored = any(has_score(row, get_protocol(protocol)) for row in run.judged[task].values())
    return "strict" if scored else "choose"


def _why_not_ranked(run: Candidate, tasks: Sequence[str], protocol: str) -> Message | None:
    rules = get_protocol(protocol).rules
    without = [TASKS[task].title for task in tasks if run.scores.get(task, NO_DATA).value is None]
    if len(without) > 1:
        return Message("no score for {count} of the subsets", count=len(without))
    if without:
        return Message("no score for {subset}", subset=without[0])
    for task in tasks:
        asked = sum(is_scored(rules[task], item) for item in run.items[task].values())
        scored, subset = run.scores[task].n, TASKS[task].title
        if asked < MIN_PAIRED:
            return Message(
                "only {count:,} items of {subset}; {least} are needed", count=asked, subset=subset, least=MIN_PAIRED
            )
        if scored < LEAST_SCORED * asked:
            return Message(
                "only {scored:,} of {asked:,} items of {subset} count", scored=scored, asked=asked, subset=subset
            )
        if run.scores[task].low is None:
            return Message("the answers to {subset} vary too little to be tested", subset=subset)
    return None


def mean_test(differences: Sequence[Difference | None]) -> PairedTest | None:
    """Of the means of the main metrics of some subsets, B minus A; None where a subset has too few items.

    The p of shares of right answers is McNemar's exact one. Of other metrics, and of a mean over subsets, it is the
    normal one with the standard error that the interval's width implies: a p that counts resamples has at least two in
    a thousand, which Holm's correction over many pairs can never bring below the level.

    Args:
        differences: of each subset; see `comparison.main_difference`.
    """
    tests: list[PairedTest] = []
    for found in differences:
        if found is None or found.difference.value is None or found.difference.n < MIN_PAIRED:
            return None
        tests.append(PairedTest(found.difference, found.p, found.test, found.needed))
    if len(tests) == 1 and tests[0].test == "mcnemar":
        return tests[0]
    return significance.average_test(tests)


def places(names: Sequence[str], test: Test) -> dict[str, Place]:
    """Name → place of the runs of one group, in the order of the ranks; runs of one rank stay in the order given."""
    pairs = {(a, b): test(a, b) for i, a in enumerate(names) for b in names[i + 1 :]}
    corrected = significance.holm({pair: found.p if found else None for pair, found in pairs.items()})
    better: dict[str, set[str]] = {name: set() for name in names}
    for (a, b), found in pairs.items():
        p = corrected[a, b]
        if found is None or found.difference.value is None or p is None or p >= LEVEL:
            continue
        winner, loser = (b, a) if found.difference.value > 0 else (a, b)
        better[loser].add(winner)
    worse = {name: {other for other in names if name in better[other]} for name in names}

    def place(name: str) -> Place:
        alike = tuple(other for other in names if other != name and other not in better[name] | worse[name])
        return Place(
            1 + len(better[name]),
            len(names) - len(worse[name]),
            tuple(other for other in names if other in better[name]),
            tuple(other for other in names if other in worse[name]),
            alike,
        )

    found_places = {name: place(name) for name in names}
    return dict(sorted(found_places.items(), key=lambda pair: pair[1].rank))
