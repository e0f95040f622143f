"""More than two runs: each one's score in every subset, and what can be said of its difference from the first."""

from __future__ import annotations

from typing import Any

from jglue_app.messages import word
from jglue_app.scoring.scoreboard import ScoreRow, number, score_rows
from jglue_app.scoring.types import Comparison, Report
from jglue_app.tasks import TASKS
from jglue_app.ui.static_report.contents import Contents
from jglue_app.ui.views import subset_title
from jglue_app.ui.views.board import interval
from jglue_app.ui.views.metrics import metric_name
from jglue_app.ui.views.run_labels import run_label_text

SIGNS = {"a": "▼", "b": "▲"}
"""Verdict of a comparison with the first run → sign; anything else is not told apart."""


def matrix(contents: Contents, lang: str) -> dict[str, Any]:
    """Runs × subsets: the main metric of each, read strictly where it was written, with its interval.

    A score is that of all items that the run has answered; the difference from the first run is that of the items that
    both have, as in the scoreboard of the pair.
    """
    asked = contents.asked
    reports = [contents.state.report(contents.owner, name, asked.protocol, asked.items) for name in asked.names]
    comparisons: list[Comparison | None] = [
        None,
        *(
            contents.state.comparison(contents.owner, pair.a, pair.b, asked.protocol, pair.ids_a, pair.ids_b)
            for pair in contents.pairs
        ),
    ]
    tasks = [name for name in TASKS if any(name in report.tasks for report in reports)]
    return {
        "heads": [subset_title(name, _first_with(reports, name).tasks[name].source, lang) for name in tasks],
        "rows": [
            {
                "label": run_label_text(report.label, lang),
                "first": found is None,
                "cells": [_cell(report, found, task, lang) for task in tasks],
            }
            for report, found in zip(reports, comparisons, strict=True)
        ],
    }


def _first_with(reports: list[Report], task: str) -> Report:
    return next(report for report in reports if task in report.tasks)


def _main_row(rows: list[ScoreRow], task: str) -> ScoreRow | None:
    """The row of a subset's first metric, as the scoreboard shows it."""
    of_task = [row for row in rows if row.task == task]
    by_reading = {row.reading: row for row in of_task if row.metric == of_task[0].metric}
    return by_reading.get("strict") or by_reading.get("choose")


def _cell(report: Report, found: Comparison | None, task: str, lang: str) -> dict[str, str]:
    row = _main_row(score_rows(report, None, None), task)
    if row is None or row.a is None or row.a.value is None:
        return {"value": "–"}
    cell = {
        "value": number(row.a.value),
        "interval": interval(row.a),
        "detail": f"{metric_name(row.metric, lang)} · {row.a.n:,} {word('n', lang)}",
    }
    if found is None:
        return cell
    compared = _main_row(score_rows(found.a, found.b, found), task)
    difference = compared.difference if compared else None
    if difference is None or difference.difference.value is None:
        return cell
    verdict = difference.verdict
    text = word({"a": "report_below", "b": "report_above"}.get(verdict, "report_open"), lang)
    return cell | {
        "sign": SIGNS.get(verdict, "～"),
        "difference": f"{number(difference.difference.value, sign=True)} {interval(difference.difference, sign=True)}",
        "verdict": text,
        "class": f"jg-verdict-{verdict}",
    }
