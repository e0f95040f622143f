"""A model on a server that fails: what becomes of each item and of the run, and that nothing leaks or hangs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jglue_app.backends import open_backend
from jglue_app.backends.openai_api import client as client_module
from jglue_app.backends.openai_api.backend import GIVE_UP_AFTER, OpenAIBackend
from jglue_app.backends.openai_api.client import TRIES
from jglue_app.backends.spending import Spending
from jglue_app.errors import JglueAppError, ModelAccessError, ModelNotFoundError, NetworkError
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec, Output, Prompt, RunError
from tests.api_server import ApiConfig, ApiServer, Fault, Request
from tests.api_server import faults as injected
from tests.api_server.model import BOS
from tests.backends.contract import Results, collect, make_prompt, never, output, text_of
from tests.served_models import with_server

KEY = "sk-planted-0123456789abcdefghijklmnop"
MARK = "番"
Connect = Callable[..., OpenAIBackend]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "FIRST_WAIT_S", 0.01)


@pytest.fixture(scope="module")
def shared_server() -> Iterator[ApiServer]:
    """One for all tests, so that there is one handshake."""
    with ApiServer() as server:
        yield server


@pytest.fixture
def server(shared_server: ApiServer) -> Iterator[ApiServer]:
    """A server without faults."""
    yield shared_server
    shared_server.heal()


@pytest.fixture(scope="module")
def folder(shared_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of this file."""
    return replace(shared_settings, cache_dir=tmp_path_factory.mktemp("faults") / "cache")


@pytest.fixture
def connect(folder: Settings) -> Iterator[Connect]:
    """`connect(server, **entry)`: the model `tiny` on a server, closed at the end."""
    backends: list[OpenAIBackend] = []

    def made(server: ApiServer, **entry: object) -> OpenAIBackend:
        backend = open_backend(ModelSpec("here:tiny", backend="openai_api"), with_server(folder, server, **entry))
        assert isinstance(backend, OpenAIBackend)
        backends.append(backend)
        server.requests.clear()
        return backend

    yield made
    for backend in backends:
        backend.close()


def prompts(count: int = 5, *, chat: bool = False) -> list[Prompt]:
    return [make_prompt(f"問{i}{MARK}：", item_id=str(i), chat=chat) for i in range(count)]


def of_item(*numbers: int) -> Callable[[Request], bool]:
    """Whether a request is one of these items."""
    return lambda request: any(f"問{n}{MARK}" in str(request.body) for n in numbers)


def check_others(server: ApiServer, results: Results, failed: set[int], chat: bool = False) -> None:
    """All but some items have the text of the model."""
    for i, prompt in enumerate(prompts()):
        if i not in failed:
            ids = server.model.render_chat(prompt.messages or ()) if chat else [BOS, *server.model.encode(prompt.text)]
            assert text_of(results[i]) == server.model.generate(ids, 6).text


# --- one item fails, the others go on -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind", "says", "tries"),
    [
        (injected.rate_limit(), "rate_limited", "HTTP 429: Rate limit reached", TRIES),
        (injected.INTERNAL, "server_error", "HTTP 500", TRIES),
        (injected.BAD_GATEWAY, "server_error", "HTTP 502: HTML", TRIES),
        (injected.UNAVAILABLE, "server_error", "HTTP 503", TRIES),
        (injected.PAGE, "not_json", "no JSON object (text/html", TRIES),
        (Fault("half_json"), "not_json", "no JSON object", TRIES),
        (Fault("drop_before"), "unreachable", "broke the connection off", TRIES),
        (Fault("drop_within"), "unreachable", "broke the connection off", TRIES),
        (Fault("wrong_length"), "unreachable", "broke the connection off", TRIES),
        (Fault("gzip_bomb", repeats=injected.MILLION), "not_json", "gzip", TRIES),
        (injected.error(400, "Invalid value", "invalid_request_error"), "refused", "HTTP 400: Invalid value", 1),
        (Fault("endless"), "too_large", "more than 64 MB", 1),
        (Fault("million"), "limit_ignored", "where 6 were the limit", 1),
        (Fault("shape", body=injected.SHAPES["choices missing"]), "other_shape", "choices", 1),
        (Fault("shape", body=injected.SHAPES["choices empty"]), "other_shape", "choices", 1),
        (Fault("shape", body=injected.SHAPES["choices null"]), "other_shape", "choices", 1),
        (Fault("shape", body=injected.SHAPES["a list"]), "not_json", "no JSON object", TRIES),
        (Fault("shape", body=injected.SHAPES["null"]), "not_json", "no JSON object", TRIES),
    ],
    ids=lambda value: f"{value.kind}-{value.status}" if isinstance(value, Fault) else None,
)
def test_a_fault_of_one_item_is_an_error_of_this_item(
    server: ApiServer, connect: Connect, fault: Fault, kind: str, says: str, tries: int
) -> None:
    backend = connect(server, timeout=20)
    server.inject(fault, when=of_item(2))
    results = collect(backend.generate(prompts(), 6, never))
    assert set(results) == set(range(5))
    error = results[2]
    assert isinstance(error, RunError)
    assert error.kind == kind
    assert says in error.message and says in error.sentence
    assert sum(map(of_item(2), server.posts)) == tries
    check_others(server, results, {2})


