"""Writing to a run directory, by one process at a time: atomic replacements and unbuffered appends."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from jglue_app.errors import RunBusyError, StoreError, reason_of
from jglue_app.messages import Message
from jglue_app.runs.serialization import dumps, items_text, line_of
from jglue_app.types import Item, Record

FORMAT_VERSION = 1


def write_atomically(path: Path, text: str) -> None:
    """Replace a file as a whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class RunWriter:
    """Writes to one run directory while it holds the directory's lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise StoreError(
                "The run folder {path} cannot be made ({reason}). Choose another folder for runs: "
                "--runs-dir, or JGLUE_RUNS_DIR.",
                path=path,
                reason=reason_of(e),
            ) from e
        # The page resumes a run on whichever thread is free, so the lock must not belong to one.
        self._lock = FileLock(path / ".lock", thread_local=False)
        self._file = -1

    def __enter__(self) -> Self:
        try:
            self._lock.acquire(timeout=0)
        except Timeout as e:
            raise RunBusyError(
                "Another process is writing to {path}. Wait for it, or stop it, and start again.", path=self.path
            ) from e
        except OSError as e:
            raise self._no_access(e) from e
        try:
            self._cut_torn_line()
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            self._file = os.open(self.path / "records.jsonl", flags, 0o644)
        except BaseException as e:
            self._lock.release()
            if isinstance(e, OSError):
                raise self._no_access(e) from e
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.sync()
        finally:
            self._leave_no_empty_folder()
            os.close(self._file)
            self._lock.release()

    def _leave_no_empty_folder(self) -> None:
        """A model that could not be loaded leaves no run behind. Whatever holds a byte stays."""
        held = {entry.name for entry in self.path.iterdir()} - {".lock", "records.jsonl"}
        if not held and os.fstat(self._file).st_size == 0:
            shutil.rmtree(self.path, ignore_errors=True)

    def _cut_torn_line(self) -> None:
        path = self.path / "records.jsonl"
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
            what = Message("A record of {size:,} bytes", size=len(line))
            try:
                written = os.write(self._file, line)
            except OSError as e:
                raise self._not_written(what, e) from e
            if written != len(line):
                os.ftruncate(self._file, os.fstat(self._file).st_size - written)
                raise self._not_written(what, None)

    def sync(self) -> None:
        """Make everything appended durable.

        Raises:
            StoreError: the disk is full or failing.
        """
        try:
            os.fsync(self._file)
        except OSError as e:
            raise self._not_written(Message("The last records"), e) from e

    def _not_written(self, what: Message, error: OSError | None) -> StoreError:
        return StoreError(
            "{what} could not be written to {folder} ({reason}). Everything before is kept: free some space and start "
            "the same run again.",
            what=what,
            folder=self.path,
            reason=reason_of(error) if error else Message("the disk is full"),
        )

    def _no_access(self, error: OSError) -> StoreError:
        return StoreError(
            "{folder} cannot be written to ({reason}). Check its permissions, or choose another folder for runs.",
            folder=self.path,
            reason=reason_of(error),
        )
