"""What can go wrong between a client and a server, each written to the socket as it would come over a network."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from time import time
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from tests.api_server.connection import Exchange
    from tests.api_server.record import Request

Kind = (
    Literal["status", "html", "redirect", "shape", "drop_before", "drop_within", "half_json", "hang", "million"]
    | Literal["endless", "wrong_length", "short_length", "gzip_bomb", "drip", "drip_head"]
)
HTML = "<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1><hr>nginx</body></html>\n"
MILLION = 1_000_000
PIECE = 65_536


class Waiter(Protocol):
    """What ends when the server is closed."""

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it has ended; waits so many seconds for it at most."""
        ...


@dataclass(frozen=True)
class Fault:
    """One fault.

    `status`: an answer with `status`, `error` as its body and `retry_after` as its header. `html`: a page, with
    `status` (200 too). `redirect`: 307 to `location`. `shape`: status 200 with `body`. `drop_before`, `drop_within`:
    the connection is reset before or inside the answer. `half_json`: the first half of the right answer, with a right
    length. `hang`: silence until the server is closed or the client leaves. `million`: the right answer with a text of
    `repeats` times `あいう…`; `endless`: one that never ends, in chunks. `wrong_length`, `short_length`: a
    `Content-Length` above and below the body's. `gzip_bomb`: `repeats` characters, compressed a thousandfold. `drip`:
    the right answer a byte every `seconds`; `drip_head`: headers likewise, without end.
    """

    kind: Kind
    status: int = 200
    error: object = None
    retry_after: str | None = None
    location: str = ""
    body: object = None
    repeats: int = 20 * MILLION
    seconds: float = 0.5

    @property
    def billed(self) -> bool:
        """Whether the model answered, so that a provider asks for money."""
        return self.kind not in ("status", "html", "redirect", "hang")


# --- the ones that tests want most ----------------------------------------------------------------------


def error(status: int, message: str, kind: str, code: str | None = None, retry_after: str | None = None) -> Fault:
    """An error in OpenAI's words."""
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return Fault("status", status, body, retry_after)


def rate_limit(retry_after: str | None = None) -> Fault:
    """429, with or without `Retry-After`: seconds or an HTTP date."""
    message = "Rate limit reached for requests. Limit: 3 / min. Please try again in 20s."
    return error(429, message, "requests", "rate_limit_exceeded", retry_after)


def http_date(seconds: float) -> str:
    """The date in so many seconds as `Retry-After` has it."""
    return formatdate(time() + seconds, usegmt=True)


NO_QUOTA = error(
    429,
    "You exceeded your current quota, please check your plan and billing details.",
    "insufficient_quota",
    "insufficient_quota",
)
PAYMENT = error(402, "Insufficient Balance", "unknown_error", "invalid_request_error")
INTERNAL = error(500, "The server had an error while processing your request. Sorry about that!", "server_error")
UNAVAILABLE = error(503, "The engine is currently overloaded, please try again later", "server_error")
BAD_GATEWAY = Fault("html", 502)
PAGE = Fault("html", 200)
SHAPES: dict[str, object] = {
    "choices missing": {"id": "x", "object": "chat.completion", "created": 1, "model": "tiny"},
    "choices empty": {"id": "x", "object": "chat.completion", "created": 1, "model": "tiny", "choices": []},
    "choices null": {"id": "x", "object": "chat.completion", "created": 1, "model": "tiny", "choices": None},
    "content null": {
        **{"id": "x", "object": "chat.completion", "created": 1, "model": "tiny"},
        "choices": [{"index": 0, "message": {"role": "assistant", "content": None}, "finish_reason": "stop"}],
    },
    "content a list": {
        **{"id": "x", "object": "chat.completion", "created": 1, "model": "tiny"},
        "choices": [
            {
                **{"index": 0, "finish_reason": "stop"},
                "message": {"role": "assistant", "content": [{"type": "text", "text": "含意"}]},
            }
        ],
    },
    "a list": [],
    "a text": "ok",
    "null": None,
    "an error with status 200": {"error": {"message": "model is loading", "type": "server_error", "code": None}},
}


# --- which request meets which fault --------------------------------------------------------------------


