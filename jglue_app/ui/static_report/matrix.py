"""More than two runs: the matrices of the Results tab, runs × subsets and items × runs, against the first run."""

from __future__ import annotations

from typing import Any

from jglue_app.scoring.leaderboard import run_scores
from jglue_app.tasks import TASKS
from jglue_app.ui import views
from jglue_app.ui.static_report.contents import Contents
from jglue_app.ui.views.matrix import item_matrix, score_matrix


def score_matrix_html(contents: Contents, lang: str) -> str:
    """Runs × subsets: each one's main metrics, and what can be said of their difference from the first."""
    names = contents.request.names
    reader = contents.state.reader(contents.owner, contents.request.protocol)
    scores = {name: run_scores(reader.report(name)).tasks for name in names}
    tasks = [task for task in TASKS if any(task in of for of in scores.values())]
    payload = score_matrix(contents.labels(lang), names[0], scores, reader.difference, tasks, lang)
    return views.render("matrix", payload | {"below": True}, lang)


def item_matrix_value(contents: Contents, lang: str) -> dict[str, Any]:
    """Items × runs: what each run made of the items of the first."""
    judged = {name: read.judged for name, read in contents.runs.items()}
    return item_matrix(contents.labels(lang), contents.request.names[0], judged, lang)
