"""The client of model servers against a server that fails in every way a network and a provider can."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jglue_app.backends.endpoints import served_model
from jglue_app.backends.openai_api import client as client_module
from jglue_app.backends.openai_api.client import TRIES, Client
from jglue_app.backends.openai_api.failures import RequestError
from jglue_app.errors import InputError, ModelAccessError, ModelNotFoundError, NetworkError
from jglue_app.settings import Settings
from tests.api_server import ApiConfig, ApiServer, Fault
from tests.api_server import faults as injected
from tests.api_server.model import BOS
from tests.served_models import served, with_endpoints

KEY = "sk-planted-0123456789abcdefghijklmnop"
BODY: dict[str, Any] = {"prompt": "関係：", "max_tokens": 4, "temperature": 0}

OpenClient = Callable[..., Client]


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "FIRST_WAIT_S", 0.01)


@pytest.fixture
def opened(settings: Settings) -> Iterator[OpenClient]:
    """`opened(server, **entry)`: a client of the server, closed at the end."""
    clients: list[Client] = []

    def make(server: ApiServer, **entry: object) -> Client:
        clients.append(Client(served(settings, server, **entry)))
        return clients[-1]

    yield make
    for each in clients:
        each.close()


def failure(client: Client, **more: object) -> RequestError:
    with pytest.raises(RequestError) as caught:
        client.post("completions", {**BODY, **more})
    return caught.value


# --- tried again, or final ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        injected.rate_limit(),
        injected.rate_limit("0.01"),
        injected.INTERNAL,
        injected.UNAVAILABLE,
        injected.BAD_GATEWAY,
        injected.PAGE,
        Fault("drop_before"),
        Fault("drop_within"),
        Fault("wrong_length"),
        Fault("half_json"),
        Fault("short_length"),
        Fault("status", 408),
        Fault("status", 524),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}-{fault.retry_after}",
)
def test_what_may_pass_is_tried_again_and_then_answered(server: ApiServer, opened: OpenClient, fault: Fault) -> None:
    server.inject(fault, times=TRIES - 1)
    answer = opened(server).post("completions", BODY)
    assert answer["choices"][0]["text"] == server.model.generate([BOS, *server.model.encode("関係：")], 4).text
    assert [request.answered for request in server.posts] == [False] * (TRIES - 1) + [True]


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        (injected.rate_limit(), "rate_limited", "HTTP 429: Rate limit reached"),
        (injected.INTERNAL, "server_error", "HTTP 500: The server had an error"),
        (injected.UNAVAILABLE, "server_error", "HTTP 503: The engine is currently overloaded"),
        (injected.BAD_GATEWAY, "server_error", "HTTP 502: HTML"),
        (injected.PAGE, "not_json", "no JSON object (text/html; charset=utf-8)"),
        (Fault("half_json"), "not_json", "no JSON object (application/json)"),
        (Fault("drop_before"), "unreachable", "broke the connection off"),
        (Fault("drop_within"), "unreachable", "broke the connection off"),
    ],
)
def test_after_five_tries_the_last_failure_is_told(
    server: ApiServer, opened: OpenClient, fault: Fault, kind: str, says: str
) -> None:
    server.inject(fault)
    error = failure(opened(server))
    assert (error.kind, error.run) == (kind, None)
    assert says in str(error.message)
    assert len(server.posts) == TRIES


@pytest.mark.parametrize(
    ("fault", "kind", "run"),
    [
        (injected.NO_QUOTA, "no_quota", ModelAccessError),
        (injected.PAYMENT, "no_quota", ModelAccessError),
        (injected.error(401, "Incorrect API key provided", "invalid_request_error"), "no_access", ModelAccessError),
        (injected.error(403, "Country not supported", "request_forbidden"), "no_access", ModelAccessError),
        (
            injected.error(404, "No model `tiny`", "x", "model_not_found"),
            "no_model",
            ModelNotFoundError,
        ),
        (Fault("html", 404), "no_interface", NetworkError),
        (injected.error(400, "Invalid 'stop'", "invalid_request_error"), "refused", None),
        (injected.error(422, "stop: none is allowed", "invalid_request_error"), "refused", None),
        (injected.error(400, "too long", "x", "context_length_exceeded"), "overflow", None),
        (Fault("status", 413, {"error": "Payload Too Large"}), "refused", None),
        (Fault("shape", 200, body={"error": {"message": "model is loading", "code": 400}}), "refused", None),
    ],
)
def test_what_cannot_pass_is_final_for_the_item_or_for_the_run(
    server: ApiServer, opened: OpenClient, fault: Fault, kind: str, run: type[Exception] | None
) -> None:
    server.inject(fault)
    error = failure(opened(server))
    assert (error.kind, error.run) == (kind, run)
    assert len(server.posts) == 1


def test_a_context_limit_is_an_overflow_in_either_wording(opened: OpenClient) -> None:
    for config in (ApiConfig(context_length=6, context_wording="openai"), ApiConfig(context_length=6)):
        with ApiServer(config) as server:
            assert failure(opened(server)).kind == "overflow"
            assert len(server.posts) == 1


def test_the_errors_of_a_server_under_status_200_are_errors(server: ApiServer, opened: OpenClient) -> None:
    server.inject(Fault("shape", body=injected.SHAPES["an error with status 200"]))
    assert "model is loading" in str(failure(opened(server)).message)


# --- Retry-After ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_as_long_as_the_server_asks_is_waited(server: ApiServer, opened: OpenClient, form: str) -> None:
    # A date has whole seconds, so that 2 seconds ahead is at least one.
    server.inject(injected.rate_limit("1" if form == "seconds" else injected.http_date(2)), times=1)
    started = time.monotonic()
    opened(server).post("completions", BODY)
    assert 0.95 < time.monotonic() - started < 3


def test_all_requests_wait_where_the_server_limits_their_rate(server: ApiServer, opened: OpenClient) -> None:
    server.inject(injected.rate_limit("1"), times=1)
    client = opened(server)
    first = threading.Thread(target=client.post, args=("completions", BODY))
    first.start()
    while not server.posts or not server.posts[0].status:
        time.sleep(0.01)
    time.sleep(0.1)
    started = time.monotonic()
    client.post("completions", {**BODY, "max_tokens": 2})
    assert time.monotonic() - started > 0.7
    first.join()


@pytest.mark.parametrize("retry_after", ["86400", "1e300", "inf"])
def test_nobody_waits_longer_than_the_deadline(server: ApiServer, opened: OpenClient, retry_after: str) -> None:
    server.inject(injected.rate_limit(retry_after))
    started = time.monotonic()
    assert failure(opened(server, deadline=5)).kind == "rate_limited"
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("retry_after", ["-5", "nan", "soon", "", "Thu, 01 Jan 1970 00:00:00 GMT", "Xxx, 99 Foo"])
def test_a_senseless_retry_after_is_none(server: ApiServer, opened: OpenClient, retry_after: str) -> None:
    server.inject(injected.rate_limit(retry_after), times=2)
    opened(server).post("completions", BODY)
    assert len(server.posts) == 3


# --- bounds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault("hang"), Fault("drip", seconds=0.1), Fault("drip_head", seconds=0.1)])
def test_a_try_ends_after_its_time(server: ApiServer, opened: OpenClient, fault: Fault) -> None:
    server.inject(fault)
    client = opened(server, timeout=0.5, deadline=1.2)
    started = time.monotonic()
    error = failure(client)
    assert error.kind == "timeout"
    assert "0.5 seconds" in str(error.message)
    assert time.monotonic() - started < 4


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault("endless"), "too_large"),
        (Fault("million", repeats=30 * injected.MILLION), "too_large"),
        (Fault("gzip_bomb", repeats=200 * injected.MILLION), "not_json"),
    ],
)
def test_no_answer_is_read_without_bound(
    server: ApiServer, opened: OpenClient, monkeypatch: pytest.MonkeyPatch, fault: Fault, kind: str
) -> None:
    monkeypatch.setattr(client_module, "MAX_RESPONSE_BYTES", 2**20)
    server.inject(fault, times=1 if kind == "not_json" else None)
    if kind == "not_json":
        assert opened(server).post("completions", BODY)["choices"]
    else:
        assert failure(opened(server)).kind == kind
        assert len(server.posts) == 1
    deadline = time.monotonic() + 5
    while server.in_flight and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.in_flight == 0


def test_waiting_ends_when_it_is_cancelled(server: ApiServer, opened: OpenClient) -> None:
    server.inject(injected.rate_limit("60"))
    client, event, errors = opened(server), threading.Event(), list[RequestError]()

    def ask() -> None:
        try:
            client.post("completions", BODY, event)
        except RequestError as e:
            errors.append(e)

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.3)
    started = time.monotonic()
    event.set()
    thread.join(5)
    assert time.monotonic() - started < 1
    assert [error.kind for error in errors] == ["cancelled"]
    assert len(server.posts) == 1


def test_requests_a_minute_are_spaced(server: ApiServer, opened: OpenClient) -> None:
    client = opened(server, requests_per_minute=120)
    for n in range(1, 4):
        client.post("completions", {**BODY, "max_tokens": n})
    first, *_, last = [request.time for request in server.posts]
    assert last - first > 0.85


# --- keys -----------------------------------------------------------------------------------------------


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of the endpoint, and others that the client must not take."""
    monkeypatch.setenv("HERE_KEY", KEY)
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, "sk-of-somebody-else-0123456789")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Secret: sk-of-somebody-else-0123456789")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")


