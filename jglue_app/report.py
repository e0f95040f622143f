"""Records → Report and Comparison. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from jglue_app import notices, significance
from jglue_app.floors import constant_floors, default_floors
from jglue_app.protocols import get_protocol
from jglue_app.protocols.common import SHARES, best_choice, is_right
from jglue_app.protocols.judging import as_labelled, is_scored
from jglue_app.protocols.official import JSTS_MIDDLE
from jglue_app.tasks import CORE, TASKS
from jglue_app.thought import is_open
from jglue_app.types import (
    Comparison,
    Cost,
    Difference,
    Estimate,
    Flips,
    Item,
    Judgement,
    PairedTest,
    Record,
    Report,
    Rules,
    RunData,
    ScoringProtocol,
    Source,
    Task,
    TaskReport,
)

NO_DATA = Estimate(None, None, None, 0)
READINGS = ("strict", "lenient", "choose")
CORRELATIONS: Mapping[str, significance.Correlation] = {"pearson": "pearson", "spearman": "spearman"}
AGREEMENTS: Mapping[str, significance.Agreement] = {
    "balanced_accuracy": "balanced_accuracy",
    "macro_f1": "macro_f1",
    "mcc": "mcc",
}
_LARGEST = 1.7976931348623157e308
"""The largest finite float."""
MIN_PAIRED = 10
"""With fewer items a bootstrap interval is far too narrow: all of three items may differ by chance."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An item with its record and what a protocol makes of it."""

    item: Item
    record: Record
    judgement: Judgement


Judged = Mapping[str, Mapping[str, Answered]]
"""Task → item id → Answered."""


def judge_run(data: RunData, protocol: str) -> dict[str, dict[str, Answered]]:
    """Task → item id → Answered, in the order of the items, for every item that has a record.

    A subset that the protocol does not score has no rows, nor has an item that its system leaves out. Items bear the
    labels that the system held answers against.
    """
    how = get_protocol(protocol)
    records = {(r.task, r.item_id): r for r in data.records}
    out: dict[str, dict[str, Answered]] = {}
    for name, items in data.items.items():
        out[name] = {}
        if name not in how.metrics:
            continue
        task, rules = TASKS[name], how.rules[name]
        for id_, item in items.items():
            record = records.get((name, id_))
            if record and is_scored(rules, item):
                labelled = as_labelled(rules, item)
                out[name][id_] = Answered(labelled, record, how.judge(task, labelled, record))
    return out


def report_run(data: RunData, protocol: str = "official", judged: Judged | None = None) -> Report:
    """Every score of a run under a protocol.

    Args:
        data: what is stored of the run.
        protocol: a key of `PROTOCOLS`.
        judged: what `judge_run` has made of it already.

    Raises:
        UnknownNameError: no such protocol.
    """
    return _report(data, get_protocol(protocol), judge_run(data, protocol) if judged is None else judged)


def _report(data: RunData, protocol: ScoringProtocol, judged: Judged) -> Report:
    tasks = {
        name: _task_report(data, protocol, TASKS[name], data.sources[name], list(rows.values()), data.items[name])
        for name, rows in judged.items()
    }
    covered = [name for name in tasks if name in protocol.metrics]
    counted = [name for name in covered if name in CORE] or covered
    main = {name: main_metric(tasks[name], protocol.name) for name in counted}
    without = tuple(name for name, e in main.items() if e.value is None)
    return Report(
        spec_id=data.spec.spec_id,
        label=data.spec.label,
        protocol=protocol.name,
        tasks=tasks,
        average=NO_DATA if without else significance.average(list(main.values())),
        average_of=tuple(main),
        average_without=without,
        notices=notices.of_run(data.spec, protocol, data.model, [record.prompt for record in data.records]),
        split=data.spec.split,
    )


