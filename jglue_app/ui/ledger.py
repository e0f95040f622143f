"""What visitors of a public server have used of each endpoint, by visitor and day, in one SQLite file.

An amount is added when a request is about to be sent, at the most that it may cost, and corrected when it was answered.
So a process that is killed in between leaves too much in the file, never too little. Days are those of UTC. Of a
visitor only a checksum is kept.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import logging
import math
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

NANO = 10**9
"""Parts of a unit of money in which amounts are kept: whole numbers add up without error."""
TIMEOUT_S = 30.0
"""How long another process that writes is waited for."""
KEPT_DAYS = 400

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be used of an endpoint in a day; None for no limit."""

    budget: float | None = None
    """Money of one visitor."""
    budget_per_day: float | None = None
    """Money of all visitors together."""
    tokens: int | None = None
    """Tokens, in and out, of one visitor."""
    tokens_per_day: int | None = None
    """Tokens of all visitors together."""


class Used(NamedTuple):
    """What was used of an endpoint in a day."""

    cost: float
    tokens: int


class LedgerError(Exception):
    """The file cannot be read or written."""


class Ledger:
    """The file. Safe for several threads and processes.

    Args:
        path: of the file; it is made with its folder when it is first needed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None

    def account(self, endpoint: str, visitor: str, limits: Limits, day: str | None = None) -> VisitorAccount:
        """The account of a visitor at an endpoint for one day; today's where none is given."""
        return VisitorAccount(self, endpoint, visitor, limits, day or today())

    def used(self, endpoint: str, day: str, visitor: str | None = None) -> Used:
        """What one visitor, or all together, have used in a day; raises LedgerError."""
        with self._lock, self._faults():
            nanos, tokens = _used(self._connection(), endpoint, day, visitor)
            return Used(nanos / NANO, tokens)

    def add(self, endpoint: str, visitor: str, day: str, cost: float, tokens: int, limits: Limits) -> bool:
        """Add an amount unless that exceeds a limit; whether it was added. Raises LedgerError."""
        with self._lock, self._faults():
            db = self._connection()
            with _transaction(db):
                own, of_all = (_used(db, endpoint, day, who) for who in (visitor, None))
                if not _fits(own, of_all, _nano(cost), tokens, limits):
                    return False
                _add(db, endpoint, visitor, day, _nano(cost), tokens)
            return True

    def correct(
        self, endpoint: str, visitor: str, day: str, cost: tuple[float, float], tokens: tuple[int, int]
    ) -> None:
        """Replace what was added for a request by what it did take; raises LedgerError.

        Args:
            endpoint, visitor, day: as they were added.
            cost: (added, real).
            tokens: (added, real).
        """
        with self._lock, self._faults():
            db = self._connection()
            with _transaction(db):
                _add(db, endpoint, visitor, day, _nano(cost[1]) - _nano(cost[0]), tokens[1] - tokens[0])

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        with self._lock:
            if self._db is not None:
                self._db.close()
            self._db = None

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Transactions are begun and ended here, not by the module.
            db = sqlite3.connect(self._path, timeout=TIMEOUT_S, check_same_thread=False, isolation_level=None)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute(
                "CREATE TABLE IF NOT EXISTS used (endpoint TEXT, day TEXT, visitor TEXT, cost INTEGER NOT NULL, "
                "tokens INTEGER NOT NULL, PRIMARY KEY (endpoint, day, visitor)) WITHOUT ROWID"
            )
            oldest = datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(days=KEPT_DAYS)
            db.execute("DELETE FROM used WHERE day < ?", (oldest.isoformat(),))
            self._db = db
        return self._db

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as e:
            raise LedgerError(str(e)) from e


class VisitorAccount:
    """What one visitor may use of an endpoint on the day on which a job begins; an `Account`.

    A request is refused where the file cannot be written: what is not counted is not sent.
    """

    def __init__(self, ledger: Ledger, endpoint: str, visitor: str, limits: Limits, day: str) -> None:
        self._ledger, self._endpoint, self.limits, self.day = ledger, endpoint, limits, day
        self._visitor = hashlib.sha256(visitor.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    @property
    def used(self) -> Used:
        """What the visitor has used; raises LedgerError."""
        return self._ledger.used(self._endpoint, self.day, self._visitor)

    @property
    def used_by_all(self) -> Used:
        """What all visitors have used together; raises LedgerError."""
        return self._ledger.used(self._endpoint, self.day)

    def reserve(self, cost: float, tokens: int = 0) -> bool:
        """See `types.Account`."""
        try:
            return self._ledger.add(self._endpoint, self._visitor, self.day, cost, tokens, self.limits)
        except LedgerError:
            log.exception("what visitors use cannot be counted, and nothing is sent for them")
            return False

    def settle(self, reserved: float, cost: float, reserved_tokens: int = 0, tokens: int = 0) -> None:
        """See `types.Account`."""
        try:
            amounts = (reserved, cost), (reserved_tokens, tokens)
            self._ledger.correct(self._endpoint, self._visitor, self.day, *amounts)
        except LedgerError:
            log.exception("what a visitor has used stays counted at the most that it may have been")

    def hold(self, cost: float) -> None:
        """See `types.Account`. It was added when its request was sent."""


def today() -> str:
    """The day in UTC, such as `2026-11-29`."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def _nano(amount: float) -> int:
    """An amount of money in whole nanos, rounded up."""
    return math.ceil(round(amount * NANO, 3))


def _fits(own: tuple[int, int], of_all: tuple[int, int], cost: int, tokens: int, limits: Limits) -> bool:
    """Whether an amount fits into all limits; `own` and `of_all` are (nanos, tokens) used, `cost` is in nanos."""
    money = ((own[0], limits.budget), (of_all[0], limits.budget_per_day))
    counts = ((own[1], limits.tokens), (of_all[1], limits.tokens_per_day))
    return all(most is None or used + cost <= _nano(most) for used, most in money) and all(
        most is None or used + tokens <= most for used, most in counts
    )


def _used(db: sqlite3.Connection, endpoint: str, day: str, visitor: str | None) -> tuple[int, int]:
    """Nanos of money, and tokens."""
    where, values = "endpoint = ? AND day = ?", [endpoint, day]
    if visitor is not None:
        where, values = f"{where} AND visitor = ?", [*values, visitor]
    query = f"SELECT COALESCE(SUM(cost), 0), COALESCE(SUM(tokens), 0) FROM used WHERE {where}"  # No input.
    cost, tokens = db.execute(query, values).fetchone()
    return int(cost), int(tokens)


def _add(db: sqlite3.Connection, endpoint: str, visitor: str, day: str, cost: int, tokens: int) -> None:
    db.execute(
        "INSERT INTO used VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET cost = cost + excluded.cost, "
        "tokens = tokens + excluded.tokens",
        (endpoint, day, visitor, cost, tokens),
    )


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, and nobody else writes in between."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
