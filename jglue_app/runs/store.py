"""Run directories: a manifest, the items, and one appended line per record.

    runs/<spec_id>/manifest.json    spec, versions, model, machine; rewritten atomically
    runs/<spec_id>/items.jsonl      the evaluated items, so that a run can be re-scored anywhere
    runs/<spec_id>/records.jsonl    append-only; of several records of one item the last counts

A line is one unbuffered append; every batch is followed by fsync. A last line torn by a crash is cut on opening.

What a reader can tell a damaged run by, absent in runs of older versions: `items` in the manifest has the number and
checksum of the items (a list of two while they are replaced), `records` how many answers there were when the run last
ended in order, and each line of `records.jsonl` ends with its own checksum.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from filelock import FileLock, Timeout

from jglue_app import messages
from jglue_app.errors import RunBusyError, StoreError, reason_of
from jglue_app.messages import Message
from jglue_app.prompts import thoughts
from jglue_app.runs.typed_json import BadValueError, finite, read
from jglue_app.tasks import TASKS
from jglue_app.types import Item, ModelInfo, Notice, Record, RunData, RunSpec, Source

FORMAT_VERSION = 1
CHECKSUM = "crc32"
"""The last key of a line of `records.jsonl`: the CRC-32 of the line without it, 8 hex digits."""
_CHECKSUM_OFFSET = -len(f', "{CHECKSUM}": "00000000"}}\n')
"""Where in a line the checksum begins, from its end."""
DELETE_LINE = Message("Delete the line; its item is then done again.")
RESTORE = Message("Restore it from a copy, or start the same run again, which rewrites it.")
MAX_LINE = 2**26
"""Bytes of one line: more than any output, and no more is read at once."""
TRIES = 3

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class _DataSource:
    """What the manifest says of a subset's data, as far as a report needs it."""

    source: Source


def dumps(value: Any, *, indent: int | None = None) -> str:
    """JSON of records, dataclasses and plain values; lone surrogates are escaped so that the text is valid UTF-8."""
    plain = _plain(value)
    text = json.dumps(plain, ensure_ascii=False, indent=indent)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = json.dumps(plain, ensure_ascii=True, indent=indent)
    return text


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


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


# --- reading records back -------------------------------------------------------------------------------


def record_from(row: Mapping[str, Any]) -> Record:
    """A Record from its JSON object; raises KeyError, TypeError or ValueError when it is not one."""
    if isinstance(row, dict) and CHECKSUM in row:
        row = {name: value for name, value in row.items() if name != CHECKSUM}
    record = read(Record, row)
    if record.output is not None:
        finite(record.output.seconds, "seconds")
    if "thought" not in row["prompt"]:  # Of an earlier version; what the prompt opens can be seen all the same.
        turns = record.prompt.messages
        opened = thoughts.left_open(record.prompt.text, turns[-1]["content"] if turns else "")
        record = dataclasses.replace(record, prompt=dataclasses.replace(record.prompt, thought=opened))
    return record


def spec_from(row: Mapping[str, Any]) -> RunSpec:
    """A RunSpec from its JSON object; raises KeyError, TypeError or ValueError when it is not one."""
    return read(RunSpec, row)


def item_from(row: Mapping[str, Any]) -> Item:
    """An Item from its JSON object; raises KeyError, TypeError or ValueError when it is not one of its subset."""
    item = read(Item, row)
    task = TASKS.get(item.task)
    if task is None:
        raise BadValueError(Message("there is no subset {task!r}", task=item.task[:50]))
    if missing := [name for name in task.fields if name not in item.fields]:
        raise KeyError(missing[0])
    if task.kind == "score":
        if not isinstance(item.gold, float) or not 0 <= item.gold <= 5:
            raise BadValueError(Message("gold must be a number from 0 to 5"))
    elif not isinstance(item.gold, tuple) or not item.gold:
        raise TypeError("gold must be a list of texts")
    elif task.kind == "choice" and not (item.choices and item.gold[0] in item.choices):
        raise BadValueError(Message("gold is none of the choices"))
    return item


def facts_of(items: Sequence[Item]) -> dict[str, Any]:
    """How many items there are and the checksum of their file, for the manifest: by these a reader knows that the
    items are whole."""
    return {"count": len(items), "sha256": hashlib.sha256(_items_text(items).encode()).hexdigest()}


