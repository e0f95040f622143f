"""Writing to a run directory, by one process at a time: atomic replacements and unbuffered appends."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be removed.
    fcntl = None  # type: ignore[assignment]

from jglue_app.errors import JglueAppError, RunBusyError, StoreError, reason_of
from jglue_app.messages import Message
from jglue_app.runs.serialization import dumps, items_text, line_of
from jglue_app.types import Item, Record
from jglue_app.whole_files import leftovers, remove_leftovers, sync_folder, write_atomically

FORMAT_VERSION = 1


RECORDS, LOCK = "records.jsonl", ".lock"
FILES = ("manifest.json", "items.jsonl", RECORDS)
LOCK_WAITS_S = (0.01, 0.05, 0.0)
"""Waits between tries to lock the records; after the last try there is none."""
BLOCK = 2**20
"""Bytes that are read at once."""


class RunWriter:
    """Writes to one run directory while it holds the directory's lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._make(path)
        except OSError as e:
            raise StoreError(
                "The run folder {path} cannot be made ({reason}). Choose another folder for runs: JGLUE_RUNS_DIR "
                "(--runs-dir).",
                path=path,
                reason=reason_of(e),
            ) from e
        # The page resumes a run on whichever thread is free, so the lock must not belong to one.
        self._lock = FileLock(path / LOCK, thread_local=False)
        self._file = -1
        self._places: dict[str, tuple[int, int]] = {}
        """Of the records, and of the lock where they are not locked themselves: device and inode, by which it is seen
        that they are no longer in the folder."""

    @staticmethod
    def _make(path: Path) -> None:
        """Make a folder that outlives a power failure."""
        if not path.is_dir():
            made = [folder for folder in (path, *path.parents) if not folder.exists()]
            path.mkdir(parents=True, exist_ok=True)
            for folder in made:
                sync_folder(folder.parent)

    def __enter__(self) -> Self:
        try:
            self._lock.acquire(timeout=0)
        except Timeout as e:
            raise self._busy() from e
        except OSError as e:
            raise self._no_access(e) from e
        try:
            self._open_records()
            for name in FILES:
                remove_leftovers(self.path / name)
            self._cut_torn_line()
            if self._drop_zeroed_lines():
                self._close_records()
                self._open_records()
        except BaseException as e:
            if self._file >= 0:
                self._close_records()
            self._lock.release()
            if isinstance(e, OSError):
                raise self._no_access(e) from e
            raise
        return self

    def _open_records(self) -> None:
        """Open the records for appending. They are locked as well: somebody may delete the file `.lock`."""
        path = self.path / RECORDS
        new = not path.exists()
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        if new:
            sync_folder(self.path)
        names = (RECORDS,) if self._lock_records() else (LOCK, RECORDS)
        self._places = {name: _place((self.path / name).stat()) for name in names}

    def _close_records(self) -> None:
        """Unlock and close the file. A process that was forked meanwhile, to answer on a GPU, has it open as well:
        closing it here would leave it locked."""
        # First of all: closed twice, it would be a file that another thread has opened meanwhile.
        file, self._file = self._file, -1
        if fcntl is not None:
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_UN)
        os.close(file)

    def _lock_records(self) -> bool:
        """Whether the operating system and the file system could do it; raises RunBusyError where another process
        has."""
        if fcntl is None:
            return False
        for wait_s in LOCK_WAITS_S:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as e:
                if not wait_s:
                    raise self._busy() from e
                # Somebody may only have looked whether they are locked; see `is_being_written`.
                time.sleep(wait_s)
            except OSError:
                return False
            else:
                break
        return True

    def _busy(self) -> RunBusyError:
        return RunBusyError(
            "Another process is writing to {path}. Wait for it, or stop it, and start again.", path=self.path
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # The first error is what counts.
            with contextlib.suppress(JglueAppError) if kind is not None else contextlib.nullcontext():
                self.sync()
        finally:
            with contextlib.suppress(OSError):
                self._leave_no_empty_folder()
            self._close_records()
            self._lock.release()

    def _leave_no_empty_folder(self) -> None:
        """A model that could not be loaded leaves no run behind. Whatever holds a byte stays."""
        held = {entry.name for entry in self.path.iterdir()} - {LOCK, RECORDS}
        if not held and os.fstat(self._file).st_size == 0:
            shutil.rmtree(self.path, ignore_errors=True)

    def _cut_torn_line(self) -> None:
        path = self.path / RECORDS
        if not path.exists():
            return
        with path.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            keep = size
            while keep:
                start = max(0, keep - 65_536)
                file.seek(start)
                newline = file.read(keep - start).rfind(b"\n")
                if newline >= 0:
                    keep = start + newline + 1
                    break
                keep = start
            if keep != size:
                file.truncate(keep)

    def _drop_zeroed_lines(self) -> bool:
        """Remove the lines with zero bytes, which no record has: after a power failure a file may be as long as what
        was written to it, with zeros where nothing had reached the disk. Returns whether the file was replaced."""
        if not has_zeros(self.path):
            return False
        lines = (self.path / RECORDS).read_bytes().splitlines(keepends=True)
        write_atomically(self.path / RECORDS, b"".join(line for line in lines if b"\0" not in line))
        return True

    def manifest(self, table: Mapping[str, Any]) -> None:
        """Write the manifest, atomically; raises StoreError when the disk is full or failing."""
        self._replace("manifest.json", dumps({"format": FORMAT_VERSION, **table}, indent=2) + "\n")

    def items(self, items: Iterable[Item]) -> None:
        """Write the items, atomically; raises StoreError when the disk is full or failing."""
        self._replace("items.jsonl", items_text(items))

    def _replace(self, name: str, text: str) -> None:
        try:
            write_atomically(self.path / name, text)
        except OSError as e:
            size = len(text.encode())
            raise self._not_written(Message("{file} of {size:,} bytes", file=name, size=size), e) from e

    def append(self, records: Iterable[Record]) -> None:
        """Append records, one write each; `sync` makes them durable.

        Raises:
            StoreError: the disk is full or failing; everything written before is intact.
        """
        for record in records:
            line = line_of(record)
            self._require_place()
            written = 0
            try:
                while written < len(line):
                    written += os.write(self._file, line[written:])
            except OSError as e:
                if written:
                    # Where not even this is possible, the torn line is cut when the run is opened again.
                    with contextlib.suppress(OSError):
                        os.ftruncate(self._file, os.fstat(self._file).st_size - written)
                raise self._not_written(Message("A record of {size:,} bytes", size=len(line)), e) from e

    def sync(self) -> None:
        """Make everything appended durable.

        Raises:
            StoreError: the disk is full or failing, or the folder is gone.
        """
        try:
            os.fsync(self._file)
        except OSError as e:
            raise self._not_written(Message("The last records"), e) from e
        self._require_place()

    def _require_place(self) -> None:
        """Stop where records would go to a file that nobody finds, or to one that another process writes to as well:
        somebody has moved, replaced or deleted the folder or what is in it.

        Raises:
            StoreError: the folder or its records are not where they were.
            RunBusyError: the lock is another's.
        """
        for name, place in self._places.items():
            try:
                found = _place((self.path / name).stat())
            except OSError:
                found = None
            if found == place:
                continue
            if found is not None and name == LOCK:
                raise RunBusyError(
                    "Another process may be writing to {path}: its lock was replaced meanwhile. Wait for it, or stop "
                    "it, and start again.",
                    path=self.path,
                )
            raise StoreError(
                "{folder} was moved, replaced or deleted while answers were written to it. Put it back to keep what "
                "it holds, and start the same run again.",
                folder=self.path,
            )

    def _not_written(self, what: Message, error: OSError) -> StoreError:
        return StoreError(
            "{what} could not be written to {folder} ({reason}). Everything before is kept: free some space and start "
            "the same run again.",
            what=what,
            folder=self.path,
            reason=reason_of(error),
        )

    def _no_access(self, error: OSError) -> StoreError:
        return StoreError(
            "{folder} cannot be written to ({reason}). Check its permissions, or choose another folder for runs.",
            folder=self.path,
            reason=reason_of(error),
        )


def has_zeros(run: Path) -> bool:
    """Whether the records of a run have zero bytes, as a power failure leaves them."""
    try:
        with (run / RECORDS).open("rb") as file:
            return any(b"\0" in block for block in iter(lambda: file.read(BLOCK), b""))
    except OSError:
        return False


def is_unfinished(run: Path) -> bool:
    """Whether a killed process has left files in the folder of a run, or another is just writing them."""
    return any(leftovers(run / name) for name in FILES)


def is_being_written(path: Path) -> bool:
    """Whether some process, this one too, writes to a run directory now; False where the system does not tell.

    It only looks: nothing is made, and a writer that begins at this very moment waits a little for its lock.
    """
    if fcntl is None:
        return False
    try:
        file = os.open(path / RECORDS, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(file, fcntl.LOCK_UN)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(file)
    return False


def _place(facts: os.stat_result) -> tuple[int, int]:
    return facts.st_dev, facts.st_ino
