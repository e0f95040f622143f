"""From one system's score to another's on the same outputs, one decision at a time. No I/O.

A protocol is a list of decisions, so the difference between two scores can be taken apart: the decisions in which they
differ are switched one after the other, and each switch has the items that it moves. The order matters where decisions
act on one another; it is that in which an output goes through them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jglue_app.errors import InputError
from jglue_app.messages import Joined, Message
from jglue_app.scoring.judged import ScoredItem
from jglue_app.scoring.metric_names import metric_list
from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.protocols.decisions import GENERATION, decision_text, source_of, step_list, value_words
from jglue_app.scoring.protocols.judging import is_scored, judge, with_label_version
from jglue_app.scoring.report import scores_of
from jglue_app.scoring.types import CodeSource, Estimate, Rules, ScoringProtocol
from jglue_app.tasks import TASKS
from jglue_app.types import Item, Record, RunData, Task


@dataclass(frozen=True, slots=True)
class Moved:
    """An item whose score a switch changes."""

    item_id: str
    text: str | None
    """The output."""
    before: str | float | None
    """What it was read as; None if it was not scored."""
    after: str | float | None
    change: float
    """Of the item's first metric, −1 to 1; 0 for JSTS, whose items have no score, and where an item is left out."""


@dataclass(frozen=True, slots=True)
class Switch:
    """One decision, made as the second system makes it instead of the first."""

    decision: str
    """A key of `decisions.DECISIONS`; `text: <step>` for a step, `text` for their order."""
    before: str
    """As the first system decides, in words."""
    after: str
    """As the second does."""
    source: CodeSource | None
    """Where the second system's code says so, or the first one's if the second has no such step."""
    scores: Mapping[str, Estimate]
    """Metric → score after the switch."""
    change: Mapping[str, float]
    """Metric → difference to the score before; without an entry where one of both is undefined."""
    moved: tuple[Moved, ...]
    """Items whose score it changes (JSTS: that are read as another number)."""
    left_out: int = 0
    """Items that are no longer scored."""
    taken_in: int = 0
    """Items that were not scored before, as where one system needs a text and the other log-likelihoods."""
    appears: tuple[str, ...] = ()
    """Metrics that have a score before or after the switch, and not both."""

    @property
    def moves(self) -> bool:
        """Whether it changes anything in this run."""
        return bool(self.moved or self.left_out or self.taken_in or self.appears or any(self.change.values()))


@dataclass(frozen=True, slots=True)
class OtherOutputs:
    """A decision that shapes the outputs: it cannot be switched without running the model again."""

    decision: str
    """A key of `decisions.GENERATION`."""
    before: str
    after: str
    source: CodeSource | None


@dataclass(frozen=True, slots=True)
class Waterfall:
    """The way from one protocol's score on a subset to another's."""

    task: str
    start: str
    end: str
    n: int
    """Items that the first protocol scores."""
    scores: Mapping[str, Estimate]
    """Metric → score under the first protocol."""
    switches: tuple[Switch, ...]
    other_outputs: tuple[OtherOutputs, ...]

    @property
    def end_scores(self) -> Mapping[str, Estimate]:
        """Metric → score under the second protocol."""
        return self.switches[-1].scores if self.switches else self.scores


