"""Whether the server answers, for programs that watch it."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from jglue_app.ui.health import HealthMiddleware
from jglue_app.ui.visitor import SessionMiddleware
from jglue_app.version import __version__


def whole(request: Request) -> Response:
    return PlainTextResponse(f"the application: {request.method}")


def client(root: str = "") -> TestClient:
    routes = [Route(path, whole, methods=["GET", "POST"]) for path in ("/", "/health/more", "/health")]
    middleware = [Middleware(HealthMiddleware), Middleware(SessionMiddleware)]
    return TestClient(Starlette(routes=routes, middleware=middleware), root_path=root)


@pytest.mark.parametrize(("root", "path"), [("", "/health"), ("/jglue", "/jglue/health"), ("/jglue", "/health")])
def test_the_server_says_that_it_answers_without_making_a_visitor(root: str, path: str) -> None:
    answer = client(root).get(path)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "version": __version__})
    assert (answer.headers["cache-control"], "set-cookie" in answer.headers) == ("no-store", False)


def test_whether_it_answers_can_be_read_without_the_answer() -> None:
    answer = client().head("/health")
    assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize(("method", "path"), [("POST", "/health"), ("GET", "/health/more"), ("GET", "/")])
def test_other_requests_reach_the_application(method: str, path: str) -> None:
    assert client().request(method, path).text == f"the application: {method}"
