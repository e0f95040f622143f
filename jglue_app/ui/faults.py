"""Faults of an answer itself: one line in the log and one sentence, and none for a visitor who has merely left."""

from __future__ import annotations

import logging

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jglue_app.ui.guard import incident
from jglue_app.ui.refusals import refusal

log = logging.getLogger(__name__)


class FaultsMiddleware:
    """ASGI middleware that lets no exception reach the server, which would log each with its whole traceback.

    Gradio ends the stream of a visitor who has left, or whom it does not know any more, by an exception.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_stream = has_started = has_left = False

        async def noting_start(message: Message) -> None:
            nonlocal is_stream, has_started
            if message["type"] == "http.response.start":
                has_started = True
                is_stream = any(
                    name.lower() == b"content-type" and value.startswith(b"text/event-stream")
                    for name, value in message["headers"]
                )
            await send(message)

        async def noting_end() -> Message:
            nonlocal has_left
            message = await receive()
            has_left = has_left or message["type"] == "http.disconnect"
            return message

        try:
            await self._app(scope, noting_end, noting_start)
        except Exception as e:
            if has_started and is_stream and (has_left or _is_end_of_stream(e)):
                log.debug("a stream has ended", exc_info=e)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            sentence = incident(e, "en")
            if not has_started:
                await refusal(scope, 500, sentence)(scope, receive, send)


def _is_end_of_stream(error: BaseException) -> bool:
    """Whether Gradio ends a stream by an error: it knows the session no longer, and the answer has begun."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_end_of_stream(one) for one in error.exceptions)
    cause = error.__cause__ if isinstance(error, RuntimeError) else error
    return isinstance(cause, HTTPException | KeyError)
