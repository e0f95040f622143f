"""The picture that other sites show beside a link to the page: `assets/screenshots/preview.png`, from this server."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from jglue_app.settings import ASSETS

FILE = ASSETS / "screenshots" / "preview.png"
NAME = "preview.png"
SIZE = (1200, 630)
DAY = "public, max-age=86400"


def address(root: str) -> str:
    """The picture's whole address.

    Args:
        root: where the page is found from outside, with the prefix that a proxy adds. Empty if there is no picture.
    """
    return f"{root.rstrip('/')}/{NAME}" if root and FILE.is_file() else ""


class PreviewMiddleware:
    """ASGI middleware that sends the picture."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_read = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        prefix = scope.get("root_path", "").rstrip("/")
        if is_read and scope["path"].removeprefix(prefix) == f"/{NAME}" and FILE.is_file():
            answer = Response(FILE.read_bytes(), headers={"cache-control": DAY}, media_type="image/png")
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)
