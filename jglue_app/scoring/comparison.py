"""Two runs on the same items: paired differences with tests, flips, agreement and cost. No I/O."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from jglue_app.scoring import significance
from jglue_app.scoring.agreement import agreements
from jglue_app.scoring.estimates import (
    AGREEMENTS,
    CORRELATIONS,
    estimate,
    gold_label,
    gold_similarity,
    is_readable,
    item_score,
    label_of,
    similarity_of,
)
from jglue_app.scoring.judged import Judged, ScoredItem, judge_run, only, only_judged
from jglue_app.scoring.payment import paid_for
from jglue_app.scoring.precision import rounding_notices
from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.protocols.common import SHARES, is_cosine, is_right
from jglue_app.scoring.report import READINGS, has_score, report_judged, task_report
from jglue_app.scoring.types import (
    Comparison,
    Cost,
    Difference,
    Estimate,
    Flips,
    PairedTest,
    Report,
    ScoringProtocol,
    TaskReport,
)
from jglue_app.tasks import TASKS
from jglue_app.types import RunData, Task

K = TypeVar("K", bound=Hashable)

MIN_PAIRED = 10
"""With fewer items a bootstrap interval is far too narrow: all of three items may differ by chance."""


def compare_runs(
    a: RunData, b: RunData, protocol: str = "official", judged: tuple[Judged, Judged] | None = None
) -> Comparison:
    """Two runs on the items both were asked; differences are B minus A over those both have answered, paired.

    Of a subset that both have, items that only one was asked are left out of both reports; a subset that only one has
    is reported for that one.

    Args:
        a, b: what is stored of the runs.
        protocol: a key of `PROTOCOLS`.
        judged: what `judge_run` has made of either run already, or of a larger part of it.

    Raises:
        UnknownNameError: no such protocol.
    """
    scoring = get_protocol(protocol)
    common = {
        name: {id_ for id_, item in items.items() if b.items[name].get(id_) == item}
        for name, items in a.items.items()
        if name in b.items
    }
    a, b = (only(run, {name: set(run.items[name]) for name in run.items} | common) for run in (a, b))
    if judged is None:
        rows_a, rows_b = judge_run(a, protocol), judge_run(b, protocol)
    else:
        rows_a, rows_b = only_judged(judged[0], a), only_judged(judged[1], b)
    pairs: dict[str, list[tuple[ScoredItem, ScoredItem]]] = {
        name: [(x, rows_b[name][id_]) for id_, x in rows.items() if id_ in rows_b[name]]
        for name, rows in rows_a.items()
        if name in rows_b
    }
    differences = {
        reading: _corrected({n: _differences(TASKS[n], p, reading, scoring) for n, p in pairs.items()})
        for reading in READINGS
    }
    left, right = report_judged(a, scoring, rows_a), report_judged(b, scoring, rows_b)
    left, right = (
        replace(report, notices=(*report.notices, *rounding_notices(data, differences["choose"])))
        for report, data in ((left, a), (right, b))
    )
    shared = _common((a, left), (b, right), pairs, scoring)
    flips = {name: _all_flips(TASKS[name], p, scoring) for name, p in pairs.items()}
    costs = _cost(a), _cost(b)
    return Comparison(
        left,
        right,
        differences["strict"],
        differences["lenient"],
        differences["choose"],
        _average(left, right, scoring, differences),
        {name: by_reading for name, by_reading in flips.items() if by_reading},
        (costs[0], costs[1]) if costs[0] and costs[1] else None,
        agreements(a, b),
        shared,
    )


def _common(
    a: tuple[RunData, Report],
    b: tuple[RunData, Report],
    pairs: Mapping[str, list[tuple[ScoredItem, ScoredItem]]],
    protocol: ScoringProtocol,
) -> tuple[Report, Report]:
    """Both reports over the items that the main difference of each subset rests on, without the other subsets."""
    tasks: tuple[dict[str, TaskReport], dict[str, TaskReport]] = ({}, {})
    for name, found in pairs.items():
        task = TASKS[name]
        both = _both(task, found, "strict", protocol) or _both(task, found, "choose", protocol)
        if not both:
            continue
        for at, (data, report) in enumerate((a, b)):
            whole = report.tasks[name]
            if len(both) < whole.n:
                rows = [pair[at] for pair in both]
                items = {row.item.id: data.items[name][row.item.id] for row in rows}
                whole = task_report(data, protocol, task, whole.source, rows, items)
            tasks[at][name] = whole
    return replace(a[1], tasks=tasks[0]), replace(b[1], tasks=tasks[1])


def _all_flips(task: Task, pairs: list[tuple[ScoredItem, ScoredItem]], protocol: ScoringProtocol) -> dict[str, Flips]:
    """Reading → flips, for the readings that both runs have."""
    out: dict[str, Flips] = {}
    if any(is_cosine(row.record) for pair in pairs for row in pair):
        return out  # Two numbers on different scales, or of so many digits, are never the same.
    for reading in ("strict", "choose"):
        both = [(x, y) for x, y in pairs if _has(reading, x, protocol) and _has(reading, y, protocol)]
        if both:
            out[reading] = _flips(task, both, reading)
    return out


def _flips(task: Task, both: list[tuple[ScoredItem, ScoredItem]], reading: str) -> Flips:
    def answer(row: ScoredItem) -> str | float | None:
        return row.judgement.choice if reading == "choose" else row.judgement.strict.value

    changed = sum(answer(x) != answer(y) for x, y in both)
    if task.kind == "score":
        return Flips(len(both), changed, None, None)
    name = "exact_match" if task.kind == "span" else "accuracy"
    right = [(_right(name, x, reading), _right(name, y, reading)) for x, y in both]
    return Flips(len(both), changed, right.count((False, True)), right.count((True, False)))


def _right(name: str, row: ScoredItem, reading: str) -> bool:
    if reading == "choose":
        return is_right(row.item, row.judgement.choice)
    scores = row.judgement.scores
    return scores.get(name, max(scores.values(), default=0.0)) == 1.0


def _has(reading: str, row: ScoredItem, protocol: ScoringProtocol) -> bool:
    """Whether a record has this reading: a ranking beside the text, or what the protocol scores."""
    if reading == "choose":
        return protocol.lenient and row.judgement.choice is not None
    return has_score(row, protocol)


def _cost(data: RunData) -> Cost | None:
    if data.model is None:
        return None
    item_keys = {(name, id_) for name, items in data.items.items() for id_ in items}
    outputs = [r.output for r in data.records if r.output is not None and (r.task, r.item_id) in item_keys]
    asked_for = data.spec.model.quantization
    quantization = data.model.quantized or asked_for if asked_for == "none" else asked_for
    return Cost(data.model, quantization, len(outputs), sum(o.seconds for o in outputs), paid_for(data))


def main_difference(
    task: Task, a: Mapping[str, ScoredItem], b: Mapping[str, ScoredItem], protocol: ScoringProtocol
) -> Difference | None:
    """Of a subset's main metric, B minus A over the items that both have answered: of the strict reading, else of the
    ranking. Not corrected, without a verdict; None where there is nothing to compare."""
    pairs = [(row, b[id_]) for id_, row in a.items() if id_ in b and b[id_].item == row.item]
    name = protocol.metrics[task.name][0]
    for reading in ("strict", "choose"):
        if found := _differences(task, pairs, reading, protocol, (name,)):
            return found[name]
    return None


def _differences(
    task: Task,
    pairs: list[tuple[ScoredItem, ScoredItem]],
    reading: str,
    protocol: ScoringProtocol,
    names: Sequence[str] | None = None,
) -> dict[str, Difference]:
    """Metric → difference, of all metrics of the subset or those that are named."""
    both = _both(task, pairs, reading, protocol)
    if not both or (reading == "lenient" and not protocol.lenient):
        return {}
    left, right = [x for x, _ in both], [y for _, y in both]
    out = {}
    for name in protocol.metrics[task.name] if names is None else names:
        test = _test(name, task, left, right, reading)
        a, b = (estimate(name, task, rows, reading) for rows in (left, right))
        out[name] = replace(_difference(a, b, test), reading=reading)
    return out


def _both(
    task: Task, pairs: Sequence[tuple[ScoredItem, ScoredItem]], reading: str, protocol: ScoringProtocol
) -> list[tuple[ScoredItem, ScoredItem]]:
    """The pairs in which both sides have a score by this reading."""

    def usable(row: ScoredItem) -> bool:
        return _has(reading, row, protocol) and (
            reading == "choose" or task.kind != "score" or is_readable(row, reading)
        )

    return [(x, y) for x, y in pairs if usable(x) and usable(y)]


def _test(name: str, task: Task, left: list[ScoredItem], right: list[ScoredItem], reading: str) -> PairedTest:
    if correlation := CORRELATIONS.get(name):
        a, b = ([similarity_of(row, reading) for row in side] for side in (left, right))
        return significance.correlation_test(correlation, a, b, [gold_similarity(row) for row in left])
    if agreement := AGREEMENTS.get(name):
        said_a, said_b = ([label_of(row, reading) for row in side] for side in (left, right))
        return significance.agreement_test(agreement, said_a, said_b, [gold_label(row) for row in left])
    scores_a, scores_b = ([item_score(name, row, reading) for row in side] for side in (left, right))
    test = significance.right_wrong_test if name in SHARES else significance.mean_difference_test
    return test(scores_a, scores_b)


def _difference(a: Estimate, b: Estimate, test: PairedTest) -> Difference:
    """Not corrected, without a verdict."""
    return Difference(a, b, test.difference, "undecided", test.p, test.p, test.test, test.needed)


def _corrected(uncorrected: dict[str, dict[str, Difference]]) -> dict[str, dict[str, Difference]]:
    """With p corrected over the subsets (main metrics among themselves, second ones likewise) and the verdict."""
    out = {name: dict(differences) for name, differences in uncorrected.items()}
    for rank in range(max((len(differences) for differences in uncorrected.values()), default=0)):
        family = {(name, list(d)[rank]): list(d.values())[rank] for name, d in uncorrected.items() if len(d) > rank}
        for (name, metric), difference in corrected(family).items():
            out[name][metric] = difference
    return out


def corrected(family: Mapping[K, Difference]) -> dict[K, Difference]:
    """Differences that are looked at together, with p corrected over them (Holm 1979), the items that each needs then,
    and the verdict."""
    ps = significance.holm({key: difference.p for key, difference in family.items()})
    tests = sum(p is not None for p in ps.values())
    differences = {
        key: replace(d, p_holm=ps[key], needed=significance.needed_of_several(d.needed, tests))
        for key, d in family.items()
    }
    return {key: replace(difference, verdict=_verdict(difference)) for key, difference in differences.items()}


def _verdict(difference: Difference) -> str:
    """By the corrected test and the interval, if there are enough items for them to mean something."""
    interval = difference.difference
    if (
        interval.n < MIN_PAIRED
        or interval.low is None
        or interval.high is None
        or difference.p_holm is None
        or difference.p_holm >= 0.05
    ):
        return "undecided"
    return "b" if interval.low > 0 else "a" if interval.high < 0 else "undecided"


def _average(
    left: Report,
    right: Report,
    protocol: ScoringProtocol,
    differences_by_reading: Mapping[str, Mapping[str, Mapping[str, Difference]]],
) -> Difference | None:
    """Of the averages, over the items both have answered; None unless every subset of both has a difference."""
    if left.average_of != right.average_of or left.average_without or right.average_without:
        return None
    main: Sequence[Difference | None] = [
        differences_by_reading["strict"].get(name, {}).get(protocol.metrics[name][0])
        or differences_by_reading["choose"].get(name, {}).get(protocol.metrics[name][0])
        for name in left.average_of
    ]
    each = [d for d in main if d is not None and d.difference.value is not None]
    if not each or len(each) < len(main):
        return None
    if len(each) == 1:
        # The average of one subset is that subset, and so is its test.
        return replace(each[0], p_holm=each[0].p, verdict=_verdict(replace(each[0], p_holm=each[0].p)))
    test = significance.average_test([PairedTest(d.difference, d.p, d.test, d.needed) for d in each])
    a, b = (significance.average(side) for side in ([d.a for d in each], [d.b for d in each]))
    difference = _difference(a, b, test)
    return replace(difference, verdict=_verdict(difference))
