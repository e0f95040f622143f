"""`pull`, and what `run`, `compare` and `leaderboard` do with Weights & Biases."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import typer

from jglue_app import messages, wandb_sink
from jglue_app.cli.options import JsonOption, RunsOption, settings_of
from jglue_app.cli.tables import print_json, print_lines
from jglue_app.errors import InputError, JglueAppError, NetworkError
from jglue_app.messages import Message
from jglue_app.runs.plan import Plan
from jglue_app.runs.progress import ProgressView
from jglue_app.runs.store import RunStore
from jglue_app.wandb_sink import Follower, Login, PushResult, Target

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


def pull(
    run: Annotated[str, typer.Argument(help="ENTITY/PROJECT/RUN, or the address of the run's page.")],
    runs_dir: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a run's folder from Weights & Biases; of a comparison both. The page then opens it like one made here."""
    settings = settings_of(runs_dir)
    path = wandb_sink.parse_run_path(run)
    login = wandb_sink.log_in(wandb_sink.target(path.project, path.entity), reads=True)
    with ProgressView() as view:
        folders = wandb_sink.pull(path, login, settings.runs_dir, on_message=view.say)
    print_json([str(folder) for folder in folders]) if as_json else print_lines(map(str, folders))
