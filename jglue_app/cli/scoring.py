"""`score` and `rescore`: what protocols make of outputs that are there already."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from jglue_app import api
from jglue_app.cli import waterfall
from jglue_app.cli.options import (
    DataOption,
    JsonOption,
    MarcOption,
    RunsOption,
    SplitOption,
    find_run,
    settings_of,
    task_list,
)
from jglue_app.cli.tables import (
    print_disagreements,
    print_groups,
    print_json,
    print_labels,
    print_lines,
    print_note,
    print_protocols,
    print_report,
)
from jglue_app.data.known_items import CURRENT_LABELS
from jglue_app.scoring import rescoring
from jglue_app.scoring.rescoring import Rescoring
from jglue_app.scoring.waterfall import as_table, unexplained
from jglue_app.tasks import TASKS
from jglue_app.types import ELSEWHERE

ProtocolsOption = Annotated[str, typer.Option("--protocol", help="A protocol, several separated by commas, or 'all'.")]
ItemsOption = Annotated[
    int, typer.Option("--items", min=0, help="Of the items on which protocols disagree, how many to print a subset.")
]
LabelsOption = Annotated[
    str,
    typer.Option(
        "--labels",
        help="Version of the labels of the official JNLI dev items: v1.3, or v1.1, which most published scores are of.",
    ),
]


ExplainOption = Annotated[
    tuple[str, str] | None,
    typer.Option("--explain", help="Two protocols: the way from the first one's score to the second one's."),
]


def score(
    task: Annotated[str, typer.Option(help="The subset the predictions answer.")],
    predictions: Annotated[
        Path,
        typer.Option(
            help='JSON Lines of {"item_id": …, "text": …}; "choice_logprobs": […] if you have them. Or a JSON array, '
            "CSV or Parquet of these."
        ),
    ],
    protocol: ProtocolsOption = "official",
    data_kind: DataOption = "official",
    split: SplitOption = "valid",
    partial: Annotated[bool, typer.Option("--partial", help="Score a part of the items alone.")] = False,
    labels: LabelsOption = CURRENT_LABELS,
    items: ItemsOption = 3,
    marc_ja: MarcOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score outputs made elsewhere. Answers are read against the official labels, or the "choices" of their line."""
    rescored = api.score(
        task,
        predictions,
        protocol=protocol,
        data=data_kind,
        split=split,
        partial=partial,
        labels=labels,
        marc_ja=marc_ja,
        notify=print_note,
    )
    if not as_json:
        _show(rescored, items)
        return
    source = next(iter(rescored.reports.values())).tasks[task].source
    print_json({"task": task, "source": source, **rescoring.table(rescored, task)})


def rescore(
    run: Annotated[str, typer.Argument(help="A stored run: its folder or id.")],
    protocol: ProtocolsOption = "all",
    tasks: Annotated[str, typer.Option("--tasks", help="Subsets, separated by commas; without it, all it has.")] = "",
    labels: LabelsOption = CURRENT_LABELS,
    items: ItemsOption = 3,
    explain: ExplainOption = None,
    runs_dir: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a stored run as other systems would, and show on which items they disagree and by which rules.

    With --explain A B: how the score under A becomes that under B, one decision at a time.
    """
    path = find_run(run, settings_of(runs_dir))
    if explain:
        _explain(path, *explain, tasks=tasks, labels=labels, items=items, as_json=as_json)
        return
    rescored = api.rescore(path, protocol, tasks=task_list(tasks) if tasks else None, labels=labels)
    if not as_json:
        _show(rescored, items)
        return
    report = next(iter(rescored.reports.values()))
    tables = {task: rescoring.table(rescored, task) for task in report.tasks}
    averages = {
        name: {"average": r.average, "average_of": r.average_of, "average_without": r.average_without}
        for name, r in rescored.reports.items()
    }
    head = {"run": str(path), "label": report.label, "averages": averages, "notices": rescoring.run_notices(rescored)}
    if len(tables) == 1:
        print_json({"task": next(iter(tables)), **head, **next(iter(tables.values()))})
    else:
        print_json({**head, "tasks": tables})


def _explain(path: str | Path, start: str, end: str, *, tasks: str, labels: str, items: int, as_json: bool) -> None:
    run = api.open_run(path)
    waterfalls = api.explain(run, start, end, tasks=task_list(tasks, start) if tasks else None, labels=labels)
    if as_json:
        print_json(
            {
                "run": str(path),
                "labels": labels,
                "waterfalls": [as_table(waterfall) for waterfall in waterfalls.values()],
            }
        )
        return
    again = f"python -m jglue_app run --protocol {end} --tasks {','.join(waterfalls)}"
    spec = run.data().spec
    # Outputs from elsewhere, or from a script, were not made by a model that `run` can load.
    here = spec.model.backend not in (*ELSEWHERE, "scripted")
    model = shlex.quote(spec.model.id) if here else "MODEL"
    kind = {"sample": " --data sample", "test": " --split test"}.get(spec.data_kind, "")
    limit = f" --limit {spec.limit}" if spec.limit else ""
    waterfall.print_waterfalls(waterfalls, f"{again}{kind}{limit} --model {model}", items)
    left_out = {task: why for task, why in unexplained(run.data(), start, end).items() if task not in waterfalls}
    if left_out and not tasks:
        print_lines(["", *(f"{TASKS[task].title} is left out. {why}" for task, why in left_out.items())])
    if labels != CURRENT_LABELS and "jnli" in waterfalls:
        print_labels(labels)


def _show(rescored: Rescoring, items: int) -> None:
    if len(rescored.reports) == 1:
        print_report(*rescored.reports.values())
    else:
        print_protocols(rescored.reports)
    print_groups(rescored.groups)
    if rescored.labels != CURRENT_LABELS:
        print_labels(rescored.labels)
    print_disagreements(rescored.disagreements, items)
