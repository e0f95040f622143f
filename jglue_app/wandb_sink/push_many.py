"""Many stored runs → W&B: all of a folder, or those of a grid with its tables. One that cannot be sent keeps none of
the others from being sent, and what W&B has already is not sent again: the same command goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jglue_app import messages
from jglue_app.child_process import OnMessage, ProgressMessage
from jglue_app.errors import JglueAppError, NetworkError
from jglue_app.grid import members
from jglue_app.messages import Message
from jglue_app.results.grid_effects import effect_table
from jglue_app.results.library import Library
from jglue_app.results.local_paths import shareable_grid
from jglue_app.scoring.effect_types import Levels
from jglue_app.settings import Settings
from jglue_app.wandb_sink.grid_payload import grid_payload
from jglue_app.wandb_sink.login import Login, Target
from jglue_app.wandb_sink.offline import SYNC_REPLACES, make_offline_folder, write_job_offline
from jglue_app.wandb_sink.payload import Payload
from jglue_app.wandb_sink.push_run import (
    PushResult,
    exclusive_lock,
    grid_job,
    push,
    push_job,
    send_job,
)
from jglue_app.wandb_sink.worker_process import WorkerProcess


@dataclass(slots=True)
class PushedRuns:
    """What has come of many pushes."""

    sent: list[PushResult] = field(default_factory=list)
    failed: dict[str, JglueAppError] = field(default_factory=dict)
    """Name of a run's folder → why it was not sent."""


@dataclass(frozen=True, slots=True)
class GridToPush:
    """A stored grid, ready to be sent."""

    name: str
    runs: Mapping[Path, Levels]
    """Folder → levels, of the runs that are there."""
    gone: tuple[str, ...]
    """Runs of the grid whose folders are not there."""
    payload: Payload
    """Of its tables."""


def stored_grid(settings: Settings, name: str, protocol: str | None = None) -> GridToPush:
    """A grid by its name.

    Args:
        settings: with the folder for runs.
        name: of the grid.
        protocol: of the tables; None for the grid's own.

    Raises:
        UnknownNameError: no such grid or protocol.
        StoreError: its file is damaged.
    """
    grid = shareable_grid(members.read(settings, name))
    table = effect_table(grid, Library(settings.runs_dir, settings.cache_dir), protocol or grid.protocol)
    folders = {settings.runs_dir / member.run: member.levels for member in grid.runs}
    there = {folder: levels for folder, levels in folders.items() if folder.is_dir()}
    gone = tuple(folder.name for folder in folders if folder not in there)
    return GridToPush(name, there, gone, grid_payload(grid, table))


def push_runs(
    runs: Sequence[Path],
    login: Login,
    *,
    protocol: str = "official",
    grid: GridToPush | None = None,
    tables: bool = True,
    replace: bool = False,
    runs_dir: Path | None = None,
    on_message: OnMessage = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> PushedRuns:
    """Send many runs, and of a grid its tables at the end.

    Args:
        runs: their folders; of a grid, its runs.
        login: where, and the key.
        protocol: whose scores come first.
        grid: the grid that they are of, if any.
        tables: whether the grid's tables are sent to a W&B run of their own.
        replace, runs_dir, on_message, should_stop: see `push`.

    Raises:
        InputError: W&B has another grid of this name.
        NetworkError: W&B is not reached, so that the rest would not be either; or it was stopped.
    """
    pushed = PushedRuns()
    tables_job = _tables_job(grid, login.target) | {"replace": replace} if grid is not None and tables else None
    if tables_job is not None:
        with WorkerProcess({**tables_job, "action": "check_payload"}, login) as worker:
            worker.result(on_message, should_stop)
    options: dict[str, Any] = {"protocol": protocol, "replace": replace, "runs_dir": runs_dir, "unless_same": True}
    for number, run in enumerate(runs, 1):
        on_message(
            ProgressMessage(Message("Run {number:,} of {count:,}: {run}", number=number, count=len(runs), run=run.name))
        )
        levels = None if grid is None else (grid.name, grid.runs[run])
        try:
            pushed.sent.append(push(run, login, grid=levels, on_message=on_message, should_stop=should_stop, **options))
        except NetworkError as e:
            raise NetworkError(
                "{reason} {done:,} of {count:,} runs have arrived: the same command goes on with the rest.",
                reason=messages.of(e),
                done=len(pushed.sent),
                count=len(runs),
            ) from e
        except JglueAppError as e:
            pushed.failed[run.name] = e
    if grid is not None and tables_job is not None:
        with exclusive_lock(login, grid.payload.id):
            pushed.sent.append(send_job(tables_job, login, on_message, should_stop))
    return pushed


def write_runs_offline(
    runs: Sequence[Path],
    target: Target,
    folder: Path,
    *,
    protocol: str = "official",
    grid: GridToPush | None = None,
    runs_dir: Path | None = None,
    on_message: OnMessage = lambda _: None,
) -> PushedRuns:
    """The same as offline copies for `wandb sync`; see `write_offline`.

    Raises:
        StoreError: the folder cannot be made.
    """
    make_offline_folder(folder)
    on_message(SYNC_REPLACES)
    written = PushedRuns()
    for run in runs:
        try:
            job = push_job(run, protocol, target, runs_dir, folder)
            job["grid"] = grid_job((grid.name, grid.runs[run])) if grid else None
            written.sent.append(write_job_offline(job, folder, on_message))
        except JglueAppError as e:
            written.failed[run.name] = e
    if grid is not None:
        written.sent.append(write_job_offline(_tables_job(grid, target), folder, on_message))
    return written


def _tables_job(grid: GridToPush, target: Target) -> dict[str, Any]:
    project = {"entity": target.entity, "project": target.project}
    return {"action": "payload", "payload": asdict(grid.payload), **project}


def matching(library: Library, part: str) -> Iterator[Path]:
    """Folders of the stored runs that have an output, and the text in their label, model or id, in any case."""
    for stored in library.all():
        model = str(stored.spec.get("model", {}).get("id", ""))
        if stored.done and any(part.casefold() in text.casefold() for text in (stored.label, model, stored.name)):
            yield stored.path