@pytest.mark.usefixtures("planted")
def test_a_server_gets_its_own_key_and_nothing_else_of_the_environment(opened: OpenClient) -> None:
    with ApiServer(ApiConfig(key=KEY)) as server:
        opened(server, key_env="HERE_KEY").post("completions", BODY)
        assert server.posts[0].key == KEY
        assert "somebody" not in repr(server.posts)
        assert not [name for name in server.posts[0].headers if name.startswith(("openai", "x-"))]
    with ApiServer() as open_server:
        opened(open_server).post("completions", BODY)
        assert "authorization" not in open_server.posts[0].headers
        assert "sk-" not in repr(open_server.posts)


@pytest.mark.usefixtures("planted")
def test_headers_and_query_parameters_are_sent_as_azure_wants_them(opened: OpenClient) -> None:
    config = ApiConfig(headers={"api-key": KEY}, query={"api-version": "2026-01-01"}, prefix="/openai/v1")
    with ApiServer(config) as server:
        entry: dict[str, Any] = {"key_env": "HERE_KEY", "key_header": "api-key"}
        opened(server, **entry, query={"api-version": "2026-01-01"}).post("completions", BODY)
        assert "authorization" not in server.posts[0].headers
        opened(server, headers={"api-key": "$HERE_KEY"}, query={"api-version": "2026-01-01"}).post("completions", BODY)
        assert len(server.posts) == 2


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_no_key_goes_there(server: ApiServer, opened: OpenClient, status: int) -> None:
    with ApiServer() as other:
        server.inject(Fault("redirect", status, location=other.base_url + "/completions"))
        error = failure(opened(server, key_env="HERE_KEY"))
        assert (error.kind, error.run) == ("redirected", NetworkError)
        assert other.requests == []
        assert server.posts[0].key == KEY and len(server.posts) == 1


