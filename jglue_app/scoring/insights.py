"""What two minutes with a comparison should show: a few facts picked from reports, the weightiest first. No I/O.

An `Insight` carries facts; `sentence` words them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from jglue_app.messages import Message, mark
from jglue_app.scoring.headline_words import titles
from jglue_app.scoring.judged import SHAPELESS
from jglue_app.scoring.standing import floor_of, widest_gap
from jglue_app.scoring.types import Comparison, Report
from jglue_app.tasks import TASKS

MIN_FORM_SHARE = 0.05
"""A share of outputs below which their form is not worth a sentence."""
FLOORS = {"below": ("below_floor",), "floor": ("on_floor_default", "on_floor_constant")}
"""Insight → the notices that it summarises."""
ON_FLOOR = tuple(kind for kinds in FLOORS.values() for kind in kinds)


SENTENCES = {
    "better": mark("Better on {tasks}, by more than chance would explain."),
    "better_floor": mark(
        "Better on {tasks}, by more than chance would explain, but there no better than always giving one and the same "
        "answer."
    ),
    "better_partly": mark(
        "Better on {tasks}, by more than chance would explain, but on {low} no better than always giving one and the "
        "same answer."
    ),
    "undecided": mark("On {tasks} this many items cannot tell the two apart yet."),
    "gap": mark(
        "{task}: the written answers score {text}, and the answers ranked first by log-likelihood {ranked}. Points are "
        "lost on form."
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
    """What one report, or two side by side, have to say first. No two of them seem to contradict each other: that a
    side is better and yet on a floor is one."""
    sides = [("A", a)] + ([("B", b)] if b else [])
    won = _won(comparison) if comparison else {}
    out = list(_verdicts(comparison, won)) if comparison else []
    for side, report in sides:
        out += _text_behind_ranking(side, report)
    for side, report in sides:
        out += _form_failures(side, report)
    for kind, kinds in FLOORS.items():
        low = {side: _on_floor(report, kinds, won.get(side.lower(), ())) for side, report in sides}
        for subsets in dict.fromkeys(low.values()):
            who = [side for side, on_floor in low.items() if on_floor == subsets]
            if subsets:
                out.append(Insight(kind, " ".join(who), {"tasks": titles(subsets)}))
    return out


def _won(comparison: Comparison) -> dict[str, list[str]]:
    """Verdict → the subsets that have it, by each one's main metric."""
    won: dict[str, list[str]] = {"a": [], "b": [], "undecided": []}
    for name in comparison.a.tasks:
        if difference := comparison.main(name):
            won[difference.verdict].append(name)
    return won


def _verdicts(comparison: Comparison, won: Mapping[str, Sequence[str]]) -> Iterator[Insight]:
    """Who is better where, and where that is no better than a floor."""
    # Cosines are neither right nor wrong: no item shows which side is better.
    cosines = any(task.outcomes.get("cosine") for r in (comparison.a, comparison.b) for task in r.tasks.values())
    for verdict, side, report in (("b", "B", comparison.b), ("a", "A", comparison.a)):
        if won[verdict]:
            low = [name for name in won[verdict] if floor_of(report.tasks[name]) in ON_FLOOR]
            kind = "better" if not low else "better_floor" if len(low) == len(won[verdict]) else "better_partly"
            facts = {"tasks": titles(won[verdict])} | ({"low": titles(low)} if kind == "better_partly" else {})
            yield Insight(kind, side, facts, "" if cosines else f"only_{verdict}")
    if won["undecided"]:
        yield Insight("undecided", "", {"tasks": titles(won["undecided"])}, "" if cosines else "disagree")


def _text_behind_ranking(side: str, report: Report) -> Iterator[Insight]:
    """The subset in which the text falls furthest behind the ranking of the same answers."""
    gap = widest_gap(report)
    if gap is not None:
        facts = {"task": TASKS[gap.task].title, "text": f"{gap.text:.2f}", "ranked": f"{gap.ranked:.2f}"}
        yield Insight("gap", side, facts, "knows", gap.task)


def _form_failures(side: str, report: Report) -> Iterator[Insight]:
    outcomes = [task.outcomes for task in report.tasks.values()]
    form = sum(counts.get("wrong_form", 0) for counts in outcomes)
    shapeless = sum(counts.get(o, 0) for counts in outcomes for o in SHAPELESS)
    total = sum(sum(counts.values()) for counts in outcomes)
    if form + shapeless >= max(1, MIN_FORM_SHARE * total):
        facts = {"form": str(form), "shapeless": str(shapeless), "total": f"{total:,}"}
        yield Insight("form" if form else "shapeless", side, facts, "unreadable" if shapeless else "form")


def _on_floor(report: Report, kinds: Collection[str], won: Collection[str]) -> tuple[str, ...]:
    """Subsets whose main score has such a notice: of the text, else of the ranking if that is all. Those that are won
    are said to be."""
    return tuple(name for name, task in report.tasks.items() if name not in won and floor_of(task) in kinds)
