"""Answers that were paid for, kept so that nothing is paid twice: in one SQLite file for each model and its handshake.

An answer is kept as soon as it has arrived, before anything is made of it: a process that is killed between that and
the record of the run finds it here again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

MAX_AGE_S = 30 * 24 * 3600
"""Older ones are dropped."""
TIMEOUT_S = 30.0
"""How long another process that writes is waited for."""


class PaidAnswers:
    """The kept answers of one server, as it was found by a handshake. Safe for several threads and processes.

    Where the file cannot be written, nothing is kept, and requests are sent as if there were none.
    """

    def __init__(self, folder: Path, identity: Mapping[str, str]) -> None:
        name = hashlib.sha256(json.dumps(dict(identity), sort_keys=True).encode()).hexdigest()[:32]
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        with contextlib.suppress(OSError, sqlite3.Error):
            folder.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(folder / f"{name}.sqlite", timeout=TIMEOUT_S, check_same_thread=False)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute(
                "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, time REAL NOT NULL, body TEXT NOT NULL, "
                "recorded INTEGER NOT NULL DEFAULT 0)"
            )
            db.execute("DELETE FROM answers WHERE time < ?", (time.time() - MAX_AGE_S,))
            db.commit()
            self._db = db

    @staticmethod
    def key(path: str, body: Mapping[str, Any]) -> str:
        """What names an answer: its request."""
        text = json.dumps([path, body], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def get(self, key: str) -> tuple[dict[str, Any], bool] | None:
        """The answer to a request, and whether a record was made of it; None if none is kept."""
        with self._lock, contextlib.suppress(sqlite3.Error, ValueError):
            row = self._db and self._db.execute("SELECT body, recorded FROM answers WHERE key = ?", (key,)).fetchone()
            if row:
                answer = json.loads(row[0])
                return (answer, bool(row[1])) if isinstance(answer, dict) else None
        return None

    def put(self, key: str, answer: Mapping[str, Any]) -> None:
        """Keep an answer; it is on the disk when this returns."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            if self._db:
                row = (key, time.time(), json.dumps(answer, ensure_ascii=True))
                self._db.execute("INSERT OR REPLACE INTO answers (key, time, body) VALUES (?, ?, ?)", row)
                self._db.commit()

    def recorded(self, keys: Iterable[str]) -> None:
        """Note that a record was made of some answers: another run that finds them does not pay for them."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            if self._db:
                self._db.executemany("UPDATE answers SET recorded = 1 WHERE key = ?", [(key,) for key in keys])
                self._db.commit()

    def drop_since(self, when: float) -> None:
        """Drop the answers that were kept since a time (seconds since 1970): it is not sure which model gave them."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            if self._db:
                self._db.execute("DELETE FROM answers WHERE time >= ?", (when,))
                self._db.commit()

    def close(self) -> None:
        """Close the file; calling it twice is fine."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            if self._db:
                self._db.close()
            self._db = None
