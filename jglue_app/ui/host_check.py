"""By which names the server may be reached, and which pages may send it requests.

A page of a stranger can have its own host name lead to this machine (DNS rebinding) and then read whatever a visitor's
browser can reach; and it can have that browser send forms. Against the first, only names that are known to be those of
the server are answered; against the second, only requests of its own pages, which browsers say by themselves. Programs
send neither `Origin` nor `Sec-Fetch-Site`, and are answered.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from jglue_app.messages import Message, mark
from jglue_app.ui.client_address import comes_from_trusted_proxy
from jglue_app.ui.refusals import refusal

HEALTH = "/health"
"""Answers to anybody who asks the machine itself: who looks after a container names it in many ways."""
PRIVATE_HEADERS = re.compile(rb"x-forwarded-[a-z-]+|forwarded|x-real-ip|x-gradio-server|x-original-[a-z-]+")
"""What a proxy says of a request; Gradio would make its own address of some."""
READ_OF_A_PROXY = (b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto")
ORIGIN_HEADERS = (b"origin", b"access-control-request-method", b"access-control-request-headers")
EVERYWHERE = ("0.0.0.0", "::", "")
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
_PORT = re.compile(r"[0-9]{1,5}")

UNKNOWN_HOST = mark(
    "The server does not answer to the name that this address has, as a page of somebody else could give it any. Open "
    "it under its own name or IP address; its operator allows others with JGLUE_ALLOWED_HOSTS."
)
FOREIGN_PAGE = mark(
    "A page of another site has sent this request, and the server answers its own pages and programs alone. Open the "
    "server's own page; behind a proxy, its operator gives the name of that page in JGLUE_ALLOWED_HOSTS."
)
NO_REQUEST = mark("This is no request that the server can read. Correct its address or its headers.")


@dataclass(frozen=True, slots=True)
class Host:
    """What a `Host` header says."""

    name: str
    """In lower case; an address without brackets."""
    port: int | None

    @property
    def address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The name, if it is an IP address."""
        try:
            return ipaddress.ip_address(self.name)
        except ValueError:
            return None


def read_host(text: str) -> Host | None:
    """The host and port of a header; None if it has another form."""
    text = text.strip().lower()
    bracketed = re.fullmatch(r"\[([0-9a-f:.]+)\](?::(.*))?", text)
    name, port = (bracketed[1], bracketed[2] or "") if bracketed else (text.partition(":")[0], text.partition(":")[2])
    if port and (not _PORT.fullmatch(port) or int(port) > 65535):
        return None
    host = Host(name.removesuffix("."), int(port) if port else None)
    if bracketed:
        return host if host.address is not None else None
    is_name = len(host.name) <= 253 and all(_LABEL.fullmatch(label) for label in host.name.split("."))
    return host if is_name else None


@dataclass(frozen=True, slots=True)
class OwnNames:
    """By what a server may be called."""

    names: frozenset[str]
    """`example.org` for any port, `example.org:8080`, `*.example.org`; `*` allows all."""
    any_address: bool = False
    """Whether any IP address is the server's: it listens on all that the machine has, and those of a container or
    behind a router are others than visitors use. No name leads to it then, so nothing can be rebound."""

    def has(self, host: Host) -> bool:
        """Whether a host is the server."""
        if "*" in self.names or host.name in self.names or f"{host.name}:{host.port}" in self.names:
            return True
        address = host.address
        if address is not None:
            return address.is_loopback or self.any_address or str(address) in self.names
        parents = (host.name[at:] for at in range(len(host.name)) if host.name[at] == ".")
        return host.name.endswith(".localhost") or any(f"*{parent}" in self.names for parent in parents)