def main_metric(report: TaskReport, protocol: str) -> Estimate:
    """The subset's main metric: of the strict reading, else of the ranking if that is all there is; no data for a
    subset that the protocol does not score."""
    names = get_protocol(protocol).metrics.get(report.task)
    return (report.metrics.get(names[0]) or report.choose.get(names[0]) or NO_DATA) if names else NO_DATA


def _task_report(
    data: RunData,
    protocol: ScoringProtocol,
    task: Task,
    source: Source,
    rows: list[Answered],
    asked_items: Mapping[str, Item],
) -> TaskReport:
    metrics = protocol.metrics.get(task.name, ())
    rules = protocol.rules.get(task.name)
    not_scored = sum(not is_scored(rules, item) for item in asked_items.values()) if rules else 0
    planned = len(asked_items) - not_scored
    scored = [r for r in rows if _is_scored(r, protocol)]
    choosing = [r for r in rows if protocol.lenient and r.judgement.choice is not None]
    answered = [r for r in rows if _is_scored(r, protocol) or (protocol.lenient and r.judgement.choice is not None)]
    items = [r.item for r in answered]
    imputed: dict[str, Estimate] = {}
    if protocol.lenient and task.kind == "score" and scored:
        filled = [_similarity(r, "strict", JSTS_MIDDLE) for r in scored]
        golds = [_gold(r) for r in scored]
        imputed = {name: significance.correlation(CORRELATIONS[name], filled, golds) for name in metrics}
    report = TaskReport(
        task=task.name,
        source=source,
        n=len(answered),
        planned=planned,
        metrics=scores_of(task, rules, scored) if scored and rules else {},
        lenient={name: _estimate(name, task, scored, "lenient") for name in metrics}
        if scored and protocol.lenient
        else {},
        choose={name: _estimate(name, task, choosing, "choose") for name in metrics} if choosing else {},
        imputed=imputed,
        outcomes=dict(Counter(r.judgement.outcome for r in rows)),
        unreadable=sum(_is_unreadable(r) for r in scored),
        unreadable_lenient=sum(r.judgement.lenient.value is None for r in scored) if protocol.lenient else 0,
        floors=constant_floors(protocol, task, items) if metrics else {},
        default_floors=default_floors(protocol, task, items) if metrics else {},
        knows=None if task.name in protocol.ranked else _knows(task, rows),
        unscored="" if scored or choosing else _why_unscored(protocol, task, rows),
    )
    luck = sum(_is_unreadable(r) and 1.0 in r.judgement.scores.values() for r in scored)
    some = any(r.record.output is not None and r.record.output.choice_logprobs for r in rows)
    left_out = sum(_lacks_ranking(r) for r in rows) if some else 0
    asked = scored[0].record.prompt.answers if scored else ()
    found = notices.of_task(report, data.spec, protocol, task, luck=luck, left_out=left_out, asked=asked)
    ranked = [r.record.prompt for r in rows if r.record.output and r.record.output.choice_logprobs]
    closed = any(prompt.ranked_text for prompt in ranked)
    inside = sum(is_open(prompt.thought) and not prompt.ranked_text for prompt in ranked)
    unfinished = report.outcomes.get("unfinished_thought", 0)
    found += notices.of_thoughts(unfinished, len(scored), closed=closed, inside=inside)
    relabelled = sum(row.item != asked_items[row.item.id] for row in answered)
    found += notices.of_data(report, protocol, task, not_scored=not_scored, relabelled=relabelled)
    assumed = [n for n in data.assumed if n.facts.get("task", task.name) == task.name]
    return replace(report, notices=(*found, *assumed))


def metrics_of(protocol: ScoringProtocol, task: Task, rows: Sequence[Answered]) -> dict[str, Estimate]:
    """A protocol's metrics over some of a subset's rows: of the strict reading, else of the ranking, as in a report."""
    scored = [row for row in rows if _is_scored(row, protocol)]
    choosing = [] if scored or not protocol.lenient else [row for row in rows if row.judgement.choice is not None]
    reading = "strict" if scored else "choose"
    metrics = protocol.metrics.get(task.name, ()) if scored or choosing else ()
    if scored and metrics:
        return scores_of(task, protocol.rules[task.name], scored)
    return {name: _estimate(name, task, scored or choosing, reading) for name in metrics}


