"""A child process under a limit of memory: of its control group, or of its addresses."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jglue_app.backends.free_memory import group_folders

KINDS = ("group", "addresses")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended."""

    code: int
    output: str
    peak: int | None = None
    """The most memory of its control group, in bytes."""

    @property
    def killed(self) -> bool:
        """Whether a signal ended it, or it ended without a word."""
        return self.code < 0 or (self.code != 0 and not self.output.strip())


@contextlib.contextmanager
def control_group(limit: int) -> Iterator[Path]:
    """A control group with a limit, below the one of this process; raises OSError where none can be made."""
    folders = group_folders()
    if not folders:
        raise OSError("this system has no control groups for memory")
    folder = folders[0] / f"jglue-memory-{os.getpid()}-{time.monotonic_ns()}"
    folder.mkdir()
    try:
        old = folder / "memory.limit_in_bytes"
        (old if old.exists() else folder / "memory.max").write_text(str(limit))
        yield folder
    finally:
        for _attempt in range(50):
            with contextlib.suppress(OSError):
                folder.rmdir()
                break
            time.sleep(0.1)


@contextlib.contextmanager
def entering(kind: str, limit: int | None) -> Iterator[tuple[Callable[[], None], Callable[[], int | None]]]:
    """What a child does before it begins, and what tells its peak afterwards."""
    if limit is None:
        yield lambda: None, lambda: None
    elif kind == "addresses":
        yield lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)), lambda: None
    else:
        with control_group(limit) as folder:

            def enter() -> None:
                (folder / "cgroup.procs").write_text(str(os.getpid()))

            def peak() -> int | None:
                for name in ("memory.max_usage_in_bytes", "memory.peak"):
                    with contextlib.suppress(OSError, ValueError):
                        return int((folder / name).read_text())
                return None

            yield enter, peak


def run_limited(
    command: Sequence[str],
    kind: str,
    limit: int | None,
    *,
    env: Mapping[str, str],
    seconds: float,
    until: Callable[[], bool] | None = None,
) -> Ended:
    """Run a command to its end, or until something is true of it.

    Args:
        command: the program and its arguments.
        kind: of the limit.
        limit: bytes; None for no limit.
        env: variables besides those of this process.
        seconds: after which it is ended.
        until: asked a few times a second; the child is ended when it is true, and its code is 0.
    """
    with entering(kind, limit) as (enter, peak):
        child = subprocess.Popen(
            list(command),
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=enter,
            start_new_session=True,
            text=True,
            errors="replace",
        )
        deadline, reached = time.monotonic() + seconds, False
        while until is not None and child.poll() is None and not reached and time.monotonic() < deadline:
            reached = until()
            time.sleep(0.2)
        if reached:
            os.killpg(child.pid, signal.SIGTERM)
        try:
            output, _ = child.communicate(timeout=max(1.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            output, _ = child.communicate()
            output += f"\n(ended after {seconds:.0f} s)"
        return Ended(0 if reached else child.returncode, output, peak())
