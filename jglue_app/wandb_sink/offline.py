"""What a push would send, as copies on the disk that `wandb sync` sends later. They need no key and no network.

A copy names files of this machine by their full paths: it cannot be moved to another. It is written without a look at
W&B, and `wandb sync` of wandb 0.31 resumes a run that is there: values and mappings of the config are merged, but the
name, the group and all tags are those of the copy.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jglue_app.child_process import OnMessage
from jglue_app.errors import StoreError, reason_of
from jglue_app.messages import Message
from jglue_app.runs.store import RunStore
from jglue_app.wandb_sink.login import Target
from jglue_app.wandb_sink.payload import comparison_id
from jglue_app.wandb_sink.push_run import PushResult, comparison_job, push_job
from jglue_app.wandb_sink.worker_process import WorkerProcess

SYNC_REPLACES = Message(
    "Where W&B has the same run already, `wandb sync` replaces its name, its tags and, if the copy has one, its group."
)
"""What to know of a copy before it is sent."""


def offline_folder() -> Path:
    """Where offline copies are written, as by all that W&B's client does: in its folder `wandb`."""
    return Path(os.environ.get("WANDB_DIR") or ".")


def sync_command(copy: PushResult) -> str:
    """The command that sends an offline copy."""
    return shlex.join(["wandb", "sync", copy.offline])


def write_offline(
    runs: tuple[Path, ...],
    target: Target,
    folder: Path,
    *,
    protocol: str = "official",
    compare: bool = False,
    runs_dir: Path | None = None,
    on_message: OnMessage = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[PushResult]:
    """Write what a push would send as offline copies for `wandb sync`. No key is needed or used.

    Args:
        runs: folders of stored runs; two when they are to be compared.
        target: the project they are meant for.
        folder: where W&B's `wandb` folder is made.
        protocol: whose scores come first.
        compare: whether to compare the two.
        runs_dir: see `push`.
        on_message: takes messages on the way.
        should_stop: called a few times a second; if True, it stops, and what is written stays.

    Raises:
        StoreError: no run, or the folder cannot be written.
        InputError: a run has nothing to score.
    """
    make_offline_folder(folder)
    on_message(SYNC_REPLACES)
    group = comparison_id(*(RunStore(run).spec().spec_id for run in runs)) if compare else None
    jobs = [push_job(run, protocol, target, runs_dir, folder) | {"group": group} for run in runs]
    if compare:
        a, b = runs
        jobs.append(comparison_job(a, b, protocol, target, {}, runs_dir))
    return [write_job_offline(job, folder, on_message, should_stop) for job in jobs]


def write_job_offline(
    job: Mapping[str, Any], folder: Path, on_message: OnMessage, should_stop: Callable[[], bool] = lambda: False
) -> PushResult:
    """An offline copy of what a job would send, below a folder that exists."""
    with WorkerProcess({**job, "offline": True}, None, offline_folder=folder.resolve()) as worker:
        return PushResult(**worker.result(on_message, should_stop))


def make_offline_folder(folder: Path) -> None:
    """Make the folder of offline copies; raises StoreError where it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise StoreError(
            "{folder} cannot be made ({reason}). Name another with WANDB_DIR.", folder=folder, reason=reason_of(e)
        ) from e
