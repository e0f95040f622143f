"""Strips: one line a subset on which every reading of every run has its place, with the floor and the intervals."""

from __future__ import annotations

from typing import Any

from jglue_app.messages import listed, word
from jglue_app.scoring.report import main_metric
from jglue_app.scoring.scoreboard import count_text, number
from jglue_app.scoring.standing import standings
from jglue_app.scoring.types import Comparison, Estimate, Report, TaskReport
from jglue_app.tasks import TASKS
from jglue_app.ui.views import shared_source, source_text
from jglue_app.ui.views.metrics import metric_name

READINGS = ("choose", "lenient", "strict")
"""In the order in which they are drawn: the strict one is on top."""
SIGNED = ("pearson", "spearman", "mcc")
"""Metrics on a scale from −1 to 1."""


def strips(a: Report, b: Report | None, comparison: Comparison | None, lang: str) -> list[dict[str, Any]]:
    """A strip for each subset of one report, or of two."""
    sides = [("A", a)] + ([("B", b)] if b else [])
    out = []
    several = shared_source([task.source for _, report in sides for task in report.tasks.values()], lang) is None
    for name in TASKS:
        tasks = {side: report.tasks[name] for side, report in sides if name in report.tasks}
        metric = next((m for task in tasks.values() for m in (*task.metrics, *task.choose)), "")
        if not metric:
            continue
        verdict = _verdict(name, a, b, comparison)
        lines = [strip_line(side, task, metric, lang) for side, task in tasks.items()]
        floors = [task.floors[metric] for task in tasks.values() if metric in task.floors]
        floor = 0.0 if metric in SIGNED else floors[0] if floors else None
        out.append(
            {
                "task": name,
                "title": TASKS[name].title,
                "source": source_text([task.source for task in tasks.values()], lang) if several else "",
                "metric": metric_name(metric, lang),
                "says_metric": metric != "accuracy",
                "n": _counts({side: task.n for side, task in tasks.items()}, lang),
                "lines": lines,
                "floor": "" if floor is None else place(floor, metric),
                "floor_value": "" if floor is None else number(floor),
                "verdict": _verdict_text(name, verdict, a, b, lang),
                "verdict_class": verdict,
            }
        )
    return out


def _counts(of_sides: dict[str, int], lang: str) -> str:
    """How many items were answered; by each side where these differ, as in a run that was stopped."""
    if len(set(of_sides.values())) == 1:
        return count_text(next(iter(of_sides.values())))
    return listed([f"{side} {count_text(n)}" for side, n in of_sides.items()], lang)


def strip_line(tag: str, task: TaskReport, metric: str, lang: str) -> dict[str, Any]:
    """One run on a strip.

    Args:
        tag: what the run is called there: `A`, or any short text.
        task: its scores.
        metric: the one to show.
        lang: `ja` or `en`.
    """
    readings = {"strict": task.metrics, "lenient": task.lenient, "choose": task.choose}
    estimates = {name: readings[name].get(metric) for name in READINGS}
    main = estimates["strict"] or estimates["choose"]
    marks = [
        {"reading": name, "at": place(e.value, metric), "text": f"{word(name, lang)} {number(e.value)}"}
        for name, e in estimates.items()
        if e is not None and e.value is not None
    ]
    return {
        "tag": tag,
        "class": tag.lower(),
        "marks": marks,
        "value": "–" if main is None or main.value is None else f"{main.value:z.2f}",
        "interval": _interval(main, metric),
        "spoken": f"{tag} {listed((mark['text'] for mark in reversed(marks)), lang)}" if marks else f"{tag} –",
    }


def place(value: float, metric: str) -> str:
    """A value's place on a strip, in percent of its length."""
    value = (value + 1) / 2 if metric in SIGNED else value
    return f"{100 * min(1.0, max(0.0, value)):.1f}"


def _interval(estimate: Estimate | None, metric: str) -> dict[str, str] | None:
    if estimate is None or estimate.low is None or estimate.high is None:
        return None
    low, high = float(place(estimate.low, metric)), float(place(estimate.high, metric))
    return {"low": f"{low:.1f}", "width": f"{high - low:.1f}"}


def _verdict_text(name: str, verdict: str, a: Report, b: Report | None, lang: str) -> str:
    """The verdict in words; that the side that is ahead is no better than its floor belongs to it, and which side has
    no score where the other has one."""
    if verdict == "none" and b is not None:
        lacking = without_score(name, a, b)
        if not lacking:
            return word("verdict_none", lang)
        if len(lacking) == 1:
            return word("strip_none_of", lang).format(*lacking)
    text = word(f"strip_{verdict}", lang)
    ahead = {"a": a, "b": b}.get(verdict)
    stands = "above" if ahead is None else _over_floor(name, ahead)
    return text if stands == "above" else word("strip_ahead_but", lang).format(text, word(f"strip_{stands}", lang))


def without_score(name: str, a: Report, b: Report) -> list[str]:
    """The sides that have no score of a subset: what a comparison lacks."""
    return [
        side
        for side, report in (("A", a), ("B", b))
        if name not in report.tasks or main_metric(report.tasks[name], report.protocol).value is None
    ]


def _over_floor(name: str, report: Report) -> str:
    """How the subset's score stands to its floor: `above`, `floor` or `below`."""
    floor = standings(report)[name].floor
    return "below" if floor == "below_floor" else "floor" if floor else "above"


def _verdict(name: str, a: Report, b: Report | None, comparison: Comparison | None) -> str:
    """`a`, `b`, `undecided` or `none` of two runs; of one, how it stands to its floor: `above`, `floor` or `below`."""
    if b is None or comparison is None:
        if name not in a.tasks or main_metric(a.tasks[name], a.protocol).value is None:
            return "none"
        return _over_floor(name, a)
    difference = comparison.main(name)
    return difference.verdict if difference else "none"
