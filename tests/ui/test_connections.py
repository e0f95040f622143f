"""How long a connection may keep the server waiting, over real sockets."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from jglue_app.ui import connections
from jglue_app.ui.connections import LimitedProtocol, limit

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
LIMIT_S = 0.4
MUCH = 20_000_000
"""Bytes: more than the system keeps for a client that does not read."""


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    body = b"x" * (MUCH if scope["path"] == "/much" else 2)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HEAD_SECONDS", "REST_SECONDS", "UNREAD_SECONDS"):
            patch.setattr(connections, name, LIMIT_S)
        config = uvicorn.Config(app, port=0, lifespan="off", log_level="critical")
        server = uvicorn.Server(config)
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        limit(config)
        yield int(listening.getsockname()[1])
        server.should_exit = True
        thread.join()
        listening.close()


def seconds_until_closed(port: int, first: bytes, then: bytes = b"") -> tuple[float, bytes]:
    """How long the server keeps a connection that sends something at first, and a little every tenth of a second."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(first)
        client.settimeout(0.1)
        began, answer = time.monotonic(), b""
        while time.monotonic() - began < 10:
            try:
                piece = client.recv(65536)
                answer += piece
                if not piece:
                    break
            except TimeoutError:
                try:
                    client.sendall(then)
                except OSError:
                    break
            except OSError:
                break
        return time.monotonic() - began, answer


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b"", b""),
        (HEAD, b""),
        (HEAD, b"x"),
        (HEAD + b"\r\n" + HEAD, b"x"),
        (HEAD + b"Content-Length: 100000\r\n\r\n", b"x"),
    ],
    ids=["silence", "half a head", "a slow head", "a slow second head", "a slow body that nobody reads"],
)
def test_a_slow_client_is_given_up(port: int, first: bytes, then: bytes) -> None:
    seconds, answer = seconds_until_closed(port, first, then)
    assert LIMIT_S * 0.9 < seconds < 4
    assert answer.startswith(b"HTTP/1.1 200") == (b"\r\n\r\n" in first)


def test_a_client_that_reads_nothing_is_given_up_and_a_slow_one_gets_all(port: int) -> None:
    with socket.socket() as unread, socket.socket() as slow:
        for client in (unread, slow):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            client.connect(("127.0.0.1", port))
            client.sendall(HEAD.replace(b" / ", b" /much ") + b"\r\n")
        began, read = time.monotonic(), 0
        while read < MUCH:
            piece = slow.recv(2_000_000)
            assert piece
            read += len(piece)
            if time.monotonic() - began < 4 * LIMIT_S:
                time.sleep(LIMIT_S / 4)
        unread.settimeout(5)
        received = 0
        with contextlib.suppress(ConnectionError):
            while piece := unread.recv(2_000_000):
                received += len(piece)
        assert received < MUCH


def test_the_next_request_of_a_quick_client_is_answered(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as client:
        for _ in range(3):
            client.sendall(HEAD + b"\r\n")
            time.sleep(LIMIT_S / 2)
            assert client.recv(65536).startswith(b"HTTP/1.1 200")


def test_connections_beyond_the_most_are_closed_at_once(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LimitedProtocol, "most_connections", 0)
    assert seconds_until_closed(port, b"")[0] < LIMIT_S
