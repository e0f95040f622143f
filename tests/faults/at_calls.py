"""Faults at the system calls of every command: killed, refused, cut short, stopped, told that it is another year."""

from __future__ import annotations

import errno
import functools
import signal
from collections.abc import Iterator

from tests.faults.bench import Bench, Workload
from tests.faults.shim import CHANGES, READS, Call, Fault, Mode
from tests.faults.verdict import Case

YEAR = 365 * 24 * 3_600
WRITES = Call.OPEN_W | Call.WRITE | Call.MKDIR
"""Calls for which a disk needs room."""

ERRORS: tuple[tuple[str, Call, Mode, int], ...] = (
    ("disk full from a call on", WRITES | Call.SYNC, Mode.FAIL_FROM, errno.ENOSPC),
    ("disk full once", WRITES, Mode.FAIL_ONCE, errno.ENOSPC),
    ("quota used up", WRITES, Mode.FAIL_FROM, errno.EDQUOT),
    ("short write, then full", Call.WRITE, Mode.SHORT_FROM, errno.ENOSPC),
    ("short write, then on", Call.WRITE, Mode.SHORT_ONCE, 0),
    ("I/O error of a write", Call.WRITE, Mode.FAIL_ONCE, errno.EIO),
    ("I/O error of fsync", Call.SYNC, Mode.FAIL_ONCE, errno.EIO),
    ("I/O error of a rename", Call.RENAME, Mode.FAIL_ONCE, errno.EIO),
    ("I/O error of a read", Call.READ, Mode.FAIL_ONCE, errno.EIO),
    ("I/O error of opening", Call.OPEN_R | Call.OPEN_W, Mode.FAIL_ONCE, errno.EIO),
    ("I/O error of looking at a file", Call.STAT | Call.LIST, Mode.FAIL_ONCE, errno.EIO),
    ("disk broken from a call on", CHANGES | READS, Mode.FAIL_FROM, errno.EIO),
    ("too many open files", Call.OPEN_R | Call.OPEN_W | Call.LIST, Mode.FAIL_FROM, errno.EMFILE),
    ("permission denied", Call.OPEN_W | Call.MKDIR | Call.RENAME | Call.UNLINK, Mode.FAIL_FROM, errno.EACCES),
    ("not readable", Call.OPEN_R | Call.LIST, Mode.FAIL_ONCE, errno.EACCES),
    ("read-only from a call on", CHANGES & ~Call.SYNC, Mode.FAIL_FROM, errno.EROFS),
    ("network file system gone", CHANGES | READS, Mode.FAIL_FROM, errno.ESTALE),
    ("no locks", Call.LOCK, Mode.FAIL_FROM, errno.ENOLCK),
    ("nothing can be removed", Call.UNLINK, Mode.FAIL_FROM, errno.EPERM),
)
"""Kind, calls, mode, errno."""


def spread(count: int, wanted: int, turn: int) -> list[int]:
    """Some of `count` numbers at equal distances, others for each turn."""
    if count <= wanted:
        return list(range(count))
    return sorted({(turn + k * count // wanted) % count for k in range(wanted)})


def cases(bench: Bench) -> Iterator[Case]:
    """All of them."""
    yield from kills(bench)
    for turn, (kind, calls, mode, error) in enumerate(ERRORS):
        for k, workload in enumerate(bench.workloads.values()):
            for at in spread(bench.calls(workload, calls), 3 if workload.name == "run" else 1, 7 * turn + 3 * k):
                fault = Fault(mode, at, calls, error)
                yield _case(kind, bench, workload, fault, errno.errorcode.get(error, ""))
    yield from _signals_and_clocks(bench)
    for workload in (bench.workloads[name] for name in ("run", "larger limit", "import .zip", "export .csv")):
        for room in (0, 100, 3_000, 5_000, 7_000, 9_000):
            yield _case("disk of a few bytes", bench, workload, Fault(Mode.FULL, calls=WRITES, amount=room), "")


def kills(bench: Bench) -> Iterator[Case]:
    """Killed around calls that change the disk."""
    for k, workload in enumerate(bench.workloads.values()):
        count, whole = bench.calls(workload), workload.name in ("run", "larger limit")
        for at in spread(count, 40 if whole else 5, k):
            yield _case("killed before a call", bench, workload, Fault(Mode.KILL_BEFORE, at))
        for at in spread(count, 12 if whole else 4, k + 1):
            yield _case("killed after a call", bench, workload, Fault(Mode.KILL_AFTER, at))
        writes = bench.calls(workload, Call.WRITE)
        for at in spread(writes, 8 if whole else 2, k):
            # Half, one byte, a place within a character, all but the line's end.
            amount = (0, 1, 37, -1, 101, -2, -20)[at % 7]
            yield _case("killed in a write", bench, workload, Fault(Mode.KILL_MIDDLE, at, Call.WRITE, amount=amount))
        for at in spread(bench.calls(workload, READS), 2, k):
            yield _case("killed while reading", bench, workload, Fault(Mode.KILL_BEFORE, at, READS))


def _signals_and_clocks(bench: Bench) -> Iterator[Case]:
    workloads = [bench.workloads[name] for name in ("run", "larger limit", "compare", "export .zip", "import log")]
    for k, workload in enumerate(workloads):
        count = bench.calls(workload)
        for number, name in ((signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "SIGINT"), (signal.SIGHUP, "SIGHUP")):
            for at in spread(count, 4 if not k else 1, 5 * k + number):
                yield _case(name, bench, workload, Fault(Mode.SIGNAL, at, error=number))
                yield _case(f"{name} twice", bench, workload, Fault(Mode.SIGNAL, at, error=number, amount=1))
        for years in (-20, -1, 1, 20):
            for at in spread(count, 2 if not k else 1, 5 * k + years):
                kind = f"clock {'forward' if years > 0 else 'back'}"
                yield _case(kind, bench, workload, Fault(Mode.CLOCK, at, amount=years * YEAR))


def _case(kind: str, bench: Bench, workload: Workload, fault: Fault, more: str = "") -> Case:
    where = f"{workload.name}, call {fault.at}{f', {fault.amount}' if fault.amount else ''} {more}".strip()
    do = functools.partial(bench.try_fault, workload, fault)
    return Case(kind, where, do)
