"""A stored run or comparison → W&B: the checks before the worker process sends it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from jglue_app.child_process import OnMessage
from jglue_app.errors import InputError, RunBusyError, StoreError, reason_of
from jglue_app.results import archive, marks
from jglue_app.runs.store import RunStore
from jglue_app.scoring.protocols import get_protocol
from jglue_app.settings import APP_NAME
from jglue_app.wandb_sink.login import Login, Target
from jglue_app.wandb_sink.payload import comparison_id, run_id
from jglue_app.wandb_sink.worker_process import WorkerProcess

SPARE_BYTES = 64 * 2**20
COPIES = 4
"""Copies of a run's content in temporary files while it is sent: staged, as tables, as their artifacts."""


@dataclass(frozen=True, slots=True)
class PushResult:
    """The result of a push, or of writing an offline copy."""

    id: str
    """The W&B run's id."""
    path: str
    """`entity/project/id`."""
    url: str
    """Its page; empty for an offline copy."""
    tables: Mapping[str, int]
    """Table → rows."""
    scalars: int
    """Values in its summary."""
    offline: str = ""
    """Folder of an offline copy: `wandb sync` takes it."""
    name: str = ""
    """Its display name at W&B, which users may have changed there."""
    unchanged: bool = False
    """Whether W&B had all of it, so that nothing was sent."""


