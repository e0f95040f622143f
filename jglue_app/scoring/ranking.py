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

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from jglue_app.messages import Joined, Message, mark
from jglue_app.scoring import many_pairs
from jglue_app.scoring.columns import Differences
from jglue_app.scoring.comparison import MIN_PAIRED
from jglue_app.scoring.metrics import Floats
from jglue_app.scoring.summary import RunSummary
from jglue_app.tasks import TASKS

LEAST_SCORED = 0.95
"""Share of the items of each subset that have to count in a ranked run's score: one whose failed or unreadable answers
are left out is scored on other items than the rest."""
LEVEL = 0.05
OTHER_ITEMS = Message("no other run has the same items")
UNSCORED = {
    "no_logprobs": mark("this protocol ranks the answers by log-likelihood, and the run wrote texts alone"),
    "no_text": mark("this protocol reads texts, and the run ranked the answers by log-likelihood alone"),
    "cosines": mark("this protocol reads a number that a model wrote, and the run has cosines of embeddings"),
    "no_answers": mark("the run has no answer there"),
}
"""`SubsetSummary.unscored` → why there is no score."""
NOT_RUN = mark("the run was not asked them")
ALIKE = mark("all answers that could be read are the same, and a correlation cannot be computed of these")
UNREADABLE = mark("too few answers could be read to compute a correlation")
OTHERS_UNRANKED = Message("the other runs of the same items cannot be ranked, as is said beside them")
SCORED_OTHERWISE = Message("no other run of the same items is scored in the same way (texts or log-likelihood)")


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


def comparable(candidates: Mapping[str, RunSummary], tasks: Sequence[str]) -> tuple[list[Group], dict[str, Message]]:
    """The groups of runs that were given the same items, and why other runs are in none of them.

    Args:
        candidates: name → run, in the order in which groups list them.
        tasks: subsets that count; at least one, all of which the protocol of the runs' scores has.
    """
    apart: dict[str, Message] = {}
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    of_items: Counter[tuple[str, ...]] = Counter()
    of_unranked: set[tuple[str, ...]] = set()
    for name, run in candidates.items():
        items = tuple(run.subsets[t].items if t in run.subsets else "" for t in tasks)
        if reason := _why_not_ranked(run, tasks):
            apart[name] = reason
            of_unranked.add(items)
            continue
        groups.setdefault(tuple((run.subsets[t].items, run.subsets[t].reading) for t in tasks), []).append(name)
        of_items[items] += 1
    if len(candidates) > 1:
        for key, names in groups.items():
            if len(names) == 1:
                items = tuple(items_of_subset for items_of_subset, _ in key)
                unranked = OTHERS_UNRANKED if items in of_unranked else OTHER_ITEMS
                apart[names[0]] = SCORED_OTHERWISE if of_items[items] > 1 else unranked
    ranked = [
        Group(tuple(names), {task: candidates[names[0]].subsets[task].planned for task in tasks})
        for names in groups.values()
        if len(names) > 1 or len(candidates) == 1
    ]
    # The largest group first: it is what most of the runs are.
    ranked.sort(key=lambda group: (-len(group.names), -sum(group.items.values())))
    return ranked, {name: apart[name] for name in candidates if name in apart}


def _why_not_ranked(run: RunSummary, tasks: Sequence[str]) -> Message | None:
    if lacks := _lacks(run, tasks):
        return lacks
    for task in tasks:
        asked, score, subset = run.subsets[task].scorable, run.subsets[task].score, TASKS[task].title
        if asked < MIN_PAIRED:
            few = mark("only {count:,} items of {subset}; {least} are needed")
            one = "only 1 item of {subset}; {least} are needed" if asked == 1 else few
            return Message.worded(one, few, {"count": asked, "subset": subset, "least": MIN_PAIRED})
        if score.n < LEAST_SCORED * asked:
            return Message(
                "only {scored:,} of {asked:,} items of {subset} count", scored=score.n, asked=asked, subset=subset
            )
        if score.low is None:
            return Message("the answers to {subset} vary too little to be tested", subset=subset)
    return None


def _lacks(run: RunSummary, tasks: Sequence[str]) -> Message | None:
    """The subsets without a score, and why there is none, each reason once; None where all have one."""
    without: dict[str, list[str]] = {}
    for task in tasks:
        subset = run.subsets.get(task)
        if subset is None or subset.score.value is None:
            reason = NOT_RUN if subset is None else UNSCORED.get(subset.unscored) or _undefined(subset.score.n)
            without.setdefault(reason, []).append(TASKS[task].title)
    reasons = [
        Message("no score for {subsets}: {why}", subsets=Joined(", ", titles), why=Message(reason))
        for reason, titles in without.items()
    ]
    return Joined("; ", reasons) if reasons else None


def _undefined(n: int) -> str:
    """Why a correlation over so many answers that could be read has no value."""
    return ALIKE if n > 1 else UNREADABLE


def mean_tests(differences: Iterable[Differences], *, single_share: bool) -> tuple[Floats, Floats]:
    """Tests of the means of the main metrics of some subsets, for many pairs of runs: B minus A and p.

    Both are of shape (pairs,), and NaN where a subset of a pair has too few items.

    The p of shares of right answers is McNemar's exact one. Of other metrics, and of a mean over subsets, it is the
    normal one with the standard error that the interval's width implies: a p that counts resamples has at least two in
    a thousand, which Holm's correction over many pairs can never bring below the level.

    Args:
        differences: of each subset.
        single_share: whether there is one subset alone, of which the main metric is a share of right answers.
    """

    def testable(found: Differences) -> Differences:
        value = np.where(found.n < MIN_PAIRED, np.nan, found.value)
        return replace(found, value=value, p=np.where(np.isnan(value), np.nan, found.p))

    each = map(testable, differences)
    if single_share:
        (found,) = each
        return found.value, found.p
    return many_pairs.average_test((found.value, found.low, found.high, found.n) for found in each)


def places_of_pairs(names: Sequence[str], value: Floats, p: Floats) -> dict[str, Place]:
    """Name → place of the runs of one group, in the order of the ranks; runs of one rank stay in the order given.

    Args:
        names: the runs.
        value, p: of each pair, in the order of `np.triu_indices`: B minus A, and its p before the correction; NaN where
            a pair cannot be tested. Shape (pairs,).
    """
    n = len(names)
    first, second = np.triu_indices(n, 1)
    with np.errstate(invalid="ignore"):
        told_apart = (many_pairs.holm(p) < LEVEL) & ~np.isnan(value)
    second_wins = value > 0
    is_better = np.zeros((n, n), np.bool_)
    """[i, j]: whether run j is shown to be better than run i."""
    is_better[first[told_apart & second_wins], second[told_apart & second_wins]] = True
    is_better[second[told_apart & ~second_wins], first[told_apart & ~second_wins]] = True
    is_alike = ~(is_better | is_better.T)
    np.fill_diagonal(is_alike, False)

    def those(row: NDArray[np.bool_]) -> tuple[str, ...]:
        return tuple(names[j] for j in np.flatnonzero(row).tolist())

    found = {
        name: Place(
            1 + int(is_better[i].sum()),
            n - int(is_better[:, i].sum()),
            those(is_better[i]),
            those(is_better[:, i]),
            those(is_alike[i]),
        )
        for i, name in enumerate(names)
    }
    return dict(sorted(found.items(), key=lambda pair: pair[1].rank))
