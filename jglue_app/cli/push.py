"""`push`: stored runs to Weights & Biases, named one by one, all of them, or those of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from jglue_app import messages, wandb_sink
from jglue_app.api import open_run
from jglue_app.cli.options import JsonOption, RunsOption, find_run, settings_of
from jglue_app.cli.tables import print_json, print_lines
from jglue_app.cli.wandb import EntityOption, OfflineOption, ProjectOption, is_offline, push_folders
from jglue_app.errors import InputError
from jglue_app.messages import Message
from jglue_app.results.library import Library
from jglue_app.runs.progress import ProgressView
from jglue_app.settings import Settings
from jglue_app.wandb_sink import GridToPush, PushedRuns, PushResult, Target


def push(
    runs: Annotated[list[str] | None, typer.Argument(help="Stored runs: folders or ids.")] = None,
    project: ProjectOption = None,
    entity: EntityOption = None,
    compare: Annotated[bool, typer.Option("--compare", help="Push two runs, and a third that joins them.")] = False,
    protocol: Annotated[
        str | None,
        typer.Option(help="The protocol whose scores stand first; all are sent. Without it, official, or the grid's."),
    ] = None,
    all_runs: Annotated[
        bool, typer.Option("--all", help="Every stored run that has an answer; what W&B has is not sent again.")
    ] = False,
    match: Annotated[
        str | None, typer.Option("--match", help="With --all: only runs with this text in their name, model or id.")
    ] = None,
    grid: Annotated[
        str | None, typer.Option("--grid", help="Every run of this grid, and a W&B run with the grid's tables.")
    ] = None,
    offline: OfflineOption = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Send a run even where W&B has more items of the same run.")
    ] = False,
    runs_dir: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send stored runs to Weights & Biases. Again, it updates the same W&B runs and doubles nothing."""
    settings = settings_of(runs_dir)
    target = wandb_sink.target(project, entity)
    _check_choice(runs or [], all_runs=all_runs, match=match, grid=grid, compare=compare)
    if not runs:
        chosen = wandb_sink.stored_grid(settings, grid, protocol) if grid is not None else None
        own = str(chosen.payload.config["protocol"]) if chosen else "official"
        with ProgressView() as view:
            options: dict[str, Any] = {"protocol": protocol or own, "offline": is_offline(offline), "replace": replace}
            found = _push_many(
                _chosen_runs(settings, match or "", chosen, view), target, view, settings, chosen, **options
            )
            for name, error in found.failed.items():
                view.say(Message("Not sent: {run}. {message}", run=name, message=messages.of(error)))
        show(found.sent, as_json)
        if found.failed:
            raise typer.Exit(next(iter(found.failed.values())).exit_code)
        return
    folders = [open_run(find_run(name, settings)).path for name in runs]
    with ProgressView() as view:
        pushed = push_folders(
            folders,
            target,
            view,
            protocol=protocol or "official",
            compare=compare,
            offline=is_offline(offline),
            replace=replace,
            runs_dir=settings.runs_dir,
        )
    show(pushed, as_json)


def _check_choice(runs: Sequence[str], *, all_runs: bool, match: str | None, grid: str | None, compare: bool) -> None:
    """Raise InputError unless runs are chosen in exactly one way."""
    if (bool(runs), all_runs, grid is not None).count(True) != 1:
        raise InputError("Name runs, or choose them with --all or with --grid: one of the three.")
    if match is not None and not all_runs:
        raise InputError("--match belongs to --all. Add it.")
    if compare and not runs:
        raise InputError("--compare takes exactly two runs.")


def _chosen_runs(settings: Settings, match: str, grid: GridToPush | None, view: ProgressView) -> list[Path]:
    """The runs of `--all` or `--grid`; raises InputError if there is none."""
    if grid is None:
        runs = list(wandb_sink.matching(Library(settings.runs_dir, settings.cache_dir), match))
    else:
        runs = list(grid.runs)
        if grid.gone:
            view.say(
                Message(
                    "{count:,} of {all:,} runs of the grid {name} are not in {folder}: they are left out.",
                    count=len(grid.gone),
                    all=len(grid.gone) + len(runs),
                    name=grid.name,
                    folder=settings.runs_dir,
                )
            )
    if not runs:
        raise InputError("There is no such run to send. `python -m jglue_app runs` lists what is stored.")
    return runs


def _push_many(
    runs: Sequence[Path],
    target: Target,
    view: ProgressView,
    settings: Settings,
    grid: GridToPush | None,
    *,
    protocol: str,
    offline: bool,
    replace: bool,
) -> PushedRuns:
    """Send the runs, or write offline copies; raises as `wandb_sink.push_runs`."""
    options: dict[str, Any] = {"protocol": protocol, "grid": grid, "runs_dir": settings.runs_dir}
    options["on_message"] = view.say
    if offline:
        return wandb_sink.write_runs_offline(runs, target, wandb_sink.offline_folder(), **options)
    login = wandb_sink.log_in(target, offline_hint=True)
    return wandb_sink.push_runs(runs, login, replace=replace, **options)


def show(pushed: Sequence[PushResult], as_json: bool) -> None:
    """Print where pushed runs are."""
    if as_json:
        print_json(pushed)
        return
    for sent in pushed:
        rows = ", ".join(f"{name} {count:,}" for name, count in sent.tables.items())
        unchanged = " (unchanged)" if sent.unchanged else ""
        print_lines(
            [f"{sent.url or wandb_sink.sync_command(sent)}{unchanged}", f"  {sent.scalars:,} values; rows: {rows}"]
        )
    if any(sent.offline for sent in pushed):
        print_lines(["Offline copies: the commands above send them when there is a network."])
