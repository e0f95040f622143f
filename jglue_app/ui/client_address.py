"""Whose address a request comes from, and which proxies are believed when they name another.

A proxy hands a request on under its own address and says in `X-Forwarded-…` whom it does it for. Anybody can send such
a header, so only what a trusted proxy says is read: on a Space that of the Space, elsewhere those that
`JGLUE_TRUSTED_PROXIES` names, and without it those on this machine.
"""

from __future__ import annotations

import functools
import ipaddress
import os
from collections.abc import Mapping
from typing import Any, cast

import gradio as gr
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from jglue_app.errors import InputError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

LOOPBACK = "127.0.0.0/8,::1"
SPACE_NETWORKS = f"{LOOPBACK},10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,fc00::/7"
"""A Space is reached by way of its own proxies alone, whose addresses are private ones."""
EVERYBODY = "0.0.0.0/0,::/0"
NOBODY = ("none", "")
UNKNOWN = "unknown"
"""Stands for the address of a client that has none, as with a Unix socket."""


def client_address(request: gr.Request | HTTPConnection | Mapping[str, Any]) -> str:
    """The address that limits are counted by: an IPv4 address, an IPv6 network of 64 bits such as `2001:db8::/64`
    (which one household or machine has to itself), or `UNKNOWN`.

    It is that of the peer, unless the peer is a trusted proxy: then the last one in `X-Forwarded-For` that is none.

    Args:
        request: of Gradio or Starlette, or its ASGI scope.
    """
    # A request of Starlette is a mapping too, which cannot be written to.
    scope = _scope(request) if isinstance(request, gr.Request | HTTPConnection) else request
    found = _peer(scope)
    if found is None:
        return UNKNOWN
    if is_trusted(found):
        for text in reversed(",".join(Headers(scope=cast(Any, scope)).getlist("x-forwarded-for")).split(",")):
            named = _parsed(text)
            if named is None:
                break  # What stands before something unreadable was not written by a trusted proxy.
            found = named
            if not is_trusted(found):
                break
    return str(found) if found.version == 4 else str(ipaddress.ip_network((found, 64), strict=False))


def comes_from_trusted_proxy(scope: Mapping[str, Any]) -> bool:
    """Whether the peer is a proxy whose `X-Forwarded-…` headers are believed."""
    peer = _peer(scope)
    return peer is not None and is_trusted(peer)


def is_trusted(address: IPAddress) -> bool:
    """Whether an address is one of a trusted proxy."""
    return any(address in network for network in trusted_networks())


def trusted_networks() -> tuple[Network, ...]:
    """Where the trusted proxies are, from `JGLUE_TRUSTED_PROXIES`: addresses and networks, `*` for all, `none`.

    Raises:
        InputError: an entry is no address.
    """
    named = os.environ.get("JGLUE_TRUSTED_PROXIES")
    if named is None:
        named = SPACE_NETWORKS if os.environ.get("SPACE_ID") else LOOPBACK
    return _networks(named)


@functools.lru_cache(maxsize=8)
def _networks(named: str) -> tuple[Network, ...]:
    if named.strip().lower() in NOBODY:
        return ()
    if named.strip() == "*":
        named = EVERYBODY
    try:
        return tuple(ipaddress.ip_network(part.strip(), strict=False) for part in named.split(",") if part.strip())
    except ValueError as e:
        raise InputError(
            "JGLUE_TRUSTED_PROXIES takes addresses or networks with commas between them, such as 10.0.0.5 or "
            "10.0.0.0/8, or none; not {text!r}.",
            text=named[:100],
        ) from e


def _scope(request: gr.Request | HTTPConnection) -> Mapping[str, Any]:
    bare: Any = request.request if isinstance(request, gr.Request) else request
    return cast(Mapping[str, Any], getattr(bare, "scope", None) or {})


def _peer(scope: Mapping[str, Any]) -> IPAddress | None:
    client = scope.get("client")
    return _parsed(str(client[0])) if client else None


def _parsed(text: str) -> IPAddress | None:
    """An address with or without a port, as proxies write it; an IPv4 address in IPv6 clothing is itself."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
