"""Who a visitor is and which language they read, and the middleware that assigns both before Gradio sees a request.

Both are cookies. The visitor id is how a reload finds its run again; only the server reads it. The language is that of
the browser until the visitor chooses another with `?lang=ja` or `?lang=en`.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import gradio as gr
from starlette.datastructures import MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jglue_app.messages import LANGUAGES
from jglue_app.ui.client_address import client_address

VISITOR_COOKIE, LANGUAGE_COOKIE = "jg_visitor", "jg_lang"
YEAR_S = 365 * 24 * 3600
_STATELESS_API_PATHS = re.compile(r"/gradio_api/(run|api)/")
"""Addresses at which Gradio answers without a session of its own."""
_VISITOR_ID = re.compile(r"[A-Za-z0-9_-]{22}")


class VisitorId(str):
    """A visitor's id, which knows where the visitor's requests come from."""

    address: str = ""
    """See `client_address`; empty where it is not known."""
    account: str = ""
    """With which the visitor is signed in; empty without one."""


def visitor_id(request: gr.Request) -> VisitorId:
    """The visitor's id: the same through reloads and tabs of one browser; a program is known by its session."""
    cookie = (request.cookies or {}).get(VISITOR_COOKIE, "")
    id_ = VisitorId(cookie if _VISITOR_ID.fullmatch(cookie) else str(request.session_hash))
    id_.address = client_address(request)
    id_.account = account(request) or str(getattr(request, "username", None) or "")
    return id_


def is_visitor_id(owner: str) -> bool:
    """Whether an id is that of a browser's cookie."""
    return _VISITOR_ID.fullmatch(owner) is not None


def address_of(owner: str) -> str:
    """Where a visitor's requests come from; empty where that is not known."""
    return owner.address if isinstance(owner, VisitorId) else ""


def account_of(owner: str) -> str:
    """The account with which a visitor is signed in; empty without one."""
    return owner.account if isinstance(owner, VisitorId) else ""


def page_id(request: gr.Request) -> str:
    """The id of the open page that sends a request: another with every reload and tab."""
    return str(request.session_hash)


def account(request: gr.Request) -> str | None:
    """The account of the Hugging Face Hub with which a visitor of a Space has signed in; None for everybody else."""
    profile = sign_in_of(request).get("userinfo")
    name = profile.get("preferred_username") if isinstance(profile, dict) else None
    return name if isinstance(name, str) and name else None


def sign_in_of(request: gr.Request) -> Mapping[str, Any]:
    """What the Hub said when a visitor signed in, from the cookie that Gradio signs; empty if nobody has, or its time
    is over."""
    received = getattr(request, "request", None)
    session = received.scope.get("session") if received is not None else None
    found = session.get("oauth_info") if session else None
    if not isinstance(found, dict):
        return {}
    end = found.get("expires_at")
    return {} if isinstance(end, int | float) and end < time.time() else found


def language(request: gr.Request | None) -> str:
    """`ja` or `en`: the visitor's choice; else `ja` if the browser asks for Japanese first or for no language; else
    `en`, as Gradio does."""
    if request is None:
        return "ja"
    chosen = (request.cookies or {}).get(LANGUAGE_COOKIE, "")
    if chosen in LANGUAGES:
        return str(chosen)
    header = request.headers.get("accept-language", "").strip().lower()
    return "ja" if not header or header.startswith("ja") else "en"


