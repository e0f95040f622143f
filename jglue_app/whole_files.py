"""Files and folders that appear as a whole or not at all, whatever happens to the process or the machine; and what a
killed process leaves of them is removed by the next one."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".jglue-scratch"
"""In a scratch folder: held as long as its process works in it. By its name a folder is known as one that was made
here: scratch folders also stand in folders of the user, where nothing else may be removed."""
TRIES = 10
_RANDOM = re.compile(r"[a-z0-9_]{8}")
"""What `tempfile` puts behind the beginning of a name."""


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
    for entry in leftovers(path):
        with contextlib.suppress(OSError):
            entry.unlink()


def leftovers(path: Path) -> list[Path]:
    """What processes that write a file, or were killed while they did, have beside it."""
    return _beginning_with(path.parent, _prefix(path))


def _beginning_with(folder: Path, prefix: str) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if entry.name.startswith(prefix)]
    except OSError:
        return []


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
    remove_left_folders(parent, prefix)
    folder, lock = _make_scratch_folder(parent, prefix)
    try:
        yield folder
    finally:
        try:
            lock.release()
        finally:
            with contextlib.suppress(OSError):
                _remove(folder)


def remove_left_folders(parent: Path, prefix: str) -> None:
    """Remove the scratch folders that killed processes have left."""
    for left in _beginning_with(parent, prefix):
        if _RANDOM.fullmatch(left.name.removeprefix(prefix)):
            with contextlib.suppress(OSError, Timeout):
                _remove_if_left(left)


def _make_scratch_folder(parent: Path, prefix: str) -> tuple[Path, FileLock]:
    """A new folder and its lock, which is held."""
    for tries in range(TRIES, 0, -1):
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
        lock = FileLock(folder / LOCK, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except (FileNotFoundError, Timeout):
            if tries == 1:
                raise
        except BaseException:
            with contextlib.suppress(OSError):
                _remove(folder)
            raise
        else:
            if (folder / LOCK).exists():
                return folder, lock
            lock.release()
        # Another process, which removes what is left here, was between the two.
    raise FileNotFoundError(folder)


def _remove_if_left(folder: Path) -> None:
    """Remove a scratch folder in which no process works any more; one that was not made here is left alone."""
    if folder.is_symlink() or not folder.is_dir():
        return
    if (folder / LOCK).exists():
        with FileLock(folder / LOCK, timeout=0, thread_local=False):
            _remove(folder)
        return
    folder.rmdir()  # Killed before it was locked, it is empty.


def _remove(folder: Path) -> None:
    """Remove a scratch folder, the lock last: killed in between, the rest is still known as a leftover."""
    for entry in folder.iterdir():
        if entry.name == LOCK:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    (folder / LOCK).unlink(missing_ok=True)
    folder.rmdir()
