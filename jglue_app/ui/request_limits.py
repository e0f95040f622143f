"""What a request may hold, how long its body may take, and how many files an address may bring.

All is decided before Gradio reads a byte, and a refusal is one sentence.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePath

from cachetools import TTLCache
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as Event

from jglue_app.errors import InputError
from jglue_app.messages import Message, mark
from jglue_app.ui import call_check, open_routes
from jglue_app.ui.call_check import PageCalls
from jglue_app.ui.client_address import client_address
from jglue_app.ui.host_check import NO_REQUEST
from jglue_app.ui.open_routes import Body, Route
from jglue_app.ui.refusals import refusal

BODY_SECONDS = 30.0
"""For the whole body of a call."""
PIECE_SECONDS = 20.0
"""For each piece of a file that is uploaded."""
QUERY_CHARS = 16_384
FILE_NAME = b"filename="
"""Stands before each file of an upload."""
HOUR_S = 3600.0

CLOSED = mark(
    "There is nothing at this address. Open the address of the page that you were given, without anything after it."
)
NO_UPLOADS = mark("This server takes no files. Run the application on your own machine to bring files in.")
LONG_ACTION = mark(
    "On a public server this action goes by the queue alone, where it can be stopped: send it to /gradio_api/call, "
    "or use gradio_client."
)
TOO_LARGE = mark("This request is larger than {most} MB, which is the most here. Send less at once.")
TOO_SLOW = mark("The rest of this request did not arrive within {seconds} seconds. Send it again.")
TOO_MANY_FILES = mark(
    "From this address {files:,} files or {gib} GB have been brought within an hour, which is the most. "
    "Try again later."
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Of requests."""

    call_bytes: int
    """Of the body of a call."""
    upload_bytes: int
    """Of all files of an address within an hour."""
    upload_files: int
    """Of an address within an hour."""
    direct_long_actions: bool
    """Whether an action that waits for a model may be called without the queue."""


LOCAL = Limits(16 * 2**20, 8 * 2**30, 2_000, direct_long_actions=True)
PUBLIC = Limits(6 * 2**20, 0, 0, direct_long_actions=False)


class RefusedError(Exception):
    """A request that is answered with a sentence."""

    def __init__(self, status: int, message: Message) -> None:
        super().__init__(str(message))
        self.status, self.message = status, message


@dataclass(slots=True)
class UploadBudget:
    """Files and bytes that addresses have brought within the last hour."""

    limits: Limits
    clock: Callable[[], float] = time.monotonic
    _brought: TTLCache[str, deque[tuple[float, int, int]]] = field(default_factory=lambda: TTLCache(10_000, 2 * HOUR_S))

    def add(self, address: str, files: int, size: int) -> None:
        """Count a piece of an upload; raises RefusedError once it is too much."""
        entries = self._brought.setdefault(address, deque())
        now = self.clock()
        while entries and entries[0][0] < now - HOUR_S:
            entries.popleft()
        if entries and now - entries[-1][0] < 1:
            _, more_files, more_bytes = entries.pop()
            files, size = files + more_files, size + more_bytes
        entries.append((now, files, size))
        most = self.limits
        if sum(e[1] for e in entries) > most.upload_files or sum(e[2] for e in entries) > most.upload_bytes:
            gib = most.upload_bytes // 2**30
            raise RefusedError(429, Message(TOO_MANY_FILES, files=most.upload_files, gib=gib))