@pytest.mark.parametrize("shape", ["content null", "content a list"])
def test_contents_in_other_forms_are_read(server: ApiServer, connect: Connect, shape: str) -> None:
    backend = connect(server)
    server.inject(Fault("shape", body=injected.SHAPES[shape]))
    result = output(collect(backend.generate(prompts(1, chat=True), 6, never))[0])
    assert (result.text, result.finish) == {"content null": ("", "empty"), "content a list": ("含意", "stop")}[shape]


@pytest.mark.parametrize(
    "fault",
    [injected.rate_limit("0.01"), injected.INTERNAL, Fault("drop_before"), Fault("drop_within"), injected.PAGE],
)
def test_a_fault_that_passes_changes_no_answer(server: ApiServer, connect: Connect, fault: Fault) -> None:
    backend = connect(server)
    server.inject(fault, share=0.3, seed=7)
    results = collect(backend.generate(prompts(), 6, never))
    server.heal()
    check_others(server, results, {i for i, result in results.items() if isinstance(result, RunError)})
    assert sum(isinstance(result, RunError) for result in results.values()) <= 1


def test_a_fault_while_answers_are_ranked_is_an_error_and_no_low_score(server: ApiServer, connect: Connect) -> None:
    backend = connect(server)
    server.inject(injected.INTERNAL, when=lambda request: "矛盾" in str(request.body.get("prompt")))
    result = collect(backend.choose([make_prompt("関係：")], never))[0]
    assert isinstance(result, RunError) and result.kind == "server_error"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 5.0, None, "-1.0", True])
def test_log_probabilities_that_cannot_be_are_an_error(server: ApiServer, connect: Connect, value: object) -> None:
    backend = connect(server)
    body = {
        **{"id": "x", "object": "text_completion", "created": 1, "model": "tiny"},
        "choices": [
            {
                **{"index": 0, "text": "関係：含意1", "finish_reason": "length"},
                "logprobs": {"tokens": list("関係：含1"), "token_logprobs": [None, -1.0, -1.0, value, -1.0]},
            }
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6},
    }
    server.inject(Fault("shape", body=body), when=lambda request: "含意" in str(request.body.get("prompt")))
    result = collect(backend.choose([make_prompt("関係：")], never))[0]
    assert isinstance(result, RunError) and result.kind == "other_shape"


def test_a_refusal_by_a_filter_is_an_error_and_no_empty_answer(server: ApiServer, connect: Connect) -> None:
    backend = connect(server)
    body = {
        **{"id": "x", "object": "chat.completion", "created": 1, "model": "tiny"},
        "choices": [{"index": 0, "message": {"role": "assistant", "content": None}, "finish_reason": "content_filter"}],
    }
    server.inject(Fault("shape", body=body))
    result = collect(backend.generate(prompts(1, chat=True), 6, never))[0]
    assert isinstance(result, RunError) and result.kind == "content_filter"