def _is_scored(row: Answered, protocol: ScoringProtocol) -> bool:
    """Whether the protocol finds in a record what it scores: a ranking, or a text that was given room to be written."""
    if row.item.task in protocol.ranked:
        return row.judgement.choice is not None
    output = row.record.output
    return output is not None and output.text is not None and output.finish != "overflow"


def _lacks_ranking(row: Answered) -> bool:
    """Whether a choice was answered, and its log-likelihoods are missing or not finite."""
    output = row.record.output
    answered = output is not None and output.finish != "overflow" and bool(row.item.choices)
    return answered and best_choice(row.item, row.record) is None


def _is_unreadable(row: Answered) -> bool:
    """Whether nothing could be read, be there a default for that or not."""
    return row.judgement.strict.status in ("ambiguous", "off_format", "unfinished_thought", "empty")


def _why_unscored(protocol: ScoringProtocol, task: Task, rows: list[Answered]) -> str:
    if task.name not in protocol.metrics:
        return "not_covered"
    if not any(r.judgement.outcome == "unscored" for r in rows):
        return "no_answers"
    return "no_logprobs" if task.name in protocol.ranked else "no_text"


def _knows(task: Task, rows: list[Answered]) -> int | None:
    """Items that the ranking has right and the text wrong in form; None unless some have both."""
    if task.kind != "choice":
        return None
    both = [
        (r, choice)
        for r in rows
        if r.record.output is not None
        and r.record.output.text is not None
        and (choice := best_choice(r.item, r.record))
    ]
    shapeless = ("wrong_form", "unreadable", "unfinished_thought", "truncated", "empty")
    return sum(r.judgement.outcome in shapeless and is_right(r.item, choice) for r, choice in both) if both else None


# --- one metric -----------------------------------------------------------------------------------------


def _per_item(name: str, row: Answered, reading: str) -> float:
    if reading == "choose":
        return float(is_right(row.item, row.judgement.choice))
    scores = row.judgement.scores if reading == "strict" else row.judgement.lenient_scores
    return scores[name]


def _gold(row: Answered) -> float:
    assert isinstance(row.item.gold, float)
    return row.item.gold


def _gold_label(row: Answered) -> str:
    assert isinstance(row.item.gold, tuple)
    return row.item.gold[0]


def _label(row: Answered, reading: str) -> str | None:
    """The label a reading gives; None if it cannot be read."""
    if reading == "choose":
        return row.judgement.choice
    value = (row.judgement.strict if reading == "strict" else row.judgement.lenient).value
    return value if isinstance(value, str) else None


def _similarity(row: Answered, reading: str, default: float | None = None) -> float:
    value = (row.judgement.strict if reading == "strict" else row.judgement.lenient).value
    if value is None and default is not None:
        return default
    assert isinstance(value, float)
    return value


def _readable(row: Answered, reading: str) -> bool:
    return (row.judgement.strict if reading == "strict" else row.judgement.lenient).value is not None


def _estimate(name: str, task: Task, rows: list[Answered], reading: str) -> Estimate:
    if task.kind == "score":
        kept = [r for r in rows if _readable(r, reading)]
        said = [_similarity(r, reading) for r in kept]
        if name == "spearman":
            # An infinite answer has a rank, though no moment.
            said = [min(max(value, -_LARGEST), _LARGEST) if value == value else value for value in said]
        return significance.correlation(CORRELATIONS[name], said, [_gold(r) for r in kept])
    if kind := AGREEMENTS.get(name):
        return significance.agreement(kind, [_label(r, reading) for r in rows], [_gold_label(r) for r in rows])
    values = [_per_item(name, row, reading) for row in rows]
    if name in SHARES:
        # A bootstrap of all wrong or all right would have no width.
        return significance.proportion(round(sum(values)), len(values))
    return significance.mean(values)


