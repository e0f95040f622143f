"""ASGI middleware that compresses what Gradio sends as it is: the document, the stream of events, answers in JSON."""

from __future__ import annotations

import hashlib
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import brotli
from cachetools import LRUCache
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COMPRESSIBLE = ("text/html", "text/event-stream", "application/json", "text/css", "text/javascript", "image/svg+xml")
MIN_BYTES = 500
"""A shorter answer is not smaller when it is compressed."""
MIN_KNOWN_BYTES = 100_000
"""Only answers of this size are worth it to be remembered."""
QUALITY = 5
"""Of brotli, from 0 to 11: a document of 300 kB takes about 10 ms."""


class _Compressor(Protocol):
    """What gives compressed pieces of a text that comes in pieces."""

    def piece(self, data: bytes, *, last: bool) -> bytes:
        """What can be sent once this piece is there."""
        ...


class _Brotli:
    def __init__(self) -> None:
        self._stream = brotli.Compressor(quality=QUALITY)

    def piece(self, data: bytes, *, last: bool) -> bytes:
        head: bytes = self._stream.process(data)
        tail: bytes = self._stream.finish() if last else self._stream.flush()
        return head + tail


class _Gzip:
    def __init__(self) -> None:
        self._stream = zlib.compressobj(6, zlib.DEFLATED, 31)

    def piece(self, data: bytes, *, last: bool) -> bytes:
        return self._stream.compress(data) + self._stream.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)


ENCODINGS: dict[str, Callable[[], _Compressor]] = {"br": _Brotli, "gzip": _Gzip}
"""The best first."""


def accepted_encoding(header: str) -> str:
    """The best encoding that an `Accept-Encoding` header allows; empty for none."""
    allowed: dict[str, bool] = {}
    for part in header.lower().split(","):
        name, *parameters = (text.strip() for text in part.split(";"))
        weight = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        # Of a weight it only matters whether it is zero.
        allowed[name] = weight.strip("0.") != ""
    return next((name for name in ENCODINGS if allowed.get(name, allowed.get("*", False))), "")


class KnownAnswers:
    """Whole answers that were sent before, compressed as well as can be, which takes a second each: the document of a
    first visit is the same for all visitors of one language. An answer is known by its bytes, so nobody gets another's.
    """

    def __init__(self, most: int = 16) -> None:
        self._compressed: LRUCache[bytes, bytes] = LRUCache(most)
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="compress")
        self._is_working = False

    def get(self, body: bytes) -> bytes | None:
        """The answer compressed; None while it is not known yet. Then it is the next time, unless others are."""
        name = hashlib.sha256(body).digest()
        with self._lock:
            if (known := self._compressed.get(name)) is not None or self._is_working:
                return known
            self._is_working = True
        self._worker.submit(self._add, name, body)
        return None

    def _add(self, name: bytes, body: bytes) -> None:
        try:
            compressed = brotli.compress(body)
            with self._lock:
                self._compressed[name] = compressed
        finally:
            self._is_working = False


KNOWN = KnownAnswers()


class CompressionMiddleware:
    """Compresses answers of some types, each piece at once, so that events arrive when they happen.

    Files with an ETag stay as they are: it stands for their bytes, of which a browser may ask for a range.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        encoding = accepted_encoding(Headers(scope=scope).get("accept-encoding", ""))
        await self._app(scope, receive, _compressing(send, encoding, head=scope["method"] == "HEAD"))


def _compressing(send: Send, encoding: str, *, head: bool) -> Send:
    pending: list[Message] = []
    """The start of an answer whose length depends on the first piece."""
    running: list[_Compressor] = []

    async def send_compressed(message: Message) -> None:
        if message["type"] == "http.response.start" and _is_compressible(message):
            headers = MutableHeaders(raw=message["headers"])
            headers.add_vary_header("Accept-Encoding")
            if head and encoding:
                # An answer without a body need not say how long it would be.
                del headers["content-length"]
            elif encoding:
                pending.append(message)
                return
        elif message["type"] == "http.response.body" and (pending or running):
            body, last = message.get("body", b""), not message.get("more_body", False)
            if pending:
                start = pending.pop()
                headers = MutableHeaders(raw=start["headers"])
                if last and len(body) < MIN_BYTES:
                    await send(start)
                    await send(message)
                    return
                running.append(ENCODINGS[encoding]())
                headers["content-encoding"] = encoding
                del headers["content-length"]
                if last:
                    small = KNOWN.get(body) if encoding == "br" and len(body) >= MIN_KNOWN_BYTES else None
                    body = running[0].piece(body, last=True) if small is None else small
                    headers["content-length"] = str(len(body))
                    await send(start)
                    await send({**message, "body": body})
                    running.clear()
                    return
                await send(start)
            message = {**message, "body": running[0].piece(body, last=last)}
        await send(message)

    return send_compressed


def _is_compressible(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    is_whole = start["status"] not in (204, 206, 304) and "etag" not in headers
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return is_whole and "content-encoding" not in headers and kind in COMPRESSIBLE
