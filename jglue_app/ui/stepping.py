"""Handlers that follow something for minutes, and hold no thread while they wait.

Such a handler is a generator. Where it would sleep it gives `yield from pause(…)`. Under Gradio `stepped` runs it: each
step takes a thread for as long as it computes, and between the steps the event loop waits, which costs nothing for
hundreds of pages at once. Where nobody runs it so (a test that reads it), `pause` sleeps.

A page that does not read what it is told is told no more: its unread messages would pile up in memory. After a while
its handler is ended, as if the page had been closed.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import anyio.to_thread
import gradio as gr
from anyio import CapacityLimiter
from anyio.lowlevel import RunVar

POLL_S = 0.1
"""How often the event loop looks whether a handler may go on."""
THREADS = 40
"""Steps that are computed at the same time."""
MAX_UNREAD = 20
"""Messages of a page that it has not read; with more, its handlers wait."""
UNREAD_TIMEOUT_S = 150.0
"""How long they wait for a page that reads nothing, as that of a telephone that sleeps."""
NOTHING: Final[Any] = object()
"""What a handler gives while it waits; it is not sent."""

Unread = Callable[[str], int]
"""Session of a page → how many messages wait for it."""


@dataclass(slots=True)
class _Run:
    """One handler that is run here."""

    ready: Callable[[], bool] | None = None
    """Whether it may go on; None for at once."""


_run: ContextVar[_Run | None] = ContextVar("run", default=None)
_limiter: RunVar[CapacityLimiter] = RunVar("limiter")


def pause(ready: Callable[[], bool], poll_s: float = POLL_S) -> Iterator[Any]:
    """Wait until something is so; `yield from` it. `ready` is called often, and has to be quick."""
    run = _run.get()
    if run is None:
        while not ready():
            time.sleep(poll_s)
    elif not ready():
        run.ready = ready
        yield NOTHING


def after(seconds: float, or_when: Callable[[], bool] = lambda: False) -> Callable[[], bool]:
    """True once so many seconds are over, or something else is so."""
    end = time.monotonic() + seconds
    return lambda: or_when() or time.monotonic() >= end


def stepped(handler: Callable[..., Iterator[Any]], unread: Unread = lambda _: 0) -> Callable[..., AsyncIterator[Any]]:
    """A generator handler as the asynchronous one that Gradio gets.

    Args:
        handler: gives what is sent to the page, and `NOTHING` while it waits.
        unread: tells how far the page is behind.
    """

    @functools.wraps(handler)
    async def steps(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        request = next((value for value in args if isinstance(value, gr.Request)), None)
        session = str(request.session_hash) if request is not None else ""
        run, results = _Run(), handler(*args, **kwargs)
        # Of those that say how long the queue is no handler has sent any, and there may be hundreds.
        before = unread(session)
        end = object()
        try:
            while True:
                if not await _page_reads(lambda: unread(session) - before):
                    return
                with _running(run):
                    value = await _in_thread(lambda: next(results, end))
                if value is end:
                    return
                if value is not NOTHING:
                    yield value
                while run.ready is not None and not run.ready():
                    await asyncio.sleep(POLL_S)
                run.ready = None
        finally:
            close = getattr(results, "close", None)
            if close is not None:
                # What is broken off still has to tidy up.
                with anyio.CancelScope(shield=True):
                    await _in_thread(close)

    return steps


async def _page_reads(unread: Callable[[], int]) -> bool:
    """Wait for a page that is behind; whether it reads again."""
    end = time.monotonic() + UNREAD_TIMEOUT_S
    while unread() > MAX_UNREAD:
        if time.monotonic() > end:
            return False
        await asyncio.sleep(POLL_S)
    return True


async def _in_thread(work: Callable[[], Any]) -> Any:
    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = CapacityLimiter(THREADS)
        _limiter.set(limiter)
    return await anyio.to_thread.run_sync(work, limiter=limiter)


@contextmanager
def _running(run: _Run) -> Iterator[None]:
    # The context of each step is the one that asks for it, and may be another than before.
    token = _run.set(run)
    try:
        yield
    finally:
        _run.reset(token)
