"""Run directories: a manifest, the items, and one appended line per record.

    runs/<spec_id>/manifest.json    spec, versions, model, machine; rewritten atomically
    runs/<spec_id>/items.jsonl      the evaluated items, so that a run can be re-scored anywhere
    runs/<spec_id>/records.jsonl    append-only; of several records of one item the last counts

A line is one unbuffered append; every batch is followed by fsync. A last line torn by a crash is cut on opening.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from filelock import FileLock, Timeout

from jglue_app import thought
from jglue_app.errors import RunBusyError, StoreError
from jglue_app.types import (
    Decoding,
    Item,
    ModelInfo,
    ModelSpec,
    Output,
    Prompt,
    PromptSpec,
    Record,
    RunData,
    RunError,
    RunSpec,
    Source,
)

FORMAT_VERSION = 1
_DO_AGAIN = "Delete the line; its item is then done again."

T = TypeVar("T")


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
    """A Record from its JSON object; raises KeyError or TypeError when it is not one."""
    prompt = dict(row["prompt"])
    for name in ("stop", "answers", "shot_ids"):
        prompt[name] = tuple(prompt[name])
    if prompt["messages"] is not None:
        prompt["messages"] = tuple(prompt["messages"])
    if "thought" not in prompt:  # Of an earlier version; what the prompt opens can be seen all the same.
        asked = prompt["messages"][-1]["content"] if prompt["messages"] else ""
        prompt["thought"] = thought.left_open(prompt["text"], asked)
    output = row["output"]
    if output is not None:
        logprobs = output["choice_logprobs"]
        output = Output(**{**output, "choice_logprobs": None if logprobs is None else tuple(logprobs)})
    error = RunError(**row["error"]) if row["error"] is not None else None
    return Record(row["spec_id"], row["task"], row["item_id"], Prompt(**prompt), output, error)


def spec_from(row: Mapping[str, Any]) -> RunSpec:
    """A RunSpec from its JSON object; raises KeyError or TypeError when it is not one."""
    return RunSpec(
        **{
            **row,
            "model": ModelSpec(**row["model"]),
            "tasks": tuple(row["tasks"]),
            "prompt": _prompt_spec_from(row["prompt"]),
            "decoding": Decoding(**row["decoding"]),
        }
    )


def _prompt_spec_from(row: Mapping[str, Any]) -> PromptSpec:
    return PromptSpec(**{**row, "shots_by_task": tuple((name, n) for name, n in row.get("shots_by_task", ()))})


def item_from(row: Mapping[str, Any]) -> Item:
    """An Item from its JSON object."""
    gold = row["gold"]
    return Item(
        row["task"],
        row["id"],
        row["fields"],
        tuple(gold) if isinstance(gold, list) else gold,
        tuple(row["choices"]),
    )


class RunStore:
    """The directory of one run.

    Reading needs no lock; writing happens inside `with store.writing():`, which one process can hold.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

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
            raise StoreError(f"{self.path} is not a run: it has no manifest.json.") from e
        except (OSError, ValueError) as e:
            raise StoreError(f"{path} cannot be read ({e}). Restore it from a copy.") from e
        if not isinstance(table, dict) or table.get("format") != FORMAT_VERSION:
            raise StoreError(f"{path} was written by another version of this application. Open it with that version.")
        return table

    def spec(self) -> RunSpec:
        """The spec in the manifest; raises StoreError if there is none."""
        try:
            return spec_from(self.manifest()["spec"])
        except (KeyError, TypeError) as e:
            raise StoreError(f"{self.path / 'manifest.json'} holds no usable spec ({e}).") from e

    def items(self) -> list[Item]:
        """The items the run is to answer, in order."""
        return list(self._lines("items.jsonl", item_from, "Restore it from a copy, or delete the run and start anew."))

    def records(self) -> list[Record]:
        """One record per item, the latest, in the order they were first written."""
        latest: dict[tuple[str, str], Record] = {}
        for record in self._lines("records.jsonl", record_from, _DO_AGAIN):
            latest[record.task, record.item_id] = record
        return list(latest.values())

    def finished(self) -> set[tuple[str, str]]:
        """(task, item id) of every item that has an output; errors do not count, they are tried again."""
        return {(r.task, r.item_id) for r in self.records() if r.output is not None}

    def finished_of(self, items: Mapping[str, Iterable[Item]]) -> set[tuple[str, str]]:
        """Those of some items, given by task, that have an output."""
        return self.finished() & {(name, item.id) for name, chosen in items.items() for item in chosen}

    def data(self) -> RunData:
        """Everything a report needs.

        Raises:
            StoreError: not a run, or a damaged one.
        """
        return dataclasses.replace(self.head(), records=self.records())

    def head(self) -> RunData:
        """The same without the records; raises StoreError as `data` does."""
        spec = self.spec()
        items: dict[str, dict[str, Item]] = {}
        for item in self.items():
            items.setdefault(item.task, {})[item.id] = item
        try:
            sources: dict[str, Source] = {name: d["source"] for name, d in self.manifest()["data"].items()}
        except (KeyError, TypeError, AttributeError) as e:
            raise StoreError(f"{self.path / 'manifest.json'} does not say where its data is from ({e!r}).") from e
        return RunData(spec, items, sources, (), self._model())

    def _model(self) -> ModelInfo | None:
        try:
            return ModelInfo(**self.manifest()["model"])
        except (KeyError, TypeError):  # Only begun, or put together by other means.
            return None

    def records_since(self, offset: int) -> tuple[list[Record], int]:
        """The records of the whole lines after a byte of `records.jsonl`, and the byte after the last of them.

        Raises:
            StoreError: a damaged line.
        """
        path = self.path / "records.jsonl"
        found: list[Record] = []
        for record, end in self._ends("records.jsonl", record_from, _DO_AGAIN, offset):
            found.append(record)
            offset = end
        return found, offset if path.exists() else 0

    def _lines(self, name: str, read: Callable[[Any], T], remedy: str) -> Iterator[T]:
        """What `read` makes of every whole line of a file; a last line without its end is still being written."""
        for found, _ in self._ends(name, read, remedy):
            yield found

    def _ends(self, name: str, read: Callable[[Any], T], remedy: str, start: int = 0) -> Iterator[tuple[T, int]]:
        """The same from a byte on, each with the byte after its line."""
        path = self.path / name
        if not path.exists():
            return
        offset = start
        try:
            with path.open("rb") as file:
                file.seek(start)
                for number, line in enumerate(file, start=1):
                    if not line.endswith(b"\n"):
                        return
                    offset += len(line)
                    try:
                        found = read(json.loads(line))
                    except (ValueError, KeyError, TypeError) as e:
                        where = f"line {number}" if start == 0 else f"{number} lines after byte {start:,}"
                        raise StoreError(f"{path}, {where}: damaged ({type(e).__name__}: {e}). {remedy}") from e
                    yield found, offset
        except OSError as e:
            raise StoreError(f"{path} cannot be read ({e.strerror}). Check its permissions.") from e

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
                f"The run folder {path} cannot be made ({e.strerror}). Choose another folder for runs: --runs-dir, or "
                "JGLUE_RUNS_DIR."
            ) from e
        # The page resumes a run on whichever thread is free, so the lock must not belong to one.
        self._lock = FileLock(path / ".lock", thread_local=False)
        self._file = -1

    def __enter__(self) -> Self:
        try:
            self._lock.acquire(timeout=0)
        except Timeout as e:
            raise RunBusyError(
                f"Another process is writing to {self.path}. Wait for it, or stop it, and start again."
            ) from e
        except OSError as e:
            raise StoreError(self._no_access(e)) from e
        try:
            self._cut_torn_line()
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            self._file = os.open(self.path / "records.jsonl", flags, 0o644)
        except BaseException as e:
            self._lock.release()
            if isinstance(e, OSError):
                raise StoreError(self._no_access(e)) from e
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
        self._replace("items.jsonl", "".join(dumps(item) + "\n" for item in items))

    def _replace(self, name: str, text: str) -> None:
        try:
            write_atomically(self.path / name, text)
        except OSError as e:
            raise StoreError(self._no_space(f"{name} of {len(text.encode()):,} bytes", e)) from e

    def append(self, records: Iterable[Record]) -> None:
        """Append records, one write each; `sync` makes them durable.

        Raises:
            StoreError: the disk is full or failing; everything written before is intact.
        """
        for record in records:
            line = (dumps(record) + "\n").encode("utf-8")
            what = f"A record of {len(line):,} bytes"
            try:
                written = os.write(self._file, line)
            except OSError as e:
                raise StoreError(self._no_space(what, e)) from e
            if written != len(line):
                os.ftruncate(self._file, os.fstat(self._file).st_size - written)
                raise StoreError(self._no_space(what, None))

    def sync(self) -> None:
        """Make everything appended durable.

        Raises:
            StoreError: the disk is full or failing.
        """
        try:
            os.fsync(self._file)
        except OSError as e:
            raise StoreError(self._no_space("The last records", e)) from e

    def _no_space(self, what: str, error: OSError | None) -> str:
        why = error.strerror if error else "the disk is full"
        return (
            f"{what} could not be written to {self.path} ({why}). "
            "Everything before is kept: free some space and start the same run again."
        )

    def _no_access(self, error: OSError) -> str:
        return (
            f"{self.path} cannot be written to ({error.strerror}). "
            "Check its permissions, or choose another folder for runs."
        )
