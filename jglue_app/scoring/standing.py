"""Where the main score of a subset stands: against its floors, and against the ranking of the same answers. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jglue_app.scoring.comparison import MIN_PAIRED
from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.report import main_metric
from jglue_app.scoring.types import Estimate, Report, TaskReport

MIN_GAP = 0.15
"""A ranking that is this much above the text of the same answers is worth a sentence."""
SIGNIFICANT = 0.05
FLOOR_NOTICES = ("on_floor_default", "on_floor_constant", "below_floor", "no_correlation")
"""Kinds of notices that say that a score is no better than a floor."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A subset's main score."""

    task: str
    what: str
    """`text` (what the model writes), `ranking` (of the answers, by log-likelihood) or `correlation`."""
    estimate: Estimate
    value: float
    floor: str = ""
    """Which floor it is no better than: one of `FLOOR_NOTICES`; empty if it is above all."""
    floor_value: float | None = None
    """The score of that floor, or of the best constant answer; None for a correlation."""

    @property
    def is_constant(self) -> bool:
        """Whether always giving one and the same answer scores as well."""
        return self.floor in ("on_floor_constant", "on_floor_default", "below_floor")

    @property
    def margin(self) -> float:
        """How far it is above the floor."""
        return self.value - (self.floor_value or 0.0)


@dataclass(frozen=True, slots=True)
class Gap:
    """A ranking that is well above the text of the same answers."""

    task: str
    metric: str
    text: float
    ranked: float

    @property
    def size(self) -> float:
        return self.ranked - self.text


def standings(report: Report, readings: Mapping[str, str] | None = None) -> dict[str, Standing]:
    """Subset → where its main score stands, for every subset that has one.

    Args:
        report: the scores.
        readings: subset → the reading whose score is meant, for the subsets that are meant; None for the main one of
            each.
    """
    out = {}
    for name, task in report.tasks.items():
        if readings is not None and name not in readings:
            continue
        reading, metric = readings[name] if readings else "", _metric(task)
        ranked = reading == "choose" and bool(task.choose)
        estimate = next(iter(task.choose.values())) if ranked else main_metric(task, report.protocol)
        if estimate.value is None:
            continue
        kind = floor_of(task, metric, reading)
        meant = reading or ("strict" if task.metrics else "choose")
        floor = task.default_floors.get(metric) if kind == "on_floor_default" else task.floor(metric, meant)
        out[name] = Standing(
            name,
            "ranking" if ranked else _what(task, report.protocol),
            estimate,
            estimate.value,
            kind,
            floor,
        )
    return out


def floor_of(task: TaskReport, metric: str = "", reading: str = "") -> str:
    """Which floor a score is no better than; empty if it is above all.

    Args:
        task: the scores.
        metric, reading: which of them; empty for the main one.
    """
    reading, metric = reading or ("strict" if task.metrics else "choose"), metric or _metric(task)
    notices = (n.kind for n in task.notices if n.metric == metric and n.reading == reading)
    return next((kind for kind in notices if kind in FLOOR_NOTICES), "")


def widest_gap(report: Report) -> Gap | None:
    """The subset in which the text falls furthest behind the ranking of the same answers, if that is far."""
    gaps = [gap for name in report.tasks if (gap := gap_of(report, name))]
    return max(gaps, key=lambda gap: (gap.size, gap.task), default=None)


def gap_of(report: Report, name: str) -> Gap | None:
    """How far a subset's text falls behind the ranking, if that is far, shown by a test, and of the same items.

    The ranking has to be better than a constant answer, and every item of the main score has to have one.
    """
    task = report.tasks[name]
    gain = task.gain
    if gain is None or gain.text.value is None or gain.ranked.value is None or gain.ranked.low is None:
        return None
    same_items = gain.text.n == main_metric(task, report.protocol).n >= MIN_PAIRED
    if not task.metrics or not same_items or gain.ranked.low <= gain.floor or gain.p >= SIGNIFICANT:
        return None
    gap = Gap(name, gain.metric, gain.text.value, gain.ranked.value)
    return gap if gap.size >= MIN_GAP else None


def knowing(report: Report) -> list[str]:
    """The subsets whose ranking of the answers shows knowledge: it is better than one constant answer."""
    return [
        name
        for name, task in report.tasks.items()
        for metric, ranked in list(task.choose.items())[:1]
        if ranked.n >= MIN_PAIRED and ranked.low is not None and ranked.low > (task.floor(metric, "choose") or 0.0)
    ]


def _metric(task: TaskReport) -> str:
    return next(iter(task.metrics or task.choose), "")


def _what(task: TaskReport, protocol: str) -> str:
    if _metric(task) in ("pearson", "spearman"):
        return "correlation"
    return "text" if task.metrics and task.task not in get_protocol(protocol).ranked else "ranking"
