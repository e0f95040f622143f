"""Answers to requests that no handler sees: one sentence, with nothing in it that the request said."""

from __future__ import annotations

import gradio as gr
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Scope

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
