"""Files and folders that appear as a whole or not at all, whatever happens to the process or the machine; and what a
killed process leaves of them is removed by the next one."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".lock"
"""In a scratch folder: held as long as its process works in it."""
UNLOCKED_SECONDS = 3_600.0
"""Age from which a scratch folder without a lock is a leftover: a process makes the lock right after the folder."""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace a file as a whole or not at all, so that it also outlives a power failure.

    The caller keeps other processes from writing to the same file, by a lock. So whatever an earlier writer has left
    beside it is of a process that was killed, and is removed.
    """
    remove_leftovers(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=_prefix(path))
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content.encode("utf-8") if isinstance(content, str) else content)
            out.flush()
            os.fsync(out.fileno())
        Path(name).replace(path)
    except BaseException:
        # The first error is what counts, not that nothing can be removed either.
        with contextlib.suppress(OSError):
            Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes have left of writing a file. The caller holds the lock of the file."""
    prefix = _prefix(path)
    try:
        left = [entry for entry in path.parent.iterdir() if entry.name.startswith(prefix)]
    except OSError:
        return
    for entry in left:
        with contextlib.suppress(OSError):
            entry.unlink()


def _prefix(path: Path) -> str:
    return f".{path.name}-"


def sync_folder(folder: Path) -> None:
    """Make what was created, renamed or removed in a folder outlive a power failure; raises OSError where the disk
    fails. Windows cannot do it, and network file systems need not know it."""
    try:
        handle = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except PermissionError:
        return  # A folder of Windows, or one that may be written to and not read.
    try:
        os.fsync(handle)
    except OSError as e:
        if e.errno not in (22, 95):  # EINVAL, ENOTSUP: not for folders.
            raise
    finally:
        os.close(handle)


def put_in_place(made: Path, target: Path) -> None:
    """Move a file or folder that is whole to where it belongs, so that it outlives a power failure whole.

    A file takes the place of one that is there; raises OSError as `Path.rename` does.
    """
    for path in sorted(made.rglob("*"), reverse=True) if made.is_dir() else []:
        _sync(path)
    _sync(made)
    made.replace(target)
    sync_folder(target.absolute().parent)


def _sync(path: Path) -> None:
    if path.is_dir():
        sync_folder(path)
        return
    with path.open("r+b") as file:
        os.fsync(file.fileno())


@contextlib.contextmanager
def scratch_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A folder for what is not whole yet, on the disk of where it is to go; removed at the end.

    Those that killed processes have left under the same prefix are removed first.

    Raises:
        OSError: it cannot be made.
    """
    _remove_scratch_folders(parent, prefix)
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
    lock = FileLock(folder / LOCK, thread_local=False)
    try:
        lock.acquire(timeout=0)
        yield folder
    finally:
        try:
            lock.release()
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_scratch_folders(parent: Path, prefix: str) -> None:
    """Remove the scratch folders in which no process works any more."""
    try:
        left = [entry for entry in parent.iterdir() if entry.name.startswith(prefix) and not entry.is_symlink()]
    except OSError:
        return
    for folder in left:
        with contextlib.suppress(OSError, Timeout):
            if (folder / LOCK).exists():
                with FileLock(folder / LOCK, timeout=0, thread_local=False):
                    shutil.rmtree(folder, ignore_errors=True)
            elif folder.is_dir() and time.time() - folder.stat().st_mtime > UNLOCKED_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
