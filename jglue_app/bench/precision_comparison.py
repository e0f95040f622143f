"""One model in two precisions: how much faster one is, and what it changes in the results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from jglue_app.bench.repetition import Pairs, Rule, taking_turns
from jglue_app.bench.workload_runs import WorkloadRuns
from jglue_app.types import Output, RunError


@dataclass(frozen=True, slots=True)
class ResultDifference:
    """How the results of one workload differ; of the items that have an output on both sides."""

    items: int
    without: int
    """Items without an output on one side or both."""
    most_apart: float | None
    """Greatest difference of a choice's log-likelihood; None where texts were generated."""
    mean_apart: float | None
    flips: int | None
    """Items whose most likely choice is another one; None where texts were generated."""
    other_texts: int | None
    """Items with another text; None where choices were ranked."""


@dataclass(frozen=True, slots=True)
class PrecisionComparison:
    """What a workload costs in a precision, beside another; printed with `--json`."""

    precision: str
    base: str
    """The precision that it is compared with."""
    task: str
    method: str
    shots: int
    items: int
    items_per_s: float
    """Of the median of the last runs."""
    spread: float | None
    """(slowest − fastest) ÷ median of these; None for a single run."""
    base_per_s: float
    base_spread: float | None
    ratio: float | None
    """Median of the speed over that of the base, pair by pair; None where items have no output."""
    ratio_spread: float | None
    steady: bool
    """Whether the spread of the ratio is small enough."""
    pairs: Pairs
    """Seconds of all runs; ours are those of the base."""
    results: ResultDifference


def compare_precisions(base: WorkloadRuns, other: WorkloadRuns, rule: Rule) -> PrecisionComparison:
    """Run a workload in two precisions in turn.

    Args:
        base: its runs in the precision that is compared with.
        other: those in the other precision.
        rule: when to end.
    """
    pairs = taking_turns(base, other, rule)
    work = base.work
    before, after = rule.summary(pairs.ours), rule.summary(pairs.theirs)
    ratio = rule.summary([1 / slower for slower in pairs.ratios])
    refused = bool(base.failed or other.failed)
    items = len(work.prompts)
    return PrecisionComparison(
        precision=other.precision,
        base=base.precision,
        task=work.task,
        method=work.method,
        shots=work.shots,
        items=items,
        items_per_s=items / after.median,
        spread=after.spread,
        base_per_s=items / before.median,
        base_spread=before.spread,
        ratio=None if refused else ratio.median,
        ratio_spread=None if refused else ratio.spread,
        steady=ratio.steady,
        pairs=pairs,
        results=result_difference(base.results, other.results, items, ranked=work.method == "choose"),
    )


def result_difference(
    base: Mapping[int, Output | RunError], other: Mapping[int, Output | RunError], items: int, *, ranked: bool
) -> ResultDifference:
    """Compare results by the number of the prompt.

    Args:
        base: results in the precision that is compared with.
        other: those in the other.
        items: how many prompts there are.
        ranked: whether choices were ranked, or texts generated.
    """
    both = [(a, b) for i in range(items) if (a := _output(base.get(i))) and (b := _output(other.get(i)))]
    if not ranked:
        texts = sum(a.text != b.text for a, b in both)
        return ResultDifference(len(both), items - len(both), None, None, None, texts)
    scores = [(a.choice_logprobs or (), b.choice_logprobs or ()) for a, b in both]
    apart = [abs(p - q) for a, b in scores for p, q in zip(a, b, strict=True)]
    flips = sum(a.index(max(a)) != b.index(max(b)) for a, b in scores if a)
    most, mean = (max(apart), math.fsum(apart) / len(apart)) if apart else (None, None)
    return ResultDifference(len(both), items - len(both), most, mean, flips, None)


def _output(result: Output | RunError | None) -> Output | None:
    return result if isinstance(result, Output) and result.finish != "overflow" else None
