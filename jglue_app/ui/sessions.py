"""What Gradio keeps of each open page, and that it is dropped when the page is gone.

Gradio keeps a session for an hour after its page was closed, and one that never had a page for as long as the server
runs: the values of its components, and messages that nobody reads. Here a session lasts as long as its page is open or
something is done for it, and a few minutes more, in which a telephone may wake up again.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from copy import copy
from typing import Any
from urllib.parse import parse_qs

import gradio as gr
from gradio import state_holder
from gradio.state_holder import SessionState
from starlette.types import ASGIApp, Receive, Scope, Send

IDLE_S = 300.0
"""How long a session is kept of which no page is open."""
MAX_IDLE = 64
"""Such sessions at most; those that are idle longest go first …"""
MIN_IDLE_S = 15.0
"""… but not sooner than after so long."""
INTERVAL_S = 5.0

Lifespan = Callable[[Any], AbstractAsyncContextManager[None]]


class LightSessionState(SessionState):
    """A session without the copy of every component's configuration and last value, which only links to a state of the
    page would need: this page has addresses of its own."""

    def __init__(self, blocks: gr.Blocks) -> None:
        self.blocks_config = copy(blocks.default_config)
        self.config_values = {}
        self.state_data = {}
        self._state_ttl = {}
        self.is_closed = False
        self.STATE_TTL_WHEN_CLOSED = int(IDLE_S)

    def __setitem__(self, key: int, value: Any) -> None:
        if isinstance(block := self.blocks_config.blocks.get(key), gr.State):
            self._state_ttl[key] = block.time_to_live, datetime.datetime.now()  # As Gradio compares it.
            self.state_data[key] = value
        else:
            self.blocks_config.blocks[key] = value

    def _update_config(self, key: int) -> None:
        """Nothing is kept."""

    def _update_value_in_config(self, key: int, value: Any) -> None:
        """Nothing is kept."""


# Gradio has no option for it.
state_holder.SessionState = LightSessionState  # type: ignore[misc]


class Sessions:
    """The sessions of one page's server.

    Args:
        page: whose sessions they are.
        now: a clock in seconds.
    """

    def __init__(self, page: gr.Blocks, now: Callable[[], float] = time.monotonic) -> None:
        self._page, self._now = page, now
        self._open: Counter[str] = Counter()
        """Session → streams that its page reads."""
        self._idle_since: dict[str, float] = {}

    def opened(self, session: str) -> None:
        """A page begins to read a stream."""
        self._open[session] += 1

    def closed(self, session: str) -> None:
        """A page reads a stream no more."""
        self._open[session] -= 1
        if self._open[session] <= 0:
            del self._open[session]

    def clean(self) -> int:
        """Drop the sessions that nobody needs; how many. To be called in the event loop."""
        now, queue, holder = self._now(), self._page._queue, self._page.app.state_holder
        busy = {event.session_hash for events in queue.active_jobs if events for event in events}
        busy |= {event.session_hash for of in queue.event_queue_per_concurrency_id.values() for event in of.queue}
        known = {*holder.session_data, *queue.pending_messages_per_session, *queue.pending_event_ids_session}
        self._idle_since = {s: self._idle_since.get(s, now) for s in known - busy if s not in self._open}
        longest = sorted(self._idle_since, key=self._idle_since.__getitem__)
        too_many = len(longest) - MAX_IDLE
        dropped = 0
        for at, session in enumerate(longest):
            idle_s = now - self._idle_since[session]
            if idle_s > IDLE_S or (at < too_many and idle_s > MIN_IDLE_S):
                self._drop(session)
                dropped += 1
        return dropped

    def _drop(self, session: str) -> None:
        queue, holder = self._page._queue, self._page.app.state_holder
        queue.pending_messages_per_session.pop(session, None)
        for event in queue.pending_event_ids_session.pop(session, ()):
            queue.event_ids_to_events.pop(event, None)
            self._page.app.iterators_to_reset.discard(event)
        holder.session_data.pop(session, None)
        holder.time_last_used.pop(session, None)
        self._page.pending_diff_streams.pop(session, None)
        self._page.pending_streams.pop(session, None)
        del self._idle_since[session]

    def cleaning(self, server: Lifespan) -> Lifespan:
        """The lifespan of a server, which cleans as long as it runs."""

        @asynccontextmanager
        async def lifespan(app: Any) -> AsyncIterator[None]:
            async with server(app):
                task = asyncio.create_task(self._clean_forever())
                try:
                    yield
                finally:
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task

        return lifespan

    async def _clean_forever(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            self.clean()


class SessionsMiddleware:
    """ASGI middleware that tells which pages are open."""

    def __init__(self, app: ASGIApp, sessions: Sessions) -> None:
        self._app, self._sessions = app, sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        session = _session_of(scope) if scope["type"] == "http" and scope["method"] == "GET" else ""
        if not session:
            await self._app(scope, receive, send)
            return
        self._sessions.opened(session)
        try:
            await self._app(scope, receive, send)
        finally:
            self._sessions.closed(session)


def _session_of(scope: Scope) -> str:
    """The session whose stream is requested; empty for any other request."""
    path, query = str(scope["path"]).rstrip("/"), bytes(scope["query_string"]).decode("latin-1")
    if path.endswith("/queue/data"):
        return parse_qs(query).get("session_hash", [""])[-1]
    if "/gradio_api/heartbeat/" in path or "/gradio_api/call/" in path:
        # A call without a session has the one of its event's name.
        return path.rpartition("/")[2]
    return ""
