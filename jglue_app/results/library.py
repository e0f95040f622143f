"""Stored runs as a collection: which there are, what they hold, deleting one.

What was read of a run is kept; of one that is still growing only the new lines are read and judged.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jglue_app.errors import StoreError
from jglue_app.runs.store import TRIES, RunStore
from jglue_app.scoring.judged import Answered, only
from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.report import report_run
from jglue_app.scoring.types import Report
from jglue_app.tasks import TASKS
from jglue_app.types import Record, RunData, data_kind

KEPT = 16
"""Runs whose content is kept in memory; the least recently used leaves first."""

KEPT_REPORTS = 1_000

Rows = Mapping[str, Mapping[str, Answered]]
"""Task → item id → item, record, judgement."""
Ids = Mapping[str, Collection[str]]
"""Task → ids of items."""


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run of the collection, without its records."""

    name: str
    """Its folder's name."""
    path: Path
    label: str
    created: str
    """ISO 8601, UTC."""
    done: int
    """Items with a record."""
    planned: int
    """Items it is to answer."""
    spec: Mapping[str, Any]
    """The spec as the manifest has it."""
    machine: Mapping[str, Any]

    @property
    def data_kind(self) -> str:
        """Which runs it may be ranked with; see `types.data_kind`."""
        return data_kind(str(self.spec.get("data_version", "")), str(self.spec.get("split", "valid")))

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.done >= self.planned


@dataclass(slots=True)
class _Kept:
    """What is in memory of one run."""

    stamp: tuple[int, ...]
    data: RunData
    records: dict[tuple[str, str], Record]
    offset: int
    judged: dict[str, dict[tuple[str, str], Answered]] = field(default_factory=dict)


