"""Records → Report and Comparison, and the rows that screens and files show. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from jglue_app import metrics
from jglue_app.protocols import JSTS_MIDDLE, get_protocol
from jglue_app.tasks import TASKS
from jglue_app.types import (
    Comparison,
    Difference,
    Estimate,
    Item,
    Judgement,
    Record,
    Report,
    RunData,
    Source,
    Task,
    TaskReport,
)

NO_DATA = Estimate(None, None, None, 0)
READINGS = ("strict", "lenient", "choose")
RIGHT_OR_WRONG = ("accuracy", "exact_match")
MIN_PAIRED = 10
"""With fewer items a bootstrap interval is far too narrow: all of three items may differ by chance."""


@dataclass(frozen=True, slots=True)
class Answered:
    """An item with its record and what a protocol makes of it."""

    item: Item
    record: Record
    judgement: Judgement


def judge_run(data: RunData, protocol: str) -> dict[str, dict[str, Answered]]:
    """Task → item id → Answered, in the order of the items, for every item that has a record."""
    judge = get_protocol(protocol)
    records = {(r.task, r.item_id): r for r in data.records}
    out: dict[str, dict[str, Answered]] = {}
    for name, items in data.items.items():
        task = TASKS[name]
        out[name] = {
            id_: Answered(item, record, judge(task, item, record))
            for id_, item in items.items()
            if (record := records.get((name, id_)))
        }
    return out


def report_run(data: RunData, protocol: str = "official") -> Report:
    """Every score of a run under a protocol.

    Raises:
        UnknownNameError: no such protocol.
    """
    answered = judge_run(data, protocol)
    tasks = {
        name: _task_report(TASKS[name], data.sources[name], list(rows.values()), len(data.items[name]))
        for name, rows in answered.items()
    }
    main = {name: _main_metric(task) for name, task in tasks.items()}
    values = [e.value for e in main.values() if e.value is not None]
    without = tuple(name for name, e in main.items() if e.value is None)
    average = NO_DATA
    if values and not without:
        average = Estimate(sum(values) / len(values), None, None, sum(e.n for e in main.values()))
    return Report(data.spec.spec_id, data.spec.label, protocol, tasks, average, tuple(tasks), without)


def _main_metric(report: TaskReport) -> Estimate:
    name = TASKS[report.task].metrics[0]
    return report.metrics.get(name) or report.choose.get(name) or NO_DATA


def _task_report(task: Task, source: Source, rows: list[Answered], planned: int) -> TaskReport:
    texts = [r for r in rows if _has_text(r)]
    ranked = [r for r in rows if r.judgement.choice is not None]
    answered = [r for r in rows if _has_text(r) or r.judgement.choice is not None]
    imputed: dict[str, Estimate] = {}
    if task.kind == "score" and texts:
        imputed = {
            name: metrics.correlation(
                name, [_similarity(r, "strict", JSTS_MIDDLE) for r in texts], [_gold(r) for r in texts]
            )
            for name in task.metrics
        }
    return TaskReport(
        task=task.name,
        source=source,
        n=len(answered),
        planned=planned,
        metrics={name: _estimate(name, texts, "strict") for name in task.metrics} if texts else {},
        lenient={name: _estimate(name, texts, "lenient") for name in task.metrics} if texts else {},
        choose={name: _estimate(name, ranked, "choose") for name in task.metrics} if ranked else {},
        imputed=imputed,
        outcomes=dict(Counter(r.judgement.outcome for r in rows)),
        unreadable=sum(r.judgement.strict.value is None for r in texts),
        unreadable_lenient=sum(r.judgement.lenient.value is None for r in texts),
        floors=_floors(task, answered),
    )


def _has_text(row: Answered) -> bool:
    """Whether the model wrote something, be it nothing: not after an error, nor when the prompt did not fit."""
    output = row.record.output
    return output is not None and output.text is not None and output.finish != "overflow"


def _floors(task: Task, rows: list[Answered]) -> dict[str, float]:
    """The best constant answer: the majority class; a constant has no correlation, and no span suits all items."""
    if task.kind != "choice" or not rows:
        return {}
    counts = Counter(r.item.gold for r in rows)
    return {"accuracy": counts.most_common(1)[0][1] / len(rows)}


def _per_item(name: str, row: Answered, reading: str) -> float:
    if reading == "choose":
        assert isinstance(row.item.gold, tuple)
        return float(row.judgement.choice in row.item.gold)
    scores = row.judgement.scores if reading == "strict" else row.judgement.lenient_scores
    return scores[name]


def _gold(row: Answered) -> float:
    assert isinstance(row.item.gold, float)
    return row.item.gold


def _similarity(row: Answered, reading: str, default: float | None = None) -> float:
    value = (row.judgement.strict if reading == "strict" else row.judgement.lenient).value
    if value is None and default is not None:
        return default
    assert isinstance(value, float)
    return value


def _readable(row: Answered, reading: str) -> bool:
    return (row.judgement.strict if reading == "strict" else row.judgement.lenient).value is not None


def _estimate(name: str, rows: list[Answered], reading: str) -> Estimate:
    if name in ("pearson", "spearman"):
        kept = [r for r in rows if _readable(r, reading)]
        return metrics.correlation(name, [_similarity(r, reading) for r in kept], [_gold(r) for r in kept])
    values = [_per_item(name, row, reading) for row in rows]
    if name == "accuracy":
        return metrics.proportion(int(sum(values)), len(values))
    return metrics.mean(values)


def only(data: RunData, items: Mapping[str, Collection[str]]) -> RunData:
    """A run as if it had been asked for these items alone (task → ids); what else is stored is left out."""
    kept = {
        name: {id_: item for id_, item in found.items() if id_ in items[name]}
        for name, found in data.items.items()
        if name in items
    }
    return RunData(data.spec, kept, data.sources, data.records)


# --- two runs -------------------------------------------------------------------------------------------


def compare_runs(a: RunData, b: RunData, protocol: str = "official") -> Comparison:
    """Two runs on the items both were asked; differences are B minus A over those both have answered, paired.

    Of a subset that both have, items that only one was asked are left out of both reports; a subset that only one has
    is reported for that one.
    """
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
    found = {reading: {n: _differences(TASKS[n], p, reading) for n, p in pairs.items()} for reading in READINGS}
    return Comparison(
        report_run(a, protocol), report_run(b, protocol), found["strict"], found["lenient"], found["choose"]
    )


def _differences(task: Task, pairs: list[tuple[Answered, Answered]], reading: str) -> dict[str, Difference]:
    def usable(row: Answered) -> bool:
        if reading == "choose":
            return row.judgement.choice is not None
        return _has_text(row) and (task.kind != "score" or _readable(row, reading))

    both = [(x, y) for x, y in pairs if usable(x) and usable(y)]
    if not both:
        return {}
    out = {}
    for name in task.metrics:
        left, right = [x for x, _ in both], [y for _, y in both]
        values: list[list[float]] = []
        if task.kind == "score":
            difference = metrics.correlation_difference(
                name,
                [_similarity(x, reading) for x in left],
                [_similarity(y, reading) for y in right],
                [_gold(x) for x in left],
            )
        else:
            values = [[_per_item(name, row, reading) for row in side] for side in (left, right)]
            difference = metrics.mean_difference(*values)
        verdict = _verdict(difference)
        if name in RIGHT_OR_WRONG and metrics.mcnemar(*values) >= 0.05:
            verdict = "undecided"
        out[name] = Difference(_estimate(name, left, reading), _estimate(name, right, reading), difference, verdict)
    return out


def _verdict(difference: Estimate) -> str:
    """By the bootstrap interval, if there are enough items for it to mean something."""
    if difference.n < MIN_PAIRED or difference.low is None or difference.high is None:
        return "undecided"
    return "b" if difference.low > 0 else "a" if difference.high < 0 else "undecided"