@pytest.mark.usefixtures("planted")
def test_a_proxy_of_the_environment_never_gets_the_key_of_a_server_nearby(
    server: ApiServer, opened: OpenClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ApiServer() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        opened(server, key_env="HERE_KEY").post("completions", BODY)
        assert proxy.requests == []
        assert server.posts[0].key == KEY


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 418, 429, 500, 200])
@pytest.mark.parametrize("part", [KEY, KEY[:8], KEY[:8] + "*" * 20 + KEY[-4:], KEY[:20] + "...", KEY[10:]])
def test_no_part_of_a_key_is_in_any_message_or_log(
    server: ApiServer, opened: OpenClient, caplog: pytest.LogCaptureFixture, status: int, part: str
) -> None:
    caplog.set_level(logging.DEBUG)
    body = {"error": {"message": f"Incorrect API key provided: {part}. Model context.", "type": part, "code": part}}
    kind: Any = "shape" if status == 200 else "status"
    server.inject(Fault(kind, status, body, body=body))
    error = failure(opened(server, key_env="HERE_KEY"))
    told = f"{error} {error.message!r} {error.as_exception()} {error.as_run_error()} {caplog.text}"
    for start in range(len(KEY) - 7):
        assert KEY[start : start + 8] not in told


@pytest.mark.usefixtures("planted")
def test_no_part_of_a_header_that_holds_a_key_is_in_a_message(server: ApiServer, opened: OpenClient) -> None:
    server.inject(injected.error(400, f"Unknown ({KEY[:12]}… of application/json", "invalid_request_error"))
    headers = {"x-own-key": "Key $HERE_KEY", "x-kind": "application/json"}
    error = failure(opened(server, headers=headers))
    assert server.posts[0].headers["x-own-key"] == f"Key {KEY}"
    assert "Unknown ([key]… of application/json" in str(error.message)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "nothing://127.0.0.1"])
def test_a_proxy_that_cannot_be_used_is_a_sentence(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    there = with_endpoints(settings, there={"base_url": "https://example.invalid/v1"})
    with pytest.raises(InputError, match=r"endpoint there cannot be reached through the proxy .* Correct HTTPS_PROXY"):
        Client(served_model("there:tiny", there))


@pytest.mark.parametrize("value", ["", "  ", "two words", "http://127.0.0.1:8000", "鍵", "a\nb"])
def test_a_variable_without_a_key_is_refused_before_a_request(
    server: ApiServer, opened: OpenClient, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("HERE_KEY", value)
    with pytest.raises(InputError, match="HERE_KEY") as caught:
        opened(server, key_env="HERE_KEY")
    assert not value.strip() or value not in str(caught.value)
    assert server.requests == []
