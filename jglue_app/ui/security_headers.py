"""What a browser is told it may do with an answer: which scripts run, from where things are fetched, who shows it."""

from __future__ import annotations

import base64
import hashlib
import re

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jglue_app.ui.open_routes import API
from jglue_app.ui.preview import NAME as PREVIEW

HUB = "https://huggingface.co https://*.hf.space"
"""Sites that show a public page in a frame: a Space's own page, and Spaces under their own address."""
POLICY = "content-security-policy"
RULES = {
    "default-src": "'none'",
    # Gradio makes functions of the scripts that its configuration holds (`js=`, `js_on_load=`).
    "script-src": "'self' 'unsafe-eval'",
    # Its components set their sizes and colours in `style` attributes.
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "connect-src": "'self'",
    # The search with regular expressions, which is stopped when it takes too long.
    "worker-src": "blob:",
    "manifest-src": "'self'",
    "base-uri": "'self'",
    "form-action": "'self'",
}
THIS_MACHINE = "'self' http://localhost:* http://127.0.0.1:* vscode-webview:"
"""Whose frames may show the page in local mode: those of notebooks and editors."""
FILE_POLICY = "default-src 'none'; sandbox; frame-ancestors 'none'"
"""Of a file that a visitor takes away: should a browser show it nevertheless, nothing in it runs."""
NOT_USED = ("camera", "display-capture", "geolocation", "microphone", "midi", "payment", "usb", "serial")
_SCRIPT = re.compile(r"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)


def policy(html: str, *, public: bool) -> str:
    """The content security policy of a document: its own inline scripts run, each by its hash, and no others.

    Args:
        html: the document; empty for an answer that is none.
        public: whether the Hub may show it in a frame; else pages of this machine may, such as a notebook.
    """
    rules = dict(RULES)
    rules["script-src"] += "".join(f" '{_hash(script)}'" for script in dict.fromkeys(_SCRIPT.findall(html)))
    rules["frame-ancestors"] = HUB if public else THIS_MACHINE
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _hash(script: str) -> str:
    # A browser counts a line end as one character, however it was sent.
    text = script.replace("\r\n", "\n").replace("\r", "\n")
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


class ScriptPolicyMiddleware:
    """ASGI middleware that gives a document the policy for its own scripts. It stands where answers are not yet
    compressed, and where a document comes in one piece."""

    def __init__(self, app: ASGIApp, public: bool) -> None:
        self._app, self._public = app, public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        pending: list[Message] = []

        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                kind = MutableHeaders(raw=message["headers"]).get("content-type", "")
                if kind.startswith("text/html"):
                    pending.append(message)
                    return
            elif pending:
                start = pending.pop()
                html = message.get("body", b"").decode("utf-8", "replace")
                MutableHeaders(raw=start["headers"])[POLICY] = policy(html, public=self._public)
                await send(start)
            await send(message)

        await self._app(scope, receive, send_with_policy)


class SecurityHeadersMiddleware:
    """ASGI middleware that adds the headers to every answer, and takes out those that let other sites read it."""

    def __init__(self, app: ASGIApp, public: bool) -> None:
        self._app = app
        self._headers = {
            "x-content-type-options": "nosniff",
            "referrer-policy": "same-origin",
            "permissions-policy": ", ".join(f"{name}=()" for name in NOT_USED),
            # A sign-in opens a window of another site.
            "cross-origin-opener-policy": "same-origin-allow-popups" if public else "same-origin",
        }
        self._policy = policy("", public=public)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_file = f"{API}/file=" in scope["path"]
        is_picture = scope["path"].endswith(f"/{PREVIEW}")

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": list(message.get("headers", ()))}
                headers = MutableHeaders(raw=message["headers"])
                for name in [name for name in headers if name.lower().startswith("access-control-")]:
                    del headers[name]
                for name, value in self._headers.items():
                    headers[name] = value
                headers["cross-origin-resource-policy"] = "cross-origin" if is_picture else "same-origin"
                if is_file:
                    headers[POLICY] = FILE_POLICY
                headers.setdefault(POLICY, self._policy)
            await send(message)

        await self._app(scope, receive, send_with_headers)