def scores_of(task: Task, rules: Rules, rows: list[Answered]) -> dict[str, Estimate]:
    """Metric → score of the strict reading over all rows, as a system with these rules counts it.

    For some, an undefined correlation over two items or more is 0, which has no interval.
    """
    scores = {name: _estimate(name, task, rows, "strict") for name in rules.metrics}
    if task.kind == "score" and rules.undefined == "zero":
        return {name: replace(e, value=0.0) if e.value is None and e.n > 1 else e for name, e in scores.items()}
    return scores


def only(data: RunData, items: Mapping[str, Collection[str]]) -> RunData:
    """A run as if it had been asked for these items alone (task → ids); what else is stored is left out."""
    kept = {
        name: {id_: item for id_, item in found.items() if id_ in items[name]}
        for name, found in data.items.items()
        if name in items
    }
    return replace(data, items=kept)


# --- two runs -------------------------------------------------------------------------------------------


def compare_runs(a: RunData, b: RunData, protocol: str = "official") -> Comparison:
    """Two runs on the items both were asked; differences are B minus A over those both have answered, paired.

    Of a subset that both have, items that only one was asked are left out of both reports; a subset that only one has
    is reported for that one.
    """
    how = get_protocol(protocol)
    common = {
        name: {id_ for id_, item in items.items() if b.items[name].get(id_) == item}
        for name, items in a.items.items()
        if name in b.items
    }
    a, b = (only(run, {name: set(run.items[name]) for name in run.items} | common) for run in (a, b))
    rows_a, rows_b = judge_run(a, protocol), judge_run(b, protocol)
    pairs: dict[str, list[tuple[Answered, Answered]]] = {
        name: [(x, rows_b[name][id_]) for id_, x in rows.items() if id_ in rows_b[name]]
        for name, rows in rows_a.items()
        if name in rows_b
    }
    found = {
        reading: _corrected({n: _differences(TASKS[n], p, reading, how) for n, p in pairs.items()})
        for reading in READINGS
    }
    left, right = _report(a, how, rows_a), _report(b, how, rows_b)
    flips = {name: _all_flips(TASKS[name], p, how) for name, p in pairs.items()}
    costs = _cost(a), _cost(b)
    return Comparison(
        left,
        right,
        found["strict"],
        found["lenient"],
        found["choose"],
        _average(left, right, how, found),
        {name: of for name, of in flips.items() if of},
        (costs[0], costs[1]) if costs[0] and costs[1] else None,
    )


def _all_flips(task: Task, pairs: list[tuple[Answered, Answered]], protocol: ScoringProtocol) -> dict[str, Flips]:
    """Reading → flips, for the readings that both runs have."""
    out: dict[str, Flips] = {}
    for reading in ("strict", "choose"):
        both = [(x, y) for x, y in pairs if _has(reading, x, protocol) and _has(reading, y, protocol)]
        if both:
            out[reading] = _flips(task, both, reading)
    return out


def _flips(task: Task, both: list[tuple[Answered, Answered]], reading: str) -> Flips:
    def answer(row: Answered) -> str | float | None:
        return row.judgement.choice if reading == "choose" else row.judgement.strict.value

    changed = sum(answer(x) != answer(y) for x, y in both)
    if task.kind == "score":
        return Flips(len(both), changed, None, None)
    name = "exact_match" if task.kind == "span" else "accuracy"
    right = [(_right(name, x, reading), _right(name, y, reading)) for x, y in both]
    return Flips(len(both), changed, right.count((False, True)), right.count((True, False)))


def _right(name: str, row: Answered, reading: str) -> bool:
    if reading == "choose":
        return is_right(row.item, row.judgement.choice)
    scores = row.judgement.scores
    return scores.get(name, max(scores.values(), default=0.0)) == 1.0


def _has(reading: str, row: Answered, protocol: ScoringProtocol) -> bool:
    """Whether a record has this reading: a ranking beside the text, or what the protocol scores."""
    if reading == "choose":
        return protocol.lenient and row.judgement.choice is not None
    return _is_scored(row, protocol)