EVERY_FAULT = (
    *(injected.rate_limit(), injected.rate_limit("0.05"), injected.rate_limit("-1"), injected.rate_limit("9999")),
    *(injected.INTERNAL, injected.UNAVAILABLE, injected.BAD_GATEWAY, injected.PAGE, Fault("status", 408)),
    *(Fault("status", 504), Fault("status", 529), Fault("html", 503), Fault("drop_before"), Fault("drop_within")),
    *(Fault("half_json"), Fault("short_length"), Fault("wrong_length"), Fault("hang"), Fault("drip", seconds=0.2)),
    *(Fault("drip_head", seconds=0.2), Fault("million", repeats=injected.MILLION)),
    *(Fault("gzip_bomb", repeats=injected.MILLION), injected.error(400, "Invalid value", "invalid_request_error")),
    *(Fault("shape", body=injected.SHAPES[name]) for name in ("choices missing", "choices empty", "choices null")),
    *(Fault("shape", body=injected.SHAPES[name]) for name in ("a list", "a text", "null", "an error with status 200")),
)


@pytest.mark.slow
def test_no_answer_is_wrong_or_missing_under_hundreds_of_faults(connect: Connect) -> None:
    with ApiServer() as server:
        backend = connect(server, timeout=1.0, deadline=30.0, requests_at_once=16)
        injections = [server.inject(fault, share=0.02, seed=i) for i, fault in enumerate(EVERY_FAULT)]
        asked = prompts(800)
        results: Results = {}
        while len(results) < len(asked):
            left = [i for i in range(len(asked)) if i not in results]
            try:
                for k, result in backend.generate([asked[i] for i in left], 6, never):
                    results[left[k]] = result
            except NetworkError:  # Several items failed in a row: the run is started again.
                continue
        met = sum(injection.met for injection in injections)
        errors = [result for result in results.values() if isinstance(result, RunError)]
        print(f"{met} faults of {sum(i.met > 0 for i in injections)} kinds, {len(errors)} items without an answer")
        assert met >= 500 and all(injection.met for injection in injections)
        for i, result in results.items():
            if isinstance(result, Output):
                ids = [BOS, *server.model.encode(asked[i].text)]
                assert result.text == server.model.generate(ids, 6).text
        assert len(errors) < 300


# --- the run ends ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        (injected.NO_QUOTA, ModelAccessError, "no quota left"),
        (injected.PAYMENT, ModelAccessError, "no quota left"),
        (injected.error(401, f"Incorrect API key: {KEY[:8]}", "x", "invalid_api_key"), ModelAccessError, "HERE_KEY"),
        (injected.error(404, "No model `tiny`", "x", "model_not_found"), ModelNotFoundError, "no model 'tiny'"),
        (Fault("redirect", location="http://127.0.0.1:9/v1"), NetworkError, "redirects"),
    ],
)
def test_what_concerns_all_items_ends_the_run_at_once(
    server: ApiServer,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
    error: type[JglueAppError],
    says: str,
) -> None:
    monkeypatch.setenv("HERE_KEY", KEY)
    backend = connect(server, requests_at_once=1, key_env="HERE_KEY")
    server.inject(fault, when=of_item(2))
    results: Results = {}
    with pytest.raises(error, match=says):
        results.update(backend.generate(prompts(), 6, never))
    # What was answered before is there; nothing is sent afterwards.
    assert set(results) == {0, 1}
    assert all(isinstance(result, Output) for result in results.values())
    assert len(server.posts) == 3


def test_a_server_that_goes_down_ends_the_run_and_not_all_items(connect: Connect) -> None:
    server = ApiServer()
    backend = connect(server, requests_at_once=1)
    results: Results = {}

    def consume() -> None:
        for i, result in backend.generate(prompts(60), 6, never):
            results[i] = result
            if i == 2:
                server.close()

    with pytest.raises(NetworkError, match=f"failed at {GIVE_UP_AFTER} items in a row"):
        consume()
    # Some may have been answered before the third was looked at.
    assert sum(isinstance(result, RunError) for result in results.values()) == GIVE_UP_AFTER
    assert len(results) < 60


# --- time -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault("hang"), Fault("drip", seconds=0.2), Fault("drip_head", seconds=0.2)])
@pytest.mark.parametrize("method", ["generate", "choose"])
def test_a_run_stops_within_two_seconds_while_the_server_hangs(
    server: ApiServer, connect: Connect, fault: Fault, method: str
) -> None:
    backend = connect(server, timeout=60)
    server.inject(fault)
    stop = threading.Event()
    results: list[Any] = []

    def run() -> None:
        found = (
            backend.generate(prompts(), 6, stop.is_set)
            if method == "generate"
            else backend.choose(prompts(), stop.is_set)
        )
        results.extend(found)

    thread = threading.Thread(target=run)
    thread.start()
    while not server.posts:
        time.sleep(0.01)
    started = time.monotonic()
    stop.set()
    thread.join(10)
    assert time.monotonic() - started < 2
    assert results == []


