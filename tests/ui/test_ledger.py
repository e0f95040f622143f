"""What visitors use of an endpoint: never beyond a limit, whatever is killed and however many write."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from jglue_app.ui.ledger import Ledger, LedgerError, Limits, VisitorAccount, today

ROOT = Path(__file__).resolve().parents[2]
DAY = "2026-01-31"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "new folder" / "visitors.sqlite")


def account(ledger: Ledger, visitor: str, limits: Limits, endpoint: str = "openai", day: str = DAY) -> VisitorAccount:
    return ledger.account(endpoint, visitor, limits, day)


def test_a_visitor_has_a_share_and_all_have_one_together(ledger: Ledger) -> None:
    limits = Limits(budget=1.0, budget_per_day=1.5)
    first, second = (account(ledger, name, limits) for name in ("a", "b"))
    assert first.reserve(0.75)
    first.settle(0.75, 0.6)
    assert first.used.cost == 0.6
    assert not first.reserve(0.41) and first.reserve(0.4)
    first.settle(0.4, 0.4)
    assert not second.reserve(0.51), "all together: 1.0 of 1.5 are used"
    assert second.reserve(0.5)
    assert (second.used.cost, second.used_by_all.cost) == (0.5, 1.5)
    assert not account(ledger, "with a new cookie", limits).reserve(0.000001)


def test_endpoints_and_days_count_for_themselves(ledger: Ledger) -> None:
    limits = Limits(budget=1.0, budget_per_day=1.0)
    assert account(ledger, "a", limits).reserve(1.0)
    assert not account(ledger, "a", limits).reserve(0.1)
    assert account(ledger, "a", limits, endpoint="other").reserve(1.0)
    assert account(ledger, "a", limits, day="2026-02-01").reserve(1.0)
    assert ledger.account("openai", "a", limits).day == today()


def test_tokens_are_limited_where_nothing_is_paid(ledger: Ledger) -> None:
    limits = Limits(tokens=100, tokens_per_day=150)
    first, second = (account(ledger, name, limits) for name in ("a", "b"))
    assert first.reserve(0.0, 80) and not first.reserve(0.0, 21)
    first.settle(0.0, 0.0, 80, 50)
    assert first.used.tokens == 50 and first.reserve(0.0, 50)
    assert not second.reserve(0.0, 51) and second.reserve(0.0, 50)


def test_ten_tenths_are_one(ledger: Ledger) -> None:
    of = account(ledger, "a", Limits(budget=1.0))
    assert all(of.reserve(0.1) for _ in range(10))
    assert of.used.cost == 1.0 and not of.reserve(1e-9)


def test_amounts_below_a_nano_are_not_nothing(ledger: Ledger) -> None:
    of = account(ledger, "a", Limits(budget=3e-9))
    assert [of.reserve(1e-10) for _ in range(4)] == [True, True, True, False]


def test_it_is_there_after_a_restart(tmp_path: Path) -> None:
    path, limits = tmp_path / "l.sqlite", Limits(budget=1.0)
    ledger = Ledger(path)
    assert account(ledger, "a", limits).reserve(0.9)
    ledger.close()
    assert not account(Ledger(path), "a", limits).reserve(0.2)


def test_the_file_holds_no_visitor_id(tmp_path: Path) -> None:
    folder, visitor = tmp_path / "ledger", "cookie-of-somebody-1234"
    ledger = Ledger(folder / "l.sqlite")
    assert account(ledger, visitor, Limits()).reserve(1.0)
    ledger.close()
    assert all(visitor.encode() not in path.read_bytes() for path in folder.iterdir())


def test_a_damaged_file_refuses_and_says_so_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "l.sqlite"
    path.write_bytes(b"this is no database" * 100)
    of = account(Ledger(path), "a", Limits(budget=1.0))
    with caplog.at_level(logging.ERROR):
        assert not of.reserve(0.1)
        of.settle(0.1, 0.1)
    assert len(caplog.records) == 2
    with pytest.raises(LedgerError):
        _ = of.used


def test_threads_never_go_past_the_limit(ledger: Ledger) -> None:
    limits = Limits(budget=0.5, budget_per_day=1.0)
    start = threading.Barrier(8)
    granted: list[float] = []

    def work(number: int) -> None:
        of = account(ledger, f"visitor {number % 4}", limits)
        start.wait()
        for _ in range(20):
            if of.reserve(0.03125):
                of.settle(0.03125, 0.015625)
                granted.append(0.015625)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    used = account(ledger, "visitor 0", limits).used_by_all.cost
    assert used == sum(granted) and 0.9 < used <= 1.0


CHILD = """
import sys
from pathlib import Path
from jglue_app.ui.ledger import Ledger, Limits

of = Ledger(Path(sys.argv[1])).account("openai", sys.argv[2], Limits(budget=0.75, budget_per_day=1.0), "2026-01-31")
print("ready", flush=True)
while of.reserve(0.0078125):
    print("sent", flush=True)  # From here on it may have been paid.
    of.settle(0.0078125, 0.00390625)
    print("paid", flush=True)
print("end", flush=True)
sys.stdin.read()
"""


def test_processes_that_are_killed_leave_no_uncounted_request_and_no_locked_file(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path), visitor],
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for visitor in ("a", "b")
    ]
    lines: list[list[str]] = [[], []]
    for number, child in enumerate(children):
        assert child.stdout is not None
        # Killed somewhere in its work, one after some requests and one after more.
        while lines[number].count("sent") < 20 + 15 * number:
            lines[number].append(child.stdout.readline().strip())
        os.kill(child.pid, signal.SIGKILL)
        lines[number] += child.stdout.read().split()
        child.wait()
        assert child.stdin is not None
        child.stdin.close()
        child.stdout.close()
    paid = [of.count("paid") * 0.00390625 for of in lines]
    at_most = [of.count("sent") * 0.0078125 for of in lines]
    limits = Limits(budget=0.75, budget_per_day=1.0)
    ledger = Ledger(path)
    for visitor, least, most in zip("ab", paid, at_most, strict=True):
        of = account(ledger, visitor, limits)
        # One more may have been counted that was not sent.
        assert least <= of.used.cost <= min(most + 0.0078125, 0.75)
    together = account(ledger, "c", Limits(budget_per_day=1.0))
    assert together.used_by_all.cost <= 1.0
    assert together.reserve(1.0 - together.used_by_all.cost) and not together.reserve(0.001)
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)
