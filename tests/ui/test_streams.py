"""Events on their way through a proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from jglue_app.ui.streams import StreamsMiddleware


@pytest.mark.parametrize(("kind", "at_once"), [("text/event-stream", "no"), ("text/html", None)])
def test_proxies_hand_on_events_at_once_and_nothing_else(kind: str, at_once: str | None) -> None:
    async def parts() -> AsyncIterator[str]:
        yield "data: 1\n\n"
        yield "data: 2\n\n"

    def answer(request: Request) -> Response:
        return StreamingResponse(parts(), media_type=kind)

    app = Starlette(routes=[Route("/", answer)], middleware=[Middleware(StreamsMiddleware)])
    response = TestClient(app).get("/")
    assert response.headers.get("x-accel-buffering") == at_once
    assert response.text == "data: 1\n\ndata: 2\n\n"
