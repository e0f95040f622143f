"""Caches of what was read from stored runs and computed from them.

Two caches, both bounded in bytes (the least recently used entry is evicted first) and safe to use from several threads:
concurrent requests for the same run read and compute it once, and requests for different runs do not wait for each
other.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar, cast
from weakref import WeakValueDictionary

from cachetools import LRUCache

from jglue_app.errors import StoreError, reason_of
from jglue_app.runs.store import TRIES, FileVersion, RunStore
from jglue_app.scoring.judged import Judged, judge_run
from jglue_app.scoring.protocols import judge_all
from jglue_app.scoring.types import Judgement
from jglue_app.tasks import TASKS
from jglue_app.types import Record, RunData

MAX_RUN_BYTES = 512 * 2**20
"""Estimated memory of all cached runs."""
MIN_RUN_BYTES = MAX_RUN_BYTES // 64
"""Smallest size that a run counts as, so that at most 64 are cached."""
MAX_RESULT_BYTES = 64 * 2**20
"""Estimated memory of all cached reports, comparisons and other results."""

BYTES_PER_FILE_BYTE = 2.5
"""Memory of items and records for each byte of their files; measured at 2.1."""
BYTES_PER_JUDGEMENT = 800
"""Memory of a judged item; measured at 440 to 720."""
BYTES_PER_PICKLED_BYTE = 4
BYTES_PER_KEY = 1_024
"""Memory of a result's key and of the entry itself."""

T = TypeVar("T")
RunVersion = tuple[FileVersion, FileVersion]
"""Of manifest and items."""


