"""Which items of which runs each visitor of a public server has requested, and so may see.

That is in one SQLite file beside the runs, so that visitors find their runs again after a restart.

Of a visitor only a checksum is kept: who reads the file cannot become that visitor. Where the file cannot be read or
written, what visitors request is remembered until the server stops.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from cachetools import LRUCache

FILE = ".owners.sqlite"
"""In the folder of runs."""
KEPT_DAYS = 90
TIMEOUT_S = 10.0
"""How long another process that writes is waited for."""
Requested = Mapping[str, Mapping[str, frozenset[str]]]
"""Run → task → ids of items."""

log = logging.getLogger(__name__)


class Ownership:
    """What each visitor has requested. Safe for several threads and processes.

    Args:
        path: of the file, which is made when it is first needed; None to keep it in memory alone.
        most: visitors that are remembered; those who have not come for longest are forgotten first.
    """

    def __init__(self, path: Path | None, most: int) -> None:
        self._path, self._most = path, most
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._known: LRUCache[str, dict[str, dict[str, frozenset[str]]]]
        self._known = LRUCache(most if path is None else max(1, most // 10))
        self._came: dict[str, int] = {}
        """Visitor → when they came, of those who have come since it was last written."""

    def of(self, owner: str) -> Requested:
        """What an owner has requested."""
        with self._lock:
            return {run: dict(tasks) for run, tasks in self._of(owner).items()}

    def add(self, owner: str, runs: Iterable[tuple[str, Mapping[str, frozenset[str]]]]) -> None:
        """An owner has requested more.

        Args:
            owner: the visitor.
            runs: each run and its task → ids of items.
        """
        with self._lock:
            known = self._of(owner)
            changed = False
            for run, ids_by_task in runs:
                tasks = known.setdefault(run, {})
                for task, ids in ids_by_task.items():
                    both = tasks.get(task, frozenset()) | ids
                    if tasks.get(task) != both:
                        tasks[task], changed = both, True
                        self._write(owner, run, task, both)
            self._known[owner] = known
            self._came[_checksum(owner)] = time.time_ns()
            if changed and self._db is not None:
                self._commit()

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        with self._lock:
            if self._db is not None:
                self._db.close()
            self._db = None

    def _of(self, owner: str) -> dict[str, dict[str, frozenset[str]]]:
        known = self._known.get(owner)
        if known is None:
            known = self._known[owner] = self._read(owner)
        return known

    def _read(self, owner: str) -> dict[str, dict[str, frozenset[str]]]:
        found: dict[str, dict[str, frozenset[str]]] = {}
        try:
            db = self._connection()
            rows = (
                db.execute("SELECT run, task, ids FROM requested WHERE visitor = ?", (_checksum(owner),)) if db else ()
            )
            for run, task, ids in rows:
                found.setdefault(str(run), {})[str(task)] = frozenset(map(str, json.loads(ids)))
        except (sqlite3.Error, OSError, ValueError):
            self._give_up()
        return found

    def _write(self, owner: str, run: str, task: str, ids: frozenset[str]) -> None:
        try:
            if db := self._connection(make=True):
                row = (_checksum(owner), run, task, json.dumps(sorted(ids)))
                db.execute("INSERT OR REPLACE INTO requested VALUES (?, ?, ?, ?)", row)
        except (sqlite3.Error, OSError):
            self._give_up()

    def _commit(self) -> None:
        """Write when visitors have come, forget the oldest, and keep what was written."""
        try:
            db = self._connection()
            if db is None:
                return
            db.executemany("INSERT OR REPLACE INTO visitors VALUES (?, ?)", self._came.items())
            self._came.clear()
            (count,) = db.execute("SELECT COUNT(*) FROM visitors").fetchone()
            oldest = "SELECT visitor FROM visitors ORDER BY came LIMIT ?"
            for (visitor,) in db.execute(oldest, (max(0, count - self._most),)).fetchall():
                db.execute("DELETE FROM visitors WHERE visitor = ?", (visitor,))
                db.execute("DELETE FROM requested WHERE visitor = ?", (visitor,))
            db.commit()
        except sqlite3.Error:
            self._give_up()

    def _connection(self, *, make: bool = False) -> sqlite3.Connection | None:
        if self._db is None and self._path is not None:
            if not (make or self._path.is_file()):
                return None
            self._path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(self._path, timeout=TIMEOUT_S, check_same_thread=False)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("CREATE TABLE IF NOT EXISTS visitors (visitor TEXT PRIMARY KEY, came INTEGER NOT NULL)")
            db.execute(
                "CREATE TABLE IF NOT EXISTS requested (visitor TEXT, run TEXT, task TEXT, ids TEXT NOT NULL, "
                "PRIMARY KEY (visitor, run, task)) WITHOUT ROWID"
            )
            oldest = time.time_ns() - KEPT_DAYS * 24 * 3_600 * 10**9
            db.execute("DELETE FROM visitors WHERE came < ?", (oldest,))
            db.execute("DELETE FROM requested WHERE visitor NOT IN (SELECT visitor FROM visitors)")
            db.commit()
            self._db = db
        return self._db

    def _give_up(self) -> None:
        log.exception("who has requested which runs cannot be kept in %s, and is forgotten at a restart", self._path)
        self._path, self._db = None, None


def _checksum(owner: str) -> str:
    return hashlib.sha256(owner.encode("utf-8", "surrogatepass")).hexdigest()[:32]