def push(
    run: Path,
    login: Login,
    *,
    protocol: str = "official",
    group: str | None = None,
    grid: tuple[str, Mapping[str, str | None]] | None = None,
    replace: bool = False,
    unless_same: bool = False,
    also: Sequence[Path] = (),
    runs_dir: Path | None = None,
    on_message: OnMessage = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> PushResult:
    """Send a stored run. Sending it again updates the same W&B run.

    Args:
        run: its folder.
        login: where, and the key.
        protocol: whose scores come first.
        group: W&B group of a run that has none yet; None leaves it as it is.
        grid: name of the grid that it belongs to, and factor → level; its group is then the grid.
        replace: whether it may replace a W&B run that has more items.
        unless_same: whether nothing is sent where W&B has all of it.
        also: runs that will be sent next. They are checked before anything is sent.
        runs_dir: the folder for runs, in which marks on runs that came with the application are; None for a visitor of
            a public server.
        on_message: takes messages on the way.
        should_stop: called a few times a second; if True, the push stops, and what has arrived stays.

    Raises:
        StoreError: no run, or no room for temporary files.
        RunBusyError: it is being pushed to the same place already.
        InputError: the key, entity or project is not accepted, the run has nothing to score, or W&B has more of it.
        NetworkError: W&B was not reached or did not answer properly.
    """
    job = push_job(run, protocol, login.target, runs_dir) | {"group": group, "replace": replace}
    job |= {"also": [str(other.resolve()) for other in also], "joined": group is not None}
    job |= {"grid": grid_job(grid), "unless_same": unless_same}
    with exclusive_lock(login, run_id(RunStore(run).spec().spec_id)):
        return send_job(job, login, on_message, should_stop)


def push_comparison(
    a: Path,
    b: Path,
    login: Login,
    *,
    protocol: str = "official",
    replace: bool = False,
    runs_dir: Path | None = None,
    on_message: OnMessage = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[PushResult, PushResult, PushResult]:
    """Send two stored runs and a third W&B run that compares them; all in one group. See `push`."""
    id_ = comparison_id(*(RunStore(run).spec().spec_id for run in (a, b)))
    if a.resolve() == b.resolve():
        raise InputError("A and B are the same run. Name two.")
    options: dict[str, Any] = {"group": id_, "replace": replace, "runs_dir": runs_dir}
    options |= {"on_message": on_message, "should_stop": should_stop}
    sides = [push(run, login, protocol=protocol, also=also, **options) for run, also in ((a, [b]), (b, []))]
    links = {side: sent.url for side, sent in zip("ab", sides, strict=True)}
    job = comparison_job(a, b, protocol, login.target, links, runs_dir)
    with exclusive_lock(login, id_):
        return sides[0], sides[1], send_job(job, login, on_message, should_stop)


def grid_job(grid: tuple[str, Mapping[str, str | None]] | None) -> dict[str, Any] | None:
    """The grid of a run for the worker process."""
    return None if grid is None else {"name": grid[0], "levels": dict(grid[1])}


def send_job(
    job: Mapping[str, Any], login: Login, on_message: OnMessage, should_stop: Callable[[], bool]
) -> PushResult:
    """What a worker process has sent."""
    with WorkerProcess(job, login) as worker:
        return PushResult(**worker.result(on_message, should_stop))


def push_job(
    run: Path, protocol: str, target: Target, runs_dir: Path | None, offline_folder: Path | None = None
) -> dict[str, Any]:
    """The job of one run for the worker process; raises where it cannot be pushed at all."""
    get_protocol(protocol)
    RunStore(run).data()  # A damaged run raises before anything is sent.
    _check_disk(run, offline_folder)
    project = {"entity": target.entity, "project": target.project}
    folders = {"folder": str(run.resolve()), "marks": str(marks.folder_of(run, runs_dir).resolve())}
    return {"action": "push", **folders, "protocol": protocol, **project}


def _check_disk(run: Path, offline_folder: Path | None) -> None:
    """Raise StoreError where the temporary files of a push, or the offline copy, would fill the disk."""
    size = sum((run / name).stat().st_size for name in archive.MEMBERS if (run / name).is_file())
    needed = SPARE_BYTES + COPIES * size
    folder = offline_folder or Path(tempfile.gettempdir())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StoreError(
            "To push {run} about {needed:,} MiB are needed in {folder}, which has {free:,} MiB. Free some space, or "
            "set {variable} to a larger disk. The run is untouched.",
            run=run.name,
            needed=needed >> 20,
            folder=folder,
            free=free >> 20,
            variable="WANDB_DIR" if offline_folder else "TMPDIR",
        )


def comparison_job(
    a: Path, b: Path, protocol: str, target: Target, links: Mapping[str, str], runs_dir: Path | None
) -> dict[str, Any]:
    project = {"entity": target.entity, "project": target.project}
    sides = {"a": str(a.resolve()), "b": str(b.resolve())}
    sides |= {f"marks_{side}": str(marks.folder_of(run, runs_dir).resolve()) for side, run in (("a", a), ("b", b))}
    return {"action": "compare", **sides, "protocol": protocol, "links": dict(links), **project}


@contextlib.contextmanager
def exclusive_lock(login: Login, id_: str) -> Iterator[None]:
    """Lock a W&B run against a second push from this machine. The lock is released when the process exits, even if it
    is killed.

    Raises:
        RunBusyError: another push holds it.
        StoreError: no lock can be made.
    """
    target = login.target
    # The entity may be given, or be the default one of the key: lock on both.
    owners = [f"key {login.key}", *([f"entity {target.entity}"] if target.entity else [])]
    with contextlib.ExitStack() as locks:
        for owner in owners:
            name = hashlib.sha256(f"{target.base_url} {owner} {target.project} {id_}".encode()).hexdigest()[:16]
            try:
                locks.enter_context(FileLock(_lock_folder() / f"{name}.lock", timeout=0))
            except Timeout as e:
                raise RunBusyError(
                    "{run} is being pushed to {project} already. Wait for its end.", run=id_, project=target.path
                ) from e
            except OSError as e:
                raise StoreError(
                    "{folder} holds no lock ({reason}). Free some space, or set TMPDIR.",
                    folder=tempfile.gettempdir(),
                    reason=reason_of(e),
                ) from e
        yield


def _lock_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"{APP_NAME}-{os.getuid() if hasattr(os, 'getuid') else 'locks'}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
