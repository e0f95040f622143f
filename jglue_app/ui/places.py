"""Places in Gradio's own queue: where the events of pages wait for a moment until a thread is free for them.

Reads wait there; what takes long waits in the line of `jobs`. So nothing is refused because many wait. All pages behind
one address have a few places at a time, and a part of the handlers that run or follow something; their further events
wait outside: whoever floods the server is in their own way, and others pass by.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from typing import Any
from weakref import WeakKeyDictionary

import gradio as gr
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from jglue_app.messages import word
from jglue_app.ui.client_address import client_address
from jglue_app.ui.visitor import language

MAX_WAITING = 16
"""Events of one address that wait in the queue at the same time."""
MAX_ANSWERED = 250
"""Events of one address that are answered at the same time: those that follow a job take as long as it does."""
MAX_STREAMS = 256
"""Open streams of one address: each page has two at most."""
MAX_OUTSIDE = 64
"""Events of one address that wait for such a place; more are refused."""
TIMEOUT_S = 30.0
"""How long an event waits for a place."""
POLL_S = 0.05
"""How often those outside look whether there is a place, and what is in the queue is counted."""
_STREAMS = re.compile(r"/gradio_api/(queue/data|heartbeat/|call/[^/]+/)")
_JOINS = re.compile(r"/gradio_api/(queue/join|call/)")


class PlacesMiddleware:
    """ASGI middleware that lets the events of each address into the queue a few at a time."""

    def __init__(self, app: ASGIApp, page: gr.Blocks) -> None:
        self._app, self._page = app, page
        self._outside: Counter[str] = Counter()
        """Address → events that wait for a place."""
        self._waiting: Counter[str] = Counter()
        """Address → events that wait in the queue, as they were counted last, and those that were let in since."""
        self._answered: Counter[str] = Counter()
        """Address → events that are answered, as they were counted last."""
        self._counted_at = -POLL_S
        self._addresses: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
        """Request → where it comes from: finding it takes longer than counting."""
        self._streams: Counter[str] = Counter()
        """Address → open streams."""
        self._entering: Counter[str] = Counter()
        """Address → events that have a place and are not yet in the queue: many may come in the same moment."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        joins = scope["type"] == "http" and scope["method"] == "POST" and _JOINS.search(scope["path"])
        streams = scope["type"] == "http" and scope["method"] == "GET" and _STREAMS.search(scope["path"])
        if not (joins or streams):
            await self._app(scope, receive, send)
            return
        address = client_address(scope)
        has_place = await self._has_place(address) if joins else self._streams[address] < MAX_STREAMS
        if not has_place:
            await _refuse(scope, send)
            return
        counted = self._entering if joins else self._streams
        counted[address] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            counted[address] -= 1
            if not counted[address]:
                del counted[address]

    async def _has_place(self, address: str) -> bool:
        """Wait for a place; False if there is none in time, or too many of the address wait already. Nothing else goes
        on between a True and the caller's next step."""
        if self._takes_place(address):
            return True
        if self._outside[address] >= MAX_OUTSIDE:
            return False
        self._outside[address] += 1
        end = time.monotonic() + TIMEOUT_S
        try:
            while not self._takes_place(address):
                if time.monotonic() > end:
                    return False
                await asyncio.sleep(POLL_S)
            return True
        finally:
            self._outside[address] -= 1
            if not self._outside[address]:
                del self._outside[address]

    def _takes_place(self, address: str) -> bool:
        """Take a place if one is free. All that wait share one count: each with its own would keep the loop busy."""
        if time.monotonic() - self._counted_at >= POLL_S:
            queue = self._page._queue
            waiting = (event for of in queue.event_queue_per_concurrency_id.values() for event in of.queue)
            answered = (event for events in queue.active_jobs if events for event in events)
            self._waiting = Counter(self._address(event.request) for event in waiting) + self._entering
            self._answered = Counter(self._address(event.request) for event in answered)
            self._counted_at = time.monotonic()
        if self._waiting[address] >= MAX_WAITING or self._answered[address] >= MAX_ANSWERED:
            return False
        self._waiting[address] += 1
        return True

    def _address(self, request: Any) -> str:
        known = self._addresses.get(request)
        if known is None:
            known = self._addresses[request] = client_address(request)
        return known


async def _refuse(scope: Scope, send: Send) -> None:
    body = json.dumps({"detail": word("too_many_requests", language(gr.Request(Request(scope))))}).encode()
    headers = [(b"content-type", b"application/json"), (b"retry-after", str(int(TIMEOUT_S)).encode())]
    await send({"type": "http.response.start", "status": 429, "headers": headers})
    await send({"type": "http.response.body", "body": body})
