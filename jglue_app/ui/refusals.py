"""Answers to requests that no handler sees: one sentence, with nothing in it that the request said."""

from __future__ import annotations

import json
import re

import gradio as gr
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as Event

from jglue_app.messages import say
from jglue_app.ui.visitor import language

API = "/gradio_api/"
NOT_KEPT = {"cache-control": "no-store"}


def refusal(scope: Scope, status: int, message: str) -> Response:
    """A sentence for a person, in the language of the browser; for a program, in English, as JSON.

    Args:
        scope: of the request.
        status: of the answer.
        message: what is wrong, and what to do about it.
    """
    if API in scope["path"] or scope["method"] not in ("GET", "HEAD"):
        sentence = say(message, "en")
        # Gradio's clients show `detail`, those of its direct calls `error`.
        return JSONResponse({"error": sentence, "detail": sentence}, status, NOT_KEPT)
    sentence = say(message, language(gr.Request(Request(scope))))
    return PlainTextResponse(sentence + "\n", status, NOT_KEPT)


_DIRECT = re.compile(rf"{API}(?:run|api)/")


class DirectErrorsMiddleware:
    """ASGI middleware that tells a program whose direct call is refused that the call is wrong, and not the server:
    Gradio answers each error of a handler with 500. It stands where answers are not yet compressed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _DIRECT.search(scope["path"]):
            await self._app(scope, receive, send)
            return
        pending: list[Event] = []

        async def send_with_status(event: Event) -> None:
            if event["type"] == "http.response.start" and event["status"] == 500:
                pending.append(event)
                return
            if pending:
                start = pending.pop()
                await send({**start, "status": 400} if _is_of_the_call(event.get("body", b"")) else start)
            await send(event)

        await self._app(scope, receive, send_with_status)


def _is_of_the_call(body: bytes) -> bool:
    """Whether an error is a sentence on the call: one on a fault of the server stays on the page until it is closed,
    so it has no duration."""
    try:
        error = json.loads(body)
    except ValueError:
        return False
    return isinstance(error, dict) and isinstance(error.get("error"), str) and error.get("duration") is not None