def own_names(listens_on: str, allowed: Collection[str]) -> OwnNames:
    """The names of a server that listens on an address.

    The loopback names always; where it listens on more than those, also the name of the machine; on a Space the
    Space's; and those that its operator allows or has told to Gradio as the address of the page.

    Args:
        listens_on: an address or a name; `0.0.0.0` or `::` for all addresses.
        allowed: of `Settings.allowed_hosts`.
    """
    listens_on = listens_on.strip("[]").lower()
    names = {"localhost", *allowed}
    if listens_on not in EVERYWHERE:
        names.add(listens_on)
    if not (listens_on == "localhost" or OwnNames(frozenset()).has(Host(listens_on, None))):
        machine = socket.gethostname().lower()
        short = machine.partition(".")[0]
        names |= {machine, short, f"{short}.local"}
    if space := os.environ.get("SPACE_HOST"):
        names |= {one.strip().lower() for one in space.split(",")}
    elif os.environ.get("SPACE_ID"):
        names.add("*.hf.space")
    if page := urlsplit(os.environ.get("GRADIO_ROOT_PATH", "")).hostname:
        names.add(page)
    return OwnNames(frozenset(names), any_address=listens_on in EVERYWHERE)


class HostMiddleware:
    """ASGI middleware that refuses foreign names and pages, and takes out of a request what must not be believed."""

    def __init__(self, app: ASGIApp, own: OwnNames) -> None:
        self._app, self._own = app, own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        scope = believed(scope)
        wrong = self._fault(scope)
        if wrong is not None:
            await refusal(scope, *wrong)(scope, receive, send)
            return
        headers = [(name, value) for name, value in scope["headers"] if name not in ORIGIN_HEADERS]
        await self._app({**scope, "headers": headers}, receive, send)

    def _fault(self, scope: Scope) -> tuple[int, Message] | None:
        headers = Headers(scope=scope)
        if not scope["path"].startswith("/"):
            return 400, Message(NO_REQUEST)
        if scope["path"] == HEALTH and scope["method"] in ("GET", "HEAD"):
            return None
        host = None
        # The name that a browser used is the proxy's, but a page that has been rebound could send that header too.
        for name in ("host", "x-forwarded-host"):
            if (text := headers.get(name)) is None:
                continue
            host = read_host(text)
            if host is None:
                return 400, Message(NO_REQUEST)
            if not self._own.has(host):
                return 403, Message(UNKNOWN_HOST)
        return None if self._is_own_page(scope, headers, host) else (403, Message(FOREIGN_PAGE))

    def _is_own_page(self, scope: Scope, headers: Headers, host: Host | None) -> bool:
        """Whether a page of the server, or no page at all, has sent a request."""
        site = headers.get("sec-fetch-site")
        if site is not None and site not in ("same-origin", "none"):
            # A link to the page, also in the frame of a site that may show it.
            is_link = scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"
            return is_link and headers.get("sec-fetch-dest") not in ("object", "embed")
        origin = headers.get("origin")
        if site is not None or origin is None:
            return True
        # Browsers say so only to https and loopback addresses; to others they name the page's origin.
        parts = urlsplit(origin)
        sender = read_host(parts.netloc) if parts.scheme in ("http", "https") else None
        if sender is None:
            return False
        default = {"http": 80, "https": 443}[parts.scheme]
        sent_from = Host(sender.name, sender.port or default)
        if host is not None and sent_from == Host(host.name, host.port or default):
            return True
        if host is not None and host.port is None and comes_from_trusted_proxy(scope) and sender.name == host.name:
            return True  # Many proxies leave the port out.
        names = {f"{sender.name}:{sent_from.port}", *({sender.name} if sent_from.port == default else ())}
        return bool(names & self._own.names) and sender.name != "localhost"


def believed(scope: Scope) -> Scope:
    """A request without the headers that only a proxy may set, unless a trusted one did; the first name of several."""
    is_proxied = comes_from_trusted_proxy(scope)
    headers = []
    for name, value in scope["headers"]:
        if PRIVATE_HEADERS.fullmatch(name):
            if not (is_proxied and name in READ_OF_A_PROXY):
                continue
            if name != b"x-forwarded-for":
                value = value.partition(b",")[0].strip().lower()
            if name == b"x-forwarded-proto" and value not in (b"http", b"https"):
                continue
        headers.append((name, value))
    return {**scope, "headers": headers}
