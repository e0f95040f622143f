"""In the worker process: the W&B Report of a project, with leaderboard, subset bars, outcomes and run comparer.

A report that people have edited is read and written as W&B stores it: `wandb_workspaces`, which makes our blocks, would
lose what it has no class for.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jglue_app.child_process import OnMessage
from jglue_app.errors import DeviceError
from jglue_app.messages import Joined, Message
from jglue_app.scoring.scoreboard import OUTCOMES, number
from jglue_app.tasks import TASKS
from jglue_app.wandb_sink.client.connection import TRY_LATER, api, translated_errors
from jglue_app.wandb_sink.client.send import Lines
from jglue_app.wandb_sink.paths import path_of_job, project_path
from jglue_app.wandb_sink.payload import EVALUATION, PROTOCOLS_KEY
from jglue_app.wandb_sink.report_blocks import Block, Merged, merge

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
        execute: Any = importlib.import_module("wandb_workspaces._graphql").execute_graphql
        upsert = importlib.import_module("wandb_workspaces.reports.v2.gql").upsert_view
    except ImportError as e:
        raise DeviceError(
            "A Report needs the package wandb-workspaces, not older than 0.4.13: `pip install wandb-workspaces -U`. "
            "The ranking needs no package."
        ) from e
    title = f"JGLUE ({job['protocol']}, {job['data_kind']})"
    with translated_errors(path_of_job(job), remedy=TRY_LATER):
        client = api()
        entity = str(job["entity"] or client.default_entity)
        blocks = _blocks(wr, job, entity)
        report = wr.Report(
            project=job["project"],
            entity=entity,
            title=title,
            description="Japanese language models on JGLUE, ranked by the mean of the main metrics.",
            width="fluid",
            blocks=list(blocks.values()),
        )
        # A report with the same title is updated, so that links to it stay valid.
        reports = client.reports(project_path(entity, job["project"]))
        stored = next((saved for saved in reports if saved.display_name == title), None)
        merged = merge(stored.spec.get("blocks") or [] if stored else [], _as_stored(report, blocks))
        saved = execute(client, upsert, _variables(report, stored, merged.blocks))
        report.id = str(saved["upsertView"]["view"]["id"])
        for notice in _notices(merged) if stored else ():
            on_message(notice)
        people = {"kept": merged.kept, "edited": list(merged.edited), "removed": list(merged.removed)}
        return {"url": report.url, "title": title, "blocks": listing(report.blocks), "people": people}


def _as_stored(report: Any, blocks: Mapping[str, Any]) -> dict[str, Block]:
    """Name → block as W&B stores it; of `report` it makes the JSON of the whole at once."""
    stored = report._to_model().spec.model_dump(mode="json", by_alias=True, exclude_none=True)["blocks"]
    return dict(zip(blocks, stored[1:-1], strict=True))  # There is an empty paragraph at each end.


def _variables(report: Any, stored: Any, blocks: list[Block]) -> dict[str, Any]:
    """What W&B is to store; of an existing report all but its blocks stays: comments, authors, width, description."""
    model = report._to_model()
    spec = stored.spec if stored else model.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {
        "id": stored.id if stored else None,
        "name": stored.name if stored else model.name,
        "entityName": report.entity,
        "projectName": report.project,
        "description": (stored.description if stored else None) or report.description,
        "displayName": report.title,
        "type": "runs",
        "spec": json.dumps({**spec, "blocks": blocks}),
    }


def _notices(merged: Merged) -> Iterator[Message]:
    if merged.edited:
        yield Message(
            "Somebody has edited blocks of this report that come from here ({names}): each edited one stays, behind "
            "the new one.",
            names=Joined(", ", merged.edited),
        )
    if merged.removed:
        yield Message(
            "Somebody has removed blocks of this report that come from here ({names}): they stay away. Rename the "
            "report to get a whole one.",
            names=Joined(", ", merged.removed),
        )
    if not merged.listed and merged.kept:
        yield Message(
            "This report does not say which of its blocks come from here, as an earlier version saved it or the list "
            "at its end was removed. {count} blocks that differ from the new ones stay: remove what you do not need.",
            count=merged.kept,
        )


def _blocks(wr: Any, job: Mapping[str, Any], entity: str) -> dict[str, Any]:
    """Name → block. Names are part of the format: saved reports list them."""
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
    return {
        "intro": wr.P(
            f"Scored under the protocol {job['protocol']}. In brackets the 95 % interval: runs whose intervals overlap "
            "much cannot be told apart by these items. Ranks, scores and intervals were computed when this report was "
            "saved; the bars follow the runs."
        ),
        "leaderboard-title": wr.H2("Leaderboard"),
        "leaderboard": wr.MarkdownBlock(ranking(job["rows"], list(keys))),
        "scores-title": wr.H2("Scores by subset"),
        "scores": wr.PanelGrid(runsets=[wr.Runset(**runs)], panels=bars),
        "failures-title": wr.H2("Failure picture"),
        "failures-text": wr.P(
            "What became of the items: right, right in the wrong form, wrong, unreadable, cut off, empty."
        ),
        "failures": wr.PanelGrid(runsets=[wr.Runset(**runs)], panels=failures),
        "comparer-title": wr.H2("Runs side by side"),
        "comparer": wr.PanelGrid(runsets=[wr.Runset(**runs)], panels=[wr.RunComparer(diff_only="split", layout=wide)]),
        "answers-title": wr.H2("Answers"),
        "answers": wr.PanelGrid(
            runsets=[wr.Runset(**runs)],
            panels=[wr.WeavePanelSummaryTable(table_name=f"predictions/{task}", layout=wide) for task in keys],
        ),
    }


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
