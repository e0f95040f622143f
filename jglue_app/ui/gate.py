"""What every request passes before Gradio sees it, in its order."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from urllib.parse import urlsplit

import gradio as gr
from gradio.utils import get_upload_folder
from starlette.applications import Starlette
from starlette.middleware import Middleware

from jglue_app.settings import Settings
from jglue_app.ui.call_check import page_calls
from jglue_app.ui.faults import FaultsMiddleware
from jglue_app.ui.host_check import HostMiddleware, own_names
from jglue_app.ui.open_routes import open_routes
from jglue_app.ui.request_limits import LOCAL, PUBLIC, LimitsMiddleware
from jglue_app.ui.security_headers import SecurityHeadersMiddleware


def middleware(page: gr.Blocks, settings: Settings, listens_on: str, *, mcp: bool) -> list[Middleware]:
    """The outermost first.

    Args:
        page: with all its functions.
        settings: the operator's.
        listens_on: the address on which the server listens.
        mcp: whether there are MCP tools.
    """
    public = settings.public
    return [
        Middleware(SecurityHeadersMiddleware, public=public),
        Middleware(FaultsMiddleware),
        Middleware(HostMiddleware, own=own_names(listens_on, settings.allowed_hosts)),
        Middleware(
            LimitsMiddleware,
            routes=open_routes(uploads=not public, mcp=mcp, sign_in=page.expects_oauth),
            calls=page_calls(page, "" if public else get_upload_folder()),
            limits=PUBLIC if public else LOCAL,
            files=get_upload_folder(),
            prefix=urlsplit(os.environ.get("GRADIO_ROOT_PATH", "")).path,
        ),
    ]


def around(outer: Sequence[Middleware]) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    """A lifespan that puts middleware around everything that Gradio has put around itself, its own answers to other
    sites (CORS) among it: middleware that is given to Gradio stands behind those. It is there before the server
    listens."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        stack = app.middleware_stack or app.build_middleware_stack()
        for one in reversed(outer):
            stack = one.cls(stack, *one.args, **one.kwargs)
        app.middleware_stack = stack
        yield

    return lifespan
