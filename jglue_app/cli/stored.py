"""`runs`, `name`, `leaderboard`, `export`, `import` and `delete`: what can be done with runs that are stored."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from jglue_app import wandb_sink
from jglue_app.cli.options import JsonOption, MarcOption, RunsOption, SplitOption, find_run, settings_of, task_list
from jglue_app.cli.tables import print_json, print_leaderboard, print_lines, print_table, visible
from jglue_app.data.files import RANKED_KINDS
from jglue_app.errors import InputError, StoreError, UnknownNameError
from jglue_app.messages import Message
from jglue_app.results import archive, exporters, marks
from jglue_app.results import table_files as files
from jglue_app.results.importers import FORMATS
from jglue_app.results.importers.import_run import ImportResult, Items, import_logs, import_summary
from jglue_app.results.library import Library
from jglue_app.results.rankings import Rankings, rankings, reader_of
from jglue_app.results.run_label import distinct_labels
from jglue_app.results.run_name import MAX_DESCRIPTION, MAX_NAME, read_name, write_name
from jglue_app.runs.progress import ProgressView
from jglue_app.runs.store import RunStore
from jglue_app.scoring import notices
from jglue_app.scoring.leaderboard import rank
from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.ranking import Place
from jglue_app.settings import Settings

REPORT_FORMATS = ("html", "htm")
RunArgument = Annotated[str, typer.Argument(help="A stored run: its folder or id.")]
RunsArgument = Annotated[
    list[str],
    typer.Argument(help="A stored run: its folder or id; of a report (.html) several, the first as the baseline."),
]


def list_runs(runs_dir: RunsOption = None, as_json: JsonOption = False) -> None:
    """The stored runs, the newest first."""
    library = _library(runs_dir)
    runs, damaged = library.listing()
    if as_json:
        rows: list[dict[str, Any]] = [
            {"id": r.name, "label": r.label, "created": r.created, "done": r.done, "planned": r.planned}
            | {"made_as": r.made_as, "description": r.description}
            for r in runs
        ]
        rows += [{"id": name, "damaged": why} for name, why in damaged.items()]
        print_json(rows)
        return
    table = Table("id", "run", "made", "items", box=None, pad_edge=False)
    for run in runs:
        table.add_row(run.name, run.label, run.created[:16].replace("T", " "), f"{run.done}/{run.planned}")
    if runs or not damaged:
        print_table(table) if runs else print_lines(["There is no run yet. `python -m jglue_app run` makes one."])
    _tell_damaged(damaged)


def _library(runs_dir: Path | None) -> Library:
    """The stored runs, with what earlier commands have computed of them."""
    settings = settings_of(runs_dir)
    return Library(settings.runs_dir, settings.cache_dir)


def name_run(
    run: RunArgument,
    name: Annotated[
        str | None, typer.Argument(help=f"The name, of at most {MAX_NAME} characters; '' removes it.")
    ] = None,
    description: Annotated[
        str | None,
        typer.Option(help=f"What the run is, in at most {MAX_DESCRIPTION:,} characters; '' removes it."),
    ] = None,
    runs_dir: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Name a stored run, or describe it; with neither, print what it is called. The run itself stays as it is."""
    path = Path(find_run(run, settings_of(runs_dir)))
    RunStore(path).manifest()
    called = read_name(path) if name is None and description is None else write_name(path, name, description)
    if as_json:
        print_json({"run": str(path), "name": called.name, "description": called.description})
        return
    print_lines([visible(called.name) or "(no name)", *map(visible, called.description.splitlines())])


def _tell_damaged(damaged: Mapping[str, str]) -> None:
    """Runs that cannot be read are named, on standard error: the others are shown all the same."""
    for name, why in damaged.items():
        print(f"damaged: {name}: {why}", file=sys.stderr)


