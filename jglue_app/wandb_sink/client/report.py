"""In the worker process: the W&B Report of a project, with leaderboard, subset bars, outcomes and run comparer."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from jglue_app.child_process import OnMessage
from jglue_app.errors import DeviceError
from jglue_app.scoring.scoreboard import OUTCOMES, number
from jglue_app.tasks import TASKS
from jglue_app.wandb_sink.client.connection import TRY_LATER, api, translated_errors
from jglue_app.wandb_sink.client.send import Lines
from jglue_app.wandb_sink.paths import path_of_job, project_path
from jglue_app.wandb_sink.payload import EVALUATION, PROTOCOLS_KEY

GRID_COLUMNS = 24
"""Columns of a panel grid."""
PANELS_PER_ROW = 3


def save(job: Mapping[str, Any], on_message: OnMessage, _: Lines) -> dict[str, Any]:
    """Save the Report: `{entity, project, protocol, data_kind, rows, keys}` → `{url, title, blocks}`.

    Raises:
        DeviceError: wandb-workspaces is not installed.
    """
    try:
        wr: Any = importlib.import_module("wandb_workspaces.reports.v2")
    except ImportError as e:
        raise DeviceError(
            "A Report needs the package wandb-workspaces: `pip install wandb-workspaces`. The ranking needs no package."
        ) from e
    title = f"JGLUE ({job['protocol']}, {job['data_kind']})"
    with translated_errors(path_of_job(job), remedy=TRY_LATER):
        client = api()
        entity = str(job["entity"] or client.default_entity)
        report = wr.Report(
            project=job["project"],
            entity=entity,
            title=title,
            description="Japanese language models on JGLUE, ranked by the mean of the main metrics.",
            width="fluid",
            blocks=_blocks(wr, job, entity),
        )
        # A report with the same title is replaced, so that links to it stay valid.
        reports = client.reports(project_path(entity, job["project"]))
        report.id = next((saved.id for saved in reports if saved.display_name == title), report.id)
        report.save()
        return {"url": report.url, "title": title, "blocks": listing(report.blocks)}


def _blocks(wr: Any, job: Mapping[str, Any], entity: str) -> list[Any]:
    keys: Mapping[str, str] = job["keys"]
    runs = {
        "entity": entity,
        "project": job["project"],
        "name": "Evaluated models",
        "filters": f"JobType = '{EVALUATION}' and Config('data_kind') = '{job['data_kind']}'",
        "order": [wr.OrderBy(wr.SummaryMetric(f"{PROTOCOLS_KEY}/{job['protocol']}/average"))],
    }
    bars = [
        wr.BarPlot(title=TASKS[task].title, metrics=[wr.SummaryMetric(key)], layout=_layout(wr, i))
        for i, (task, key) in enumerate(keys.items())
    ]
    failures = [
        wr.BarPlot(
            title=TASKS[task].title,
            metrics=[
                wr.SummaryMetric(f"outcomes/{task}/{outcome}")
                for outcome in OUTCOMES
                if outcome != "cosine" or task == "jsts"
            ],
            layout=_layout(wr, i),
        )
        for i, task in enumerate(keys)
    ]
    wide = wr.Layout(w=GRID_COLUMNS, h=12)
    return [
        wr.P(
            f"Scored under the protocol {job['protocol']}. In brackets the 95 % interval: runs whose intervals overlap "
            "much cannot be told apart by these items. Ranks, scores and intervals were computed when this report was "
            "saved; the bars follow the runs."
        ),
        wr.H2("Leaderboard"),
        wr.MarkdownBlock(ranking(job["rows"], list(keys))),
        wr.H2("Scores by subset"),
        wr.PanelGrid(runsets=[wr.Runset(**runs)], panels=bars),
        wr.H2("Failure picture"),
        wr.P("What became of the items: right, right in the wrong form, wrong, unreadable, cut off, empty."),
        wr.PanelGrid(runsets=[wr.Runset(**runs)], panels=failures),
        wr.H2("Runs side by side"),
        wr.PanelGrid(runsets=[wr.Runset(**runs)], panels=[wr.RunComparer(diff_only="split", layout=wide)]),
        wr.H2("Answers"),
        wr.PanelGrid(
            runsets=[wr.Runset(**runs)],
            panels=[wr.WeavePanelSummaryTable(table_name=f"predictions/{task}", layout=wide) for task in keys],
        ),
    ]


def _layout(wr: Any, index: int) -> Any:
    row, column = divmod(index, PANELS_PER_ROW)
    width = GRID_COLUMNS // PANELS_PER_ROW
    return wr.Layout(x=width * column, y=6 * row, w=width, h=6)


def ranking(rows: Sequence[Mapping[str, Any]], tasks: Sequence[str]) -> str:
    """The leaderboard as a Markdown table: rank, run with its link, average and subsets with their intervals."""
    head = ["rank", "run", "average", *(TASKS[task].title for task in tasks)]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in rows:
        rank = "–" if row["rank"] is None else str(row["rank"])
        label = str(row["label"]).replace("\\", "\\\\").replace("|", "\\|").replace("[", "\\[").replace("]", "\\]")
        cells = [rank, f"[{label}]({row['url']})", *(_cell(row[name]) for name in ("average", *tasks))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(estimate: Sequence[float | None]) -> str:
    value, low, high = estimate
    if value is None or low is None:
        return number(value)
    # Parentheses: square brackets would start a link.
    return f"{number(value)} ({number(low)} – {number(high)})"


def listing(blocks: Sequence[Any]) -> list[dict[str, Any]]:
    """The content of a report, block by block, as plain values for users and tests."""
    rows = []
    for block in blocks:
        row: dict[str, Any] = {"block": type(block).__name__}
        if hasattr(block, "text"):
            row["text"] = str(block.text)
        if hasattr(block, "panels"):
            row["panels"] = [
                {
                    "panel": type(panel).__name__,
                    "title": getattr(panel, "title", None) or getattr(panel, "table_name", None) or "",
                    "metrics": [metric.name for metric in getattr(panel, "metrics", None) or ()],
                }
                for panel in block.panels
            ]
            row["runs"] = [f"{runs.entity}/{runs.project}: {runs.filters}" for runs in block.runsets]
        rows.append(row)
    return rows
