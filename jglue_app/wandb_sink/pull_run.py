"""A W&B run → a local run folder, from the artifact of a push."""

from __future__ import annotations

import filecmp
from pathlib import Path

from jglue_app.child_process import OnMessage
from jglue_app.errors import StoreError, reason_of
from jglue_app.messages import Message
from jglue_app.results import archive
from jglue_app.wandb_sink.login import Login
from jglue_app.wandb_sink.paths import RunPath
from jglue_app.wandb_sink.worker_process import WorkerProcess
from jglue_app.whole_files import scratch_folder

ARTIFACT_PREFIX = "jglue-run-"


def pull(run: RunPath, login: Login, runs_dir: Path, *, on_message: OnMessage = lambda _: None) -> list[Path]:
    """Restore the run folder of a W&B run; for a comparison those of both runs.

    Args:
        run: its path.
        login: the server and the key; its project is not used.
        runs_dir: the folder of run folders.
        on_message: takes messages on the way.

    Returns:
        The folders, including those that existed already.

    Raises:
        InputError: there is no such run, or it has no run folder.
        DataError: its run folder cannot be scored here.
        NetworkError: W&B was not reached.
        StoreError: the folder cannot be written, or another state of the run exists already.
    """
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise StoreError(
            "{runs_dir} cannot be made ({reason}). Choose another folder for runs.",
            runs_dir=runs_dir,
            reason=reason_of(e),
        ) from e
    with scratch_folder(runs_dir, ".pull-") as scratch:
        job = {"action": "pull", "path": str(run), "into": str(scratch.resolve())}
        with WorkerProcess(job, login) as worker:
            names = worker.result(on_message)["folders"]
        return [_move(scratch / name, runs_dir, on_message) for name in names]


def _move(downloaded: Path, runs_dir: Path, on_message: OnMessage) -> Path:
    """Move a downloaded run folder into `runs_dir`, unless the same one exists."""
    try:
        return archive.unpack(downloaded, runs_dir)
    except StoreError:
        folder = runs_dir / downloaded.name.removeprefix(ARTIFACT_PREFIX)
        if not folder.is_dir() or not _equal(folder, downloaded):
            raise
        on_message(Message("{folder} is here already, and was left as it is.", folder=folder))
        return folder


def _equal(folder: Path, downloaded: Path) -> bool:
    """Whether two run folders have identical files."""
    names = [name for name in archive.CONTENT if (downloaded / name).is_file()]
    return all(
        (folder / name).is_file() and filecmp.cmp(folder / name, downloaded / name, shallow=False) for name in names
    )
