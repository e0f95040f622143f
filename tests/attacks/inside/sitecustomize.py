"""Inside the attacked server: writes down every name that it looks up and every address that it connects to.

Python imports this module when it starts with this folder on PYTHONPATH. Names below `.attack.test` resolve to
addresses that are forbidden: `a-b-c-d.attack.test` to a.b.c.d, and `rebind.attack.test` to a public address first and
to this machine from the second time on. Nothing leaves the machine: every other address is refused at once.
"""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import Any

_LOG = os.environ.get("ATTACK_CONNECTIONS", "")
_lookup, _connect, _connect_ex = socket.getaddrinfo, socket.socket.connect, socket.socket.connect_ex
_asked: dict[str, int] = {}


def _note(what: str, where: object) -> None:
    with Path(_LOG).open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(f"{what} {where}\n")


def _text(host: Any) -> str:
    return host.decode("latin-1") if isinstance(host, bytes) else str(host)


def _getaddrinfo(host: Any, *args: Any, **named: Any) -> Any:
    name = _text(host).rstrip(".").lower()
    if host is not None:
        _note("lookup", name)
    if name == "rebind.attack.test":
        _asked[name] = _asked.get(name, 0) + 1
        return _lookup("203.0.113.7" if _asked[name] == 1 else "127.0.0.1", *args, **named)
    if match := re.fullmatch(r"(\d+)-(\d+)-(\d+)-(\d+)\.attack\.test", name):
        return _lookup(".".join(match.groups()), *args, **named)
    return _lookup(host, *args, **named)


def _near(address: Any) -> bool:
    if not isinstance(address, tuple):
        return True  # A socket of this machine.
    return _text(address[0]).startswith(("127.", "::1", "0.0.0.0", "localhost")) or address[0] in ("", "::")


def _connected(self: socket.socket, address: Any) -> Any:
    _note("connect", address)
    if not _near(address):
        raise ConnectionRefusedError(111, "Connection refused")
    return _connect(self, address)


def _connected_ex(self: socket.socket, address: Any) -> Any:
    _note("connect", address)
    return _connect_ex(self, address) if _near(address) else 111


if _LOG:
    socket.getaddrinfo = _getaddrinfo
    socket.socket.connect = _connected  # type: ignore[method-assign, assignment]
    socket.socket.connect_ex = _connected_ex  # type: ignore[method-assign, assignment]
