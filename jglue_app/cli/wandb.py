"""`push` and `pull`, and what `run`, `compare` and `leaderboard` do with Weights & Biases."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import typer

from jglue_app import messages, wandb_sink
from jglue_app.api import open_run
from jglue_app.cli.options import JsonOption, RunsOption, find_run, settings_of
from jglue_app.cli.tables import print_json, print_lines
from jglue_app.errors import InputError, JglueAppError, NetworkError
from jglue_app.messages import Message
from jglue_app.results.library import Library
from jglue_app.runs.plan import Plan
from jglue_app.runs.progress import ProgressView
from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings
from jglue_app.wandb_sink import Follower, GridToPush, Login, PushedRuns, PushResult, Target

ProjectOption = Annotated[
    str | None, typer.Option("--project", help="W&B project, or ENTITY/PROJECT; without it, WANDB_PROJECT or jglue.")
]
EntityOption = Annotated[
    str | None, typer.Option("--entity", help="W&B user or team; without it, WANDB_ENTITY or the key's own.")
]
OfflineOption = Annotated[
    bool, typer.Option("--offline", help="Write copies for `wandb sync` instead; needs no key and no network.")
]
WandbOption = Annotated[bool, typer.Option("--wandb", help="Follow it in Weights & Biases, and push it at the end.")]


@dataclass(frozen=True, slots=True)
class Wandb:
    """What `run` and `compare` do with W&B."""

    target: Target | None
    """None without --wandb."""
    login: Login | None
    """None offline."""

    @classmethod
    def from_options(cls, wandb: bool, project: str | None, entity: str | None, offline: bool) -> Self:
        """From the options of the command; a missing key raises before a model is loaded.

        Raises:
            InputError: there is no key, or a name that W&B does not take; or an option that does nothing.
        """
        if not wandb:
            if project or entity or offline:
                raise InputError("--project, --entity and --offline belong to --wandb. Add it.")
            return cls(None, None)
        target = wandb_sink.target(project, entity)
        return cls(target, None if is_offline(offline) else wandb_sink.log_in(target, offline_hint=True))

    def follower(
        self,
        plans: Sequence[tuple[Literal["a", "b"], Plan]],
        runs_dir: Path,
        protocol: str,
        view: ProgressView,
        should_stop: Callable[[], bool],
    ) -> Follower:
        """A `Follower` of the runs that are not finished."""
        unfinished: dict[str, Plan] = {
            side: plan
            for side, plan in plans
            if self.login and len(RunStore.of(runs_dir, plan.spec).finished_of(plan.items)) < plan.total
        }
        return Follower(
            unfinished, self.login, runs_dir, protocol=protocol, on_message=view.say, should_stop=should_stop
        )

    def push(self, folders: Sequence[Path], protocol: str, *, compare: bool = False) -> None:
        """Push what was run; raises as `push_folders`."""
        if self.target is not None:
            with ProgressView() as view:
                offline = self.login is None
                pushed = push_folders(folders, self.target, view, protocol=protocol, compare=compare, offline=offline)
                for sent in pushed:
                    view.say(sent.url or wandb_sink.sync_command(sent))


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
    if all_runs or grid is not None:
        chosen = wandb_sink.stored_grid(settings, grid, protocol) if grid is not None else None
        with ProgressView() as view:
            found = _push_many(
                _chosen_runs(settings, match or "", chosen, view),
                target,
                view,
                settings,
                protocol or "official",
                chosen,
                offline=is_offline(offline),
                replace=replace,
            )
            for name, error in found.failed.items():
                view.say(Message("Not sent: {run}. {message}", run=name, message=messages.of(error)))
        show(found.sent, as_json)
        if found.failed:
            raise typer.Exit(next(iter(found.failed.values())).exit_code)
        return
    folders = [open_run(find_run(name, settings)).path for name in runs or []]
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
        runs = list(wandb_sink.matching(Library(settings.runs_dir), match))
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
    protocol: str,
    grid: GridToPush | None,
    *,
    offline: bool,
    replace: bool,
) -> PushedRuns:
    options: dict[str, Any] = {"protocol": protocol, "grid": grid, "runs_dir": settings.runs_dir}
    options["on_message"] = view.say
    if offline:
        return wandb_sink.write_runs_offline(runs, target, wandb_sink.offline_folder(), **options)
    login = wandb_sink.log_in(target, offline_hint=True)
    return wandb_sink.push_runs(runs, login, replace=replace, **options)


def push_folders(
    folders: Sequence[Path],
    target: Target,
    view: ProgressView,
    *,
    protocol: str = "official",
    compare: bool = False,
    offline: bool = False,
    replace: bool = False,
    runs_dir: Path | None = None,
) -> list[PushResult]:
    """Push runs, or write offline copies; of runs that cannot be sent copies are written, and the error names them.

    Raises:
        InputError: not two runs to compare, or as `wandb_sink.push`.
        NetworkError: W&B was not reached; the copies are there.
    """
    if compare and len(folders) != 2:
        raise InputError("--compare takes exactly two runs.")
    if offline:
        return _copies(folders, target, view, protocol, compare, runs_dir)
    login = wandb_sink.log_in(target, offline_hint=True)
    sent: list[PushResult] = []
    options: dict[str, Any] = {"protocol": protocol, "replace": replace, "runs_dir": runs_dir, "on_message": view.say}
    try:
        if compare:
            a, b = folders
            return [*wandb_sink.push_comparison(a, b, login, **options)]
        for at, folder in enumerate(folders):
            sent.append(wandb_sink.push(folder, login, also=folders[1:] if at == 0 else (), **options))
        return sent
    except NetworkError as e:
        _print_sent(sent, view)
        raise _with_copies(e, folders[len(sent) :], target, view, protocol, compare, runs_dir) from e
    except JglueAppError:
        _print_sent(sent, view)
        raise


def _print_sent(sent: Sequence[PushResult], view: ProgressView) -> None:
    for each in sent:
        view.say(Message("Sent: {url}", url=each.url))


def _with_copies(
    error: NetworkError,
    folders: Sequence[Path],
    target: Target,
    view: ProgressView,
    protocol: str,
    compare: bool,
    runs_dir: Path | None,
) -> NetworkError:
    """Write offline copies of runs that could not be sent; returns the error with what sends them."""
    reason = messages.of(error)
    try:
        copies = _copies(folders, target, view, protocol, compare, runs_dir)
    except JglueAppError as other:
        return NetworkError(
            "{reason} No offline copy could be written either: {other}", reason=reason, other=messages.of(other)
        )
    return NetworkError(
        "{reason} An offline copy is sent by: {commands}",
        reason=reason,
        commands="; ".join(wandb_sink.sync_command(copy) for copy in copies),
    )


def _copies(
    folders: Sequence[Path], target: Target, view: ProgressView, protocol: str, compare: bool, runs_dir: Path | None
) -> list[PushResult]:
    return wandb_sink.write_offline(
        tuple(folders),
        target,
        wandb_sink.offline_folder(),
        protocol=protocol,
        compare=compare,
        runs_dir=runs_dir,
        on_message=view.say,
    )


def is_offline(offline: bool) -> bool:
    """Whether nothing is to be sent: by the option, or by `WANDB_MODE`, which holds for all that W&B's client does.

    Raises:
        InputError: that variable turns W&B off.
    """
    mode = os.environ.get("WANDB_MODE", "").lower()
    if mode == "disabled":
        raise InputError("WANDB_MODE=disabled turns W&B off. Unset it, or set it to offline or online.")
    return offline or mode in ("offline", "dryrun")


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


def pull(
    run: Annotated[str, typer.Argument(help="ENTITY/PROJECT/RUN, or the address of the run's page.")],
    runs_dir: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a run's folder from Weights & Biases; of a comparison both. The page then opens it like one made here."""
    settings = settings_of(runs_dir)
    path = wandb_sink.parse_run_path(run)
    login = wandb_sink.log_in(wandb_sink.target(path.project, path.entity))
    with ProgressView() as view:
        folders = wandb_sink.pull(path, login, settings.runs_dir, on_message=view.say)
    print_json([str(folder) for folder in folders]) if as_json else print_lines(map(str, folders))
