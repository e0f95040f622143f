"""The document of a public page for visitors of whom nothing is known yet: it is the same for all of one language, and
is written once for those who come within some seconds. So a crowd that comes at once does not wait for each other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import gradio as gr
from cachetools import LRUCache
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jglue_app.ui.visitor import LANGUAGE_COOKIE, VISITOR_COOKIE, is_page, language

KEPT_S = 10.0
MAX_KEPT = 16
VARY = ("host", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-prefix")
"""Headers on which the addresses in the document depend."""
OWN_COOKIES = {VISITOR_COOKIE, LANGUAGE_COOKIE}


@dataclass(slots=True)
class _Document:
    """One of them."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while it is written."""
    written_at: float = 0.0
    messages: list[Message] = field(default_factory=list)


class FirstVisitMiddleware:
    """ASGI middleware that gives the document again.

    Args:
        app: what writes it.
        is_known: whether a visitor has anything of their own.
    """

    def __init__(self, app: ASGIApp, is_known: Callable[[str], bool]) -> None:
        self._app, self._is_known = app, is_known
        self._documents: LRUCache[tuple[str, ...], _Document] = LRUCache(MAX_KEPT)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = self._name(scope)
        if name is None:
            await self._app(scope, receive, send)
            return
        document = self._documents.setdefault(name, _Document())
        async with document.lock:
            if time.monotonic() - document.written_at > KEPT_S:
                document.messages = await self._written(scope, receive)
                whole = document.messages and document.messages[0].get("status") == 200
                document.written_at = time.monotonic() if whole else 0.0
            messages = document.messages
        for message in messages:
            # Whoever adds headers to an answer adds them to its own copy.
            await send({**message, "headers": list(message["headers"])} if "headers" in message else dict(message))

    async def _written(self, scope: Scope, receive: Receive) -> list[Message]:
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self._app(scope, receive, keep)
        return messages

    def _name(self, scope: Scope) -> tuple[str, ...] | None:
        """What the document depends on; None where it is another one for each visitor."""
        if scope["type"] != "http" or scope["method"] != "GET" or scope["query_string"] or not is_page(scope):
            return None
        request = Request(scope)
        # Any other cookie may be of somebody who is signed in.
        if not request.cookies.keys() <= OWN_COOKIES or self._is_known(request.cookies.get(VISITOR_COOKIE, "")):
            return None
        headers = Headers(scope=scope)
        return (
            *(language(gr.Request(request)), str(scope.get("scheme")), str(scope.get("root_path", ""))),
            *(headers.get(header, "") for header in VARY),
        )
