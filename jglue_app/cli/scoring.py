"""`score` and `rescore`: what protocols make of outputs that are there already."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from jglue_app import data, notices, report
from jglue_app.api import open_run
from jglue_app.cli.options import DataOption, JsonOption, MarcOption, RunsOption, SplitOption, settings_of, task_list
from jglue_app.cli.runs import find_run
from jglue_app.console import print_dissents, print_protocols, print_report
from jglue_app.disagreement import Dissent, dissents
from jglue_app.errors import InputError
from jglue_app.predictions import read_predictions
from jglue_app.protocols import protocol_names
from jglue_app.rules import explain
from jglue_app.settings import load_settings
from jglue_app.store import dumps
from jglue_app.tasks import get_task
from jglue_app.types import Report, RunData, TaskReport

ProtocolsOption = Annotated[str, typer.Option("--protocol", help="A protocol, several separated by commas, or 'all'.")]
ItemsOption = Annotated[
    int, typer.Option("--items", min=0, help="Of the items on which protocols disagree, how many to explain a subset.")
]


def score(
    task: Annotated[str, typer.Option(help="The subset the predictions answer.")],
    predictions: Annotated[
        Path, typer.Option(help='JSON Lines of {"item_id": …, "text": …}; "choice_logprobs": […] if you have them.')
    ],
    protocol: ProtocolsOption = "official",
    data_kind: DataOption = "official",
    split: SplitOption = "valid",
    partial: Annotated[bool, typer.Option("--partial", help="Score a part of the items alone.")] = False,
    items: ItemsOption = 3,
    marc_ja: MarcOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score outputs made elsewhere. Answers are read against the official labels."""
    get_task(task)
    names = protocol_names(protocol)
    dataset = data.load(load_settings(), task, split, data=data_kind, marc_ja=marc_ja)
    scored = read_predictions(predictions, dataset, partial=partial)
    reports, disputed = _under(scored, names)
    if not as_json:
        _show(reports, disputed, items)
        return
    print(dumps({"task": task, "source": dataset.source, **_table(task, scored, reports, disputed)}, indent=2))


def rescore(
    run: Annotated[str, typer.Argument(help="A stored run: its folder or id.")],
    protocol: ProtocolsOption = "all",
    tasks: Annotated[str, typer.Option("--tasks", help="Subsets, separated by commas; without it, all it has.")] = "",
    items: ItemsOption = 3,
    runs_dir: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a stored run as other systems would, and show on which items they disagree and by which rules."""
    names = protocol_names(protocol)
    found = open_run(find_run(run, settings_of(runs_dir)))
    scored = found.data()
    if tasks:
        wanted = task_list(tasks)
        for name in wanted:
            get_task(name)
            if name not in scored.items:
                raise InputError(f"The run has no {name}. It has {', '.join(scored.items)}.")
        scored = report.only(scored, {name: set(scored.items[name]) for name in wanted})
    reports, disputed = _under(scored, names)
    if not as_json:
        _show(reports, disputed, items)
        return
    tables = {task: _table(task, scored, reports, disputed) for task in scored.items}
    head = {"run": str(found.path), "label": scored.spec.label}
    averages = {
        name: {"average": r.average, "average_of": r.average_of, "average_without": r.average_without}
        for name, r in reports.items()
    }
    if len(tables) == 1:
        (task,) = tables
        head = {"task": task, **head}
        print(dumps({**head, **tables[task], "averages": averages}, indent=2))
    else:
        print(dumps({**head, "averages": averages, "tasks": tables}, indent=2))


def _under(scored: RunData, names: list[str]) -> tuple[dict[str, Report], dict[str, list[Dissent]]]:
    judged = {name: report.judge_run(scored, name) for name in names}
    return {name: report.report_run(scored, name, judged[name]) for name in names}, dissents(judged)


def _show(reports: dict[str, Report], disputed: dict[str, list[Dissent]], items: int) -> None:
    if len(reports) == 1:
        print_report(*reports.values())
        return
    print_protocols(reports)
    print_dissents(disputed, items)


def _table(
    task: str, scored: RunData, reports: dict[str, Report], disputed: dict[str, list[Dissent]]
) -> dict[str, Any]:
    """One subset under every protocol."""
    table: dict[str, Any] = {
        "n": len({r.item_id for r in scored.records if r.task == task} & set(scored.items[task])),
        "protocols": {name: _protocol_row(found.tasks[task]) for name, found in reports.items()},
    }
    if len(reports) > 1:
        table["disagreements"] = [_dissent_row(dissent) for dissent in disputed.get(task, [])]
    return table


def _protocol_row(row: TaskReport) -> dict[str, Any]:
    found: dict[str, Any] = {
        "metrics": row.metrics,
        "unreadable": row.unreadable,
        "floors": {"constant": row.floors, "default": row.default_floors},
        "outcomes": row.outcomes,
        "notices": [{"kind": notice.kind, "text": notices.sentence(notice)} for notice in row.notices],
    }
    if row.lenient:
        found |= {"lenient": row.lenient, "unreadable_lenient": row.unreadable_lenient, "imputed": row.imputed}
    if row.choose:
        found["choose"] = row.choose
    if row.knows is not None:
        found["knows"] = row.knows
    if row.unscored:
        found["unscored"] = row.unscored
    return found


def _dissent_row(dissent: Dissent) -> dict[str, Any]:
    output = dissent.record.output
    return {
        "item_id": dissent.item.id,
        "gold": dissent.item.gold,
        "text": output.text if output else None,
        "verdicts": [
            {"protocols": v.protocols, "value": v.value, "right": v.right, "rule": v.rule, "because": explain(v.rule)}
            for v in dissent.verdicts
        ],
    }
