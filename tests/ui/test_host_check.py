"""By which names the server is reached, and which pages may send it requests."""

from __future__ import annotations

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from jglue_app.ui.host_check import Host, HostMiddleware, OwnNames, own_names, read_host

LOOPBACK = own_names("127.0.0.1", ())


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse(repr(dict(Request(scope).headers)))(scope, receive, send)


def client(own: OwnNames = LOOPBACK, peer: str = "127.0.0.1") -> TestClient:
    return TestClient(HostMiddleware(echo, own), base_url="http://127.0.0.1:7860", client=(peer, 4711))


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("localhost:7860", Host("localhost", 7860)),
        ("Example.ORG.", Host("example.org", None)),
        ("[::1]:80", Host("::1", 80)),
        ("127.0.0.1", Host("127.0.0.1", None)),
        *((bad, None) for bad in ("", "a b", "localhost@evil.example", "localhost:99999", "localhost:80:80", "[x]:80")),
        *((bad, None) for bad in ("localhost/", "a..b", "x" * 300, "[::1", "::1", "evil.example#localhost", "ü")),
    ],
)
def test_a_host_is_a_name_and_a_port(text: str, host: Host | None) -> None:
    assert read_host(text) == host


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *((host, 200) for host in ("localhost:7860", "127.0.0.1", "127.1.2.3:1", "[::1]:7860", "app.localhost:8000")),
        *((host, 403) for host in ("evil.example", "127.0.0.1.nip.io", "localhost.evil.example", "192.168.1.5:7860")),
        *((host, 403) for host in ("0.0.0.0:7860", "127.0.0.1.", "169.254.169.254") if host != "127.0.0.1."),
        ("localhost@evil.example", 400),
    ],
)
def test_a_name_that_somebody_else_may_have_led_here_is_refused(host: str, status: int) -> None:
    for method in ("GET", "POST"):
        answer = client().request(method, "/", headers={"host": host})
        assert answer.status_code == status
        assert "evil" not in answer.text


def test_the_names_follow_where_the_server_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPACE_HOST", "SPACE_ID", "GRADIO_ROOT_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("socket.gethostname", lambda: "Box.lan")
    everywhere = own_names("0.0.0.0", ())
    for name in ("box", "box.lan", "box.local", "192.168.1.5", "2001:db8::7", "localhost"):
        assert everywhere.has(Host(name, 7860)), name
    assert not everywhere.has(Host("evil.example", 7860))
    one = own_names("192.168.1.5", ("jglue.example.org", "*.example.net", "other.example:81"))
    for name, port in (
        ("192.168.1.5", 1),
        ("jglue.example.org", 443),
        ("a.b.example.net", None),
        ("other.example", 81),
    ):
        assert one.has(Host(name, port)), name
    for name, port in (("192.168.1.6", 1), ("example.net", None), ("xexample.net", None), ("other.example", 82)):
        assert not one.has(Host(name, port)), name
    assert own_names("127.0.0.1", ("*",)).has(Host("anything.example", None))
    monkeypatch.setenv("SPACE_HOST", "owner-space.hf.space, own.example")
    monkeypatch.setenv("GRADIO_ROOT_PATH", "https://page.example/below")
    space = own_names("0.0.0.0", ())
    assert all(space.has(Host(name, None)) for name in ("owner-space.hf.space", "own.example", "page.example"))
    assert not space.has(Host("other.hf.space", None))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # A program.
        ({"origin": "http://127.0.0.1:7860"}, 200),
        ({"sec-fetch-site": "same-origin", "origin": "https://as.a-proxy.example"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        *(
            ({"origin": o}, 403)
            for o in ("http://evil.example", "null", "http://127.0.0.1:9999", "http://localhost:7860")
        ),
        *(({"origin": o}, 403) for o in ("file://", "http://127.0.0.1:7860.evil.example", "chrome-extension://abc")),
        *(({"sec-fetch-site": site}, 403) for site in ("cross-site", "same-site", "")),
        ({"sec-fetch-site": "cross-site", "origin": "http://127.0.0.1:7860"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 403),
    ],
)
def test_a_request_that_a_foreign_page_sends_is_refused(headers: dict[str, str], status: int) -> None:
    assert client().post("/gradio_api/queue/join", headers=headers).status_code == status


def test_a_link_and_a_frame_of_another_site_open_the_page_and_it_reads_nothing_else() -> None:
    foreign = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client().get("/", headers={**foreign, "sec-fetch-dest": "document"}).status_code == 200
    assert client().get("/", headers={**foreign, "sec-fetch-dest": "iframe"}).status_code == 200
    assert client().get("/", headers={**foreign, "sec-fetch-dest": "embed"}).status_code == 403
    assert (
        client().get("/config", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}).status_code == 403
    )
    preflight = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    assert client().options("/gradio_api/queue/join", headers=preflight).status_code == 403


def test_what_a_proxy_says_is_believed_of_a_trusted_one_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JGLUE_TRUSTED_PROXIES", raising=False)
    monkeypatch.delenv("SPACE_ID", raising=False)
    forged = {
        "x-forwarded-host": "localhost:1",
        "x-forwarded-proto": "https",
        "x-forwarded-for": "203.0.113.7",
        "x-forwarded-prefix": "/evil",
        "x-gradio-server": "http://evil.example",
        "x-real-ip": "203.0.113.7",
        "forwarded": "host=evil.example",
    }
    stranger = client(peer="203.0.113.9").get("/", headers=forged).text
    assert "forwarded" not in stranger and "evil" not in stranger and "x-real-ip" not in stranger
    proxied = client().get("/", headers=forged).text
    assert "'x-forwarded-proto': 'https'" in proxied and "'x-forwarded-host': 'localhost:1'" in proxied
    assert "evil" not in proxied
    # A page that was rebound is a neighbour of a proxy on this machine; the name is looked at in both places.
    for host, forwarded in (
        ("evil.example", "localhost"),
        ("localhost", "evil.example"),
        ("localhost", "evil.example, a"),
    ):
        assert client().get("/", headers={"host": host, "x-forwarded-host": forwarded}).status_code == 403


def test_health_is_answered_under_any_name_and_nothing_else_is() -> None:
    assert client().get("/health", headers={"host": "10.1.2.3:7860"}).status_code == 200
    assert client().post("/health", headers={"host": "10.1.2.3:7860"}).status_code == 403
    assert client().get("/health/x", headers={"host": "10.1.2.3:7860"}).status_code == 403
