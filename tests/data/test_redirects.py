"""Where a download may be redirected to."""

from __future__ import annotations

import socket
from typing import Any

import httpx
import pytest

from jglue_app.data import files
from jglue_app.data.redirects import check_redirect
from jglue_app.errors import NetworkError
from jglue_app.messages import Message

REMEDY = Message("Check the connection, or set JGLUE_DATA_DIR to a local copy of the files.")
ADDRESSES = {"official.test": "93.184.215.14", "mirror.test": "10.1.2.3", "twisted.test": "::ffff:127.0.0.1"}
"""Names of this test and their addresses; a public one, one of a company, and one of a hostile name server."""


@pytest.fixture(autouse=True)
def resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo

    def by_table(host: Any, *given: Any, **named: Any) -> Any:
        return resolve(ADDRESSES.get(host, host), *given, **named)

    monkeypatch.setattr(socket, "getaddrinfo", by_table)


@pytest.mark.parametrize(
    "target",
    [
        *("https://127.0.0.1/x", "https://10.0.0.8/x", "https://192.168.1.1:8443/x", "https://169.254.169.254/latest"),
        *("https://100.64.0.1/x", "https://0.0.0.0/x", "https://2130706433/x", "https://0x7f.1/x", "https://127.1/x"),
        *("https://[::1]/x", "https://[fd00::1]/x", "https://[fe80::1]/x", "https://[::ffff:10.0.0.8]/x"),
        *("https://[64:ff9b::7f00:1]/x", "https://mirror.test/x", "https://twisted.test/x", "https://224.0.0.1/x"),
    ],
)
def test_no_redirect_leads_into_a_private_network(target: str) -> None:
    with pytest.raises(NetworkError, match="private network") as caught:
        check_redirect("https://official.test/a.json", target, REMEDY)
    assert target in str(caught.value)
    assert str(caught.value).endswith("set JGLUE_DATA_DIR to a local copy of the files.")


@pytest.mark.parametrize("target", ["http://official.test/a.json", "ftp://official.test/a", "file:///etc/passwd"])
def test_no_redirect_leaves_https(target: str) -> None:
    with pytest.raises(NetworkError, match="not encrypted"):
        check_redirect("https://official.test/a.json", target, REMEDY)


@pytest.mark.parametrize(
    ("begun", "target"),
    [
        ("https://official.test/a.json", "https://official.test/b.json"),
        ("https://official.test/a.json", "https://[2606:4700::1111]/b.json"),
        ("http://official.test/a.json", "http://93.184.215.14/b.json"),
        # Whoever sets an address of their own network trusts it.
        ("https://mirror.test/a.json", "https://10.9.9.9/b.json"),
        ("http://localhost:8000/a.json", "http://127.0.0.1:9000/b.json"),
        # Nothing here resolves it: a proxy may.
        ("https://official.test/a.json", "https://nowhere.invalid/b.json"),
    ],
)
def test_other_redirects_are_followed(begun: str, target: str) -> None:
    check_redirect(begun, target, REMEDY)


def test_a_download_asks_nothing_of_a_private_address(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(_: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        if len(asked) == 1:
            return httpx.Response(302, headers={"location": "https://official.test/b"})
        return httpx.Response(307, headers={"location": "//169.254.169.254/latest"})

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", answer)
    monkeypatch.setenv("NO_PROXY", "*")
    kept: list[bytes] = []
    with pytest.raises(NetworkError, match=r"official\.test/a redirects to https://169\.254\.169\.254/latest, which"):
        files._download("https://official.test/a", None, kept.append, None, False)
    assert asked == ["https://official.test/a", "https://official.test/b"]
    assert kept == []
