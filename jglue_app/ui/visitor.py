"""What happens to a request before gradio sees it: a visitor gets a name, the page a language.

Both are cookies. The name is how a reload finds its run again; it is read by the server alone. The language is that
of the browser until somebody chooses another with `?lang=ja` or `?lang=en`.
"""

from __future__ import annotations

import re
import secrets
from urllib.parse import parse_qs

import gradio as gr
from starlette.datastructures import MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jglue_app.messages import LANGUAGES

VISITOR, LANGUAGE = "jg_visitor", "jg_lang"
YEAR_S = 365 * 24 * 3600
_WITHOUT_SESSION = re.compile(r"/gradio_api/(run|api)/")
"""Addresses at which gradio answers at once, to whoever it is."""
_NAME = re.compile(r"[A-Za-z0-9_-]{22}")


def visitor(request: gr.Request) -> str:
    """Who asks: the same through reloads and tabs of one browser; a program is known by its session."""
    name = (request.cookies or {}).get(VISITOR, "")
    return name if _NAME.fullmatch(name) else str(request.session_hash)


def page_of(request: gr.Request) -> str:
    """The open page that asks: another with every reload and tab."""
    return str(request.session_hash)


def language(request: gr.Request | None) -> str:
    """`ja` or `en`: what was chosen; else `ja` if that is the first language the browser asks for, or it asks for
    none; else `en`, as gradio does."""
    if request is None:
        return "ja"
    chosen = (request.cookies or {}).get(LANGUAGE, "")
    if chosen in LANGUAGES:
        return str(chosen)
    header = request.headers.get("accept-language", "").strip().lower()
    return "ja" if not header or header.startswith("ja") else "en"


class Door:
    """ASGI middleware around the whole application; it changes the first page alone, and names the nameless."""

    def __init__(self, app: ASGIApp, public: bool = False) -> None:
        self._app, self._public = app, public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._public and scope["type"] == "http" and _WITHOUT_SESSION.search(scope["path"]):
            # Else all programs that call an endpoint like this would be one visitor.
            name = f"{VISITOR}={secrets.token_urlsafe(16)}".encode()
            headers = [(key, value) for key, value in scope["headers"] if key != b"cookie"]
            scope = {**scope, "headers": [*headers, (b"cookie", name)]}
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] != "/":
            await self._app(scope, receive, send)
            return
        # The text is changed on its way, so it must not be compressed.
        headers = [(key, value) for key, value in scope["headers"] if key != b"accept-encoding"]
        cookies = cookie_parser("; ".join(v.decode("latin-1") for k, v in headers if k == b"cookie"))
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("lang", [""])[-1]
        chosen = asked if asked in LANGUAGES else cookies.get(LANGUAGE, "")
        new: dict[str, str] = {}
        if asked in LANGUAGES:
            new[LANGUAGE] = asked
        if not _NAME.fullmatch(cookies.get(VISITOR, "")):
            new[VISITOR] = secrets.token_urlsafe(16)
        script = _script(chosen) if chosen in LANGUAGES else b""
        held: list[Message] = []

        async def changed(message: Message) -> None:
            if message["type"] == "http.response.start":
                out = MutableHeaders(raw=message["headers"])
                for name, value in new.items():
                    out.append("set-cookie", _cookie(name, value, secure=_is_https(scope)))
                out["cache-control"] = "no-store"
                held.append(message)  # Its length is known when the first part of the text is.
                return
            if message["type"] == "http.response.body" and held:
                begun = held.pop()
                body = message.get("body", b"")
                out = MutableHeaders(raw=begun["headers"])
                if script and b"<head>" in body:
                    message = {**message, "body": body.replace(b"<head>", b"<head>" + script, 1)}
                    if "content-length" in out:
                        out["content-length"] = str(int(out["content-length"]) + len(script))
                await send(begun)
            await send(message)

        await self._app({**scope, "headers": headers}, receive, changed)


def _script(lang: str) -> bytes:
    """Gradio's own words follow `navigator.language`, so that is what the choice replaces."""
    return f"<script>Object.defineProperty(navigator,'language',{{get:()=>'{lang}'}})</script>".encode()


def _is_https(scope: Scope) -> bool:
    forwarded = next((v for k, v in scope["headers"] if k == b"x-forwarded-proto"), b"")
    return scope.get("scheme") == "https" or forwarded.startswith(b"https")


def _cookie(name: str, value: str, *, secure: bool) -> str:
    """A Space stands in a frame of another site, where a cookie has to say so."""
    where = "; SameSite=None; Secure; Partitioned" if secure else "; SameSite=Lax"
    hidden = "; HttpOnly" if name == VISITOR else ""
    return f"{name}={value}; Path=/; Max-Age={YEAR_S}{hidden}{where}"
