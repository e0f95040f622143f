"""One call on ZeroGPU as this process sees it."""

from __future__ import annotations

import contextvars
import logging
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from jglue_app.backends.zero_gpu.refusals import killed, refusal
from jglue_app.backends.zero_gpu.request import Begun, Ended, Failed, GpuRequest, Reply
from jglue_app.backends.zero_gpu.space import GpuCall
from jglue_app.errors import GpuTimeError, JglueAppError

LOOK_S = 0.2
"""How often it is asked whether to stop."""
STOP_S = 2.0
"""How long answers that are under way are waited for after a stop."""
QUEUE_S = 180.0
"""Longest wait for a GPU: ZeroGPU itself gives up after 60 s."""
GRACE_S = 15.0
"""How long after its seconds a process may still be silent before it counts as killed: one that was killed in the
middle of an answer may leave half of it in the pipe, which then never ends."""

log = logging.getLogger(__name__)


def replies(gpu: GpuCall, request: GpuRequest, should_stop: Callable[[], bool]) -> Iterator[Reply]:
    """The replies of a call as they come; the last one is `Ended`, unless it was stopped.

    The call runs in a thread of its own with the context of this one, which holds the visitor whose quota is charged.
    When this generator is closed or `should_stop` is true, the process is told to stop, and answers that come within
    two seconds are still given.

    Args:
        gpu: the decorated function.
        request: what it is told; its stop file is made here.
        should_stop: asked several times a second.

    Raises:
        GpuTimeError: no GPU was lent, or the process was killed.
        JglueAppError: what failed in the process, if it is an error of ours.
        Exception: of any kind, from `spaces`.
    """
    folder = Path(tempfile.mkdtemp(prefix="jglue-gpu-"))
    request = replace(request, stop_file=folder / "stop")
    received: queue.SimpleQueue[Reply | BaseException | None] = queue.SimpleQueue()

    def receive() -> None:
        try:
            for reply in gpu(request):
                received.put(reply)
            received.put(None)
        except BaseException as e:
            received.put(e)
        finally:
            # Not before: a call that waits for its GPU has to see that it is no longer wanted.
            shutil.rmtree(folder, ignore_errors=True)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(receive,), name="zero-gpu", daemon=True).start()
    try:
        yield from _until_ended(received, request, should_stop)
    finally:
        _tell_to_stop(request)


def _until_ended(
    received: queue.SimpleQueue[Reply | BaseException | None], request: GpuRequest, should_stop: Callable[[], bool]
) -> Iterator[Reply]:
    called = time.monotonic()
    begun: float | None = None
    stopped: float | None = None
    ended = False
    while True:
        now = time.monotonic()
        if stopped is None and should_stop():
            stopped = now
            _tell_to_stop(request)
        if stopped is not None and now > stopped + STOP_S:
            return
        if begun is None and now > called + QUEUE_S:
            raise GpuTimeError("ZeroGPU has not answered for {seconds:.0f} s. Run again later.", seconds=QUEUE_S)
        if begun is not None and now > begun + request.seconds + GRACE_S:
            raise killed(request.seconds)
        try:
            reply = received.get(timeout=LOOK_S)
        except queue.Empty:
            continue
        if reply is None:
            if not ended and stopped is None:
                raise killed(request.seconds)
            return
        if isinstance(reply, BaseException):
            if ended or stopped is not None:
                return  # There is nothing left that could be lost.
            raise _as_ours(reply, request)
        if isinstance(reply, Failed):
            raise reply.error
        if isinstance(reply, Begun):
            begun = time.monotonic()
        ended = ended or isinstance(reply, Ended)
        yield reply


def _as_ours(error: BaseException, request: GpuRequest) -> BaseException:
    if isinstance(error, JglueAppError):
        return error
    ours = refusal(error, request.seconds)
    if ours is None:
        return error
    log.warning("ZeroGPU: %s: %s", getattr(error, "title", type(error).__name__), error)
    return ours


def _tell_to_stop(request: GpuRequest) -> None:
    try:
        request.stop_file.touch()
    except OSError:  # The call is over, and its folder is gone.
        return