def explain(data: RunData, task: str, start: str, end: str) -> Waterfall:
    """How a run's score on one subset under one protocol becomes that under another.

    Args:
        data: what is stored of the run.
        task: a subset that the run has and both protocols score.
        start, end: keys of `PROTOCOLS`.

    Raises:
        UnknownNameError: no such protocol.
        InputError: the subset is not in the run or not scored by both, or the run lacks what one of them looks at.
    """
    first, second = get_protocol(start), get_protocol(end)
    _check(data, task, first, second)
    spec = TASKS[task]
    records = {r.item_id: r for r in data.records if r.task == task}
    rows = [(item, records[id_]) for id_, item in data.items[task].items() if id_ in records]
    rules = _with_columns(spec, first.rules[task], _of_all_items(spec, first, second))
    before = _judged(spec, rules, rows)
    scores = _scores(spec, rules, before)
    switches = []
    last = scores
    for decision, was, now, rules in _steps(spec, first, second):
        after = _judged(spec, rules, rows)
        switched_scores = _scores(spec, rules, after)
        source = _source(decision, task, first, second)
        switches.append(
            Switch(
                decision,
                was,
                now,
                source,
                switched_scores,
                _changes(last, switched_scores),
                tuple(_moved(before, after)),
                len(before.keys() - after.keys()),
                len(after.keys() - before.keys()),
                tuple(
                    name
                    for name in {**last, **switched_scores}
                    if (_value(last, name) is None) != (_value(switched_scores, name) is None)
                ),
            )
        )
        before, last = after, switched_scores
    n = max((e.n for e in scores.values()), default=0)
    return Waterfall(task, start, end, n, scores, tuple(switches), _other_outputs(first, second))


def _source(decision: str, task: str, first: ScoringProtocol, second: ScoringProtocol) -> CodeSource | None:
    """Where the second system's code makes a decision; the first one's where the second has nothing to decide there."""
    rules = second.rules[task]
    if decision.startswith("text: "):
        decides = decision.removeprefix("text: ") in [step for step, _ in rules.text]
    else:
        decides = decision != "unreadable" or rules.evidence == "text"
    preferred, other = (second, first) if decides else (first, second)
    return source_of(preferred, task, decision) or source_of(other, task, decision)


def explainable(data: RunData, start: str, end: str) -> list[str]:
    """The subsets of a run between whose scores the two protocols differ in nothing but decisions that can be switched:
    both score them, and the run has what both look at."""
    first, second = get_protocol(start), get_protocol(end)
    return [task for task in data.items if not _lacks(data, task, first, second)]


def unexplained(data: RunData, start: str, end: str) -> dict[str, str]:
    """Subset → why the two protocols' scores cannot be explained by one another, for those of which that is so."""
    first, second = get_protocol(start), get_protocol(end)
    return {task: reason for task in data.items if (reason := _lacks(data, task, first, second))}


def _check(data: RunData, task: str, first: ScoringProtocol, second: ScoringProtocol) -> None:
    if reason := _lacks(data, task, first, second):
        raise InputError(reason)


def _lacks(data: RunData, task: str, first: ScoringProtocol, second: ScoringProtocol) -> str:
    if task not in data.items:
        return Message(
            "The run has no {task}: choose one of {tasks}.", task=TASKS[task].title, tasks=Joined(", ", data.items)
        )
    for protocol in (first, second):
        if task not in protocol.rules:
            return Message(
                "{protocol} does not score {task}. Choose another subset or protocol.",
                protocol=protocol.name,
                task=TASKS[task].title,
            )
    if data.spec.embeds:
        return Message(
            "The run has cosines of embeddings, which only official scores: there is nothing to explain in {task}.",
            task=TASKS[task].title,
        )
    outputs = [r.output for r in data.records if r.task == task and r.output is not None]
    for protocol in (first, second):
        ranked = protocol.rules[task].evidence == "log_likelihood"
        if ranked and not any(o.choice_logprobs for o in outputs):
            return Message(
                "{protocol} ranks the answers of {task} by log-likelihood, and the run has none: run with “Method: "
                "Both” (--method both).",
                protocol=protocol.name,
                task=TASKS[task].title,
            )
        if not ranked and not any(o.text is not None for o in outputs):
            return Message(
                "{protocol} reads the text of {task}, and the run has none: run with “Method: Both” (--method both).",
                protocol=protocol.name,
                task=TASKS[task].title,
            )
    return ""