class LimitsMiddleware:
    """ASGI middleware that answers only open addresses, and reads the JSON of a call before Gradio does."""

    def __init__(
        self, app: ASGIApp, routes: tuple[Route, ...], calls: PageCalls, limits: Limits, files: str, prefix: str = ""
    ) -> None:
        """
        Args:
            app: what is behind it.
            routes: the open addresses.
            calls: of the page.
            limits: of requests.
            files: the folder of the files that visitors may fetch.
            prefix: what a proxy has put before all paths.
        """
        self._app, self._routes, self._calls, self._limits = app, routes, calls, limits
        self._files, self._prefix = PurePath(files), prefix.rstrip("/")
        self._uploads = UploadBudget(limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            route, name = self._route(scope)
            if route.body is Body.UPLOAD:
                await self._upload(scope, receive, send)
                return
            if route.body is not Body.NONE:
                raw = await self._whole(scope, receive)
                if route.body is not Body.MCP or raw:
                    self._check(route, name, raw)
                receive = _replayed(raw, receive)
        except RefusedError as e:
            await refusal(scope, e.status, e.message)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _route(self, scope: Scope) -> tuple[Route, str]:
        path = scope["path"]
        if self._prefix and path.startswith(self._prefix + "/"):
            path = path.removeprefix(self._prefix)
        if not path.isprintable() or len(scope["query_string"]) > QUERY_CHARS:
            raise RefusedError(400, Message(NO_REQUEST))
        found = open_routes.find_route(self._routes, scope["method"], path)
        if found is None:
            is_upload = open_routes.find_route(open_routes.UPLOADS, scope["method"], path) is not None
            raise RefusedError(403 if is_upload else 404, Message(NO_UPLOADS if is_upload else CLOSED))
        if path.startswith(f"{open_routes.API}/file="):
            file = PurePath(path.partition("=")[2])
            if not file.is_relative_to(self._files) or ".." in file.parts:
                raise RefusedError(404, Message(CLOSED))
        return found

    def _check(self, route: Route, name: str, raw: bytes) -> None:
        try:
            body = call_check.read_json(raw)
            if route.body is Body.MCP:
                return
            call = call_check.check(route, name, body, self._calls)
        except InputError as e:
            raise RefusedError(422, e.message) from e
        is_short = call is not None and not call.is_long and bool(call.name or call.is_unqueued)
        if route.direct and not self._limits.direct_long_actions and not is_short:
            raise RefusedError(403, Message(LONG_ACTION))

    async def _whole(self, scope: Scope, receive: Receive) -> bytes:
        most = self._limits.call_bytes
        too_large = RefusedError(413, Message(TOO_LARGE, most=most // 2**20))
        length = Headers(scope=scope).get("content-length", "")
        if length.isdecimal() and int(length) > most:
            raise too_large
        raw = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while True:
                    event = await receive()
                    if event["type"] == "http.disconnect":
                        raise RefusedError(400, Message(TOO_SLOW, seconds=int(BODY_SECONDS)))
                    raw += event.get("body", b"")
                    if len(raw) > most:
                        raise too_large
                    if not event.get("more_body", False):
                        return bytes(raw)
        except TimeoutError as e:
            raise RefusedError(408, Message(TOO_SLOW, seconds=int(BODY_SECONDS))) from e

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand files on while they arrive; once they are too many or too slow, Gradio is told that the visitor left."""
        address, tail = client_address(scope), b""
        refused: list[RefusedError] = []

        async def receive_counted() -> Event:
            nonlocal tail
            if refused:
                return {"type": "http.disconnect"}
            try:
                event = await asyncio.wait_for(receive(), PIECE_SECONDS)
                body = event.get("body", b"")
                # A name may be cut by the end of a piece.
                files = (tail + body).count(FILE_NAME) - tail.count(FILE_NAME)
                tail = (tail + body)[1 - len(FILE_NAME) :]
                self._uploads.add(address, files, len(body))
            except TimeoutError:
                refused.append(RefusedError(408, Message(TOO_SLOW, seconds=int(PIECE_SECONDS))))
                return {"type": "http.disconnect"}
            except RefusedError as e:
                refused.append(e)
                return {"type": "http.disconnect"}
            return event

        async def send_unless_refused(event: Event) -> None:
            if not refused:
                await send(event)

        try:
            await self._app(scope, receive_counted, send_unless_refused)
        except Exception:
            if not refused:
                raise
        if refused:
            await refusal(scope, refused[0].status, refused[0].message)(scope, receive, send)


def _replayed(raw: bytes, receive: Receive) -> Receive:
    """What gives a body that was read already, and then what comes after it."""
    pending = [raw]

    async def receive_again() -> Event:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        return await receive()

    return receive_again