def _min_items(manifest: Mapping[str, Any]) -> int:
    """Items that a run of an older version has at least: its limit of each subset, or all there are."""
    least = 0
    try:
        limit = manifest["spec"].get("limit")
        for facts in manifest["data"].values():
            if (there := facts.get("items")) is not None:
                least += int(there) if limit is None else min(int(limit), int(there))
    except (KeyError, TypeError, ValueError, AttributeError):
        return 0
    return least


def _items_text(items: Iterable[Item]) -> str:
    return "".join(dumps(item) + "\n" for item in items)


def _line_of(record: Record) -> bytes:
    """A record's line, its checksum at the end."""
    body = dumps(record).encode()
    return b'%s, "%s": "%08x"}\n' % (body[:-1], CHECKSUM.encode(), zlib.crc32(body))


def _record_in(line: bytes) -> Record:
    """The record of a line; raises as `record_from` does, and ValueError where it is not as it was written."""
    row = json.loads(line)
    if isinstance(row, dict) and CHECKSUM in row:  # Lines of older versions have none.
        checksum = row.pop(CHECKSUM)
        # What a program has read and written again has other bytes and the same values.
        if (
            checksum != f"{zlib.crc32(line[:_CHECKSUM_OFFSET] + b'}'):08x}"
            and checksum != f"{zlib.crc32(dumps(row).encode()):08x}"
        ):
            raise BadValueError(Message("its checksum is another: it was changed"))
    return record_from(row)


class FileVersion(NamedTuple):
    """What tells one content of a file from another without reading it."""

    mtime_ns: int
    size: int
    inode: int