class KeyLocks:
    """A lock for each key, which exists while a thread holds it or waits for it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: WeakValueDictionary[Hashable, threading.Lock] = WeakValueDictionary()

    def of(self, key: Hashable) -> threading.Lock:
        """The lock of a key."""
        with self._guard:
            return self._locks.setdefault(key, threading.Lock())


class ResultCache:
    """Computed results, each with the version of the files that it was computed from."""

    def __init__(self, max_bytes: int = MAX_RESULT_BYTES) -> None:
        self._locks = KeyLocks()
        self._guard = threading.Lock()
        self._entries: LRUCache[Hashable, _Result] = LRUCache(max_bytes, getsizeof=lambda entry: entry.size)

    def get(self, key: Hashable, version: Hashable, compute: Callable[[], T]) -> T:
        """The result of a key, computed unless it is cached for this version of the files.

        Take the version before `compute` reads anything: if files change in between, the next call has another version.
        """
        with self._locks.of(key):
            with self._guard:
                entry = self._entries.get(key)
            if entry is not None and entry.version == version:
                return cast(T, entry.value)
            value = compute()
            size = BYTES_PER_PICKLED_BYTE * len(pickle.dumps(value)) + BYTES_PER_KEY
            with self._guard:
                self._entries.pop(key, None)
                if size <= self._entries.maxsize:
                    self._entries[key] = _Result(version, value, size)
            return value


@dataclass(frozen=True, slots=True)
class _Result:
    version: Hashable
    value: object
    size: int


@dataclass(slots=True)
class _LoadedRun:
    """A run in memory. Its values are replaced, not modified, when the run grows, so earlier results stay valid."""

    version: RunVersion
    """Of manifest and items."""
    data: RunData
    records_file: FileVersion | None = None
    """Version of `records.jsonl`."""
    offset: int = 0
    """Bytes of `records.jsonl` that have been read."""
    file_bytes: int = 0
    judged: dict[str, Judged] = field(default_factory=dict)
    """Protocol → task → item id → judged item, of `data` or of an earlier state of it."""
    current: set[str] = field(default_factory=set)
    """Protocols whose judged items are those of `data`."""
    item_judgements: dict[tuple[str, str], tuple[Record, dict[str, Judgement]]] = field(default_factory=dict)
    """(Task, item id) → record, and protocol → judgement, of items that were opened."""

    @property
    def size(self) -> int:
        """Estimated memory in bytes."""
        judgements = sum(len(rows) for tasks in self.judged.values() for rows in tasks.values())
        judgements += sum(len(by_protocol) for _, by_protocol in self.item_judgements.values())
        size = int(BYTES_PER_FILE_BYTE * self.file_bytes) + BYTES_PER_JUDGEMENT * judgements
        # A run that is larger than the whole cache is cached as the only one.
        return min(max(size, MIN_RUN_BYTES), MAX_RUN_BYTES)


class RunCache:
    """Runs as stored, with their judged items. When a run has grown, only the new lines are read and judged."""

    def __init__(self) -> None:
        self._locks = KeyLocks()
        self._guard = threading.Lock()
        self._runs: LRUCache[Path, _LoadedRun] = LRUCache(MAX_RUN_BYTES, getsizeof=lambda run: run.size)

    def data(self, path: Path) -> RunData:
        """Everything that is stored of a run; raises StoreError if there is none, or a damaged one."""
        with self._locks.of(path):
            return self._load(path).data

    def judged(self, path: Path, protocol: str) -> tuple[RunData, Judged]:
        """The run and its judged items, as from `judge_run`; raises StoreError, UnknownNameError."""
        with self._locks.of(path):
            run = self._load(path)
            if protocol not in run.current:
                run.judged[protocol] = judge_run(run.data, protocol, run.judged.get(protocol))
                run.current.add(protocol)
                self._keep(path, run)
            return run.data, run.judged[protocol]

    def judged_once(self, path: Path, protocol: str) -> tuple[RunData, Judged]:
        """The same for a reader that looks at many runs, each once: a large run that is not cached is not
        cached for it, as it would push out others. Raises StoreError, UnknownNameError."""
        with self._guard:
            is_cached = path in self._runs
        store = RunStore(path)
        size = sum(file.size for file in (*store.version(), store.file_version("records.jsonl")) if file is not None)
        fits = BYTES_PER_FILE_BYTE * size <= MIN_RUN_BYTES
        return (self if is_cached or fits else RunCache()).judged(path, protocol)

    def item_judgements(self, path: Path, task: str, item_id: str) -> dict[str, Judgement]:
        """Protocol → judgement of one item; empty if it has no record. Raises StoreError."""
        with self._locks.of(path):
            run = self._load(path)
            record = next((r for r in run.data.records if (r.task, r.item_id) == (task, item_id)), None)
            item = run.data.items.get(task, {}).get(item_id)
            if record is None or item is None:
                return {}
            cached = run.item_judgements.get((task, item_id))
            if cached is None or cached[0] is not record:
                cached = record, judge_all(TASKS[task], item, record)
                run.item_judgements[task, item_id] = cached
                self._keep(path, run)
            return cached[1]

    def forget(self, path: Path) -> None:
        """Remove a run from the cache."""
        with self._guard:
            self._runs.pop(path, None)

    def _keep(self, path: Path, run: _LoadedRun) -> None:
        with self._guard:
            # Set again, because the cache computes the size only when an entry is set.
            self._runs.pop(path, None)
            self._runs[path] = run

    def _load(self, path: Path) -> _LoadedRun:
        """The run as its files are now. The caller holds the lock of the path."""
        store = RunStore(path)
        for attempt in range(1, TRIES + 1):
            version = version_of(store)
            try:
                run = self._read(store, version)
                break
            except StoreError:
                self.forget(path)
                # Another process may have raised the run's limit between the items and the records.
                if attempt == TRIES or store.version() == version:
                    raise
        return run

    def _read(self, store: RunStore, version: RunVersion) -> _LoadedRun:
        with self._guard:
            loaded = self._runs.get(store.path)
        records_file = store.file_version("records.jsonl")
        if loaded is not None and (loaded.version, loaded.records_file) == (version, records_file):
            return loaded
        if loaded is None or loaded.version != version or not _has_grown(loaded, records_file):
            loaded = _LoadedRun(version, store.head())
        new_records, offset = store.records_since(loaded.offset)
        records = {(r.task, r.item_id): r for r in (*loaded.data.records, *new_records)}
        data = replace(loaded.data, records=list(records.values())) if new_records else loaded.data
        store.check_records(data)
        run = replace(
            loaded,
            data=data,
            records_file=records_file,
            offset=offset,
            file_bytes=offset + sum(file.size for file in version),
            current=loaded.current if data is loaded.data else set(),
        )
        self._keep(store.path, run)
        return run


def version_of(store: RunStore) -> RunVersion:
    """The version of the manifest and items of a run; raises StoreError if one is missing."""
    manifest, items = store.version()
    if manifest is None or items is None:
        try:
            next(store.path.iterdir(), None)
        except OSError as e:
            raise StoreError(
                "{path} holds no run ({reason}). It may have been deleted: run it again.",
                path=store.path,
                reason=reason_of(e),
            ) from e
        store.head()  # Names the file that is missing, and how to get it back.
        return version_of(store)  # Another process has just written it.
    return manifest, items


def _has_grown(run: _LoadedRun, records_file: FileVersion | None) -> bool:
    """Whether lines were only appended to the records since they were read."""
    last_read = run.records_file
    if last_read is None:
        return run.offset == 0
    return records_file is not None and records_file.inode == last_read.inode and records_file.size > last_read.size
