"""Whose address a request comes from."""

from __future__ import annotations

import gradio as gr
import pytest
from starlette.requests import Request
from starlette.types import Scope

from jglue_app.errors import InputError
from jglue_app.ui.client_address import client_address, comes_from_trusted_proxy, trusted_networks


def scope(peer: str | None, *forwarded: str) -> Scope:
    return {
        "type": "http",
        "client": (peer, 50123) if peer else None,
        "headers": [(b"x-forwarded-for", value.encode()) for value in forwarded],
    }


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.7", (), "203.0.113.7"),
        # A stranger names somebody else.
        ("203.0.113.7", ("198.51.100.1",), "203.0.113.7"),
        # A proxy on this machine adds the last one; a stranger wrote those before it.
        ("127.0.0.1", ("198.51.100.1, 203.0.113.7",), "203.0.113.7"),
        ("127.0.0.1", ("198.51.100.1", "203.0.113.7"), "203.0.113.7"),
        ("::1", ("203.0.113.7:4711",), "203.0.113.7"),
        ("127.0.0.1", ("203.0.113.7, 127.0.0.1",), "203.0.113.7"),
        ("127.0.0.1", ("127.0.0.5",), "127.0.0.5"),
        ("127.0.0.1", ("203.0.113.7, <script>",), "127.0.0.1"),
        ("127.0.0.1", (), "127.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", (), "2001:db8:1:2::/64"),
        ("127.0.0.1", ("[2001:db8:1:2::9]:443",), "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", (), "203.0.113.7"),
        (None, (), "unknown"),
        ("/run/socket", (), "unknown"),
    ],
)
def test_the_last_address_that_no_trusted_proxy_has_counts(
    peer: str | None, forwarded: tuple[str, ...], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JGLUE_TRUSTED_PROXIES", raising=False)
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert client_address(scope(peer, *forwarded)) == address


def test_a_space_trusts_its_own_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JGLUE_TRUSTED_PROXIES", raising=False)
    monkeypatch.setenv("SPACE_ID", "owner/space")
    assert client_address(scope("10.16.3.9", "192.0.2.1, 203.0.113.7, 10.16.0.1")) == "203.0.113.7"
    assert client_address(scope("203.0.113.9", "198.51.100.1")) == "203.0.113.9"


def test_the_operator_names_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JGLUE_TRUSTED_PROXIES", "192.0.2.0/28, 2001:db8::5")
    assert client_address(scope("192.0.2.3", "203.0.113.7")) == "203.0.113.7"
    assert client_address(scope("2001:db8::5", "203.0.113.7")) == "203.0.113.7"
    assert client_address(scope("127.0.0.1", "203.0.113.7")) == "127.0.0.1"
    monkeypatch.setenv("JGLUE_TRUSTED_PROXIES", "none")
    assert not comes_from_trusted_proxy(scope("127.0.0.1"))
    monkeypatch.setenv("JGLUE_TRUSTED_PROXIES", "*")
    assert comes_from_trusted_proxy(scope("203.0.113.7"))
    monkeypatch.setenv("JGLUE_TRUSTED_PROXIES", "proxy.example")
    with pytest.raises(InputError, match="JGLUE_TRUSTED_PROXIES takes addresses"):
        trusted_networks()


def test_requests_of_gradio_and_starlette_are_read_too() -> None:
    request = Request(scope("203.0.113.7"))
    assert client_address(request) == client_address(gr.Request(request)) == "203.0.113.7"
