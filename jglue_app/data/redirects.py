"""Where a download may be redirected to.

The server that a download is asked of decides where a redirect leads; the request then comes from this machine, which
may reach services that nobody outside may. So a redirect leaves neither https nor the public internet, unless the
address that was set is itself without encryption or in a private network.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from jglue_app.errors import NetworkError
from jglue_app.messages import Message

_BEHIND_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""Addresses whose last 32 bits are an IPv4 address (RFC 6052)."""


def check_redirect(begun: str, target: str, remedy: Message) -> None:
    """Refuse a redirect that leads out of https or into a private network.

    Args:
        begun: the address that was set, which is trusted.
        target: where the redirect leads.
        remedy: what to do instead.

    Raises:
        NetworkError: it may not be followed.
    """
    if urlsplit(begun).scheme == "https" and urlsplit(target).scheme != "https":
        raise NetworkError(
            "{url} redirects to {target}, which is not encrypted. It was not followed. {remedy}",
            url=begun,
            target=target,
            remedy=remedy,
        )
    if _is_inside(urlsplit(target).hostname) and not _is_inside(urlsplit(begun).hostname):
        raise NetworkError(
            "{url} redirects to {target}, which is an address of this machine or of a private network. It was not "
            "followed. {remedy}",
            url=begun,
            target=target,
            remedy=remedy,
        )


def _is_inside(host: str | None) -> bool:
    """Whether a host has an address that is not of the public internet, by its name as this machine resolves it. A
    name without an address cannot be reached from here: where a proxy resolves it, the proxy decides."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return any(_is_private(str(entry[4][0])) for entry in found)


def _is_private(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif address in _BEHIND_NAT64:
            address = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return not address.is_global or address.is_multicast
