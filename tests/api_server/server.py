"""The server: listens on a free port of 127.0.0.1, keeps a record of each request, and meets faults where told to."""

from __future__ import annotations

import hashlib
import itertools
import json
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from tests.api_server import answers
from tests.api_server.answers import Answer, Json, RefusedError
from tests.api_server.config import ApiConfig
from tests.api_server.faults import Fault, Injection, play
from tests.api_server.model import LanguageModel


@dataclass
class Request:
    """One request, as it arrived and as it went out."""

    number: int
    """Of `POST` requests in the order of arrival, from 1; 0 for `GET`."""
    method: str
    path: str
    """Without the query."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: Json
    time: float
    """`time.monotonic()` at arrival."""
    at_once: int = 1
    """Requests in flight at arrival, this one among them."""
    status: int = 0
    fault: str = ""
    written: bool = False
    """Whether the whole response, as long as its headers say, went to the socket."""
    seconds: float = 0.0
    prompt_tokens: int = 0
    new_tokens: int = 0
    """Billed; 0 where the model did not answer."""
    price: float = 0.0

    @property
    def key(self) -> str | None:
        """The bearer token that was sent."""
        given = self.headers.get("authorization", "")
        return given.removeprefix("Bearer ") if given.startswith("Bearer ") else None

    @property
    def fingerprint(self) -> str:
        """Equal for requests of the same path and body."""
        text = self.path + json.dumps(self.body, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def billed(self) -> bool:
        """Whether the model answered."""
        return self.prompt_tokens > 0

    @property
    def answered(self) -> bool:
        """Whether the right answer went out whole."""
        return self.status == 200 and not self.fault and self.written


@dataclass
class _Flight:
    """How many requests are in flight."""

    now: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self) -> int:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            return self.now

    def leave(self) -> None:
        with self.lock:
            self.now -= 1


class ApiServer:
    """An OpenAI-compatible server with a deterministic language model behind it.

    `model` is that model, so that a test can work out what must come back. `requests` is the record.
    """

    def __init__(self, config: ApiConfig | None = None, *, seed: str = "", port: int = 0) -> None:
        self.config = config or ApiConfig()
        """May be replaced while it runs: `server.config = replace(server.config, …)`."""
        self.model = LanguageModel(seed)
        self.requests: list[Request] = []
        self._injections: list[Injection] = []
        self._numbers = itertools.count(1)
        self._answers = itertools.count(1)
        self._lock = threading.RLock()
        self._flight = _Flight()
        self._closing = threading.Event()
        self._port = port
        self._http: _Http | None = None
        self.up()

    @property
    def url(self) -> str:
        """Without the path; stays the same from `down` to `up`."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def base_url(self) -> str:
        """What a client is given."""
        return self.url + self.config.prefix

    def up(self) -> None:
        """Listen (again)."""
        self._closing.clear()
        self._http = _Http(("127.0.0.1", self._port), _Handler)
        self._http.store = self
        self._port = self._http.server_port
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def down(self) -> None:
        """Stop listening and cut all connections; the record is kept."""
        if self._http is None:
            return
        self._closing.set()
        self._http.shutdown()
        self._http.cut()
        self._http.server_close()
        self._thread.join()
        self._http = None

    close = down

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    # --- faults -----------------------------------------------------------------------------------------

    def inject(
        self,
        fault: Fault,
        *,
        at: Collection[int] = (),
        when: Callable[[Request], bool] | None = None,
        share: float = 1.0,
        times: int | None = None,
        seed: int = 0,
    ) -> Injection:
        """Let requests meet a fault; see `Injection`. The first injection that takes a request has it."""
        injection = Injection(fault, at, when, share, times, seed)
        with self._lock:
            self._injections.append(injection)
        return injection

    def heal(self) -> None:
        """No more faults."""
        with self._lock:
            self._injections.clear()

    # --- record -----------------------------------------------------------------------------------------

    @property
    def posts(self) -> list[Request]:
        """Requests to the model, in the order of arrival."""
        return [request for request in self.requests if request.method == "POST"]

    @property
    def most_at_once(self) -> int:
        """Largest number of requests in flight at any moment."""
        return self._flight.most

    @property
    def in_flight(self) -> int:
        """Requests in flight now."""
        return self._flight.now

    @property
    def bodies(self) -> Counter[str]:
        """How often each body was billed."""
        return Counter(request.fingerprint for request in self.posts if request.billed)

    @property
    def paid_twice(self) -> int:
        """Bills for bodies that had been answered in full before."""
        answered: set[str] = set()
        twice = 0
        for request in self.posts:
            twice += request.billed and request.fingerprint in answered
            if request.answered:
                answered.add(request.fingerprint)
        return twice

    @property
    def price(self) -> float:
        """Of all that was billed."""
        return sum(request.price for request in self.requests)

    def record(self) -> Json:
        """Totals and requests, for JSON."""
        posts = self.posts
        return {
            "requests": len(posts),
            "answered": sum(request.answered for request in posts),
            "prompt_tokens": sum(request.prompt_tokens for request in posts),
            "new_tokens": sum(request.new_tokens for request in posts),
            "price": self.price,
            "most_at_once": self.most_at_once,
            "paid_twice": self.paid_twice,
            "bodies_billed_more_than_once": sum(count > 1 for count in self.bodies.values()),
            "statuses": dict(Counter(str(request.status) for request in posts)),
            "faults": dict(Counter(request.fault for request in posts if request.fault)),
        }

    # --- HTTP -------------------------------------------------------------------------------------------

    def handle(self, exchange: Exchange, method: str, target: str, headers: Mapping[str, str], body: bytes) -> None:
        """Answer one request, and note it."""
        parts = urlsplit(target)
        try:
            sent = json.loads(body) if body else {}
        except ValueError:
            sent = {"not JSON": body.decode("utf-8", "replace")}
        with self._lock:
            number = next(self._numbers) if method == "POST" else 0
            query = dict(parse_qsl(parts.query))
            request = Request(number, method, parts.path, query, headers, sent, time.monotonic())
            self.requests.append(request)
            fault = next((i.fault for i in self._injections if number and i.takes(request)), None)
        request.at_once = self._flight.enter()

        def settle(whole: bool) -> None:
            request.status, request.written = exchange.status, whole
            request.seconds = time.monotonic() - request.time
            self._flight.leave()

        exchange.settle_with(settle)
        try:
            self._answer(exchange, request, fault)
        except (ConnectionError, TimeoutError):
            request.written = False
        finally:
            exchange.settle(whole=False)

    def _answer(self, exchange: Exchange, request: Request, fault: Fault | None) -> None:
        config = self.config
        if fault is not None:
            request.fault = f"{fault.kind} {fault.status}" if fault.kind in ("status", "html") else fault.kind
        if fault is not None and not fault.billed:
            play(fault, exchange, b"", self._closing)
            return
        try:
            answer = self._route(config, request)
        except RefusedError as e:
            exchange.send_json(e.status, e.body)
            return
        self._bill(config, request, answer)
        if config.latency and self._closing.wait(config.latency):
            exchange.drop()
            return
        if fault is not None:
            play(fault, exchange, json.dumps(answer.body).encode(), self._closing)
        else:
            exchange.send_json(200, answer.body, {"x-request-id": f"req_{request.number}"})

    def _bill(self, config: ApiConfig, request: Request, answer: Answer) -> None:
        request.prompt_tokens, request.new_tokens = answer.prompt_tokens, answer.new_tokens
        request.price = (answer.prompt_tokens * config.price_in + answer.new_tokens * config.price_out) / 1e6

    def _route(self, config: ApiConfig, request: Request) -> Answer:
        _check_access(config, request)
        path = request.path.removeprefix(config.prefix)
        if not request.path.startswith(config.prefix + "/"):
            raise RefusedError(404, f"Invalid URL ({request.method} {request.path})")
        if request.method == "GET" and path == "/models" and config.lists_models:
            return Answer(answers.models(config))
        endpoints = {
            "/chat/completions": (config.chat, answers.chat),
            "/completions": (config.completions, answers.completions),
            "/embeddings": (config.embeddings, answers.embeddings),
        }
        offered, endpoint = endpoints.get(path, (False, answers.chat))
        if request.method != "POST" or not offered:
            raise RefusedError(404, f"Invalid URL ({request.method} {request.path})")
        if not isinstance(request.body, dict) or "not JSON" in request.body:
            raise RefusedError(400, "We could not parse the JSON body of your request.")
        name = request.body.get("model")
        if name not in config.models:
            message = f"The model `{name}` does not exist or you do not have access to it."
            raise RefusedError(404, message, code="model_not_found")
        answers.check_parameters(config, request.body)
        with self._lock:
            number = next(self._answers)
        fingerprint = config.fingerprints[(number - 1) % len(config.fingerprints)]
        return endpoint(config, self.model, request.body, (number, config.answers_as or name, fingerprint))