class SessionMiddleware:
    """ASGI middleware that sets the cookies on the first page, where the application finds them already.

    On a public server it also gives each stateless API call a visitor id of its own: without one, all programs that
    call an endpoint like this would be one visitor.

    Below a path of a host, cookies are sent there alone, and the visitor's has a name of that path's own: another copy
    of this application on the host, whose cookies may reach this one too, neither gives nor takes a visitor.

    Args:
        app: what is asked next.
        public: whether visitors are strangers.
        path: where the page is found from outside, such as `/jglue`; empty at the top of a host.
    """

    def __init__(self, app: ASGIApp, public: bool = False, path: str = "") -> None:
        self._app, self._public, self._path = app, public, path.rstrip("/")
        self._visitor_cookie = visitor_cookie(self._path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._path and scope["type"] == "http":
            own = _cookies(scope).get(self._visitor_cookie, "")
            scope = _without_cookies(scope, VISITOR_COOKIE, self._visitor_cookie)
            scope = _with_cookies(scope, {VISITOR_COOKIE: own} if _VISITOR_ID.fullmatch(own) else {})
        if self._public and scope["type"] == "http" and _STATELESS_API_PATHS.search(scope["path"]):
            scope = _with_cookies(scope, {VISITOR_COOKIE: secrets.token_urlsafe(16)}, keep=False)
        if scope["type"] != "http" or scope["method"] != "GET" or not is_page(scope):
            await self._app(scope, receive, send)
            return
        cookies = _cookies(scope)
        requested = parse_qs(scope["query_string"].decode("latin-1")).get("lang", [""])[-1]
        new_cookies: dict[str, str] = {}
        if requested in LANGUAGES:
            new_cookies[LANGUAGE_COOKIE] = requested
        if not _VISITOR_ID.fullmatch(cookies.get(VISITOR_COOKIE, "")):
            new_cookies[VISITOR_COOKIE] = secrets.token_urlsafe(16)
        lines = [self._line(name, value, secure=_is_https(scope)) for name, value in new_cookies.items()]
        await self._app(_with_cookies(scope, new_cookies), receive, _with_lines(send, lines))

    def _line(self, name: str, value: str, *, secure: bool) -> str:
        """A cookie's line. A Space is shown in a frame of another site, where a cookie has to say so."""
        attributes = "; SameSite=None; Secure; Partitioned" if secure else "; SameSite=Lax"
        hidden = "; HttpOnly" if name == VISITOR_COOKIE else ""
        sent_as = self._visitor_cookie if name == VISITOR_COOKIE else name
        return f"{sent_as}={value}; Path={self._path or '/'}; Max-Age={YEAR_S}{hidden}{attributes}"


def visitor_cookie(path: str) -> str:
    """The name of the visitor's cookie in browsers, for a page below a path."""
    return f"{VISITOR_COOKIE}_{hashlib.sha256(path.encode()).hexdigest()[:8]}" if path else VISITOR_COOKIE


def is_page(scope: Scope) -> bool:
    """Whether the document is requested, possibly below a prefix that a proxy has added."""
    return str(scope["path"]).removeprefix(scope.get("root_path", "").rstrip("/")) in ("", "/")


def _cookies(scope: Scope) -> dict[str, str]:
    return cookie_parser("; ".join(v.decode("latin-1") for k, v in scope["headers"] if k == b"cookie"))


def _without_cookies(scope: Scope, *names: str) -> Scope:
    """The request without the cookies of some names; a browser may send several of one."""
    headers = []
    for key, value in scope["headers"]:
        if key == b"cookie":
            kept = [
                part for part in value.split(b";") if part.partition(b"=")[0].strip().decode("latin-1") not in names
            ]
            value = b";".join(kept).strip()
            if not value:
                continue
        headers.append((key, value))
    return {**scope, "headers": headers}


def _with_cookies(scope: Scope, new: Mapping[str, str], *, keep: bool = True) -> Scope:
    """The request with some cookies, after those that it has or instead of them."""
    old = [value for key, value in scope["headers"] if key == b"cookie"] if keep else []
    line = b"; ".join([*old, *(f"{name}={value}".encode() for name, value in new.items())])
    headers = [(key, value) for key, value in scope["headers"] if key != b"cookie"]
    return {**scope, "headers": [*headers, (b"cookie", line)] if line else headers}


def _with_lines(send: Send, cookies: list[str]) -> Send:
    """`send` that adds cookies to an answer, which is nobody else's."""

    async def send_with_lines(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message["headers"])
            for line in cookies:
                headers.append("set-cookie", line)
            headers["cache-control"] = "no-store"
        await send(message)

    return send_with_lines


def _is_https(scope: Scope) -> bool:
    forwarded = next((v for k, v in scope["headers"] if k == b"x-forwarded-proto"), b"")
    return scope.get("scheme") == "https" or forwarded.startswith(b"https")
