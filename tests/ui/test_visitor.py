"""Before the page: who a visitor is and which language is spoken."""

from __future__ import annotations

import re
from http.cookies import SimpleCookie
from typing import Any

import gradio as gr
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from jglue_app.ui.visitor import (
    LANGUAGE_COOKIE,
    VISITOR_COOKIE,
    SessionMiddleware,
    account,
    account_of,
    language,
    visitor_cookie,
    visitor_id,
)

PAGE = "<!doctype html><html><head><title>日本語</title></head><body><head></body></html>"
NAME = "aZ09_-aZ09_-aZ09_-aZ09"
NONSENSE = ("fr", "JA", "en'", "</script><script>alert(1)</script>", "", "ja,en", "en\\r\\n")
INJECTED = ("ja;x=1", "en\r\nSet-Cookie: a=b", "en\n", " ja", "\0ja", "あ")


def page(request: Request) -> Response:
    return HTMLResponse(PAGE)


def told(request: Request) -> Response:
    """What arrives here."""
    return JSONResponse({"encoding": request.headers.get("accept-encoding"), "cookies": request.cookies})


def client(*routes: Route, address: str = "http://testserver") -> TestClient:
    usual = [Route("/", page), Route("/told", told), Route("/page", page), Route("/", page, methods=["POST"])]
    return TestClient(SessionMiddleware(Starlette(routes=[*routes, *usual])), base_url=address)


def given(response: Any) -> dict[str, str]:
    """Name → the whole line of each cookie that is set."""
    return {line.split("=", 1)[0]: line for line in response.headers.get_list("set-cookie")}


# --- the visitor's name -----------------------------------------------------------------------------------


def test_a_first_visit_gets_a_name_that_scripts_cannot_read() -> None:
    response = client().get("/")
    (line,) = given(response).values()
    name, *rest = line.split("; ")
    assert re.fullmatch(rf"{VISITOR_COOKIE}=[A-Za-z0-9_-]{{22}}", name)
    assert rest == ["Path=/", "Max-Age=31536000", "HttpOnly", "SameSite=Lax"]
    assert response.headers["cache-control"] == "no-store"
    assert response.text == PAGE


def test_two_visitors_get_two_names() -> None:
    assert len({given(client().get("/"))[VISITOR_COOKIE] for _ in range(20)}) == 20


def test_over_https_the_name_may_stand_in_a_frame_of_another_site() -> None:
    forwarded = client().get("/", headers={"x-forwarded-proto": "https"})
    direct = client(address="https://testserver").get("/")
    for response in (forwarded, direct):
        line = given(response)[VISITOR_COOKIE]
        assert line.endswith("; HttpOnly; SameSite=None; Secure; Partitioned")
        assert "Lax" not in line
    plain = client().get("/", headers={"x-forwarded-proto": "http"})
    assert "Secure" not in given(plain)[VISITOR_COOKIE]


def test_a_returning_visitor_keeps_the_name() -> None:
    visits = client()
    first = given(visits.get("/"))
    assert list(first) == [VISITOR_COOKIE]
    assert given(visits.get("/")) == {}
    assert given(client().get("/", headers={"cookie": f"other=1; {VISITOR_COOKIE}={NAME}; more=2"})) == {}


@pytest.mark.parametrize(
    "name", ["", "short", NAME + "x", "a" * 21 + "!", "a" * 21 + " ", '"' + "a" * 20 + '"', "a" * 4000, "あ" * 22]
)
def test_a_malformed_name_is_replaced(name: str) -> None:
    response = client().get("/", headers={b"cookie": f"{VISITOR_COOKIE}={name}".encode()})
    line = given(response)[VISITOR_COOKIE]
    assert re.match(rf"{VISITOR_COOKIE}=[A-Za-z0-9_-]{{22}};", line)
    assert NAME not in line


# --- below a path of a host ---------------------------------------------------------------------------------


def below(path: str) -> TestClient:
    def known(request: Request) -> Response:
        return PlainTextResponse(visitor_id(gr.Request(request, session_hash="s3ss10n")))

    routes = [Route("/", known), Route("/other", known)]
    return TestClient(SessionMiddleware(Starlette(routes=routes), path=path))


