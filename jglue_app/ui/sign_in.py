"""Signing in with an account of the Hugging Face Hub, on a Space whose front matter has `hf_oauth: true`.

Gradio has the addresses that this takes (`/login/huggingface`, `/logout`) and keeps what the Hub answers in a signed
cookie of the visitor's browser, `session`. Nobody has to sign in; elsewhere than on a Space there is nothing to see.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import urlencode

import gradio as gr
from gradio.utils import get_space
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jglue_app.hub_sink import Account
from jglue_app.ui.visitor import account, sign_in_of

VARIABLES = ("OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_SCOPES", "OPENID_PROVIDER_URL")
"""What the Hub sets on a Space that visitors may sign in to."""
SESSION_COOKIE = b"session="
SIGN_IN, SIGN_OUT = "login/huggingface", "logout"
_SPACE = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def can_sign_in() -> bool:
    """Whether visitors of this server can: without the secret, anyone could sign a cookie."""
    return bool(get_space()) and all(os.environ.get(name) for name in VARIABLES)


def unseen_button() -> gr.LoginButton | None:
    """What makes Gradio serve the addresses, to be rendered in the page; None where nobody can sign in.

    Gradio looks for a button of its own. Its label cannot be translated, so links of ours take its place. It is made
    before the page is built: within a page it would ask the server for its label whenever the page is opened.
    """
    return gr.LoginButton(visible=False) if can_sign_in() else None


def hub_account(request: gr.Request) -> Account | None:
    """The account of a visitor who has signed in, with what allows this application to make repositories for them."""
    name, token = account(request), sign_in_of(request).get("access_token")
    return Account(name, token) if name and isinstance(token, str) and token else None


def link(request: gr.Request) -> dict[str, str]:
    """Payload of the link to sign in or out: `url`, and `account` of who has signed in; empty where nobody can."""
    if not can_sign_in():
        return {}
    name = account(request)
    shown = urlencode(_shown(dict(request.query_params)))
    target = {"_target_url": f"/?{shown}" if shown else "/"}
    return {"url": f"{SIGN_OUT if name else SIGN_IN}?{urlencode(target)}", "account": name or ""}


def _shown(params: Mapping[str, str]) -> dict[str, str]:
    """The parameters of the page's own address."""
    return {name: value for name, value in params.items() if not name.startswith("_")}


def copy_address() -> str:
    """Where somebody makes a Space of their own of this one; empty elsewhere than on a Space."""
    space = os.environ.get("SPACE_ID", "")
    return f"https://huggingface.co/spaces/{space}?duplicate=true" if _SPACE.fullmatch(space) else ""


class FramedSessionMiddleware:
    """ASGI middleware that lets the cookie of a sign-in be kept within the frame of the Hub's page.

    Browsers that refuse the cookies of other sites keep those that say that they belong to the site around them
    (`Partitioned`), which the cookie that Gradio sets does not. It stands around Gradio's own middleware.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_partitioned(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [(name, _partitioned(name, value)) for name, value in message["headers"]]
            await send(message)

        await self._app(scope, receive, send_partitioned if scope["type"] == "http" else send)


def _partitioned(name: bytes, value: bytes) -> bytes:
    is_session = name == b"set-cookie" and value.startswith(SESSION_COOKIE) and b"; secure" in value.lower()
    return value + b"; Partitioned" if is_session and b"partitioned" not in value.lower() else value