def as_table(waterfall: Waterfall) -> dict[str, Any]:
    """A waterfall as plain values."""
    return {
        "task": waterfall.task,
        "from": waterfall.start,
        "to": waterfall.end,
        "n": waterfall.n,
        "scores": waterfall.scores,
        "switches": [
            {
                "decision": s.decision,
                "about": decision_text(s.decision),
                "before": s.before,
                "after": s.after,
                "source": str(s.source) if s.source else None,
                "scores": s.scores,
                "change": s.change,
                "left_out": s.left_out,
                "taken_in": s.taken_in,
                "moved": [
                    {"item_id": m.item_id, "before": m.before, "after": m.after, "change": m.change} for m in s.moved
                ],
            }
            for s in waterfall.switches
        ],
        "other_outputs": [
            {
                "decision": o.decision,
                "before": o.before,
                "after": o.after,
                "source": str(o.source) if o.source else None,
            }
            for o in waterfall.other_outputs
        ],
    }


# --- one set of decisions -------------------------------------------------------------------------------


def _of_all_items(task: Task, first: ScoringProtocol, second: ScoringProtocol) -> tuple[str, ...]:
    """Metrics over all items that one of both reports; any reading of answers has them."""
    reported = (*first.rules[task.name].metrics, *second.rules[task.name].metrics)
    return tuple(name for name in ("balanced_accuracy", "macro_f1", "mcc") if name in reported)


def _with_columns(task: Task, rules: Rules, further: tuple[str, ...]) -> Rules:
    """The rules with those metrics that can be followed from one system to another."""
    if task.kind == "choice":
        return replace(rules, metrics=("accuracy", *further))
    if task.kind == "span":
        return replace(rules, metrics=("exact_match", "f1") if rules.f1 else ("exact_match",))
    return replace(rules, metrics=("pearson", "spearman"))


def _judged(task: Task, rules: Rules, rows: Sequence[tuple[Item, Record]]) -> dict[str, ScoredItem]:
    out = {}
    for item, record in rows:
        if is_scored(rules, item):
            labelled = with_label_version(rules, item)
            judgement = judge("", rules, task, labelled, record)
            if judgement.outcome not in ("error", "overflow", "unscored"):
                out[item.id] = ScoredItem(labelled, record, judgement)
    return out


def _scores(task: Task, rules: Rules, rows: Mapping[str, ScoredItem]) -> dict[str, Estimate]:
    return scores_of(task, rules, list(rows.values()))


def _value(scores: Mapping[str, Estimate], name: str) -> float | None:
    estimate = scores.get(name)
    return None if estimate is None else estimate.value


def _changes(before: Mapping[str, Estimate], after: Mapping[str, Estimate]) -> dict[str, float]:
    """Metric → difference of two scores, where both are defined; 0 is a score."""
    pairs = {name: (_value(before, name), _value(after, name)) for name in after}
    return {name: now - was for name, (was, now) in pairs.items() if was is not None and now is not None}


def _moved(before: Mapping[str, ScoredItem], after: Mapping[str, ScoredItem]) -> Iterator[Moved]:
    for id_ in dict.fromkeys([*before, *after]):
        x, y = before.get(id_), after.get(id_)
        was, now = (row.judgement.strict.value if row else None for row in (x, y))
        marks = [next(iter(row.judgement.scores.values()), None) if row else None for row in (x, y)]
        change = marks[1] - marks[0] if marks[0] is not None and marks[1] is not None else 0.0
        scores = [row.judgement.scores if row else None for row in (x, y)]
        if scores[0] != scores[1] or (scores[0] == {} and was != now):
            either = x or y
            output = either.record.output if either else None
            yield Moved(id_, output.text if output else None, was, now, change)


# --- from one to the other ------------------------------------------------------------------------------

Step = tuple[str, str, str, Rules]
"""(decision, before, after, rules so far)"""


def _steps(task: Task, first: ScoringProtocol, second: ScoringProtocol) -> Iterator[Step]:
    """One for each decision in which they differ, in the order of an output; last, which metrics they report."""
    further = _of_all_items(task, first, second)
    now, end = (_with_columns(task, protocol.rules[task.name], further) for protocol in (first, second))
    for step in _steps_of_scoring(task, now, end):
        yield step
        now = step[-1]
    was, after = (protocol.rules[task.name].metrics for protocol in (first, second))
    if _known_as(task, was) != _known_as(task, after):
        yield "metrics", metric_list(was), metric_list(after), now