def test_two_copies_on_one_host_do_not_share_a_visitor() -> None:
    first, second = (given(below(path).get("/")) for path in ("/jglue", "/jglue-2"))
    (one,), (two,) = first.items(), second.items()
    assert one[0] == visitor_cookie("/jglue") != two[0] != VISITOR_COOKIE
    assert "; Path=/jglue; " in one[1]
    assert "; Path=/jglue-2; " in two[1]
    # What the other copy, or one at the top of the host, has given does not count here, wherever it stands.
    mine, others = NAME, "b" * 22
    sent = f"{VISITOR_COOKIE}={others}; {visitor_cookie('/jglue')}={mine}; {visitor_cookie('/jglue-2')}={others}"
    for line in (sent, f"{sent}; {VISITOR_COOKIE}={others}"):
        for address in ("/", "/other"):
            answer = below("/jglue").get(address, headers={"cookie": line})
            assert (answer.text, given(answer)) == (mine, {})
    stranger = below("/jglue").get("/other", headers={"cookie": f"{VISITOR_COOKIE}={others}"})
    assert stranger.text == "s3ss10n"


def test_a_language_is_chosen_for_a_path() -> None:
    line = given(below("/jglue/").get("/?lang=ja"))[LANGUAGE_COOKIE]
    assert line == f"{LANGUAGE_COOKIE}=ja; Path=/jglue; Max-Age=31536000; SameSite=Lax"


# --- an account of the Hub ----------------------------------------------------------------------------------


def signed_in(info: object) -> gr.Request:
    return gr.Request(Request({"type": "http", "headers": [], "session": {"oauth_info": info}}), session_hash="s")


@pytest.mark.parametrize(
    ("info", "name"),
    [
        ({"userinfo": {"preferred_username": "hanako"}, "expires_at": 2**40}, "hanako"),
        ({"userinfo": {"preferred_username": "hanako"}}, "hanako"),
        ({"userinfo": {"preferred_username": "hanako"}, "expires_at": 1_000}, None),
        ({"userinfo": {"preferred_username": ["x"]}}, None),
        ({"userinfo": "hanako"}, None),
        ("hanako", None),
        (None, None),
    ],
)
def test_an_account_is_known_until_its_time_is_over(info: object, name: str | None) -> None:
    assert account(signed_in(info)) == name
    assert account_of(visitor_id(signed_in(info))) == (name or "")


def test_without_sign_in_there_is_no_account() -> None:
    assert account(gr.Request(Request({"type": "http", "headers": []}))) is None
    assert account(gr.Request(cookies={}, session_hash="s")) is None


# --- the language -----------------------------------------------------------------------------------------


def lang_route() -> Route:
    def spoken(request: Request) -> Response:
        return PlainTextResponse(language(gr.Request(request)))

    return Route("/", spoken)


@pytest.mark.parametrize("lang", ["ja", "en"])
def test_a_language_that_is_chosen_is_remembered_and_known_at_once(lang: str) -> None:
    visits = client(lang_route())
    response = visits.get(f"/?lang={lang}&__theme=dark")
    assert given(response)[LANGUAGE_COOKIE] == f"{LANGUAGE_COOKIE}={lang}; Path=/; Max-Age=31536000; SameSite=Lax"
    assert [answer.text for answer in (response, visits.get("/"))] == [lang, lang]
    assert given(visits.get("/")) == {}


def test_the_last_choice_counts() -> None:
    visits = client(lang_route())
    visits.get("/?lang=ja")
    assert [visits.get(f"/{query}").text for query in ("?lang=en", "?lang=en&lang=ja", "")] == ["en", "ja", "ja"]


def test_nonsense_does_not_undo_a_choice() -> None:
    visits = client(lang_route())
    visits.get("/?lang=en")
    response = visits.get("/?lang=<script>")
    assert (response.text, given(response)) == ("en", {})


def test_a_first_visit_is_known_by_the_id_that_it_is_given() -> None:
    def known(request: Request) -> Response:
        return PlainTextResponse(visitor_id(gr.Request(request)))

    response = client(Route("/", known)).get("/")
    assert given(response)[VISITOR_COOKIE].startswith(f"{VISITOR_COOKIE}={response.text};")


@pytest.mark.parametrize("asked", [*NONSENSE, *INJECTED])
def test_nonsense_in_the_address_changes_nothing(asked: str) -> None:
    response = client().get("/", params={"lang": asked})
    assert (response.text, list(given(response))) == (PAGE, [VISITOR_COOKIE])
    assert int(response.headers["content-length"]) == len(response.content)


@pytest.mark.parametrize("remembered", NONSENSE)
def test_nonsense_in_the_cookie_changes_nothing(remembered: str) -> None:
    response = client().get("/", headers={"cookie": f"{VISITOR_COOKIE}={NAME}; {LANGUAGE_COOKIE}={remembered}"})
    assert (response.text, given(response)) == (PAGE, {})


# --- everything else --------------------------------------------------------------------------------------


