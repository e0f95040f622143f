"""What a request may hold: addresses, JSON, sizes, files, and the time that its body takes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import gradio as gr
import pytest
from gradio.events import api
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from jglue_app.errors import InputError
from jglue_app.ui import request_limits
from jglue_app.ui.call_check import MAX_DEPTH, MAX_DIGITS, MAX_VALUES, page_calls, read_json
from jglue_app.ui.open_routes import open_routes
from jglue_app.ui.request_limits import LOCAL, PUBLIC, Limits, LimitsMiddleware, RefusedError, UploadBudget
from tests.ui.event_loops import run_in_thread

API = "/gradio_api"
FILES = "/tmp/of-gradio"


@pytest.fixture(scope="module")
def page() -> gr.Blocks:
    # Gradio leaves a loop open that it has to make because none runs.
    return run_in_thread(build())


async def build() -> gr.Blocks:
    def add(a: int, b: int = 2) -> int:
        return a + b

    def count(a: int) -> Any:
        yield from range(a)

    def take(file: str | None) -> str:
        return str(file)

    def shown(data: Any) -> Any:
        return data

    blocks: gr.Blocks
    with gr.Blocks() as blocks:
        api(add)
        api(count)
        file, text = gr.File(), gr.Textbox()
        text.change(take, file, text, api_name="take")
        text.submit(lambda value: value, text, text, api_visibility="private")
        text.blur(lambda value: value, text, text, api_visibility="private", queue=False)
        gr.HTML("", server_functions=[shown], elem_id="served")
    return blocks


def client(page: gr.Blocks, limits: Limits = LOCAL) -> TestClient:
    async def whole(scope: Scope, receive: Receive, send: Send) -> None:
        body = await Request(scope, receive).body()
        await PlainTextResponse(f"{len(body)} bytes")(scope, receive, send)

    public = limits is PUBLIC
    routes = open_routes(uploads=not public, mcp=not public, sign_in=False)
    calls = page_calls(page, "" if public else FILES)
    return TestClient(LimitsMiddleware(whole, routes, calls, limits, FILES, prefix="/below/"))


OPEN = (
    *("/", "/below/", "/assets/index-Ab1.js", "/static/js/x.js", "/theme.css", "/preview.png", "/health", "/config"),
    *(
        f"{API}/info",
        f"{API}/queue/data",
        f"{API}/call/add/0a1b",
        f"{API}/heartbeat/abc",
        f"{API}/file={FILES}/a/b.csv",
    ),
    *(f"{API}/startup-events", "/below/gradio_api/info"),
)
CLOSED = (
    *(
        "/docs",
        "/openapi.json",
        "/monitoring",
        "/monitoring/summary",
        "/login",
        "/logout",
        "/svelte/a",
        "/manifest.json",
    ),
    *(f"{API}/file=/etc/passwd", f"{API}/file={FILES}/../../etc/passwd", f"{API}/file={FILES}x/a", f"{API}/file=a"),
    *(f"{API}/file=http://169.254.169.254/", f"{API}/proxy=http://evil.example/", f"{API}/file/etc/passwd"),
    *(f"{API}/{name}" for name in ("dev/reload", "token", "user", "runs", "deep_link", "vibe-code", "queue/status")),
    *(f"{API}/{name}" for name in ("profiling/traces", "stream/a/b/1/playlist.m3u8", "custom_component/a/b/c/d.js")),
    *(f"{API}/heartbeat/", f"{API}/heartbeat/a%2Fb", "//evil.example", "/%00", "/?" + "x" * 20_000),
)


def test_what_the_page_and_programs_need_is_open_and_all_else_is_closed(page: gr.Blocks) -> None:
    for limits in (LOCAL, PUBLIC):
        visitor = client(page, limits)
        assert [path for path in OPEN if visitor.get(path).status_code != 200] == []
        for path in CLOSED:
            answer = visitor.get("http://testserver" + path)
            assert answer.status_code in (400, 404), path
            assert "evil" not in answer.text and answer.headers["cache-control"] == "no-store"
        for path in ("/", f"{API}/process_recording", f"{API}/vibe-edit", f"{API}/stream/abc", "/login"):
            assert visitor.post(path, json={}).status_code == 404
    assert "公開" not in client(page).get("/docs", headers={"accept-language": "en"}).text


def test_a_public_server_takes_no_files_and_no_direct_long_action(page: gr.Blocks) -> None:
    stranger, owner = client(page, PUBLIC), client(page)
    file = {"data": [{"path": f"{FILES}/a/b.zip", "meta": {"_type": "gradio.FileData"}}]}
    for visitor, uploaded in ((stranger, 403), (owner, 200)):
        assert visitor.post(f"{API}/upload", files={"files": b"x"}).status_code == uploaded
    for visitor, taken in ((stranger, 422), (owner, 200)):
        assert visitor.post(f"{API}/call/take", json=file).status_code == taken
    for kind in ("run", "api"):
        assert stranger.post(f"{API}/{kind}/add", json={"data": [1, 2]}).status_code == 200
        assert "by the queue alone" in stranger.post(f"{API}/{kind}/count", json={"data": [3]}).json()["detail"]
        # The page's own functions have no name, and a number goes before a name.
        for number in (1, 3):
            assert stranger.post(f"{API}/{kind}/add", json={"data": [1, 2], "fn_index": number}).status_code == 403
        assert owner.post(f"{API}/{kind}/count", json={"data": [3]}).status_code == 200
    # What the page does not queue, it calls directly.
    assert stranger.post(f"{API}/run/predict", json={"data": [1], "fn_index": 4}).status_code == 200
    assert stranger.post(f"{API}/call/count", json={"data": [3]}).status_code == 200


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "well formed"),
        (b"{", "well formed"),
        (b"\xff\xfe{", "UTF-8"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "NaN"),
        (b'{"a": [1, 1e400]}', "NaN"),
        (b'{"a": -1e999}', "NaN"),
        (b'{"a": ' + b"9" * (MAX_DIGITS + 1) + b"}", "NaN"),
        (b"[" + b"[]," * MAX_VALUES + b"[]]", "values"),
        (b'["a", ' + b'{"":0},' * MAX_VALUES + b'"' + b'\\"' * 9, "values"),
        (b"[" * 100_000, "levels"),
        (b"[" * (MAX_DEPTH + 1) + b"1" + b"]" * (MAX_DEPTH + 1), "levels"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"\\udfff": 1}', "surrogate"),
    ],
)
def test_json_that_gradio_would_stumble_over_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read_json(body)


def test_all_other_json_is_read() -> None:
    value = {"a": ["\U0001f600", "é", 1e300, None, True], "b": {}}
    assert read_json(b'{"a": ["\\ud83d\\ude00", "\\u00e9", 1e300, null, true], "b": {}}') == value
    assert read_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    assert read_json(b"[" + b"1," * (MAX_VALUES - 2) + b"1]") == [1] * (MAX_VALUES - 1)
    # What stands within a text is no value.
    table = {"table": '"a","b",[{' * MAX_VALUES, "n": int("9" * MAX_DIGITS)}
    assert read_json(json.dumps(table).encode()) == table


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        *((path, 5, "“body” of this call must be an object") for path in ("queue/join", "cancel", "component_server")),
        ("queue/join", {"data": 5}, "“data” of this call must be a list"),
        ("queue/join", {"data": [], "fn_index": 999}, "nothing under “fn_index”"),
        ("queue/join", {"data": [], "fn_index": True}, "“fn_index” of this call must be a whole number"),
        ("queue/join", {"data": [], "fn_index": 2**40}, "“fn_index” of this call must be a whole number"),
        ("queue/join", {"data": [1], "fn_index": 0}, "gives 1 values, and 2 are needed"),
        ("queue/join", {"data": [1, 2], "fn_index": 0, "session_hash": "../x"}, "“session_hash”"),
        ("queue/join", {"data": [1, 2], "fn_index": 0, "session_hash": ["x"]}, "“session_hash”"),
        ("queue/join", {"data": [1, 2], "fn_index": 0, "trigger_id": "x"}, "“trigger_id”"),
        ("queue/join", {"data": [1, 2], "fn_index": 0, "event_id": {}}, "“event_id”"),
        ("queue/join", {"data": [1, 2], "fn_index": 0, "batched": "x"}, "“batched” of this call must be true or false"),
        ("call/nothing", {"data": []}, "nothing under “nothing”"),
        ("call/v2/nothing", {}, "nothing under “nothing”"),
        ("call/v2/add", {"c": 1}, "nothing under “c”"),
        ("call/v2/add", {"b": 1}, "“a” is missing"),
        ("call/take", {"data": ["/etc/passwd"]}, "must be a file that was uploaded"),
        ("call/take", {"data": [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}]}, "“path”"),
        ("call/add", {"data": [{"x": [{"path": 5, "meta": {"_type": "gradio.FileData"}}]}, 1]}, "“path”"),
        ("cancel", {"session_hash": "a", "event_id": "b", "fn_index": "x"}, "“fn_index”"),
        ("cancel", {"session_hash": "a", "event_id": None, "fn_index": 1}, "“event_id”"),
        ("reset", {}, "“event_id”"),
        (
            "component_server",
            {"session_hash": "a", "component_id": 99, "fn_name": "shown", "data": 1},
            "“component_id”",
        ),
        ("component_server", {"session_hash": "a", "component_id": "x", "fn_name": "f", "data": 1}, "“component_id”"),
        ("component_server", {"session_hash": "a", "component_id": 1, "fn_name": [], "data": 1}, "“fn_name”"),
    ],
)
def test_a_wrong_call_is_one_sentence(page: gr.Blocks, path: str, body: object, sentence: str) -> None:
    answer = client(page).post(f"{API}/{path}", json=body)
    assert answer.status_code == 422
    assert sentence in answer.json()["detail"] == answer.json()["error"]


def test_right_calls_pass_with_their_bodies(page: gr.Blocks) -> None:
    (number,) = [n for n, block in page.blocks.items() if block.elem_id == "served"]
    component = {"session_hash": "a", "component_id": number, "fn_name": "shown", "data": {}}
    event = {"session_hash": "abc", "event_id": "0a-1b", "fn_index": 0}
    right = {
        "queue/join": {"data": [1, 2], "fn_index": 0, "session_hash": "abc", "trigger_id": None, "event_data": None},
        "call/add": {"data": [1, 2]},
        "call/v2/add": {"a": 1},
        "component_server/": component,
        "cancel": event,
        "reset": event,
    }
    for path, body in right.items():
        answer = client(page).post(f"{API}/{path}", json=body)
        assert answer.text.endswith(" bytes") and answer.text != "0 bytes", path
    assert client(page).post(f"{API}/call/take", json={"data": [None]}).status_code == 200


def test_a_body_that_is_too_large_is_refused_with_and_without_a_length(page: gr.Blocks) -> None:
    text = b'{"data": ["' + b"x" * PUBLIC.call_bytes + b'"]}'
    for body in (text, iter([text[:1000], text[1000:]])):
        answer = client(page, PUBLIC).post(f"{API}/queue/join", content=body)
        assert (answer.status_code, "larger than 6 MB" in answer.json()["detail"]) == (413, True)


def test_files_of_an_address_are_counted_for_an_hour() -> None:
    now = 0.0
    budget = UploadBudget(Limits(0, 1000, 5, direct_long_actions=True), clock=lambda: now)
    for _ in range(5):
        budget.add("203.0.113.7", 1, 10)
        now += 600
    budget.add("203.0.113.8", 5, 1000)
    with pytest.raises(RefusedError):
        budget.add("203.0.113.7", 1, 0)
    now = 3601 + 600
    budget.add("203.0.113.7", 0, 900)
    with pytest.raises(RefusedError):
        budget.add("203.0.113.7", 0, 100)


def test_files_are_counted_where_their_names_are_cut(page: gr.Blocks) -> None:
    few = Limits(10_000, 100_000, 3, direct_long_actions=True)

    def parts(count: int) -> Any:
        for at in range(count):
            yield b'--x\r\nContent-Disposition: form-data; name="files"; filen'
            yield f'ame="{at}"\r\n\r\n{at}\r\n'.encode()

    assert client(page, few).post(f"{API}/upload", content=parts(3)).status_code == 200
    assert client(page, few).post(f"{API}/upload", content=parts(4)).status_code == 429
    assert client(page, few).post(f"{API}/upload", content=b"x" * 100_001).status_code == 429


def test_a_body_that_does_not_come_is_given_up(page: gr.Blocks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_limits, "BODY_SECONDS", 0.1)
    monkeypatch.setattr(request_limits, "PIECE_SECONDS", 0.1)
    app = client(page).app

    async def ask(path: str) -> int:
        pieces: list[Message] = [{"type": "http.request", "body": b"{", "more_body": True}]
        status: list[int] = []

        async def receive() -> Message:
            if not pieces:
                await asyncio.Event().wait()
            return pieces.pop()

        async def send(event: Message) -> None:
            status.extend([event["status"]] if "status" in event else [])

        scope: Scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "headers": [],
            "query_string": b"",
            "client": None,
        }
        await app(scope, receive, send)
        return status[0]

    for path in (f"{API}/queue/join", f"{API}/upload"):
        assert run_in_thread(ask(path)) == 408
