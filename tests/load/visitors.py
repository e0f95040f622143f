"""Visitors as programs: each has cookies, an address and a session of their own, and speaks to the server as the page
does."""

from __future__ import annotations

import copy
import json
import secrets
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
from gradio_client.utils import apply_diff

SECONDS = 120.0
"""Longer than anything here may take, on a machine that is busy with other things."""


class RefusedError(Exception):
    """The server refused something; the text is its sentence."""


class Site:
    """What all visitors know of the server: its endpoints."""

    def __init__(self, url: str) -> None:
        self.url = url
        with httpx.Client(base_url=url, timeout=SECONDS, trust_env=False) as http:
            self.endpoints: Mapping[str, Any] = http.get("/gradio_api/info").json()["named_endpoints"]
            config = http.get("/config").json()
        self._index = {one["api_name"]: int(one["id"]) for one in config["dependencies"]}

    def body(self, name: str, session: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """The call of an endpoint; what is not given has its default."""
        parameters = self.endpoints[f"/{name}"]["parameters"]
        data = [given.get(one["parameter_name"], one.get("parameter_default")) for one in parameters]
        return {"data": data, "fn_index": self._index[name], "session_hash": session, "event_data": None}


class Visitor:
    """One of them. Use as a context manager.

    Args:
        site: the server.
        address: where the visitor's requests come from, as a proxy on this machine tells it.
    """

    def __init__(self, site: Site, address: str) -> None:
        self.site, self.address = site, address
        self.session = secrets.token_hex(6)
        headers = {"x-forwarded-for": address, "accept-language": "en"}
        limits = httpx.Limits(max_connections=None)
        self.http = httpx.AsyncClient(
            base_url=site.url, timeout=SECONDS, trust_env=False, headers=headers, limits=limits
        )

    async def __aenter__(self) -> Visitor:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def view(self) -> float:
        """Open the page; seconds that it took."""
        began = time.monotonic()
        (await self.http.get("/")).raise_for_status()
        return time.monotonic() - began

    async def join(self, name: str, session: str = "", /, **given: Any) -> str:
        """Put a call into the queue without waiting for it; the session of its answer."""
        session = session or secrets.token_hex(6)
        answer = await self.http.post("/gradio_api/queue/join", json=self.site.body(name, session, given))
        if answer.status_code != 200:
            raise RefusedError(f"{answer.status_code} {answer.text[:300]}")
        return session

    async def call(self, name: str, /, **given: Any) -> Any:
        """Call an endpoint and wait for its answer."""
        last: Any = None
        async for value in self.states(name, **given):
            last = value
        return last

    async def states(self, name: str, /, **given: Any) -> AsyncIterator[Any]:
        """Call an endpoint; everything it gives until its end. Raises RefusedError."""
        session = await self.join(name, **given)
        values: list[Any] = []
        async with self.http.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
            async for line in stream.aiter_lines():
                message: dict[str, Any] = json.loads(line[5:]) if line.startswith("data:") else {"msg": ""}
                if message["msg"] in ("process_generating", "process_completed"):
                    output: dict[str, Any] = message["output"]
                    if not message["success"]:
                        raise RefusedError(str(output.get("error")))
                    data = output.get("data") or []
                    if data and message["msg"] == "process_generating" and values:
                        # After the first one Gradio sends what has changed.
                        data = [apply_diff(copy.deepcopy(old), new) for old, new in zip(values, data, strict=True)]
                    values = data or values
                    if values:
                        yield values[0]
                if message["msg"] == "process_completed":
                    return
                if message["msg"] in ("unexpected_error", "close_stream"):
                    raise RefusedError(str(message))
