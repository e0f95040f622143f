"""What two minutes with a comparison should show: a few facts picked from reports, the weightiest first. No I/O.

An `Insight` carries facts; `sentence` words them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from jglue_app.messages import Joined, Message, mark
from jglue_app.scoring.comparison import MIN_PAIRED
from jglue_app.scoring.judged import SHAPELESS
from jglue_app.scoring.report import main_metric
from jglue_app.scoring.types import Comparison, Report, TaskReport
from jglue_app.tasks import TASKS

MIN_GAP = 0.15
"""A ranking that is this much above the text of the same answers is worth a sentence."""
MIN_FORM_SHARE = 0.05
"""A share of outputs below which their form is not worth a sentence."""
FLOORS = {"below": ("below_floor",), "floor": ("on_floor_default", "on_floor_constant")}
"""Insight → the notices that it summarises."""


SENTENCES = {
    "better": mark("Better on {tasks}, by more than chance would explain."),
    "undecided": mark("On {tasks} this many items cannot tell the two apart yet."),
    "gap": mark(
        "{task}: {text} by what it writes, {ranked} when the same answers are ranked by log-likelihood. Points "
        "are lost on form, not on the choice."
    ),
    "form": mark("Of {total} outputs {shapeless} cannot be read as an answer, and {form} are right in the wrong form."),
    "shapeless": mark("Of {total} outputs {shapeless} cannot be read as an answer."),
    "below": mark("The scores on {tasks} are below what always giving one and the same answer scores."),
    "floor": mark("The scores on {tasks} cannot be told from always giving one and the same answer."),
}
"""Kind → sentence."""


@dataclass(frozen=True, slots=True)
class Insight:
    """One fact."""

    kind: str
    """A key of `SENTENCES`."""
    side: str = ""
    """`A`, `B`, or `A B` where it holds for each; empty when it is about the pair."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """The values in the sentence."""
    items: str = ""
    """Which items show it: a filter of the item list, or empty."""
    task: str = ""
    """The subset it is about, if that is one."""


def sentence(insight: Insight) -> Message:
    """An insight for people."""
    return Message(SENTENCES[insight.kind], **insight.facts)


def insights(a: Report, b: Report | None = None, comparison: Comparison | None = None) -> list[Insight]:
    """What one report, or two side by side, have to say first."""
    sides = [("A", a)] + ([("B", b)] if b else [])
    out = list(_verdicts(comparison)) if comparison else []
    for side, report in sides:
        out += _text_behind_ranking(side, report)
    for side, report in sides:
        out += _form_failures(side, report)
    for kind, kinds in FLOORS.items():
        low = {side: _on_floor(report, kinds) for side, report in sides}
        for titles in dict.fromkeys(low.values()):
            who = [side for side, found_titles in low.items() if found_titles == titles]
            if titles:
                out.append(Insight(kind, " ".join(who), {"tasks": Joined(", ", titles)}))
    return out


def _verdicts(comparison: Comparison) -> Iterator[Insight]:
    """Who is better where, by each subset's main metric."""
    won: dict[str, list[str]] = {"a": [], "b": [], "undecided": []}
    # Cosines are neither right nor wrong: no item shows which side is better.
    cosines = any(task.outcomes.get("cosine") for r in (comparison.a, comparison.b) for task in r.tasks.values())
    for name, report in comparison.a.tasks.items():
        metrics = comparison.differences.get(name) or comparison.choose.get(name) or {}
        first = next(iter(metrics.values()), None)
        if first is not None and first.difference.value is not None:
            won[first.verdict].append(TASKS[report.task].title)
    for verdict, side in (("b", "B"), ("a", "A")):
        if won[verdict]:
            shown = "" if cosines else f"only_{verdict}"
            yield Insight("better", side, {"tasks": Joined(", ", won[verdict])}, shown)
    if won["undecided"]:
        yield Insight("undecided", "", {"tasks": Joined(", ", won["undecided"])}, "" if cosines else "disagree")


def _text_behind_ranking(side: str, report: Report) -> Iterator[Insight]:
    """The subset in which the text falls furthest behind the ranking of the same answers."""
    gaps = []
    for name, task in report.tasks.items():
        text, ranked = main_metric(task, report.protocol), next(iter(task.choose.values()), None)
        metric = next(iter(task.choose), "")
        if not task.metrics or ranked is None or text.value is None or ranked.value is None or ranked.low is None:
            continue
        # A ranking that is itself no better than one constant answer shows no knowledge that form could hide.
        if ranked.n >= MIN_PAIRED and ranked.low > task.floors.get(metric, 0.0):
            gaps.append((ranked.value - text.value, name, text.value, ranked.value))
    if gaps and (worst := max(gaps))[0] >= MIN_GAP:
        _, name, text_value, ranked_value = worst
        facts = {"task": TASKS[name].title, "text": f"{text_value:.2f}", "ranked": f"{ranked_value:.2f}"}
        yield Insight("gap", side, facts, "knows", name)


def _form_failures(side: str, report: Report) -> Iterator[Insight]:
    outcomes = [task.outcomes for task in report.tasks.values()]
    form = sum(counts.get("wrong_form", 0) for counts in outcomes)
    shapeless = sum(counts.get(o, 0) for counts in outcomes for o in SHAPELESS)
    total = sum(sum(counts.values()) for counts in outcomes)
    if form + shapeless >= max(1, MIN_FORM_SHARE * total):
        facts = {"form": str(form), "shapeless": str(shapeless), "total": f"{total:,}"}
        yield Insight("form" if form else "shapeless", side, facts, "unreadable" if shapeless else "form")


def _on_floor(report: Report, kinds: Collection[str]) -> tuple[str, ...]:
    """Subsets whose main score has such a notice: of the text, else of the ranking if that is all."""
    return tuple(TASKS[name].title for name, task in report.tasks.items() if _has_notice(task, kinds))


def _has_notice(task: TaskReport, kinds: Collection[str]) -> bool:
    reading = "strict" if task.metrics else "choose"
    main = next(iter(task.metrics or task.choose), "")
    return any(n.kind in kinds and n.metric == main and n.reading == reading for n in task.notices)
