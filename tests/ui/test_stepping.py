"""Handlers that follow something hold no thread while they wait, and stop for a page that does not read."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest

from jglue_app.ui import stepping
from jglue_app.ui.stepping import after, pause, stepped
from tests.ui.event_loops import run_in_thread

PAGE = gr.Request(headers={}, cookies={}, session_hash="page")


def counts(request: gr.Request, most: int, seconds: float) -> Iterator[int]:
    for number in range(most):
        yield number
        yield from pause(after(seconds))


async def all_of(steps: Any) -> list[Any]:
    return [value async for value in steps]


def test_what_a_handler_gives_is_the_same_whoever_runs_it() -> None:
    assert list(counts(PAGE, 3, 0.01)) == [0, 1, 2]
    assert run_in_thread(all_of(stepped(counts)(PAGE, 3, 0.01))) == [0, 1, 2]


def test_two_hundred_handlers_that_wait_need_few_threads() -> None:
    most = 0

    async def together() -> list[list[int]]:
        nonlocal most
        waiting = [asyncio.create_task(all_of(stepped(counts)(PAGE, 2, 0.4))) for _ in range(200)]
        while not all(task.done() for task in waiting):
            most = max(most, threading.active_count())
            await asyncio.sleep(0.02)
        return [task.result() for task in waiting]

    before = threading.active_count()
    began = time.monotonic()
    assert run_in_thread(together()) == [[0, 1]] * 200
    assert most - before <= stepping.THREADS + 1
    # One after the other they would wait for 200 × 0.8 s.
    assert time.monotonic() - began < 40


def test_something_that_happens_ends_a_pause_at_once() -> None:
    happened = threading.Event()

    def waits(request: gr.Request) -> Iterator[str]:
        yield "before"
        yield from pause(after(60, happened.is_set))
        yield "after"

    async def read() -> list[str]:
        steps = stepped(waits)(PAGE)
        first = await anext(steps)
        asyncio.get_running_loop().call_later(0.1, happened.set)
        return [first, *await all_of(steps)]

    began = time.monotonic()
    assert run_in_thread(read()) == ["before", "after"]
    assert time.monotonic() - began < 30


def test_a_handler_that_is_broken_off_tidies_up_and_an_error_arrives() -> None:
    ended: list[str] = []

    def tidy(request: gr.Request, wrong: bool) -> Iterator[int]:
        try:
            yield 1
            if wrong:
                raise gr.Error("No.")
            yield 2
        finally:
            ended.append(threading.current_thread().name)

    async def leave() -> None:
        steps = stepped(tidy)(PAGE, wrong=False)
        assert await anext(steps) == 1
        await steps.aclose()  # type: ignore[attr-defined]

    run_in_thread(leave())
    assert len(ended) == 1
    assert ended[0] != threading.main_thread().name
    with pytest.raises(gr.Error, match=r"No\."):
        run_in_thread(all_of(stepped(tidy)(PAGE, wrong=True)))
    assert len(ended) == 2


def test_a_page_that_does_not_read_is_told_no_more_and_then_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepping, "UNREAD_TIMEOUT_S", 0.3)
    unread = {"page": 0}
    computed = 0

    def endless(request: gr.Request) -> Iterator[int]:
        nonlocal computed
        while True:
            computed += 1
            yield computed

    async def read() -> list[int]:
        told = []
        async for value in stepped(endless, lambda session: unread[session])(PAGE):
            told.append(value)
            unread["page"] += 1
        return told

    assert run_in_thread(read()) == list(range(1, stepping.MAX_UNREAD + 2))
    assert computed == stepping.MAX_UNREAD + 1


def test_messages_of_the_queue_itself_keep_no_handler_from_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A place is for few handlers, and the queue tells all that wait of each that begins."""
    monkeypatch.setattr(stepping, "UNREAD_TIMEOUT_S", 0.3)

    steps = stepped(counts, lambda _: 10 * stepping.MAX_UNREAD)(PAGE, 3, 0)

    assert run_in_thread(all_of(steps)) == [0, 1, 2]
