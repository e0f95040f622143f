"""The decisions a protocol is made of: their names, those of their values, and one builder for all systems. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from jglue_app.messages import Joined, Message, mark
from jglue_app.scoring.metric_names import metric_list
from jglue_app.scoring.protocols.judging import judge
from jglue_app.scoring.rules import RULES
from jglue_app.scoring.types import CodeSource, Judgement, Preset, Rules, ScoringProtocol
from jglue_app.tasks import TASKS
from jglue_app.types import Item, Record, Task

DECISIONS = {
    "items": mark("items that are scored"),
    "labels": mark("version of the labels"),
    "thought": mark("a thought before the answer"),
    "text": mark("step before comparing"),
    "reading": mark("how the answer is found"),
    "references": mark("references of an answer"),
    "clip": mark("a similarity off the scale"),
    "unreadable": mark("an unreadable answer counts as"),
    "undefined": mark("a correlation that is undefined counts as"),
    "evidence": mark("what decides"),
    "f1": mark("nearness to a reference"),
    "metrics": mark("metrics, the main one first"),
}
"""A field of `types.Rules` → template of what is decided, in the order in which the decisions follow one another."""

VALUES = {
    ("items", "all"): mark("all"),
    ("items", "short_references"): mark("short references (at most 37.5 characters)"),
    ("labels", "v1.1"): "JGLUE v1.1",
    ("labels", "file"): mark("as in the file"),
    ("thought", "kept"): mark("part of the text"),
    ("thought", "left_out"): mark("left out"),
    ("text", "none"): mark("–"),
    ("text", "prediction"): mark("of the output"),
    ("text", "both"): mark("of output and references"),
    ("reading", "asked"): mark("equal to an answer that the prompt asked for"),
    ("reading", "label"): mark("equal to an official label"),
    ("reading", "label_number"): mark("equal to the number of a label"),
    ("reading", "contains_negative"): mark("negative if it contains 'negative'"),
    ("reading", "leading_digits"): mark("the digits it begins with"),
    ("reading", "float"): mark("what Python's float() reads"),
    ("reading", "plain_number"): mark("a plain number on the scale"),
    ("reading", "whole"): mark("the whole text"),
    ("references", "all"): mark("the best of all"),
    ("references", "first"): mark("the first alone"),
    ("clip", "False"): mark("stays"),
    ("clip", "True"): mark("set to the nearer end"),
    ("unreadable", "None"): mark("wrong"),
    ("unreadable", "left out"): mark("nothing: it is left out of the correlation"),
    ("undefined", "none"): mark("no score"),
    ("undefined", "zero"): "0",
    ("evidence", "text"): mark("the generated text"),
    ("evidence", "log_likelihood"): mark("the log-likelihood of the choices"),
    ("f1", ""): mark("not measured"),
    ("f1", "character_bag"): mark("F1 over the bags of characters"),
    ("f1", "unidic_tokens"): mark("F1 over the bags of MeCab tokens"),
    ("f1", "sorted_words_difflib"): mark("ratio of the sorted words (difflib)"),
    ("f1", "sorted_words_indel"): mark("ratio of the sorted words (insertions and deletions)"),
    ("f1", "ordered"): mark("ratio of the texts as they stand"),
}
"""(decision, value) → template of the value in words; other values, such as labels, are shown as they are."""

GENERATION = {
    "prompt": mark("prompt"),
    "examples": mark("few-shot examples"),
    "new_tokens": mark("new tokens"),
    "stop": mark("end of an answer"),
    "decoding": mark("decoding"),
    "repetition_penalty": mark("repetition penalty"),
    "length_cap": mark("length cap by the gold answer"),
    "data": mark("data"),
}
"""Decisions that shape the outputs: they can be made otherwise only by running the model again."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision of a protocol about one subset."""

    name: str
    """A key of `DECISIONS` or `GENERATION`; a step of `text` is `text: <step>`."""
    value: str
    """Its value in words: a message, where it is no name such as a label."""
    source: CodeSource | None
    """Where the system's own code says it; None for our own protocol."""
    needs_run: bool = False
    """Whether it shapes the outputs themselves."""


def protocol(
    name: str,
    rules: Mapping[str, Rules],
    sources: Mapping[str, Mapping[str, CodeSource]],
    generation: Mapping[str, tuple[str, CodeSource]],
    preset: Preset,
    variant_of: str = "",
) -> ScoringProtocol:
    """A system's protocol from its decisions; see `types.ScoringProtocol` for the arguments."""
    return ScoringProtocol(
        name=name,
        metrics={task: task_rules.metrics for task, task_rules in rules.items()},
        judge=partial(_judge, name, rules),
        ranked=frozenset(task for task, task_rules in rules.items() if task_rules.evidence == "log_likelihood"),
        defaults={
            task: task_rules.unreadable
            for task, task_rules in rules.items()
            if task_rules.unreadable is not None and task_rules.evidence == "text"
        },
        first_reference_only=any(task_rules.references == "first" for task_rules in rules.values()),
        literal=frozenset(task for task, task_rules in rules.items() if _reads_labels(TASKS[task], task_rules)),
        preset=preset,
        rules=rules,
        sources=sources,
        generation=generation,
        variant_of=variant_of,
    )