def leaderboard(
    protocol: Annotated[str, typer.Option(help="The protocol that ranks.")] = "official",
    against: Annotated[str, typer.Option(help="The protocol whose ranks it is compared with.")] = "official",
    tasks: Annotated[str, typer.Option("--tasks", help="Subsets that count; without it, all the protocol scores.")] = (
        "all"
    ),
    data_kind: Annotated[
        str, typer.Option("--data", help="Runs over official (dev), test (the official test sets) or sample data.")
    ] = "official",
    wandb: Annotated[
        str | None, typer.Option("--wandb", help="Rank the runs of this W&B project instead: ENTITY/PROJECT.")
    ] = None,
    report: Annotated[
        bool,
        typer.Option(
            "--report",
            help="With --wandb: save a W&B Report; in one of its title, people's edits stay.",
        ),
    ] = False,
    runs_dir: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rank runs on the same items by the mean of their main metrics, and show which places a protocol moves.

    Runs that cannot be told apart share a rank. With --wandb, averages alone rank: W&B keeps no items to pair."""
    if data_kind not in RANKED_KINDS:
        raise UnknownNameError("data", data_kind, RANKED_KINDS)
    if report and not wandb:
        raise InputError("--report belongs to --wandb ENTITY/PROJECT. Add it.")
    names = task_list(tasks, protocol)
    get_protocol(against)
    saved: dict[str, Any] = {}
    labels: Mapping[str, str] = {}
    found: Rankings | None = None
    before: Mapping[str, Place] = {}
    if wandb:
        login = wandb_sink.log_in(wandb_sink.target(wandb), reads=not report)
        project = wandb_sink.standings(login)
        entries = project.ranked(protocol, against, data_kind, names)
        elsewhere = Counter(str(run["data_kind"]) for run in project.runs)
        if report:
            with ProgressView() as view:
                saved = wandb_sink.save_report(login, project, protocol, data_kind, names, view.say)
    else:
        library = _library(runs_dir)
        damaged: dict[str, str] = {}
        scores = library.scores(protocol, data_kind, damaged)
        others = scores if against == protocol else library.scores(against, data_kind, damaged)
        entries = rank(scores, others, names)
        found, before = _rankings(library, [entry.name for entry in entries], names, protocol, against)
        listed, reasons = library.listing()
        elsewhere = Counter(stored.data_kind for stored in listed)
        there = {entry.name for entry in entries}
        labels = distinct_labels({run.name: run for run in listed if run.name in there})
        _tell_damaged(damaged | reasons)
    if as_json:
        table = {"protocol": protocol, "against": against, "tasks": names, "entries": entries}
        by_items = {} if found is None else {"rankings": found.rankings, "apart": found.apart}
        print_json(table | by_items | ({"report": saved} if saved else {}))
        return
    entries = [replace(entry, label=labels.get(entry.name, entry.label)) for entry in entries]
    print_leaderboard(entries, names, protocol, against, data_kind, elsewhere, found, before)
    if wandb and project.left_out:
        runs, them = ("1 run", "it") if project.left_out == 1 else (f"{project.left_out:,} runs", "them")
        verb = "is" if project.left_out == 1 else "are"
        print_lines([f"{runs} of {wandb} {verb} left out: no push of this application has completed {them}."])
    if saved:
        print_lines(["", f"Report {saved['title']!r} saved: {saved['url']}", *_listed(saved["blocks"])])


def _rankings(
    library: Library, runs: Sequence[str], tasks: Sequence[str], protocol: str, against: str
) -> tuple[Rankings, Mapping[str, Place]]:
    """The rankings under a protocol, and the places under the one they are compared with."""
    found = rankings(runs, reader_of(library, protocol), tasks, protocol)
    if against == protocol:
        return found, found.places
    covered = [name for name in tasks if name in get_protocol(against).metrics]
    if len(covered) < len(tasks):
        return found, {}
    return found, rankings(runs, reader_of(library, against), tasks, against).places


def _listed(blocks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What a W&B Report holds, a line a block or panel."""
    for block in blocks:
        if block["block"] == "H2":
            yield f"  {block['text']}"
        for panel in block.get("panels", ()):
            yield f"    {panel['panel']} {panel['title']}".rstrip()


def export(
    runs: RunsArgument,
    to: Annotated[
        Path,
        typer.Argument(
            help="The file to write: .html for a report that opens without a server; .jsonl, .csv, .parquet; or .zip "
            "for the whole run. With --as, a new folder or a .zip file (or one .json or .yaml file)."
        ),
    ],
    form: Annotated[
        str | None,
        typer.Option("--as", help=f"Write what another project reads: {', '.join(exporters.FORMATS)}."),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(help="With --as or for a report: the protocol whose scores are written; official without it."),
    ] = None,
    runs_dir: RunsOption = None,
) -> None:
    """Write runs as a report that opens without a server (.html); or one run as one row an item, as its packed folder,
    or in another project's format (--as)."""
    settings = settings_of(runs_dir)
    format = to.suffix.removeprefix(".").lower()
    if form is None and format in REPORT_FORMATS:
        _report(runs, to, protocol or "official", settings)
        return
    if form is None and protocol is not None:
        raise InputError(
            "--protocol belongs to --as and to reports (.html): rows of items hold what every protocol makes of them."
        )
    if len(runs) > 1:
        raise InputError(
            "Only a report, a file that ends in .html, holds several runs. Name {to} otherwise, or export them one "
            "by one.",
            to=to,
        )
    path = Path(find_run(runs[0], settings))
    if form is not None:
        for note in exporters.export(path, to, form, protocol or "official").notes:
            print(visible(note), file=sys.stderr)
    elif format == "zip":
        archive.pack(path, to)
    elif format in files.FORMATS:
        table = files.rows(
            Library(path.parent).data(path), marks=marks.read_of(path, settings.runs_dir), name=read_name(path).name
        )
        files.write(table, to, format)
    else:
        raise UnknownNameError(
            "export format", format, (*files.FORMATS, "zip", "html"), Message("It is the ending of the file's name.")
        )
    print_lines([str(to)])


def _report(runs: Sequence[str], to: Path, protocol: str, settings: Settings) -> None:
    """Write a report of runs. Only here is what draws the page imported."""
    from jglue_app.api import open_run
    from jglue_app.ui.static_report import report_of_folders

    folders = [open_run(find_run(run, settings)).path for run in runs]
    print_lines([str(report_of_folders(settings, folders, to, protocol))])


def import_run(
    sources: Annotated[
        list[Path],
        typer.Argument(
            help="A .zip file that `export` has made, or a run folder; or logs of another harness, of one model: "
            "lm-eval samples, flexeval outputs, llm-jp-eval or Swallow results, Inspect logs, or a folder of these.",
            metavar="LOG...",
        ),
    ],
    tasks: Annotated[
        str,
        typer.Option(
            "--task",
            help="Subsets, separated by commas; without it, all in the logs. One also says what a single log is of "
            "that does not tell it.",
        ),
    ] = "",
    format: Annotated[
        str | None, typer.Option(help=f"Kind of log: {', '.join(FORMATS)}; without it, told from each file.")
    ] = None,
    results: Annotated[Path | None, typer.Option(help="The harness's file of scores, if not beside the log.")] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Import a part of the items alone.")] = False,
    model: Annotated[str, typer.Option(help="What to call the model; without it, as the log does.")] = "",
    data_kind: Annotated[
        str, typer.Option("--data", help="official (JGLUE v1.3), sample (embedded items), or your own file.")
    ] = "official",
    split: SplitOption = "valid",
    marc_ja: MarcOption = None,
    runs_dir: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring in a run from elsewhere, or another harness's log as a run, after all of it has been checked."""
    settings = settings_of(runs_dir)
    if len(sources) == 1 and archive.is_run(sources[0]):
        print_lines([str(archive.unpack(sources[0], settings.runs_dir))])
        return
    imported = import_logs(
        settings,
        sources,
        tasks=task_list(tasks) if tasks else (),
        format=format,
        results=results,
        partial=partial,
        items=Items(data_kind, split, marc_ja),
        model=model,
    )
    if as_json:
        print_json(_imported(imported))
        return
    print_lines([str(imported.path)])
    for line in import_summary(imported):
        print(visible(line), file=sys.stderr)


def _imported(imported: ImportResult) -> dict[str, Any]:
    return {
        "run": str(imported.path),
        "label": imported.data.spec.label,
        "items": {task: len(items) for task, items in imported.data.items.items()},
        "printed": [
            {"task": score.task, "metric": score.metric, "printed": score.reported}
            | {"protocol": score.protocol, "here": score.recomputed, "same": score.same}
            for score in imported.reported_scores
        ],
        "notices": [
            {"kind": n.kind, "task": n.facts.get("task"), "text": notices.sentence(n)} for n in imported.notices
        ],
        "left_out": imported.left_out,
    }


def delete(
    run: RunArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    runs_dir: RunsOption = None,
) -> None:
    """Delete a stored run. It cannot be brought back."""
    library = _library(runs_dir)
    named = Path(run)
    # Other commands take a folder, and so does this one where it is a run of the collection.
    name = named.name if named.parent.resolve() == library.runs_dir.resolve() else run
    library.finish_deletions()
    path = library.find(name)
    if not yes and not typer.confirm(f"Delete {_label(library, path)} ({name}) for good?", err=True):
        raise InputError("Nothing was deleted.")
    library.delete(name)
    print_lines([f"deleted {name}"])


def _label(library: Library, path: Path) -> str:
    """A run's label; that it is damaged where it cannot be read, which must not keep it from being deleted."""
    try:
        return library.stored(path).label
    except StoreError:
        return "a damaged run"