def _known_as(task: Task, metrics: tuple[str, ...]) -> tuple[str, ...]:
    """Metrics by the names that they have in a way: a share of right answers is the same under either name."""
    names = {"exact_match": "accuracy"} if task.kind == "choice" else {"char_f1": "f1"}
    return tuple(names.get(name, name) for name in metrics)


def _steps_of_scoring(task: Task, now: Rules, end: Rules) -> Iterator[Step]:
    def switched(name: str, value: object) -> Step:
        nonlocal now
        was = _words(task, name, getattr(now, name))
        now = replace(now, **{name: value})  # type: ignore[arg-type]
        return name, was, _words(task, name, value), now

    for name in ("items", "labels"):
        if getattr(now, name) != getattr(end, name):
            yield switched(name, getattr(end, name))
    if now.evidence == "text" and end.evidence == "log_likelihood":
        if now.unreadable is not None:
            yield switched("unreadable", None)
        was, now = _words(task, "evidence", now.evidence), end
        yield "evidence", was, _words(task, "evidence", end.evidence), now
        return
    if now.evidence == "log_likelihood" and end.evidence == "text":
        was = _words(task, "evidence", now.evidence)
        now = replace(end, unreadable=None)
        yield "evidence", was, _words(task, "evidence", end.evidence), now
    elif now.evidence == "text":
        if now.thought != end.thought:
            yield switched("thought", end.thought)
        for decision, was, after, text in _text_steps(now, end):
            now = replace(now, text=text)
            yield decision, was, after, now
        for name in ("reading", "references", "clip"):
            if getattr(now, name) != getattr(end, name):
                yield switched(name, getattr(end, name))
    for name in ("unreadable", "undefined"):
        if getattr(now, name) != getattr(end, name):
            yield switched(name, getattr(end, name))
    if now.f1 != end.f1:
        was = _words(task, "f1", now.f1)
        now = _with_columns(task, replace(now, f1=end.f1), ())
        yield "f1", was, _words(task, "f1", end.f1), now


Text = tuple[tuple[str, str], ...]


def _text_steps(now: Rules, end: Rules) -> Iterator[tuple[str, str, str, Text]]:
    """Steps that the second system has not are taken out, the others put in its order, and its own are added."""
    text = now.text
    wanted = {name for name, _ in end.text}
    for name in dict.fromkeys(name for name, _ in text):
        if name not in wanted:
            was = next(sides for step, sides in text if step == name)
            text = tuple(step for step in text if step[0] != name)
            yield f"text: {name}", value_words("text", was), value_words("text", "none"), text
    kept = {name for name, _ in text}
    ordered = tuple(step for step in end.text if step[0] in kept)
    if ordered != text:
        yield "text", step_list(text), step_list(ordered), ordered
        text = ordered
    for name in dict.fromkeys(name for name, _ in end.text):
        if name not in kept:
            kept.add(name)
            text = tuple(step for step in end.text if step[0] in kept)
            sides = next(sides for step, sides in end.text if step == name)
            yield f"text: {name}", value_words("text", "none"), value_words("text", sides), text


def _words(task: Task, name: str, value: object) -> str:
    if name == "unreadable" and value is None and task.kind == "score":
        value = "left out"
    return value_words(name, value)


def _other_outputs(first: ScoringProtocol, second: ScoringProtocol) -> tuple[OtherOutputs, ...]:
    out = []
    for name in GENERATION:
        (was, _), (now, source) = (p.generation.get(name, (_UNSAID, None)) for p in (first, second))
        # What nobody mentions is not there: "–" and "none" are no difference.
        if was != now and {was, now} != {_UNSAID, "none"}:
            before, after = (text if text == _UNSAID else Message(text) for text in (was, now))
            out.append(OtherOutputs(name, before, after, source))
    return tuple(out)


_UNSAID = "–"
