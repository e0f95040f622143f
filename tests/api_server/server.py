"""The server: listens on a free port of 127.0.0.1, keeps a record of each request, and meets faults where told to."""

from __future__ import annotations

import itertools
import json
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from tests.api_server import answers
from tests.api_server.answers import Answer, Json, RefusedError
from tests.api_server.config import ApiConfig
from tests.api_server.connection import Exchange, Handler, Http
from tests.api_server.faults import Fault, Injection, play
from tests.api_server.model import LanguageModel
from tests.api_server.record import Request


@dataclass
class _Flight:
    """How many requests are in flight."""

    now: int = 0
    most: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    def enter(self) -> int:
        with self.changed:
            self.now += 1
            self.most = max(self.most, self.now)
            self.changed.notify_all()
            return self.now

    def gather(self, number: int) -> None:
        """Wait until so many have been in flight at once."""
        with self.changed:
            self.changed.wait_for(lambda: self.most >= number, 60)

    def leave(self) -> None:
        with self.changed:
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
        self.unexpected: list[str] = []
        """Tracebacks of faults of the server itself, which none should have."""
        self._injections: list[Injection] = []
        self._numbers = itertools.count(1)
        self._answers = itertools.count(1)
        self._lock = threading.RLock()
        self._flight = _Flight()
        self._closing = threading.Event()
        self._port = port
        self._http: Http | None = None
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
        self._http = Http(("127.0.0.1", self._port), Handler)
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
        if kind is None and self.unexpected:
            raise AssertionError(self.unexpected[0])

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
        except Exception:
            self.unexpected.append(traceback.format_exc())
            raise
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
        if request.method == "POST":
            self._flight.gather(config.gathers)
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
