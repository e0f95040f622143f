"""How long a connection may keep the server waiting.

The server itself waits for ever: for the rest of a request's head, for a client that does not read its answer, for one
whose machine is gone. Each of them keeps a connection, and what is computed for it in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from typing import Any

import h11
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
"""From the first byte of a request, or from the start of a connection, until its head is complete."""
REST_SECONDS = 10.0
"""For the rest of a body that nobody reads, once the answer is sent."""
UNREAD_SECONDS = 30.0
"""For which a client may read nothing of an answer that waits for it."""
KEEP_ALIVE_SECONDS = 5
GONE_MILLISECONDS = 120_000
"""After which the system gives up a client whose machine acknowledges nothing."""
MAX_HEAD_BYTES = 64 * 2**10
FILES_KEPT_FREE = 256
"""Of those that the process may have open: for runs, models and libraries, whatever strangers do."""


class LimitedProtocol(H11Protocol):
    """HTTP/1.1 with limits in time."""

    most_connections = 1_000_000

    def __init__(self, *args: Any, **by_name: Any) -> None:
        super().__init__(*args, **by_name)
        self._head_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            transport.abort()
            return
        _watch(transport.get_extra_info("socket"))
        self._expect_head(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_at_rest():
            # The first piece of a next request, or a further one: the time has begun with the first.
            if self._head_timer is None:
                self._expect_head(HEAD_SECONDS)
        elif self.cycle is not None and not self.cycle.response_complete:
            self._stop_head_timer()

    def on_response_complete(self) -> None:
        is_body_unread = self.conn.their_state is h11.SEND_BODY
        super().on_response_complete()
        if is_body_unread:
            self._expect_head(REST_SECONDS)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._unread_timer is None:
            self._expect_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _expect_reading(self, before: int | None = None) -> None:
        """Give the client up once it has read nothing between two looks."""
        unsent = self.transport.get_write_buffer_size() + _held_by_system(self.transport.get_extra_info("socket"))
        if before is not None and unsent >= before:
            self.transport.abort()
            return
        self._unread_timer = self.loop.call_later(UNREAD_SECONDS, self._expect_reading, unsent)

    def _is_at_rest(self) -> bool:
        """Whether the head of a request has begun and is not complete."""
        has_some = bool(self.conn.trailing_data[0]) if self.conn.their_state is not h11.ERROR else False
        return self.conn.their_state is h11.IDLE and has_some

    def _expect_head(self, seconds: float) -> None:
        self._stop_head_timer()
        self._head_timer = self.loop.call_later(seconds, self._close)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _close(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.close()


def limit(config: Config) -> None:
    """Have a running server limit its connections from the next one on."""
    with contextlib.suppress(ImportError):  # Windows has no such limit.
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY:
            LimitedProtocol.most_connections = max(soft - FILES_KEPT_FREE, soft // 2)
    config.http_protocol_class = LimitedProtocol
    config.timeout_keep_alive = KEEP_ALIVE_SECONDS
    config.h11_max_incomplete_event_size = MAX_HEAD_BYTES


def _held_by_system(connection: socket.socket | None) -> int:
    """Bytes that the system holds for a client and the client has not acknowledged; 0 where it does not say. They may
    be megabytes, in whose time nothing else of an answer moves."""
    if connection is None:
        return 0
    with contextlib.suppress(ImportError, OSError):
        import fcntl
        import termios

        held = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
        return int.from_bytes(held, sys.byteorder)
    return 0


def _watch(connection: socket.socket | None) -> None:
    """Have the system find out when a client is gone without a word."""
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_MILLISECONDS)
