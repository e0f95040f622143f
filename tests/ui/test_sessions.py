"""What Gradio keeps of pages goes when they are gone, places in its queue are shared, and a crowd gets one document."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import gradio as gr
import pytest
from gradio.state_holder import SessionState, StateHolder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from jglue_app.ui import places
from jglue_app.ui.first_visit import FirstVisitMiddleware
from jglue_app.ui.places import MAX_ANSWERED, MAX_WAITING, PlacesMiddleware
from jglue_app.ui.sessions import IDLE_S, MAX_IDLE, MIN_IDLE_S, LightSessionState, Sessions, SessionsMiddleware
from jglue_app.ui.visitor import SessionMiddleware
from tests.ui.event_loops import run_in_thread


@pytest.fixture
def page() -> gr.Blocks:
    """What a page has of these things; `python -m tests.load` looks at a whole one, whose event loop none closes."""
    names = ("event_queue_per_concurrency_id", "pending_messages_per_session", "pending_event_ids_session")
    queue: dict[str, dict[str, object]] = {name: {} for name in names}
    holder = StateHolder()  # type: ignore[no-untyped-call]
    app = SimpleNamespace(state_holder=holder, iterators_to_reset=set())
    made = SimpleNamespace(
        app=app,
        _queue=SimpleNamespace(active_jobs=[], event_ids_to_events={}, **queue),
        pending_diff_streams={},
        pending_streams={},
        state_session_capacity=10_000,
        default_config=SimpleNamespace(blocks={1: gr.State(["a"], render=False), 2: gr.Textbox("b", render=False)}),
    )
    app.state_holder.set_blocks(cast(gr.Blocks, made))
    return cast(gr.Blocks, made)


def used(page: gr.Blocks, *sessions: str) -> None:
    """As Gradio does when an event of them is put into its queue, and done."""
    for session in sessions:
        assert page.app.state_holder[session]
        page._queue.pending_messages_per_session[session] = asyncio.Queue()
        page._queue.pending_event_ids_session[session] = {f"event of {session}"}


def kept(page: gr.Blocks) -> list[set[str]]:
    queue, holder = page._queue, page.app.state_holder
    return [
        *(set(holder.session_data), set(holder.time_last_used)),
        *(set(queue.pending_messages_per_session), set(queue.pending_event_ids_session)),
    ]


def test_a_session_goes_some_minutes_after_its_page_and_no_sooner(page: gr.Blocks) -> None:
    now = [0.0]
    sessions = Sessions(page, lambda: now[0])
    used(page, "left", "open", "busy")
    sessions.opened("open")
    sessions.opened("open")
    page._queue.active_jobs = [None, [cast(Any, SimpleNamespace(session_hash="busy"))]]
    assert sessions.clean() == 0
    now[0] += IDLE_S
    assert sessions.clean() == 0
    now[0] += 1
    assert sessions.clean() == 1
    assert kept(page) == [{"open", "busy"}] * 4
    sessions.closed("open")
    page._queue.active_jobs = [None, None]
    now[0] += 10 * IDLE_S
    assert sessions.clean() == 0  # The one has another stream open, the other has just come to rest.
    sessions.closed("open")
    sessions.clean()
    now[0] += IDLE_S + 1
    sessions.clean()
    assert kept(page) == [set()] * 4


def test_of_very_many_those_that_are_idle_longest_go_first(page: gr.Blocks) -> None:
    now = [0.0]
    sessions = Sessions(page, lambda: now[0])
    used(page, "first", "second")
    sessions.clean()
    now[0] += 1
    used(page, *(f"s{number}" for number in range(MAX_IDLE)))
    assert sessions.clean() == 0
    now[0] += MIN_IDLE_S
    assert sessions.clean() == 2
    assert not {"first", "second"} & kept(page)[0]
    assert len(kept(page)[0]) == MAX_IDLE


def test_a_session_keeps_its_states_and_no_copy_of_the_page(page: gr.Blocks) -> None:
    assert isinstance(page.app.state_holder["x"], LightSessionState)
    state = page.app.state_holder["x"]
    held = 1
    assert state[held] == ["a"]
    state[held] = ["b"]
    assert (page.app.state_holder["x"][held], page.app.state_holder["y"][held]) == (["b"], ["a"])
    state._update_value_in_config(held, "long" * 1000)
    state._update_config(held)
    assert not any("long" in str(one) for one in state.components)
    assert isinstance(state, SessionState)


def test_streams_tell_which_pages_are_open(page: gr.Blocks) -> None:
    sessions = Sessions(page)
    seen: list[list[str]] = []

    def stream(request: Request) -> Response:
        seen.append(sorted(sessions._open))
        return Response("")

    bare = Starlette(routes=[Route("/{path:path}", stream, methods=["GET", "POST"])])
    client = TestClient(SessionsMiddleware(bare, sessions))
    client.get("/gradio_api/heartbeat/abc")
    client.get("/gradio_api/queue/data?session_hash=def")
    client.get("/gradio_api/call/scores/0123")
    client.post("/gradio_api/queue/join")
    client.get("/")
    assert seen == [["abc"], ["def"], ["0123"], [], []]
    assert not sessions._open


# --- places in the queue ----------------------------------------------------------------------------------


def waiting(page: gr.Blocks, address: str, count: int) -> None:
    """So many events of an address wait in Gradio's queue."""
    scope = {"type": "http", "client": (address, 1), "headers": []}
    events = [cast(Any, SimpleNamespace(request=Request(scope))) for _ in range(count)]
    page._queue.event_queue_per_concurrency_id[address] = cast(Any, SimpleNamespace(queue=events))


