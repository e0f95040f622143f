"""What one call on ZeroGPU is told, and what it does in the process that has the GPU.

Everything here travels between two processes and is pickled: functions by their names, which therefore stand at the top
of a module.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jglue_app.errors import JglueAppError
from jglue_app.settings import Settings
from jglue_app.types import Backend, ModelInfo, ModelSpec

START_S = 5.0
"""Seconds of a call that pass before its function begins: a process is forked, and CUDA is initialised in it."""
RESERVE_S = 2.0
"""Seconds before the end of a call at which it begins no further step."""
STOP_CHECK_S = 0.1
"""How often the process looks whether it was told to stop."""

Task = Callable[..., Iterator[Any]]
"""A function of a module: (backend, should_stop, *args) → the answers."""


@dataclass(frozen=True, slots=True)
class GpuRequest:
    """One call."""

    spec: ModelSpec
    settings: Settings
    task: Task
    args: tuple[Any, ...]
    seconds: int
    """How long the GPU is asked for."""
    stop_file: Path
    """Appears when the call has to stop."""
    needs_template: bool = False
    """Whether a model without a chat template is refused."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The process runs and has a GPU."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded."""

    info: ModelInfo
    seconds: float
    """How long that took; next to nothing where the process had it from an earlier call."""
    was_loaded: bool
    """Whether it had."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer."""

    value: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """An error of ours. (Of one that is raised, `spaces` keeps only the name of its class.)"""

    error: JglueAppError


@dataclass(frozen=True, slots=True)
class Ended:
    """There are no more answers: all are given, the seconds are almost over, or it was stopped."""

    info: ModelInfo
    seconds: float
    """From the beginning of the function on."""


Reply = Begun | Ready | Answered | Failed | Ended


@dataclass(slots=True)
class _Stop:
    """Whether a call has to stop; once true, it stays true."""

    file: Path
    deadline: float
    stopped: bool = False
    _next_check: float = field(default=0.0)

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self.stopped and now >= self._next_check:
            self._next_check = now + STOP_CHECK_S
            self.stopped = now > self.deadline or self.file.exists()
        return self.stopped


_pool: Any = None
"""The models of a process with a GPU: the next call may come to the same process."""


def serve(request: GpuRequest) -> Iterator[Reply]:
    """Load the model of a request if it is not loaded, and give the answers as they come.

    An error of ours is given as a reply; others are raised.
    """
    begun = time.monotonic()
    yield Begun()
    try:
        should_stop = _Stop(request.stop_file, begun + request.seconds - START_S - RESERVE_S)
        if should_stop():
            return
        pool = _models(request.settings)
        loaded = request.spec in pool.resident
        backend: Backend = pool.get(request.spec, needs_template=request.needs_template)
        yield Ready(backend.info, time.monotonic() - begun, loaded)
        for value in request.task(backend, should_stop, *request.args):
            yield Answered(value)
        yield Ended(backend.info, time.monotonic() - begun)
    except JglueAppError as e:
        yield Failed(e)


def _models(settings: Settings) -> Any:
    global _pool
    if _pool is None:
        # Imported here: the pool asks whether models run elsewhere, which they do not in this process.
        import torch

        from jglue_app.backends.pool import ModelPool
        from jglue_app.backends.zero_gpu import space

        space.leave()
        # Threads of the process that was forked are not here, and OpenMP would wait for them.
        torch.set_num_threads(1)
        _pool = ModelPool(settings)
    return _pool
