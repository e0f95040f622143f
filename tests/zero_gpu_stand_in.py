"""A stand-in for the decorator of Hugging Face's package `spaces`, which forks and kills as that does on ZeroGPU.

As there: the duration is asked of a callable with the arguments of the call; the request is refused if the quota has no
room for it; the arguments are pickled into a process that was forked from this one; each value that the generator
yields is pickled back; of an exception only the name of its class comes back; a process whose seconds are over is
killed; one that has ended is used again if the service says that it is idle.

Seconds are as long as `second` says, so that a test does not wait for real ones.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any


class GradioError(Exception):
    """As `gradio.Error`: its title says what happened."""

    def __init__(self, title: str, message: str) -> None:
        super().__init__(message)
        self.title, self.message = title, message


@dataclass
class ZeroGpu:
    """The service and the decorator."""

    second: float = 1.0
    """Seconds that one second of a request lasts here, until a process was killed; then a real one."""
    quota: float = float("inf")
    """Seconds that the visitor has left; what was asked for has to be within, what was used is charged."""
    reuse: bool = True
    """Whether a process that has ended is used again."""
    kill_after: list[int | None] = field(default_factory=list)
    """Of each call in turn, the number of values after which its process is killed; None, and afterwards, for never."""
    refuse: list[GradioError | None] = field(default_factory=list)
    """Of each call in turn, what it is refused with; None, and afterwards, for nothing."""
    asked: list[int] = field(default_factory=list)
    """Seconds that were asked for, in each call."""
    processes: list[int] = field(default_factory=list)
    """Of each call that was granted, its process."""
    killed: int = 0
    """Processes that were killed."""
    _worker: Any = None

    def GPU(self, *, duration: Callable[..., int]) -> Callable[..., Any]:  # noqa: N802  # named as there
        """The decorator."""
        return functools.partial(self._decorated, duration)

    def _decorated(self, duration: Callable[..., int], task: Callable[..., Iterator[Any]]) -> Callable[..., Any]:
        @functools.wraps(task)
        def call(*args: Any) -> Iterator[Any]:
            seconds = duration(*args)
            self.asked.append(seconds)
            if self.refuse and (error := self.refuse.pop(0)):
                raise error
            if seconds > self.quota:
                raise GradioError(
                    "ZeroGPU quota exceeded",
                    f"You have exceeded your free ZeroGPU quota ({seconds}s requested vs. {int(self.quota)}s left). "
                    "Try again in 3:20:11. ",
                )
            limit = self.kill_after.pop(0) if self.kill_after else None
            worker = self._worker if self._worker and self._worker.process.is_alive() else _Worker(task)
            self._worker = None
            self.processes.append(worker.process.pid)
            yield from self._values(worker, pickle.dumps(args), seconds, limit)
            if self.reuse:
                self._worker = worker
            else:
                worker.process.kill()

        return call

    def _values(self, worker: _Worker, args: bytes, seconds: int, limit: int | None) -> Iterator[Any]:
        killer = threading.Timer(seconds * self.second, self._kill, [worker])
        killer.start()
        worker.here.send_bytes(args)
        count = 0
        try:
            while True:
                if limit is not None and count == limit:
                    self._kill(worker)
                    raise GradioError("ZeroGPU worker error", "GPU task aborted")
                try:
                    kind, value = pickle.loads(worker.here.recv_bytes())
                except (EOFError, OSError):
                    raise GradioError("ZeroGPU worker error", "GPU task aborted") from None
                if kind == "error":
                    raise GradioError("ZeroGPU worker error", value)
                if kind == "end":
                    return
                count += 1
                yield value
        finally:
            killer.cancel()

    def _kill(self, worker: _Worker) -> None:
        self.killed += 1
        self.second = 1.0
        os.kill(worker.process.pid, signal.SIGKILL)
        worker.process.join()

    def close(self) -> None:
        """End the process that waits for a next call."""
        if self._worker:
            self._worker.process.kill()
            self._worker.process.join()


class _Worker:
    """A process that was forked from this one."""

    def __init__(self, task: Callable[..., Iterator[Any]]) -> None:
        context = multiprocessing.get_context("fork")
        self.here, there = context.Pipe()
        self.process: Any = context.Process(target=_work, args=(task, there, self.here), daemon=True)
        self.process.start()
        there.close()


def _work(task: Callable[..., Iterator[Any]], there: Any, here: Any) -> None:
    here.close()
    while True:
        try:
            args = pickle.loads(there.recv_bytes())
        except EOFError:
            return
        try:
            for value in task(*args):
                there.send_bytes(pickle.dumps(("value", value)))
            there.send_bytes(pickle.dumps(("end", None)))
        except Exception as e:
            there.send_bytes(pickle.dumps(("error", type(e).__name__)))
