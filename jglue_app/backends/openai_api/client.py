"""One server over HTTP: requests in the OpenAI interface, tried again where that may help, and bounded in all ways.

The `openai` client makes the requests. What it would add from the environment (an organization, headers, another key)
is taken out again before a request leaves, no redirect is followed, and the key goes to the endpoint's own host alone.
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx2
import openai
import tenacity

from jglue_app.backends.endpoint_settings import ServedModel
from jglue_app.backends.endpoints import key_of, with_variables
from jglue_app.backends.openai_api import failures
from jglue_app.backends.openai_api.failures import RequestError
from jglue_app.errors import InputError, first_line
from jglue_app.version import __version__

TRIES = 5
MAX_RESPONSE_BYTES = 64 * 2**20
CONNECT_S = 15.0
GRACE_S = 0.25
"""How much longer than its time a try is waited for, so that the HTTP client gives it up by itself first."""
FIRST_WAIT_S, MAX_WAIT_S = 0.5, 30.0
"""Bounds of the random wait before another try, where the server does not say how long to wait."""
_KEPT_HEADERS = ("host", "content-type", "content-length", "connection", "transfer-encoding")


class Client:
    """Requests to the server of one model. Safe for use by several threads.

    Raises:
        InputError: the key or a header is missing in the environment, or the proxy that it names is unusable.
    """

    servers: tuple[str, ...] = ()
    """Addresses of servers of a pool; see `ServerPool`."""
    left_out: tuple[str, ...] = ()

    def __init__(self, served: ServedModel) -> None:
        self._served = served
        self.endpoint = served.endpoint
        self._key = key_of(self.endpoint) or ""
        self._headers = with_variables(self.endpoint, self.endpoint.headers)
        query = with_variables(self.endpoint, self.endpoint.query)
        filled_in = [value for name, value in self._headers.items() if value != self.endpoint.headers[name]]
        filled_in += [value for name, value in query.items() if value != self.endpoint.query[name]]
        self._secrets = "\n".join([self._key, *filled_in])
        if self._key:
            bearer = self.endpoint.key_header.lower() == "authorization"
            self._headers[self.endpoint.key_header] = f"Bearer {self._key}" if bearer else self._key
        self._host = httpx2.URL(self.endpoint.base_url).host
        self._pause = _Pause(self.endpoint.requests_per_minute)
        self._http = self._open()
        self._openai = openai.OpenAI(
            api_key="set where a request leaves",
            base_url=self.endpoint.base_url.rstrip("/") + "/",
            max_retries=0,
            default_query=query,
            http_client=self._http,
        )

    def _open(self) -> httpx2.Client:
        try:
            return httpx2.Client(
                timeout=httpx2.Timeout(self.endpoint.timeout, connect=min(CONNECT_S, self.endpoint.timeout)),
                follow_redirects=False,
                # A proxy that the environment names sees what is not encrypted, the key with it.
                trust_env=self.endpoint.base_url.lower().startswith("https:"),
                # Whoever calls limits the requests at once; connections of requests that were given up are not counted.
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=self.endpoint.requests_at_once),
                event_hooks={"request": [self._before], "response": [self._after]},
            )
        except (ImportError, ValueError) as e:
            raise InputError(
                "The endpoint {endpoint} cannot be reached through the proxy that the environment names ({reason}). "
                "Correct HTTPS_PROXY or ALL_PROXY, take it out, or except the server with NO_PROXY.",
                endpoint=self.endpoint.id,
                reason=first_line(e),
            ) from None

    def post(
        self,
        path: str,
        body: Mapping[str, Any],
        cancelled: threading.Event | None = None,
        lost: Callable[[], None] = lambda: None,
        tries: int = TRIES,
    ) -> dict[str, Any]:
        """The JSON object that a POST gives, tried several times within the endpoint's deadline.

        Args:
            path: below the base URL, such as `chat/completions`.
            body: of the request; the model is added where it names none.
            cancelled: ends the waiting between tries.
            lost: called after each try that the model may have answered although no answer arrived.
            tries: how many there are at most.

        Raises:
            RequestError: no usable answer.
        """
        event = cancelled or threading.Event()
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda e: isinstance(e, RequestError) and e.transient),
            stop=tenacity.stop_any(
                tenacity.stop_after_attempt(tries),
                tenacity.stop_before_delay(self.endpoint.deadline),
                tenacity.stop_when_event_set(event),
            ),
            wait=self._wait,
            sleep=tenacity.sleep_using_event(event),
            reraise=True,
        )

        def once() -> dict[str, Any]:
            try:
                return self.once(path, body, event)
            except RequestError as e:
                if e.lost:
                    lost()
                raise

        answer: dict[str, Any] = retrying(once)
        return answer

    def listed_models(self) -> dict[str, Mapping[str, Any]]:
        """Name → what the server says of each model it lists; empty where it has no list."""
        try:
            response = self._in_time(lambda: self._openai.get("models", cast_to=httpx2.Response))
        except (openai.OpenAIError, httpx2.HTTPError, RequestError):
            return {}
        answer = _json(response) if response.status_code < 300 else None
        rows = answer.get("data") if isinstance(answer, dict) else None
        named = (row for row in (rows if isinstance(rows, list) else ()) if isinstance(row, dict))
        return {row["id"]: row for row in named if isinstance(row.get("id"), str)}

    @property
    def at_once(self) -> int:
        """Most requests at once."""
        return self.endpoint.requests_at_once

    @property
    def next_at(self) -> float:
        """When the next request may leave, on the monotonic clock; in the past where it may now."""
        return self._pause.next_at

    def for_item(self) -> Client:
        """What sends the requests of one item: as of a pool, here the same for all."""
        return self

    def reach(self) -> None:
        """Raise RequestError if nothing listens at the address, in one try; what answers there is not looked at."""
        try:
            self._in_time(lambda: self._openai.get("models", cast_to=httpx2.Response))
        except openai.APIConnectionError as e:
            cause = e.__cause__ or e
            if isinstance(e, openai.APITimeoutError) and not isinstance(cause, httpx2.ConnectTimeout):
                return
            if not isinstance(cause, RequestError):
                raise failures.unreachable(self.endpoint, cause, lost=False) from None
        except (openai.OpenAIError, httpx2.HTTPError, RequestError):
            return

    def close(self) -> None:
        """Close all connections."""
        with contextlib.suppress(Exception):  # Another thread may be using one.
            self._http.close()

    def once(self, path: str, body: Mapping[str, Any], cancelled: threading.Event) -> dict[str, Any]:
        """The same with a single try; raises RequestError."""
        if not self._pause.wait(cancelled):
            raise failures.cancelled()
        endpoint = self.endpoint
        try:
            response = self._in_time(
                lambda: self._openai.post(path, body={"model": self._served.name, **body}, cast_to=httpx2.Response)
            )
        except openai.APITimeoutError as e:
            lost = not isinstance(e.__cause__, httpx2.ConnectTimeout | httpx2.PoolTimeout)
            raise failures.timed_out(endpoint, lost=lost) from None
        except openai.APIStatusError as e:
            whole = _json(e.response)
            headers = e.response.headers
            raise failures.of_status(
                endpoint,
                e.status_code,
                headers,
                e.response.text if whole is None else whole,
                self._served.name,
                self._secrets,
            ) from None
        except openai.APIConnectionError as e:
            cause = e.__cause__ or e
            if isinstance(cause, RequestError):
                raise cause from None
            raise failures.unreachable(endpoint, cause, lost=not isinstance(cause, httpx2.ConnectError)) from None
        except httpx2.HTTPError as e:
            raise failures.unreachable(endpoint, e) from None
        if response.status_code >= 300:
            raise failures.of_status(
                endpoint, response.status_code, response.headers, response.text, self._served.name, self._secrets
            )
        answer = _json(response)
        if not isinstance(answer, dict):
            raise failures.not_json(endpoint, response.headers.get("content-type", ""))
        if "error" in answer and "choices" not in answer and "data" not in answer:  # Errors under HTTP 200.
            error = answer["error"]
            code = error.get("code") if isinstance(error, dict) else None
            status = code if isinstance(code, int) and 400 <= code < 600 else 400
            raise failures.of_status(endpoint, status, response.headers, answer, self._served.name, self._secrets)
        return answer

    def _in_time(self, send: Callable[[], httpx2.Response]) -> httpx2.Response:
        """One try, given up when its time is over whatever the server is at: the timeouts of the HTTP client begin anew
        with each piece that arrives, of the headers too."""
        results: queue.SimpleQueue[tuple[httpx2.Response | None, Exception | None]] = queue.SimpleQueue()

        def work() -> None:
            try:
                results.put((send(), None))
            except Exception as e:  # Raised where the result is read.
                results.put((None, e))

        threading.Thread(target=work, daemon=True).start()
        try:
            response, error = results.get(timeout=self.endpoint.timeout + GRACE_S)
        except queue.Empty:
            raise failures.timed_out(self.endpoint) from None
        if response is None:
            assert error is not None
            raise error
        return response

    def _wait(self, state: tenacity.RetryCallState) -> float:
        """Seconds before the next try: what the server asks for, else a random time that grows. All requests of this
        client wait where the server limits their rate."""
        error = state.outcome.exception() if state.outcome else None
        seconds: float = tenacity.wait_random_exponential(multiplier=FIRST_WAIT_S, max=MAX_WAIT_S)(state)
        if isinstance(error, RequestError) and error.retry_after is not None:
            seconds = error.retry_after + seconds / 10
            if error.kind == "rate_limited" and seconds < self.endpoint.deadline:
                self._pause.until(time.monotonic() + error.retry_after)
        return seconds

    def _before(self, request: httpx2.Request) -> None:
        """Leave nothing in a request but what the endpoint is to get."""
        if request.url.host != self._host:
            raise httpx2.RequestError("another host", request=request)
        for name in [name for name in request.headers if name.lower() not in _KEPT_HEADERS]:
            del request.headers[name]
        request.headers["accept"] = "application/json"
        # A packed answer may unpack to any size.
        request.headers["accept-encoding"] = "identity"
        request.headers["user-agent"] = f"jglue-app/{__version__}"
        for name, value in self._headers.items():
            request.headers[name] = value

    def _after(self, response: httpx2.Response) -> None:
        """Bound what is read of an answer, in bytes and in time."""
        if response.headers.get("content-encoding", "identity") != "identity":
            raise failures.not_json(self.endpoint, response.headers["content-encoding"])
        assert isinstance(response.stream, httpx2.SyncByteStream)
        response.stream = _BoundedStream(response.stream, self)


class _BoundedStream(httpx2.SyncByteStream):
    """The body of an answer, which ends with an error where it is too large or takes too long."""

    def __init__(self, stream: httpx2.SyncByteStream, client: Client) -> None:
        self._stream, self._client = stream, client

    def __iter__(self) -> Iterator[bytes]:
        size, end = 0, time.monotonic() + self._client.endpoint.timeout
        for chunk in self._stream:
            size += len(chunk)
            if size > MAX_RESPONSE_BYTES:
                raise failures.too_large(self._client.endpoint, MAX_RESPONSE_BYTES)
            if time.monotonic() > end:
                raise failures.timed_out(self._client.endpoint)
            yield chunk

    def close(self) -> None:
        self._stream.close()


class _Pause:
    """When the next request may leave: not before a given time, and at a given rate."""

    def __init__(self, per_minute: float | None) -> None:
        self._spacing = 60.0 / per_minute if per_minute else 0.0
        self._lock = threading.Lock()
        self._next = 0.0

    @property
    def next_at(self) -> float:
        """When the next request may leave, on the monotonic clock."""
        return self._next

    def until(self, when: float) -> None:
        """Let nothing leave before a time of the monotonic clock."""
        with self._lock:
            self._next = max(self._next, when)

    def wait(self, cancelled: threading.Event) -> bool:
        """Wait until a request may leave; False if it was cancelled before."""
        with self._lock:
            now = time.monotonic()
            when = max(now, self._next)
            if self._spacing:
                self._next = when + self._spacing
        return not (cancelled.wait(when - now) if when > now else cancelled.is_set())


def _json(response: httpx2.Response) -> Any:
    """The value of an answer in JSON; None if it is none. JSON is in UTF-8, -16 or -32, as its first bytes show: some
    servers' headers name another charset. Only what cannot be that is read as the header says."""
    content = response.content
    try:
        text = content.decode(json.detect_encoding(content))
    except UnicodeDecodeError:
        text = response.text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
