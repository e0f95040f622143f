"""Records → Report and Comparison. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from jglue_app.prompts.thoughts import is_open
from jglue_app.scoring import notices, significance
from jglue_app.scoring.estimates import CORRELATIONS, estimate, gold_similarity, similarity_of
from jglue_app.scoring.floors import constant_floors, default_floors
from jglue_app.scoring.judged import Judged, ScoredItem, judge_run, knows_answer
from jglue_app.scoring.payment import paid_for
from jglue_app.scoring.precision import precision_effect
from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.protocols.common import best_choice, is_cosine, is_right
from jglue_app.scoring.protocols.judging import is_scored
from jglue_app.scoring.protocols.official import JSTS_MIDDLE
from jglue_app.scoring.types import (
    Estimate,
    RankingGain,
    Report,
    Rules,
    ScoringProtocol,
    TaskReport,
)
from jglue_app.tasks import DEFAULT_TASKS, TASKS
from jglue_app.types import Item, RunData, Source, Task

NO_DATA = Estimate(None, None, None, 0)
READINGS = ("strict", "lenient", "choose")


def report_run(data: RunData, protocol: str = "official", judged: Judged | None = None) -> Report:
    """Every score of a run under a protocol.

    Args:
        data: what is stored of the run.
        protocol: a key of `PROTOCOLS`.
        judged: what `judge_run` has made of it already.

    Raises:
        UnknownNameError: no such protocol.
    """
    return report_judged(data, get_protocol(protocol), judge_run(data, protocol) if judged is None else judged)


def report_judged(data: RunData, protocol: ScoringProtocol, judged: Judged) -> Report:
    tasks = {
        name: task_report(data, protocol, TASKS[name], data.sources[name], list(rows.values()), data.items[name])
        for name, rows in judged.items()
    }
    covered = [name for name in tasks if name in protocol.metrics]
    counted = [name for name in covered if name in DEFAULT_TASKS] or covered
    main = {name: main_metric(tasks[name], protocol.name) for name in counted}
    effect = precision_effect(data)
    without = tuple(name for name, e in main.items() if e.value is None)
    return Report(
        spec_id=data.spec.spec_id,
        label=data.spec.label,
        protocol=protocol.name,
        tasks=tasks,
        average=NO_DATA if without else significance.average(list(main.values())),
        average_of=tuple(main),
        average_without=without,
        notices=notices.of_run(data.spec, protocol, data.model, [record.prompt for record in data.records], effect),
        split=data.spec.split,
        paid=paid_for(data),
        precision=effect,
    )


def main_metric(report: TaskReport, protocol: str) -> Estimate:
    """The subset's main metric: of the strict reading, else of the ranking if that is all there is; no data for a
    subset that the protocol does not score."""
    names = get_protocol(protocol).metrics.get(report.task)
    return (report.metrics.get(names[0]) or report.choose.get(names[0]) or NO_DATA) if names else NO_DATA


def task_report(
    data: RunData,
    protocol: ScoringProtocol,
    task: Task,
    source: Source,
    rows: list[ScoredItem],
    asked_items: Mapping[str, Item],
) -> TaskReport:
    """Every score of some of a run's rows of one subset; `asked_items` are the items that it was to answer."""
    metrics = protocol.metrics.get(task.name, ())
    rules = protocol.rules.get(task.name)
    not_scored = sum(not is_scored(rules, item) for item in asked_items.values()) if rules else 0
    planned = len(asked_items) - not_scored
    scored = [r for r in rows if has_score(r, protocol)]
    choosing = [r for r in rows if protocol.lenient and r.judgement.choice is not None]
    answered = [r for r in rows if has_score(r, protocol) or (protocol.lenient and r.judgement.choice is not None)]
    decided, ranked_items = ([r.item for r in rows] for rows in (scored or choosing, choosing))
    imputed: dict[str, Estimate] = {}
    lenient = protocol.lenient and not data.spec.embeds
    if lenient and task.kind == "score" and scored:
        filled = [similarity_of(r, "strict", JSTS_MIDDLE) for r in scored]
        golds = [gold_similarity(r) for r in scored]
        imputed = {name: significance.correlation(CORRELATIONS[name], filled, golds) for name in metrics}
    report = TaskReport(
        task=task.name,
        source=source,
        n=len(answered),
        planned=planned,
        metrics=scores_of(task, rules, scored) if scored and rules else {},
        lenient={name: estimate(name, task, scored, "lenient") for name in metrics} if scored and lenient else {},
        choose={name: estimate(name, task, choosing, "choose") for name in metrics} if choosing else {},
        imputed=imputed,
        outcomes=dict(Counter(r.judgement.outcome for r in rows)),
        unreadable=sum(_is_unreadable(r) for r in scored),
        unreadable_lenient=sum(r.judgement.lenient.value is None for r in scored) if lenient else 0,
        floors=constant_floors(protocol, task, decided) if metrics else {},
        choose_floors=constant_floors(protocol, task, ranked_items) if metrics and ranked_items != decided else {},
        default_floors=default_floors(protocol, task, decided) if metrics else {},
        knows=None if task.name in protocol.ranked else _knows(task, rows),
        gain=_gain(protocol, task, rows),
        unscored=why_unscored(protocol, task, rows),
    )
    luck = sum(_is_unreadable(r) and 1.0 in r.judgement.scores.values() for r in scored)
    any_ranked = any(r.record.output is not None and r.record.output.choice_logprobs for r in rows)
    left_out = sum(_lacks_ranking(r) for r in rows) if any_ranked else 0
    surface_forms = scored[0].record.prompt.answers if scored else ()
    task_notices = notices.of_task(
        report, data.spec, protocol, task, luck=luck, left_out=left_out, surface_forms=surface_forms
    )
    ranked = [r.record.prompt for r in rows if r.record.output and r.record.output.choice_logprobs]
    closed = any(prompt.ranked_text for prompt in ranked)
    inside = sum(is_open(prompt.thought) and not prompt.ranked_text for prompt in ranked)
    unfinished = report.outcomes.get("unfinished_thought", 0)
    task_notices += notices.of_thoughts(unfinished, len(scored), closed=closed, inside=inside)
    relabelled = sum(row.item != asked_items[row.item.id] for row in answered)
    task_notices += notices.of_data(report, protocol, task, not_scored=not_scored, relabelled=relabelled)
    assumed = [n for n in data.assumed if n.facts.get("task", task.name) == task.name]
    return replace(report, notices=(*task_notices, *assumed))