@dataclass
class Injection:
    """A fault with the requests that meet it."""

    fault: Fault
    at: Collection[int] = ()
    """Numbers of requests, the first is 1; empty: any."""
    when: Callable[[Request], bool] | None = None
    share: float = 1.0
    """Of the requests that `at` and `when` leave."""
    times: int | None = None
    """How often at most."""
    seed: int = 0
    met: int = 0
    _rng: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)

    def takes(self, request: Request) -> bool:
        """Whether this request meets the fault; counts it."""
        if (self.at and request.number not in self.at) or (self.times is not None and self.met >= self.times):
            return False
        if (self.when is not None and not self.when(request)) or self._rng.random() >= self.share:
            return False
        self.met += 1
        return True


# --- on the wire ----------------------------------------------------------------------------------------


def play(fault: Fault, exchange: Exchange, right: bytes, closing: Waiter) -> None:
    """Write a fault to the connection; `right` is the body without it."""
    headers = {"Retry-After": fault.retry_after} if fault.retry_after is not None else {}
    match fault.kind:
        case "status":
            exchange.send_json(fault.status, fault.error, headers)
        case "html":
            title = {200: "Welcome", 502: "502 Bad Gateway"}.get(fault.status, f"{fault.status} Error")
            page = {**headers, "Content-Type": "text/html; charset=utf-8"}
            exchange.send(fault.status, HTML.format(title=title).encode(), page)
        case "redirect":
            exchange.send(fault.status if fault.status != 200 else 307, b"", {"Location": fault.location})
        case "shape":
            exchange.send_json(fault.status, fault.body, headers)
        case "hang":
            while not closing.wait(0.05) and not exchange.client_left():
                pass
            exchange.drop()
        case "drop_before":
            exchange.drop()
        case "drop_within" | "wrong_length":
            exchange.head(200, {"Content-Length": str(len(right) + 1000 * (fault.kind == "wrong_length"))})
            exchange.write(right if fault.kind == "wrong_length" else right[: len(right) // 2])
            exchange.drop()
        case "short_length":
            exchange.send(200, right[: len(right) - 2])
            exchange.write(right[-2:])
            exchange.drop()
        case "half_json":
            exchange.send(200, right[: len(right) // 2])
        case "million":
            exchange.send(200, _long(right, fault.repeats))
        case "gzip_bomb":
            exchange.send(200, _bomb(right, fault.repeats), {"Content-Encoding": "gzip"})
        case "endless":
            exchange.chunks(_endless(right, closing))
        case "drip":
            exchange.head(200, {"Content-Length": str(len(right))})
            if _drip(exchange, (bytes([byte]) for byte in right[:-1]), fault.seconds, closing):
                exchange.settle(whole=True)
                exchange.write(right[-1:])
        case "drip_head":
            exchange.write(b"HTTP/1.1 200 OK\r\n")
            _drip(exchange, (b"X-%d: a\r\n" % i for i in itertools.count()), fault.seconds, closing)


def _drip(exchange: Exchange, data: Iterable[bytes], seconds: float, closing: Waiter) -> bool:
    """Write slowly; whether all was written."""
    for part in data:
        exchange.write(part)
        if closing.wait(seconds):
            exchange.drop()
            return False
    return True


def _around(right: bytes) -> tuple[bytes, bytes]:
    """What stands before and behind a text in the right answer, so that a longer one can stand there."""
    body = json.loads(right)
    choice = body["choices"][0] if isinstance(body, dict) and body.get("choices") else body
    mark = "@text@"
    if "message" in choice:
        choice["message"]["content"] = mark
    else:
        choice["text"] = mark
    before, behind = json.dumps(body).encode().split(mark.encode())
    return before, behind


def _long(right: bytes, characters: int) -> bytes:
    before, behind = _around(right)
    return before + "あいうえお".encode() * (characters // 5) + behind


def _bomb(right: bytes, characters: int) -> bytes:
    before, behind = _around(right)
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    parts = [packer.compress(before)]
    parts += [packer.compress(b"a" * PIECE) for _ in range(characters // PIECE)]
    return b"".join([*parts, packer.compress(behind), packer.flush()])


def _endless(right: bytes, closing: Waiter) -> Iterator[bytes]:
    yield _around(right)[0]
    piece = "あいうえお".encode() * 4096
    while not closing.wait(0):
        yield piece


def unpacked_size(bomb: bytes) -> int:
    """Bytes of a compressed body, for tests."""
    return len(gzip.decompress(bomb))