def _check_access(config: ApiConfig, request: Request) -> None:
    for name, value in config.query.items():
        if request.query.get(name) != value:
            raise RefusedError(404, "Resource not found", code="404")
    if config.key is not None and request.key != config.key:
        # OpenAI repeats the first and last characters of what it was given.
        given = request.key or ""
        shown = f"{given[:8]}{'*' * 20}{given[-4:]}" if len(given) > 12 else given
        message = f"Incorrect API key provided: {shown}. You can find your API key at https://example.com/account."
        raise RefusedError(401, message, code="invalid_api_key")
    for name, value in config.headers.items():
        if request.headers.get(name.lower()) != value:
            message = "Access denied due to invalid subscription key or wrong API endpoint."
            raise RefusedError(401, message, code="401")


# --- connections ----------------------------------------------------------------------------------------


class Exchange:
    """Writes one response."""

    def __init__(self, handler: _Handler) -> None:
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


class _Http(ThreadingHTTPServer):
    """Knows its open connections, because clients keep them and a server that goes down must cut them."""

    daemon_threads = False
    request_queue_size = 256
    store: ApiServer

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


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Http

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.store.handle(Exchange(self), self.command, self.path, headers, body)

    do_GET = do_POST = _answer  # noqa: N815


def as_json(request: Request) -> Json:
    """One request of the record, without what may hold a key."""
    hidden = {"headers", "query"}
    return {name: value for name, value in asdict(request).items() if name not in hidden}
