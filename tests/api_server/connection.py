"""Connections of the server, and how a response is written."""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Callable, Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol


class Store(Protocol):
    """What answers requests."""

    def handle(self, exchange: Exchange, method: str, target: str, headers: Mapping[str, str], body: bytes) -> None:
        """Answer one request."""
        ...


class Exchange:
    """Writes one response."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._settle: Callable[[bool], None] | None = None
        self.status = 0

    def settle_with(self, settle: Callable[[bool], None]) -> None:
        """Name what is called once, before the client can know that the response has ended."""
        self._settle = settle

    def settle(self, *, whole: bool) -> None:
        """The response ends now, whole or not."""
        settle, self._settle = self._settle, None
        if settle is not None:
            settle(whole)

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """Status line and headers."""
        self.status = status
        self._handler.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self._handler.send_header(name, value)
        self._handler.end_headers()

    def write(self, data: bytes) -> None:
        """Some of the body."""
        self._handler.wfile.write(data)
        self._handler.wfile.flush()

    def send(self, status: int, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        """A whole response."""
        self.status = status
        self.settle(whole=True)
        self.head(status, {"Content-Length": str(len(data)), **(headers or {})})
        self.write(data)

    def send_json(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
        """A whole response of JSON."""
        try:
            data = json.dumps(body, ensure_ascii=False).encode()
        except UnicodeEncodeError:  # A lone surrogate, which JSON can only have as an escape.
            data = json.dumps(body).encode()
        self.send(status, data, headers)

    def chunks(self, parts: Iterable[bytes]) -> None:
        """A response without a length, in chunks."""
        self.head(200, {"Transfer-Encoding": "chunked"})
        for part in parts:
            self.write(b"%x\r\n%b\r\n" % (len(part), part))
        self.drop()

    def client_left(self) -> bool:
        """Whether the other side has closed the connection."""
        connection = self._handler.connection
        try:
            readable, _, _ = select.select([connection], [], [], 0)
            return bool(readable) and connection.recv(1, socket.MSG_PEEK) == b""
        except (OSError, ValueError):
            return True

    def drop(self) -> None:
        """End the connection, without another byte."""
        self._handler.close_connection = True
        self.settle(whole=False)
        try:
            self._handler.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


class Http(ThreadingHTTPServer):
    """Knows its open connections, because clients keep them and a server that goes down must cut them."""

    daemon_threads = False
    request_queue_size = 256
    store: Store

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients reset connections that they no longer need."""

    def cut(self) -> None:
        for request in list(self.open):
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                self.open.discard(request)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Http

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.store.handle(Exchange(self), self.command, self.path, headers, body)

    do_GET = do_POST = _answer  # noqa: N815
