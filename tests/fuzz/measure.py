"""Running a target over its inputs: what it refuses, accepts, raises, and how long it takes."""

from __future__ import annotations

import gc
import resource
import signal
import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

from jglue_app.errors import JglueAppError
from tests.fuzz.shrink import shrunk
from tests.fuzz.target import Made, Target

MOST_MS = 50.0
"""CPU time that an input of ordinary length may take."""
MOST_MS_PER_MEGABYTE = 3_000.0
"""CPU time that a megabyte may take."""
KILL_SECONDS = 20.0
"""CPU time after which a reader is interrupted, as it might never end."""
MOST_MIB = 700
"""Memory by which the process may grow over all inputs of a target."""
MOST_KEPT = 8
"""Faults of a target that are shrunk and shown."""


class NeverEndsError(BaseException):
    """The reader was interrupted; no `Exception`, so that no reader takes it for one."""


@dataclass(frozen=True)
class Fault:
    """An input that broke the rule."""

    target: str
    number: int
    """Of the input; `--only TARGET --first NUMBER --inputs 1` makes it again, under the same seed."""
    what: str
    """The exception and where it came from, or the time it took."""
    made: str
    """The shrunk input, as Python writes it, cut off."""


@dataclass
class Result:
    """One row of the table."""

    name: str
    inputs: int = 0
    refused: int = 0
    accepted: int = 0
    foreign: int = 0
    slow: int = 0
    """Inputs that took more than `MOST_MS`."""
    allowed: int = 0
    """Of these, the ones within the target's allowance, which are no faults."""
    note: str = ""
    """What the allowance is, and why."""
    median_ms: float = 0.0
    most_ms: float = 0.0
    megabyte_ms: float | None = None
    grown_mib: float = 0.0
    faults: list[Fault] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether anything got through."""
        return bool(self.faults)


def run_target(target: Target, seed: int, inputs: int, first: int = 0, *, large: bool = True) -> Result:
    """Try `inputs` inputs of one target, numbered from `first`, and its large ones."""
    result = Result(target.name)
    most_ms = MOST_MS
    if target.allowance is not None:
        most_ms, result.note = target.allowance.ms, f"up to {target.allowance.ms:,.0f} ms: {target.allowance.why}"
    times: list[float] = []
    kinds: set[str] = set()
    for example in target.examples:
        outcome = _outcome(target, example)[0]
        if outcome != "accepted":
            result.faults.append(
                Fault(target.name, -1, f"a valid example is not accepted: {outcome}", repr(example)[:300])
            )
    gc.collect()
    gc.freeze()
    before = peak_mib()
    for number in range(first, first + max(1, round(inputs * target.share))):
        made = made_input(target, seed, number)
        outcome, ms = _timed(target, made, MOST_MS)
        times.append(ms)
        result.inputs += 1
        _count(result, outcome, ms > MOST_MS)
        result.allowed += MOST_MS < ms <= most_ms
        if outcome not in ("accepted", "refused") or ms > most_ms:
            _keep(result, kinds, target, number, made, outcome, ms)
    for number, made in enumerate(target.large() if target.large and large else ()):
        outcome, ms = _timed(target, made, MOST_MS_PER_MEGABYTE)
        result.megabyte_ms = max(ms, result.megabyte_ms or 0.0)
        if outcome not in ("accepted", "refused") or ms > MOST_MS_PER_MEGABYTE:
            _count(result, outcome, ms > MOST_MS_PER_MEGABYTE)
            what = outcome if outcome not in ("accepted", "refused") else f"{ms:.0f} ms for a megabyte"
            result.faults.append(Fault(target.name, -2 - number, what, f"{made[:30]!r}… ({len(made):,})"))
    result.grown_mib = peak_mib() - before
    if result.grown_mib > MOST_MIB:
        result.faults.append(Fault(target.name, -1, f"memory grew by {result.grown_mib:.0f} MiB", ""))
    result.median_ms, result.most_ms = statistics.median(times), max(times)
    return result


def made_input(target: Target, seed: int, number: int) -> Made:
    return target.make(Random(f"{seed}/{target.name}/{number}"))


def _count(result: Result, outcome: str, slow: bool) -> None:
    result.refused += outcome == "refused"
    result.accepted += outcome == "accepted"
    result.foreign += outcome not in ("refused", "accepted")
    result.slow += slow


def _timed(target: Target, made: Made, limit: float) -> tuple[str, float]:
    """The outcome and its CPU time; one above the limit is measured again, as other work of the machine adds to it."""
    outcome, ms = _outcome(target, made)
    for _ in range(2):
        if limit < ms < 1_000 * KILL_SECONDS / 2:
            ms = min(ms, _outcome(target, made)[1])
    return outcome, ms


def _outcome(target: Target, made: Made) -> tuple[str, float]:
    """`accepted`, `refused`, or the fault in words, and the CPU time in ms."""
    given = target.place(made) if target.place else made
    # Not the process's time: while a timer runs, the kernel brings that up to date only now and then.
    start = time.thread_time()
    try:
        with _interrupted():
            target.read(given)
        outcome = "accepted"
    except JglueAppError as e:
        outcome = "refused"
        sentence = str(e)
        if not sentence.strip() or "Traceback" in sentence:
            outcome = f"a refusal without a sentence: {type(e).__name__}"
    except target.allowed:
        outcome = "refused"
    except NeverEndsError as e:
        outcome = f"never ends: {_place(e)}"
    except Exception as e:
        outcome = f"{type(e).__name__}: {str(e)[:120]} at {_place(e)}"
    return outcome, 1_000 * (time.thread_time() - start)


def _place(error: BaseException) -> str:
    """Where in our own code an exception came from."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "jglue_app" in frame.filename and "/tests/" not in frame.filename] or frames
    frame = ours[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"


@contextmanager
def _interrupted() -> Iterator[None]:
    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise NeverEndsError

    before = signal.signal(signal.SIGVTALRM, interrupt)
    signal.setitimer(signal.ITIMER_VIRTUAL, KILL_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _keep(result: Result, kinds: set[str], target: Target, number: int, made: Made, outcome: str, ms: float) -> None:
    """Keep the first fault of each kind, shrunk."""
    slow = outcome in ("accepted", "refused")
    kind = "slow" if slow else outcome.split(" at ")[-1] + outcome.split(":")[0]
    if kind in kinds or len(kinds) >= MOST_KEPT:
        return
    kinds.add(kind)
    fails: Callable[[Any], bool]
    if slow:
        smaller, what = made, f"{ms:.0f} ms"
    else:
        place = outcome.split(" at ")[-1]

        def fails(other: Any) -> bool:
            found = _outcome(target, other)[0]
            return found.split(":")[0] == outcome.split(":")[0] and found.split(" at ")[-1] == place

        ends = outcome.startswith("never")
        smaller, what = (made if ends else shrunk(made, fails)), outcome
    text = repr(smaller)
    length = f" ({len(smaller):,} long)" if isinstance(smaller, str | bytes) and len(text) > 300 else ""
    result.faults.append(Fault(target.name, number, what, text[:300] + length))


def peak_mib() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
