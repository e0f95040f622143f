"""Run directories: a manifest, the items, and one appended line per record.

    runs/<spec_id>/manifest.json    spec, versions, model, machine; rewritten atomically
    runs/<spec_id>/items.jsonl      the evaluated items, so that a run can be re-scored anywhere
    runs/<spec_id>/records.jsonl    append-only; of several records of one item the last counts

A line is one unbuffered append; every batch is followed by fsync. A last line torn by a crash is cut on opening.

What a reader can tell a damaged run by, absent in runs of older versions: `items` in the manifest has the number and
checksum of the items (a list of two while they are replaced), `records` how many answers there were when the run last
ended in order, and each line of `records.jsonl` ends with its own checksum.

Of a run in less than float32, `float32` in the manifest has the outputs of a sample of its items in float32.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from jglue_app import messages
from jglue_app.errors import StoreError, reason_of
from jglue_app.messages import Message
from jglue_app.runs.serialization import (
    facts_of,
    float32_outputs,
    item_from,
    paid_beside,
    parse_record_line,
    spec_from,
)
from jglue_app.runs.typed_json import read
from jglue_app.runs.writer import FORMAT_VERSION, RunWriter
from jglue_app.types import Float32Output, Item, ModelInfo, Notice, Record, RunData, RunSpec, Source

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


def _min_items(manifest: Mapping[str, Any]) -> int:
    """Items that a run of an older version has at least: its limit of each subset, or all there are."""
    least = 0
    try:
        limit = manifest["spec"].get("limit")
        for facts in manifest["data"].values():
            if (there := facts.get("items")) is not None:
                least += int(there) if limit is None else min(int(limit), int(there))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return 0
    return least


class FileVersion(NamedTuple):
    """What tells one content of a file from another without reading it."""

    mtime_ns: int
    ctime_ns: int
    """Also changes where a program that edits a file in place sets the former back."""
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
        """Whether there is a manifest; raises StoreError where the disk does not tell."""
        return self._is_file("manifest.json")

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
        items: dict[tuple[str, str], Item] = {}
        end = 0
        for number, (item, after) in enumerate(
            self._lines("items.jsonl", lambda line: item_from(json.loads(line)), RESTORE), start=1
        ):
            items[item.task, item.id] = item
            if len(items) < number:  # At once: a file of one line again and again would fill the memory.
                where = Message("line {number}", number=number)
                raise _damaged(self.named / path.name, where, Message("the same item twice"), RESTORE)
            end = after
        version = self.file_version("items.jsonl")
        if version is not None and version.size != end:
            where = Message("line {number}", number=len(items) + 1)
            raise _damaged(self.named / path.name, where, Message("torn"), RESTORE)
        return list(items.values())

    def records(self) -> list[Record]:
        """One record per item, the latest, in the order they were first written."""
        latest: dict[tuple[str, str], Record] = {}
        for record, _ in self._lines("records.jsonl", parse_record_line, DELETE_LINE):
            latest[record.task, record.item_id] = record
        return list(latest.values())

    def has_records(self) -> bool:
        """Whether anything was ever answered, damaged or not."""
        version = self.file_version("records.jsonl")
        return self._is_file("records.jsonl") and version is not None and version.size > 0

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
        model, assumed = self._model(manifest), self._assumed(manifest)
        return RunData(spec, by_task, sources, (), model, assumed, paid_beside(manifest), self._float32(manifest))

    def check_items(self, manifest: Mapping[str, Any], items: Sequence[Item]) -> None:
        """Compare the items with what the manifest says of them; raises StoreError if they are not the whole.

        Manifests of older versions do not say it: what their limit and their data imply is compared.
        """
        path = self.named / "items.jsonl"
        if not self._is_file("items.jsonl"):
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
            StoreError: answers are missing that were stored once, or an answer is of another run or to no item.
        """
        path = self.named / "records.jsonl"
        manifest = self.manifest()
        self.check_own(str(manifest.get("spec_id", data.spec.spec_id)), data.records)
        for record in data.records:
            if record.item_id not in data.items.get(record.task, {}):
                raise StoreError(
                    "{path} answers {task} {item_id!r}, which is not among the items of the run. {remedy}",
                    path=path,
                    task=record.task,
                    item_id=record.item_id[:100],
                    remedy=RESTORE,
                )
            choices = data.items[record.task][record.item_id].choices
            if choices and record.output is not None and len(record.prompt.answers) != len(choices):
                raise StoreError(
                    "{path}: the prompt of {task} {item_id!r} asks for {count} labels, and the item has {choices}. "
                    "{remedy}",
                    path=path,
                    task=record.task,
                    item_id=record.item_id[:100],
                    count=len(record.prompt.answers),
                    choices=len(choices),
                    remedy=RESTORE,
                )
        if missing := self.count_lost(manifest, data.records):
            raise StoreError(
                "{path} has lost {missing:,} of its answers. Start the same run again to answer "
                "these items, or restore the file from a copy.",
                path=path,
                missing=missing,
            )

    def check_own(self, spec_id: str, records: Iterable[Record]) -> None:
        """Refuse answers that another run was given; raises StoreError."""
        if any(record.spec_id != spec_id for record in records):
            raise StoreError(
                "{path} holds answers of another run. Restore it from a copy, or delete the folder to start over.",
                path=self.named / "records.jsonl",
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
        except (KeyError, TypeError, ValueError, OverflowError) as e:
            raise StoreError(
                "{path} is not a run's manifest ({reason!r}).", path=self.named / "manifest.json", reason=e
            ) from e

    def _is_file(self, name: str) -> bool:
        try:
            return (self.path / name).is_file()
        except OSError as e:
            raise _unreadable(self.named / name, e) from e

    def version(self) -> tuple[FileVersion | None, FileVersion | None]:
        """What changes when the manifest or the items are rewritten."""
        return self.file_version("manifest.json"), self.file_version("items.jsonl")

    def file_version(self, name: str) -> FileVersion | None:
        """What changes with the content of one of the run's files; None if there is no such file."""
        try:
            stat = (self.path / name).stat()
        except OSError:
            return None
        return FileVersion(stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino)

    def _model(self, manifest: Mapping[str, Any]) -> ModelInfo | None:
        if not manifest.get("model"):  # Only begun, or put together by other means.
            return None
        try:
            return read(ModelInfo, manifest["model"])
        except (KeyError, TypeError, ValueError, OverflowError) as e:
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

    def _float32(self, manifest: Mapping[str, Any]) -> tuple[Float32Output, ...]:
        try:
            return float32_outputs(manifest)
        except (KeyError, TypeError, ValueError, OverflowError) as e:
            raise StoreError(
                "{path} is not a run's manifest ({reason!r}).", path=self.named / "manifest.json", reason=e
            ) from e

    def records_since(self, offset: int) -> tuple[list[Record], int]:
        """The records of the whole lines after a byte of `records.jsonl`, and the byte after the last of them.

        Raises:
            StoreError: a damaged line.
        """
        records: list[Record] = []
        for record, end in self._lines("records.jsonl", parse_record_line, DELETE_LINE, offset):
            records.append(record)
            offset = end
        return records, offset if self._is_file("records.jsonl") else 0

    def _lines(self, name: str, read: Callable[[bytes], T], remedy: Message, start: int = 0) -> Iterator[tuple[T, int]]:
        """What `read` makes of every whole line of a file from a byte on, each with the byte after its line; a last
        line without its end is still being written."""
        path = self.path / name
        offset = start
        try:
            if not path.exists():
                return
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
            raise _unreadable(self.named / name, e) from e

    # --- writing ---

    def writing(self) -> RunWriter:
        """A context in which this process alone may write.

        Raises:
            RunBusyError: another process is writing to this run.
            StoreError: the folder cannot be made or written to.
        """
        return RunWriter(self.path)


def _unreadable(path: Path, error: OSError) -> StoreError:
    return StoreError("{path} cannot be read ({reason}). Check its permissions.", path=path, reason=reason_of(error))


def _damaged(path: Path, where: Message, reason: str, remedy: Message) -> StoreError:
    return StoreError(
        "{path}, {where}: damaged ({reason}). {remedy}", path=path, where=where, reason=reason, remedy=remedy
    )