def _reads_labels(task: Task, rules: Rules) -> bool:
    """Whether answers are read as the official labels whatever the prompt asked for."""
    return rules.reading in ("label", "contains_negative") or (
        rules.reading == "leading_digits" and all(label.isdigit() for label in task.labels)
    )


def _judge(name: str, rules: Mapping[str, Rules], task: Task, item: Item, record: Record) -> Judgement:
    return judge(name, rules[task.name], task, item, record)


def source_of(protocol: ScoringProtocol, task: str, decision: str) -> CodeSource | None:
    """Where a system's code makes a decision about a subset, `text: <step>` for a step; None for our own protocol."""
    for about in (protocol.sources.get(task, {}), protocol.sources.get("", {})):
        for key in (decision, decision.split(":")[0], ""):
            if key in about:
                return about[key]
    return None


def value_words(decision: str, value: object) -> str:
    """The value of a decision in words: a message, where it is no name such as a label."""
    template = VALUES.get((decision, str(value)))
    return str(value) if template is None else Message(template)


def step_list(steps: Iterable[tuple[str, str]]) -> Message:
    """Steps of `types.Rules.text` in their order; in English by their names."""
    return Joined(
        ", ",
        [
            Message(
                "{step} ({sides})",
                step=Message.worded(step, RULES[step], {}),
                sides=value_words("text", sides),
            )
            for step, sides in steps
        ],
    )


def decision_text(decision: str) -> Message:
    """What is decided, in words: a key of `DECISIONS` or `GENERATION`, `text: <step>`, or `text` for their order."""
    if decision == "text":
        return Message("order of the steps")
    if decision.startswith("text: "):
        return Message(RULES[decision.removeprefix("text: ")])
    return Message(DECISIONS.get(decision) or GENERATION[decision])


def decisions_of(protocol: ScoringProtocol, task: str) -> tuple[Decision, ...]:
    """All decisions of a protocol about a subset, in their order, those that shape the outputs last.

    Raises:
        KeyError: the protocol does not score the subset.
    """
    rules = protocol.rules[task]
    out = []
    for name in DECISIONS:
        source = source_of(protocol, task, name)
        if name == "text":
            if rules.evidence == "text":
                steps = [(f"text: {step}", value_words("text", sides)) for step, sides in rules.text]
                out += [Decision(step, sides, source_of(protocol, task, step)) for step, sides in steps]
        elif name == "metrics":
            out.append(Decision(name, metric_list(rules.metrics), source))
        elif _matters(name, rules, task):
            value = getattr(rules, name)
            if name == "unreadable" and value is None and task == "jsts":
                value = "left out"
            out.append(Decision(name, value_words(name, value), source))
    out += [
        Decision(name, Message(template), source, needs_run=True)
        for name, (template, source) in protocol.generation.items()
    ]
    return tuple(out)


def as_table(protocol: ScoringProtocol) -> dict[str, Any]:
    """A protocol as plain values: each subset's decisions, and those that shape the outputs of all."""

    def row(decision: Decision) -> dict[str, Any]:
        return {
            "decision": decision.name,
            "about": decision_text(decision.name),
            "value": decision.value,
            "source": str(decision.source) if decision.source else None,
        }

    decisions_by_task = {task: decisions_of(protocol, task) for task in protocol.rules}
    shaping = next(iter(decisions_by_task.values()))
    return {
        "protocol": protocol.name,
        "variant_of": protocol.variant_of or None,
        "metrics": {task: list(names) for task, names in protocol.metrics.items()},
        "subsets": {
            task: [row(d) for d in decisions if not d.needs_run] for task, decisions in decisions_by_task.items()
        },
        "outputs": [row(d) for d in shaping if d.needs_run],
    }


_OF_SPANS = ("items", "references", "f1")
_OF_SIMILARITIES = ("clip", "undefined")


def _matters(name: str, rules: Rules, task: str) -> bool:
    """Whether a decision means anything for a subset."""
    if name == "labels":
        return task == "jnli"
    if name in _OF_SPANS:
        return task == "jsquad"
    if name in _OF_SIMILARITIES:
        return task == "jsts"
    if name in ("reading", "unreadable", "thought"):
        return rules.evidence == "text" and not (task == "jsquad" and name == "unreadable")
    return True
