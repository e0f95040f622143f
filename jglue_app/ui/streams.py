"""Answers that go on while something happens reach the browser as they are written, through proxies too."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

STREAM = "text/event-stream"


class StreamsMiddleware:
    """ASGI middleware that tells proxies to hand events on at once: nginx, as it is installed, collects them until
    some kilobytes are there, and a progress bar stands still meanwhile."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_at_once(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                if headers.get("content-type", "").startswith(STREAM):
                    headers["x-accel-buffering"] = "no"
                    headers["cache-control"] = "no-store"
            await send(message)

        await self._app(scope, receive, send_at_once if scope["type"] == "http" else send)
