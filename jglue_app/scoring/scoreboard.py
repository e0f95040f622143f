"""Reports and comparisons as rows for tables, and numbers as short texts. No I/O; words are left to who shows them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jglue_app.scoring.types import Comparison, Difference, Estimate, Report, TaskReport
from jglue_app.tasks import TASKS
from jglue_app.types import Source

READINGS = ("strict", "lenient", "choose", "imputed")
OUTCOMES = (
    *("correct", "wrong_form", "wrong", "unreadable", "unfinished_thought"),
    *("truncated", "empty", "overflow", "error", "unscored", "cosine"),
)
"""Every `Outcome`, in the order in which they are shown."""
USUAL_OUTCOMES = ("correct", "wrong_form", "wrong", "unreadable", "truncated", "empty")
"""Those that are always shown; the others where they occur."""


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One metric of one subset under one reading, for one or two runs."""

    task: str
    sources: tuple[Source, ...]
    """Where the items came from; two entries when A and B were given different data."""
    metric: str
    reading: str
    """`strict`, `lenient`, `choose` (log-likelihood ranking), or `imputed` (JSTS, unreadable answers as 2.5)."""
    a: Estimate | None
    b: Estimate | None
    difference: Difference | None
    """B minus A on the items both have answered; None where there is nothing to compare."""
    floor: float | None
    """Score of the best constant answer on A's items."""
    default_floor: float | None
    """Score on A's items of never giving a readable answer, where the protocol has a default for that."""
    unreadable_a: int
    unreadable_b: int
    """Outputs this reading could not read (0 for `choose` and `imputed`)."""


def score_rows(a: Report, b: Report | None = None, comparison: Comparison | None = None) -> list[ScoreRow]:
    """Every metric row of one report, or of two side by side, in the order of `TASKS`."""
    return [
        row
        for name in TASKS
        if name in a.tasks or (b and name in b.tasks)
        for row in _task_rows(name, a.tasks.get(name), b.tasks.get(name) if b else None, comparison)
    ]


def _task_rows(
    name: str, a: TaskReport | None, b: TaskReport | None, comparison: Comparison | None
) -> Iterator[ScoreRow]:
    sources = tuple(dict.fromkeys(report.source for report in (a, b) if report))
    for metric in dict.fromkeys(m for report in (a, b) if report for m in (*report.metrics, *report.choose)):
        for reading in READINGS:
            left, right = _metrics(a, reading).get(metric), _metrics(b, reading).get(metric)
            if left is None and right is None:
                continue
            either = next(report for report in (a, b) if report and metric in _metrics(report, reading))
            difference = _differences(comparison, reading).get(name, {}).get(metric)
            yield ScoreRow(
                task=name,
                sources=sources,
                metric=metric,
                reading=reading,
                a=left,
                b=right,
                difference=difference,
                floor=either.floor(metric, reading),
                default_floor=either.default_floors.get(metric) if reading == "strict" else None,
                unreadable_a=_unreadable(a, reading),
                unreadable_b=_unreadable(b, reading),
            )


def _metrics(report: TaskReport | None, reading: str) -> dict[str, Estimate]:
    if report is None:
        return {}
    return dict(
        {"strict": report.metrics, "lenient": report.lenient, "choose": report.choose, "imputed": report.imputed}[
            reading
        ]
    )


def _differences(comparison: Comparison | None, reading: str) -> dict[str, dict[str, Difference]]:
    if comparison is None or reading == "imputed":
        return {}
    table = {"strict": comparison.differences, "lenient": comparison.lenient, "choose": comparison.choose}[reading]
    return {task: dict(metrics) for task, metrics in table.items()}


def _unreadable(report: TaskReport | None, reading: str) -> int:
    if report is None or reading in ("choose", "imputed"):
        return 0
    return report.unreadable if reading == "strict" else report.unreadable_lenient


def number(value: float | None, *, sign: bool = False) -> str:
    """Three decimals, `–` for no value; what rounds to nothing has no minus."""
    if value is None:
        return "–"
    value = round(value, 3) or 0.0  # no negative zero
    return f"{value:+z.3f}" if sign else f"{value:z.3f}"


def p_text(p: float | None) -> str:
    """`0.031`, `<0.001`; `–` where there was nothing to test."""
    if p is None:
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def count_text(n: int | None) -> str:
    """`12,300`; `–` for none."""
    return "–" if n is None else f"{n:,}"


def estimate_text(estimate: Estimate | None, *, sign: bool = False) -> str:
    """`0.420 [0.301, 0.549]`; `–` where there is no value."""
    if estimate is None or estimate.value is None:
        return "–"
    text = number(estimate.value, sign=sign)
    if estimate.low is None:
        return text
    return f"{text} [{number(estimate.low, sign=sign)}, {number(estimate.high, sign=sign)}]"


def significant(value: float | None, *, sign: bool = False) -> str:
    """Three significant digits, `–` for no value: for numbers that may be very small, such as `2.1e-05`."""
    if value is None:
        return "–"
    return f"{value or 0.0:+.3g}" if sign else f"{value or 0.0:.3g}"


def significant_text(estimate: Estimate, *, sign: bool = False) -> str:
    """`0.0132 [0.011, 0.0158]`, in three significant digits; `–` where there is no value."""
    text = significant(estimate.value, sign=sign)
    if estimate.value is None or estimate.low is None:
        return text
    return f"{text} [{significant(estimate.low, sign=sign)}, {significant(estimate.high, sign=sign)}]"