class RunStore:
    """The directory of one run.

    Reading needs no lock; writing happens inside `with store.writing():`, which one process can hold.

    Args:
        path: the directory.
        named: what errors call it, where it is a copy that is soon gone; the path itself if not given.
    """

    def __init__(self, path: Path, named: Path | None = None) -> None:
        self.path = path
        self.named = named or path

    @classmethod
    def of(cls, runs_dir: Path, spec: RunSpec) -> RunStore:
        """The store of a spec, existing or not."""
        return cls(runs_dir / spec.spec_id)

    def exists(self) -> bool:
        return (self.path / "manifest.json").is_file()

    def manifest(self) -> dict[str, Any]:
        """The manifest as a table.

        Raises:
            StoreError: there is none, or it cannot be read.
        """
        path = self.path / "manifest.json"
        try:
            table = json.loads(path.read_text("utf-8"))
        except FileNotFoundError as e:
            raise StoreError("{folder} is not a run: it has no manifest.json.", folder=self.named) from e
        except (OSError, ValueError, RecursionError) as e:
            raise StoreError(
                "{path} cannot be read ({reason}). Restore it from a copy.",
                path=self.named / path.name,
                reason=reason_of(e),
            ) from e
        if not isinstance(table, dict) or table.get("format") != FORMAT_VERSION:
            raise StoreError(
                "{path} was written by another version of this application. Open it with that version.",
                path=self.named / path.name,
            )
        return table

    def spec(self) -> RunSpec:
        """The spec in the manifest; raises StoreError if there is none."""
        try:
            return spec_from(self.manifest()["spec"])
        except (KeyError, TypeError, ValueError, RecursionError) as e:
            raise StoreError(
                "{path} holds no usable spec ({reason}).", path=self.named / "manifest.json", reason=e
            ) from e

    def items(self) -> list[Item]:
        """The items the run is to answer, in order; none if there is no file of them.

        Raises:
            StoreError: a damaged line, or a last one that is torn: the file is replaced as a whole, never appended to.
        """
        path = self.path / "items.jsonl"
        items = []
        end = 0
        for item, after in self._lines("items.jsonl", lambda line: item_from(json.loads(line)), RESTORE):
            items.append(item)
            end = after
        if path.is_file() and path.stat().st_size != end:
            where = Message("line {number}", number=len(items) + 1)
            raise _damaged(self.named / path.name, where, Message("torn"), RESTORE)
        return items

    def records(self) -> list[Record]:
        """One record per item, the latest, in the order they were first written."""
        latest: dict[tuple[str, str], Record] = {}
        for record, _ in self._lines("records.jsonl", _record_in, DELETE_LINE):
            latest[record.task, record.item_id] = record
        return list(latest.values())

    def has_records(self) -> bool:
        """Whether anything was ever answered, damaged or not."""
        path = self.path / "records.jsonl"
        return path.is_file() and path.stat().st_size > 0

    def finished(self) -> set[tuple[str, str]]:
        """(task, item id) of every item that has an output; errors do not count, they are tried again."""
        return {(r.task, r.item_id) for r in self.records() if r.output is not None}

    def finished_of(self, items: Mapping[str, Iterable[Item]]) -> set[tuple[str, str]]:
        """Those of some items, given by task, that have an output."""
        return self.finished() & {(name, item.id) for name, chosen in items.items() for item in chosen}

    def data(self) -> RunData:
        """Everything a report needs.

        Raises:
            StoreError: not a run, or a damaged one: a file or a line is missing, or something in it is wrong.
        """
        for again in range(TRIES - 1, -1, -1):
            before = self.version()
            data = dataclasses.replace(self.head(), records=self.records())
            try:
                self.check_records(data)
            except StoreError:
                # Another process may have raised the run's limit between the items and the records.
                if again and self.version() != before:
                    continue
                raise
            return data
        raise AssertionError

    def head(self) -> RunData:
        """The same without the records; raises StoreError as `data` does."""
        manifest, spec, items = self.manifest(), self.spec(), self.items()
        path = self.named / "manifest.json"
        try:
            sources: dict[str, Source] = {
                name: read(_DataSource, {"source": d["source"]}).source for name, d in manifest["data"].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            raise StoreError("{path} does not say where its data is from ({reason}).", path=path, reason=repr(e)) from e
        self.check_items(manifest, items)
        by_task: dict[str, dict[str, Item]] = {}
        for item in items:
            by_task.setdefault(item.task, {})[item.id] = item
        if unknown := [name for name in by_task if name not in sources]:
            raise StoreError(
                "{path} does not say where its data is from ({reason}).", path=path, reason=repr(unknown[0])
            )
        return RunData(spec, by_task, sources, (), self._model(manifest), self._assumed(manifest))

    def check_items(self, manifest: Mapping[str, Any], items: Sequence[Item]) -> None:
        """Compare the items with what the manifest says of them; raises StoreError if they are not the whole.

        Manifests of older versions do not say it: what their limit and their data imply is compared.
        """
        path = self.named / "items.jsonl"
        if not (self.path / "items.jsonl").is_file():
            raise StoreError("The file {path} is gone. {remedy}", path=path, remedy=RESTORE)
        facts = manifest.get("items")
        if facts is None:
            least = _min_items(manifest)
            if len(items) < least:
                raise StoreError(
                    "{path} holds {count:,} items of at least {least:,}. {remedy}",
                    path=path,
                    count=len(items),
                    least=least,
                    remedy=RESTORE,
                )
        elif facts_of(items) not in (facts if isinstance(facts, list) else [facts]):
            raise StoreError("{path} is not as it was written. {remedy}", path=path, remedy=RESTORE)

    def check_records(self, data: RunData) -> None:
        """Compare the records with the items and with what the manifest says of them.

        Raises:
            StoreError: answers are missing that were stored once, or an answer is to no item of the run.
        """
        path = self.named / "records.jsonl"
        for record in data.records:
            if record.item_id not in data.items.get(record.task, {}):
                raise StoreError(
                    "{path} answers {task} {item_id!r}, which is not among the items of the run. {remedy}",
                    path=path,
                    task=record.task,
                    item_id=record.item_id[:100],
                    remedy=RESTORE,
                )
        manifest = self.manifest()
        if missing := self.count_lost(manifest, data.records):
            raise StoreError(
                "{path} has lost {missing:,} of its answers. Start the same run again to answer "
                "these items, or restore the file from a copy.",
                path=path,
                missing=missing,
            )

    def count_lost(self, manifest: Mapping[str, Any], records: Sequence[Record]) -> int:
        """How many stored answers are there no more, by what the manifest says; 0 where it does not say it: the run
        never ended in order, or an older version made it. Raises StoreError if what it says is no number."""
        counts = manifest.get("records")
        if counts is None:
            return 0
        answered = sum(record.output is not None for record in records)
        try:
            return max(int(counts["answered"]) - answered, int(counts["tried"]) - len(records), 0)
        except (KeyError, TypeError, ValueError) as e:
            raise StoreError(
                "{path} is not a run's manifest ({reason!r}).", path=self.named / "manifest.json", reason=e
            ) from e

    def version(self) -> tuple[FileVersion | None, FileVersion | None]:
        """What changes when the manifest or the items are rewritten."""
        return self.file_version("manifest.json"), self.file_version("items.jsonl")

    def file_version(self, name: str) -> FileVersion | None:
        """What changes with the content of one of the run's files; None if there is no such file."""
        try:
            stat = (self.path / name).stat()
        except OSError:
            return None
        return FileVersion(stat.st_mtime_ns, stat.st_size, stat.st_ino)

    def _model(self, manifest: Mapping[str, Any]) -> ModelInfo | None:
        if not manifest.get("model"):  # Only begun, or put together by other means.
            return None
        try:
            return read(ModelInfo, manifest["model"])
        except (KeyError, TypeError, ValueError) as e:
            raise StoreError(
                "{path} is not a run's manifest ({reason!r}).", path=self.named / "manifest.json", reason=e
            ) from e

    def _assumed(self, manifest: Mapping[str, Any]) -> tuple[Notice, ...]:
        """What has to be known of a run that was made of another harness's log; nothing of other runs."""
        imported = manifest.get("imported")
        try:
            return tuple(read(Notice, row) for row in imported.get("notices") or ()) if imported else ()
        except (AttributeError, KeyError, TypeError, ValueError) as e:
            raise StoreError(
                "{path} is not a run's manifest ({reason!r}).", path=self.named / "manifest.json", reason=e
            ) from e

    def records_since(self, offset: int) -> tuple[list[Record], int]:
        """The records of the whole lines after a byte of `records.jsonl`, and the byte after the last of them.

        Raises:
            StoreError: a damaged line.
        """
        path = self.path / "records.jsonl"
        records: list[Record] = []
        for record, end in self._lines("records.jsonl", _record_in, DELETE_LINE, offset):
            records.append(record)
            offset = end
        return records, offset if path.exists() else 0

    def _lines(self, name: str, read: Callable[[bytes], T], remedy: Message, start: int = 0) -> Iterator[tuple[T, int]]:
        """What `read` makes of every whole line of a file from a byte on, each with the byte after its line; a last
        line without its end is still being written."""
        path = self.path / name
        if not path.exists():
            return
        offset = start
        try:
            with path.open("rb") as file:
                file.seek(start)
                for number, line in enumerate(iter(lambda: file.readline(MAX_LINE), b""), start=1):
                    if not line.endswith(b"\n"):
                        if len(line) == MAX_LINE:
                            raise _damaged(
                                self.named / name, Message("line {number}", number=number), Message("endless"), remedy
                            )
                        return
                    offset += len(line)
                    try:
                        value = read(line)
                    except (ValueError, KeyError, TypeError, RecursionError) as e:
                        where = Message("line {number}", number=number)
                        if start:
                            where = Message("{count} lines after byte {start:,}", count=number, start=start)
                        raise _damaged(self.named / name, where, f"{type(e).__name__}: {messages.of(e)}", remedy) from e
                    yield value, offset
        except OSError as e:
            raise StoreError(
                "{path} cannot be read ({reason}). Check its permissions.", path=self.named / name, reason=reason_of(e)
            ) from e

    # --- writing ---

    def writing(self) -> RunWriter:
        """A context in which this process alone may write.

        Raises:
            RunBusyError: another process is writing to this run.
            StoreError: the folder cannot be made or written to.
        """
        return RunWriter(self.path)


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
        self._replace("items.jsonl", _items_text(items))

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
            line = _line_of(record)
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


def _damaged(path: Path, where: Message, reason: str, remedy: Message) -> StoreError:
    return StoreError(
        "{path}, {where}: damaged ({reason}). {remedy}", path=path, where=where, reason=reason, remedy=remedy
    )
