"""`score` and `rescore`: what protocols make of outputs that are there already."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from jglue_app import data, report
from jglue_app.cli.options import (
    DataOption,
    JsonOption,
    MarcOption,
    SplitOption,
)
from jglue_app.console import print_report
from jglue_app.predictions import read_predictions
from jglue_app.protocols import PROTOCOLS, get_protocol
from jglue_app.settings import load_settings
from jglue_app.store import dumps
from jglue_app.tasks import get_task


def score(
    task: Annotated[str, typer.Option(help="The subset the predictions answer.")],
    predictions: Annotated[Path, typer.Option(help='JSON Lines of {"item_id": …, "text": …}.')],
    protocol: Annotated[str, typer.Option(help="A protocol, or 'all'.")] = "official",
    data_kind: DataOption = "official",
    split: SplitOption = "valid",
    partial: Annotated[bool, typer.Option("--partial", help="Score a part of the items alone.")] = False,
    marc_ja: MarcOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score outputs made elsewhere. Answers are read against the official labels."""
    get_task(task)
    names = list(PROTOCOLS) if protocol == "all" else [protocol]
    for name in names:
        get_protocol(name)
    dataset = data.load(load_settings(), task, split, data=data_kind, marc_ja=marc_ja)
    scored = read_predictions(predictions, dataset, partial=partial)
    reports = {name: report.report_run(scored, name) for name in names}
    if not as_json:
        for found in reports.values():
            print_report(found)
        return
    table: dict[str, Any] = {"task": task, "source": dataset.source, "n": len(scored.records), "protocols": {}}
    for name, found in reports.items():
        row = found.tasks[task]
        table["protocols"][name] = {
            "metrics": row.metrics,
            "lenient": row.lenient,
            "imputed": row.imputed,
            "unreadable": row.unreadable,
            "unreadable_lenient": row.unreadable_lenient,
            "outcomes": row.outcomes,
            "floors": row.floors,
        }
    print(dumps(table, indent=2))