def _cost(data: RunData) -> Cost | None:
    if data.model is None:
        return None
    asked = {(name, id_) for name, items in data.items.items() for id_ in items}
    outputs = [r.output for r in data.records if r.output is not None and (r.task, r.item_id) in asked]
    asked_for = data.spec.model.quantization
    quantization = data.model.quantized or asked_for if asked_for == "none" else asked_for
    return Cost(data.model, quantization, len(outputs), sum(o.seconds for o in outputs))


def _differences(
    task: Task, pairs: list[tuple[Answered, Answered]], reading: str, protocol: ScoringProtocol
) -> dict[str, Difference]:
    def usable(row: Answered) -> bool:
        return _has(reading, row, protocol) and (reading == "choose" or task.kind != "score" or _readable(row, reading))

    both = [(x, y) for x, y in pairs if usable(x) and usable(y)]
    if not both or (reading == "lenient" and not protocol.lenient):
        return {}
    left, right = [x for x, _ in both], [y for _, y in both]
    out = {}
    for name in protocol.metrics[task.name]:
        test = _test(name, task, left, right, reading)
        a, b = (_estimate(name, task, rows, reading) for rows in (left, right))
        out[name] = _difference(a, b, test)
    return out


def _test(name: str, task: Task, left: list[Answered], right: list[Answered], reading: str) -> PairedTest:
    if correlation := CORRELATIONS.get(name):
        a, b = ([_similarity(row, reading) for row in side] for side in (left, right))
        return significance.correlation_test(correlation, a, b, [_gold(row) for row in left])
    if agreement := AGREEMENTS.get(name):
        said_a, said_b = ([_label(row, reading) for row in side] for side in (left, right))
        return significance.agreement_test(agreement, said_a, said_b, [_gold_label(row) for row in left])
    scores_a, scores_b = ([_per_item(name, row, reading) for row in side] for side in (left, right))
    test = significance.right_wrong_test if name in SHARES else significance.mean_difference_test
    return test(scores_a, scores_b)


def _difference(a: Estimate, b: Estimate, test: PairedTest) -> Difference:
    """Not corrected, without a verdict."""
    return Difference(a, b, test.difference, "undecided", test.p, test.p, test.test, test.needed)


def _corrected(found: dict[str, dict[str, Difference]]) -> dict[str, dict[str, Difference]]:
    """With p corrected over the subsets (main metrics among themselves, second ones likewise) and the verdict."""
    out = {name: dict(differences) for name, differences in found.items()}
    for rank in range(max((len(differences) for differences in found.values()), default=0)):
        family = {(name, list(d)[rank]): list(d.values())[rank] for name, d in found.items() if len(d) > rank}
        corrected = significance.holm({key: difference.p for key, difference in family.items()})
        for (name, metric), p in corrected.items():
            difference = replace(family[name, metric], p_holm=p)
            out[name][metric] = replace(difference, verdict=_verdict(difference))
    return out


def _verdict(found: Difference) -> str:
    """By the corrected test and the interval, if there are enough items for them to mean something."""
    of = found.difference
    if of.n < MIN_PAIRED or of.low is None or of.high is None or found.p_holm is None or found.p_holm >= 0.05:
        return "undecided"
    return "b" if of.low > 0 else "a" if of.high < 0 else "undecided"


def _average(
    left: Report, right: Report, protocol: ScoringProtocol, found: Mapping[str, Mapping[str, Mapping[str, Difference]]]
) -> Difference | None:
    """Of the averages, over the items both have answered; None unless every subset of both has a difference."""
    if left.average_of != right.average_of or left.average_without or right.average_without:
        return None
    main: Sequence[Difference | None] = [
        found["strict"].get(name, {}).get(protocol.metrics[name][0])
        or found["choose"].get(name, {}).get(protocol.metrics[name][0])
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