def test_an_address_with_many_events_waits_outside_and_others_pass(
    page: gr.Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "TIMEOUT_S", 0.2)
    bare = Starlette(routes=[Route("/{path:path}", lambda _: JSONResponse({}), methods=["GET", "POST"])])
    served = PlacesMiddleware(bare, page)
    flood, other = (TestClient(served, client=(address, 5)) for address in ("203.0.113.1", "203.0.113.2"))
    waiting(page, "203.0.113.1", MAX_WAITING)
    waiting(page, "203.0.113.3", 500)
    refused = flood.post("/gradio_api/queue/join", headers={"accept-language": "en"})
    assert refused.status_code == 429
    assert refused.json() == {"detail": "Too many requests from your network at once. Try again in half a minute."}
    assert flood.get("/gradio_api/queue/data").status_code == 200
    assert other.post("/gradio_api/queue/join").status_code == 200
    waiting(page, "203.0.113.1", MAX_WAITING - 1)
    assert flood.post("/gradio_api/call/scores").status_code == 200
    assert not served._outside


def test_an_address_follows_only_so_many_jobs_at_once(page: gr.Blocks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "TIMEOUT_S", 0.1)
    bare = Starlette(routes=[Route("/{path:path}", lambda _: JSONResponse({}), methods=["POST"])])
    scope = {"type": "http", "client": ("203.0.113.1", 1), "headers": []}
    following = [[cast(Any, SimpleNamespace(request=Request(scope)))] for _ in range(MAX_ANSWERED)]
    monkeypatch.setattr(page._queue, "active_jobs", [None, *following])
    served = PlacesMiddleware(bare, page)
    flood, other = (TestClient(served, client=(address, 5)) for address in ("203.0.113.1", "203.0.113.2"))
    assert flood.post("/gradio_api/queue/join").status_code == 429
    assert other.post("/gradio_api/queue/join").status_code == 200
    following.pop()
    monkeypatch.setattr(page._queue, "active_jobs", [None, *following])
    assert flood.post("/gradio_api/queue/join").status_code == 200


def test_events_that_come_in_one_moment_have_no_more_places(page: gr.Blocks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "TIMEOUT_S", 0.1)
    entered = 0

    async def slow(*_: Any) -> None:
        nonlocal entered
        entered += 1
        await asyncio.sleep(0.3)

    async def flood() -> None:
        served = PlacesMiddleware(slow, page)
        path = "/gradio_api/queue/join"
        scope = {"type": "http", "method": "POST", "path": path, "client": ("203.0.113.1", 5), "headers": []}
        await asyncio.gather(*(served(scope, nothing, nothing) for _ in range(100)))
        assert not served._entering

    async def nothing(*_: Any) -> Any:
        return {}

    run_in_thread(flood())
    assert entered == MAX_WAITING


# --- one document for a crowd -----------------------------------------------------------------------------


def test_newcomers_of_one_language_get_one_document_and_names_of_their_own() -> None:
    written: list[str] = []

    def document(request: Request) -> Response:
        written.append(request.headers.get("accept-language", ""))
        return HTMLResponse(f"<p>{len(written)}</p>")

    bare = Starlette(routes=[Route("/", document)])
    known = "b" * 22
    served = SessionMiddleware(FirstVisitMiddleware(bare, lambda owner: owner == known), public=True)

    def visit(lang: str = "en", **cookies: str) -> tuple[str, str]:
        line = "; ".join(f"{name}={value}" for name, value in cookies.items())
        response = TestClient(served).get("/", headers={"accept-language": lang, **({"cookie": line} if line else {})})
        return response.text, response.headers.get("set-cookie", "")

    (first, name), (second, other) = visit(), visit()
    assert (first, second, len(written)) == ("<p>1</p>", "<p>1</p>", 1)
    assert name.startswith("jg_visitor=")
    assert name != other
    assert visit("ja")[0] == "<p>2</p>"
    assert visit(jg_visitor="a" * 22)[0] == "<p>1</p>"
    # Who has something of their own, is signed in, or names what to show, gets a document of their own.
    assert visit(jg_visitor=known)[0] == "<p>3</p>"
    assert visit(session="signed in")[0] == "<p>4</p>"
    assert TestClient(served).get("/?tab=lab", headers={"accept-language": "en"}).text == "<p>5</p>"
    assert visit()[0] == "<p>1</p>"