def test_a_run_stops_within_two_seconds_while_it_waits_for_a_rate_limit(server: ApiServer, connect: Connect) -> None:
    backend = connect(server)
    server.inject(injected.rate_limit("100"))
    started = time.monotonic()
    assert collect(backend.generate(prompts(), 6, lambda: time.monotonic() - started > 0.5)) == {}
    assert time.monotonic() - started < 2.5


def test_an_item_that_hangs_is_given_up_after_its_time_and_the_others_go_on(
    server: ApiServer, connect: Connect
) -> None:
    backend = connect(server, timeout=0.4, deadline=1.0)
    server.inject(Fault("hang"), when=of_item(1))
    started = time.monotonic()
    results = collect(backend.generate(prompts(), 6, never))
    assert time.monotonic() - started < 5
    error = results[1]
    assert isinstance(error, RunError) and error.kind == "timeout"
    check_others(server, results, {1})


# --- money ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault("drop_within"), Fault("half_json"), Fault("drop_before")])
def test_an_answer_that_was_lost_may_have_been_paid_and_is_counted(connect: Connect, fault: Fault) -> None:
    with ApiServer(ApiConfig(price_in=1000, price_out=1000)) as server:
        backend = connect(server, price_in=1000, price_out=1000)
        backend.spending = spending = Spending(100.0)
        server.inject(fault, times=2)
        collect(backend.generate(prompts(1), 6, never))
        assert len(server.posts) == 3
        assert spending.spent >= server.price - 1e-9


def test_a_budget_is_never_exceeded_and_what_is_over_it_is_not_sent(connect: Connect) -> None:
    with ApiServer(ApiConfig(price_in=1000, price_out=1000)) as server:
        backend = connect(server, price_in=1000, price_out=1000)
        backend.spending = Spending(0.2)
        results = collect(backend.generate(prompts(40), 6, never))
        assert 0 < len(results) < 40
        assert 0.1 < server.price <= 0.2
        assert backend.spending.spent == pytest.approx(server.price)


# --- keys -----------------------------------------------------------------------------------------------


def _files(folder: Path) -> Iterator[bytes]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path.read_bytes()


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 429, 500])
def test_no_part_of_a_key_is_in_a_result_a_log_or_a_file(
    connect: Connect,
    folder: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HERE_KEY", KEY)
    with ApiServer(ApiConfig(key=KEY)) as server, ApiServer() as other:
        backend = connect(server, key_env="HERE_KEY", price_in=1)
        shown = f"{KEY[:8]}{'*' * 20}{KEY[-9:]} or {KEY}"
        server.inject(injected.error(status, f"Incorrect API key provided: {shown}", KEY, KEY), when=of_item(1))
        told = ""
        try:
            for _, result in backend.generate(prompts(), 6, never):
                told += repr(result)
        except JglueAppError as e:
            told += f"{e!r} {e.__cause__!r} {e.__context__!r}"
        told += repr(backend.info) + caplog.text
        assert all(request.key == KEY for request in server.posts)
        assert other.requests == []
    contents = [told.encode(), *_files(folder.cache_dir.parent)]
    for start in range(len(KEY) - 7):
        assert not [text for text in contents if KEY[start : start + 8].encode() in text]


def test_an_answer_with_lone_surrogates_and_control_characters_is_an_answer(
    connect: Connect, server: ApiServer
) -> None:
    backend = connect(server, price_in=1)
    choice = {"index": 0, "text": "含\ud800\x00\x1b[0m\u2028意", "finish_reason": "stop"}
    body = {"id": "x", "object": "text_completion", "created": 1, "model": "tiny", "choices": [choice]}
    server.inject(Fault("shape", body=body))
    assert text_of(collect(backend.generate(prompts(1), 6, never))[0]) == choice["text"]
    # It is kept in that form too.
    again = replace(prompts(1)[0], item_id="another")
    assert text_of(collect(backend.generate([again], 6, never))[0]) == choice["text"]
    assert len(server.posts) == 1