def test_other_paths_and_methods_are_left_as_they_are() -> None:
    visits = client()
    answers = [visits.get("/page?lang=en"), visits.post("/?lang=en"), visits.get("/told?lang=en")]
    for answer in answers:
        assert given(answer) == {}
        assert "cache-control" not in answer.headers
    assert [answer.text for answer in answers[:2]] == [PAGE, PAGE]
    head = visits.head("/?lang=en")
    assert given(head) == {}
    assert int(head.headers["content-length"]) == len(PAGE.encode())


def test_cookies_of_others_reach_the_application() -> None:
    sent = {"cookie": f"theme=dark; {VISITOR_COOKIE}={NAME}"}
    assert client().get("/told", headers=sent).json()["cookies"] == {"theme": "dark", VISITOR_COOKIE: NAME}


def test_a_socket_goes_through() -> None:
    from starlette.routing import WebSocketRoute
    from starlette.websockets import WebSocket

    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())
        await socket.close()

    with TestClient(SessionMiddleware(Starlette(routes=[WebSocketRoute("/", echo)]))).websocket_connect(
        "/?lang=en"
    ) as socket:
        socket.send_text("聞こえますか")
        assert socket.receive_text() == "聞こえますか"


@pytest.mark.parametrize("lang", ["ja", "en"])
def test_an_answer_without_a_head_keeps_its_length(lang: str) -> None:
    def fault(request: Request) -> Response:
        return PlainTextResponse("Internal Server Error", 500)

    answer = client(Route("/", fault)).get(f"/?lang={lang}")
    assert int(answer.headers["content-length"]) == len(answer.content) == 21


@pytest.mark.parametrize("other", ['prefs={"a": 1}', "a[b]=c", "list=1, 2"])
def test_a_strange_cookie_of_somebody_else_does_not_cost_a_visitor_the_name(other: str) -> None:
    # Cookies of a host are shared by everything on it, whatever the port.
    assert given(client().get("/", headers={"cookie": f"{other}; {VISITOR_COOKIE}={NAME}"})) == {}


# --- what is made of it -----------------------------------------------------------------------------------


def test_a_visitor_is_known_by_the_name_and_a_program_by_its_session() -> None:
    def asks(cookies: dict[str, str]) -> str:
        return visitor_id(gr.Request(cookies=cookies, session_hash="s3ss10n"))

    assert asks({VISITOR_COOKIE: NAME}) == NAME
    assert asks({}) == "s3ss10n"
    for malformed in ("", "x", NAME + "y", NAME[:-1] + "/", NAME + "\n"):
        assert asks({VISITOR_COOKIE: malformed}) == "s3ss10n"


def test_the_name_that_is_set_is_the_one_that_is_read() -> None:
    jar: SimpleCookie = SimpleCookie(given(client().get("/"))[VISITOR_COOKIE])
    name = jar[VISITOR_COOKIE].value
    assert visitor_id(gr.Request(cookies={VISITOR_COOKIE: name}, session_hash="s")) == name


def asked_in(header: str, cookies: dict[str, str] | None = None) -> str:
    return language(gr.Request(headers={"accept-language": header}, cookies=cookies or {}))


@pytest.mark.parametrize(
    ("header", "lang"),
    [("ja-JP,ja;q=0.9", "ja"), ("en-US,en;q=0.9,ja;q=0.8", "en"), ("EN", "en"), ("fr-FR,ja;q=0.8", "en"), ("", "ja")],
)
def test_the_language_is_japanese_where_it_is_asked_for_first_and_english_elsewhere(header: str, lang: str) -> None:
    assert asked_in(header) == lang


def test_a_choice_goes_before_what_the_browser_asks_for() -> None:
    assert asked_in("ja-JP", {LANGUAGE_COOKIE: "en"}) == "en"
    assert asked_in("en-US", {LANGUAGE_COOKIE: "ja"}) == "ja"
    assert asked_in("en-US", {LANGUAGE_COOKIE: "fr"}) == "en"
    assert asked_in("ja", {LANGUAGE_COOKIE: "EN"}) == "ja"


def test_without_a_request_or_a_header_the_language_is_japanese() -> None:
    assert language(None) == "ja"
    assert language(gr.Request(headers={}, cookies={})) == "ja"


def test_a_real_request_is_read_alike() -> None:
    cookie = f"{VISITOR_COOKIE}={NAME}; {LANGUAGE_COOKIE}=en".encode()
    scope = {"type": "http", "headers": [(b"cookie", cookie), (b"accept-language", b"ja")], "query_string": b""}
    request = gr.Request(Request(scope), session_hash="s")
    assert (visitor_id(request), language(request)) == (NAME, "en")