def metrics_of(protocol: ScoringProtocol, task: Task, rows: Sequence[ScoredItem]) -> dict[str, Estimate]:
    """A protocol's metrics over some of a subset's rows: of the strict reading, else of the ranking, as in a report."""
    scored = [row for row in rows if has_score(row, protocol)]
    choosing = [] if scored or not protocol.lenient else [row for row in rows if row.judgement.choice is not None]
    reading = "strict" if scored else "choose"
    metrics = protocol.metrics.get(task.name, ()) if scored or choosing else ()
    if scored and metrics:
        return scores_of(task, protocol.rules[task.name], scored)
    return {name: estimate(name, task, scored or choosing, reading) for name in metrics}


def has_score(row: ScoredItem, protocol: ScoringProtocol) -> bool:
    """Whether the protocol finds in a record what it scores: a ranking, or a text that was given room to be written."""
    if row.item.task in protocol.ranked:
        return row.judgement.choice is not None
    output = row.record.output
    if is_cosine(row.record):
        return row.judgement.strict.value is not None
    return output is not None and output.text is not None and output.finish != "overflow"


def _lacks_ranking(row: ScoredItem) -> bool:
    """Whether a choice was answered, and its log-likelihoods are missing or not finite."""
    output = row.record.output
    answered = output is not None and output.finish != "overflow" and bool(row.item.choices)
    return answered and best_choice(row.item, row.record) is None


def _is_unreadable(row: ScoredItem) -> bool:
    """Whether nothing could be read, be there a default for that or not."""
    return row.judgement.strict.status in ("ambiguous", "off_format", "unfinished_thought", "empty")


def why_unscored(protocol: ScoringProtocol, task: Task, rows: Sequence[ScoredItem]) -> str:
    """Why nothing of some of a subset's rows is scored: a value of `TaskReport.unscored`."""
    if any(has_score(r, protocol) or (protocol.lenient and r.judgement.choice is not None) for r in rows):
        return ""
    if task.name not in protocol.metrics:
        return "not_covered"
    if not any(r.judgement.outcome == "unscored" for r in rows):
        return "no_answers"
    if any(is_cosine(r.record) for r in rows):
        return "cosines"
    return "no_logprobs" if task.name in protocol.ranked else "no_text"


def _knows(task: Task, rows: list[ScoredItem]) -> int | None:
    """Items that the ranking has right and the text wrong in form; None unless some have both."""
    if task.kind != "choice":
        return None
    known = [known for row in rows if (known := knows_answer(row)) is not None]
    return sum(known) if known else None


def _gain(protocol: ScoringProtocol, task: Task, rows: Sequence[ScoredItem]) -> RankingGain | None:
    """What the ranking scores beside the text, over the items that have both."""
    if task.kind != "choice" or task.name in protocol.ranked or not protocol.lenient:
        return None
    both = [row for row in rows if has_score(row, protocol) and row.judgement.choice is not None]
    names = protocol.metrics.get(task.name, ())
    if not both or not names:
        return None
    text = [row.judgement.scores.get("accuracy", max(row.judgement.scores.values(), default=0.0)) for row in both]
    ranked = [float(is_right(row.item, row.judgement.choice)) for row in both]
    return RankingGain(
        names[0],
        estimate(names[0], task, both, "strict"),
        estimate(names[0], task, both, "choose"),
        constant_floors(protocol, task, [row.item for row in both]).get(names[0], 0.0),
        significance.mcnemar(text, ranked),
    )


def scores_of(task: Task, rules: Rules, rows: list[ScoredItem]) -> dict[str, Estimate]:
    """Metric → score of the strict reading over all rows, as a system with these rules counts it.

    For some, an undefined correlation over two items or more is 0, which has no interval.
    """
    scores = {name: estimate(name, task, rows, "strict") for name in rules.metrics}
    if task.kind == "score" and rules.undefined == "zero":
        return {name: replace(e, value=0.0) if e.value is None and e.n > 1 else e for name, e in scores.items()}
    return scores