class Library:
    """The runs below a folder, and any other run folder that is named by its path. Safe to use from several threads."""

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self._kept: OrderedDict[Path, _Kept] = OrderedDict()
        self._stored: dict[Path, tuple[tuple[int, ...], StoredRun]] = {}
        """What is told of a run without its records, for as long as its files stay as they are."""
        self._reports: OrderedDict[tuple[Path, str], tuple[tuple[int, ...], Report]] = OrderedDict()
        """The same of reports: a ranking of many runs must not read and judge them all again."""
        self._lock = threading.Lock()

    def all(self) -> list[StoredRun]:
        """Every run below the folder, the newest first; `damaged` has those that cannot be read.

        Raises:
            StoreError: the folder is none, or cannot be read. One that is not there yet holds no runs.
        """
        found = []
        for path in self._folders():
            with contextlib.suppress(StoreError):
                found.append(self.stored(path))
        return sorted(found, key=lambda run: (run.created, run.name), reverse=True)

    def damaged(self) -> dict[str, str]:
        """Folder → what is wrong, of the runs below the folder that cannot be read."""
        found = {}
        for path in self._folders():
            try:
                self.stored(path)
            except StoreError as e:
                found[path.name] = str(e)
        return found

    def _folders(self) -> list[Path]:
        """What is a run or was one; a run that has only begun has no manifest and no record yet."""
        try:
            next(self.runs_dir.iterdir(), None)  # `glob` passes over a file, or a closed folder, in silence.
        except FileNotFoundError:
            return []
        except OSError as e:
            raise StoreError(
                "The folder for runs {runs_dir} cannot be read ({reason}). Check its permissions, "
                "or choose another one: --runs-dir, or JGLUE_RUNS_DIR.",
                runs_dir=self.runs_dir,
                reason=e.strerror,
            ) from e
        stores = (RunStore(path) for path in sorted(self.runs_dir.glob("[!.]*/")))
        return [store.path for store in stores if (store.path / "manifest.json").exists() or store.has_records()]

    def stored(self, path: Path) -> StoredRun:
        """One run by its folder; raises StoreError if there is none."""
        stamp = (*_stamp(path), _size(path / "records.jsonl"))
        with self._lock:
            known = self._stored.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        found = self._counted(path)
        with self._lock:
            self._stored[path] = stamp, found
        return found

    def _counted(self, path: Path) -> StoredRun:
        manifest = RunStore(path).manifest()
        with self._lock:
            kept = self._read(path)
        items = {(task, id_) for task, found in kept.data.items.items() for id_ in found}
        try:
            return StoredRun(
                path.name,
                path,
                str(manifest["label"]),
                str(manifest["created"]),
                sum(record.output is not None and key in items for key, record in kept.records.items()),
                len(items),
                manifest["spec"],
                manifest.get("machine") or {},
            )
        except (KeyError, TypeError) as e:
            raise StoreError(
                "{path} is not a run's manifest ({reason!r}).", path=path / "manifest.json", reason=e
            ) from e

    def data(self, path: Path, items: Ids | None = None) -> RunData:
        """Everything a report needs, of these items alone if they are named; raises StoreError if there is no run, or a
        damaged one."""
        with self._lock:
            found = self._read(path).data
        return found if items is None else only(found, items)

    def judged(
        self, path: Path, protocol: str = "official", items: Ids | None = None
    ) -> dict[str, dict[str, Answered]]:
        """Task → item id → item, record and judgement, as `report.judge_run` gives them; of these items alone if they
        are named."""
        found = self._judged(path, protocol)
        if items is None:
            return found
        return {
            name: {id_: row for id_, row in rows.items() if id_ in items[name]}
            for name, rows in found.items()
            if name in items
        }

    def _judged(self, path: Path, protocol: str) -> dict[str, dict[str, Answered]]:
        how = get_protocol(protocol)
        with self._lock:
            kept = self._read(path)
            done = kept.judged.setdefault(protocol, {})
            out: dict[str, dict[str, Answered]] = {}
            for name, items in kept.data.items.items():
                rows = out[name] = {}
                if name not in how.metrics:
                    continue
                for id_, item in items.items():
                    record = kept.records.get((name, id_))
                    if record is None:
                        continue
                    row = done.get((name, id_))
                    if row is None or row.record is not record:
                        row = done[name, id_] = Answered(item, record, how.judge(TASKS[name], item, record))
                    rows[id_] = row
            return out

    def report(self, path: Path, protocol: str = "official", items: Ids | None = None) -> Report:
        """Scores under a protocol, of these items alone if they are named; raises UnknownNameError if there is no such
        protocol."""
        if items is not None:
            return report_run(self.data(path, items), protocol, self.judged(path, protocol, items))
        stamp = (*_stamp(path), _size(path / "records.jsonl"))
        with self._lock:
            known = self._reports.get((path, protocol))
            if known is not None and known[0] == stamp:
                self._reports.move_to_end((path, protocol))
                return known[1]
        found = report_run(self.data(path), protocol, self.judged(path, protocol))
        with self._lock:
            # What has grown meanwhile has another stamp by now, and is read again.
            self._reports[path, protocol] = stamp, found
            while len(self._reports) > KEPT_REPORTS:
                self._reports.popitem(last=False)
        return found

    def reports(self, protocol: str = "official", data: str = "sample") -> dict[str, Report]:
        """Run → its report, of all runs below the folder over `sample`, `official` (dev) or `test` data; what cannot be
        read is left out. Scores over the one say nothing about the other, so they are never in one table.

        Raises:
            UnknownNameError: no such protocol.
        """
        get_protocol(protocol)
        found: dict[str, Report] = {}
        for run in self.all():
            if run.data_kind == data:
                with contextlib.suppress(StoreError):
                    found[run.name] = self.report(run.path, protocol)
        return found

    def delete(self, name: str) -> None:
        """Delete a run below the folder.

        Raises:
            StoreError: there is no such run.
            RunBusyError: a process is writing to it.
        """
        path = self.find(name)
        with RunStore(path).writing():
            pass  # Only to see that nobody else is.
        with self._lock:
            self._kept.pop(path, None)
            self._stored.pop(path, None)
            try:
                # Named away first: a folder that can be deleted only in part is no run any more.
                gone = path.with_name(f".deleted-{path.name}")
                path.rename(gone)
                shutil.rmtree(gone)
            except OSError as e:
                raise StoreError(
                    "{path} cannot be deleted ({reason}). Check its permissions.", path=path, reason=e.strerror
                ) from e

    def find(self, name: str) -> Path:
        """The folder of a run by its name; a name that leads elsewhere is no run. Raises StoreError."""
        if name in {path.name for path in self._folders()}:
            return self.runs_dir / name
        raise StoreError("There is no run {name!r} here. Choose one of the list, or run it again.", name=name[:100])

    def _read(self, path: Path) -> _Kept:
        for again in range(TRIES - 1, -1, -1):
            stamp = _stamp(path)
            try:
                kept = self._read_once(path, stamp)
                break
            except StoreError:
                self._kept.pop(path, None)
                # Another process may have raised the run's limit between the items and the records.
                if not again or _stamp(path) == stamp:
                    raise
        self._kept[path] = kept
        self._kept.move_to_end(path)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return kept

    def _read_once(self, path: Path, stamp: tuple[int, ...]) -> _Kept:
        store = RunStore(path)
        kept = self._kept.get(path)
        fresh = kept is None or kept.stamp != stamp or _size(path / "records.jsonl") < kept.offset
        if kept is None or fresh:
            kept = _Kept(stamp, store.head(), {}, 0)
        new, kept.offset = store.records_since(kept.offset)
        if new:
            kept.records |= {(r.task, r.item_id): r for r in new}
            kept.data = replace(kept.data, records=list(kept.records.values()))
        if new or fresh:
            store.check_records(kept.data)
        return kept


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes when manifest or items are written anew."""
    found: list[int] = []
    for name in ("manifest.json", "items.jsonl"):
        try:
            stat = (path / name).stat()
        except OSError as e:
            raise StoreError(
                "{path} holds no run ({reason}). It may have been deleted: run it again.", path=path, reason=e.strerror
            ) from e
        found += [stat.st_mtime_ns, stat.st_size, stat.st_ino]
    return tuple(found)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
