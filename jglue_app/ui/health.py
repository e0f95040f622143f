"""`GET /health`: whether this server answers, for whatever starts and watches it (a container, a load balancer)."""

from __future__ import annotations

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from jglue_app.version import __version__

PATH = "/health"


class HealthMiddleware:
    """ASGI middleware that answers for the server: `{"status": "ok", "version": …}`.

    It needs no session, asks Gradio nothing, and waits for no job: a busy server is a healthy one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_health(scope):
            await self._app(scope, receive, send)
            return
        answer = JSONResponse({"status": "ok", "version": __version__}, headers={"cache-control": "no-store"})
        await answer(scope, receive, send)


def is_health(scope: Scope) -> bool:
    """Whether a request reads the health of this server, possibly below a prefix that a proxy has added."""
    if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
        return False
    prefix = scope.get("root_path", "").rstrip("/")
    return str(scope["path"]).removeprefix(prefix) == PATH
