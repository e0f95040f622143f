"""How a program speaks to the server: endpoints and hidden handlers by way of the queue, as the page itself does."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import httpx

from tests.attacks.world import World

FAULT = re.compile(
    r"unexpected fault\. Please report it with the number [0-9a-f]{8}|記録番号 [0-9a-f]{8}"
    r"|Traceback \(most recent call last\)|Internal Server Error"
)
"""What an answer says that is no refusal but a fault of the server."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    ok: bool
    """Whether the call was carried out."""
    text: str
    """The whole answer."""
    status: int = 200

    @property
    def fault(self) -> str:
        """What shows that the server met an unexpected fault; empty where it answered or refused in order."""
        if self.status >= 500 and self.status not in (502, 503, 504):
            return f"HTTP {self.status}: {self.text[:200]}"
        found = FAULT.search(self.text)
        return self.text[found.start() :][:200] if found else ""


class Program:
    """One stranger: a session of their own, with the cookies that the server sets.

    Args:
        world: what is attacked.
        url: which server; None for the public one.
        session: a session to claim; None for one of their own.
        headers: sent with everything.
    """

    def __init__(
        self,
        world: World,
        url: str | None = None,
        session: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> None:
        self.world, self.url = world, url or world.public.url
        self.session = session or secrets.token_hex(6)
        self.http = httpx.Client(base_url=self.url, timeout=timeout, trust_env=False, headers=dict(headers or {}))

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    @cached_property
    def config(self) -> dict[str, Any]:
        """Gradio's configuration: all components and handlers."""
        return dict(self.http.get("/config").json())

    @cached_property
    def info(self) -> dict[str, Any]:
        """The endpoints with their parameters."""
        return dict(self.http.get("/gradio_api/info").json()["named_endpoints"])

    def function(self, name: str) -> int:
        """Index of an endpoint."""
        return next(int(one["id"]) for one in self.config["dependencies"] if one["api_name"] == name)

    def call(self, name: str, /, **given: Any) -> Answer:
        """Call an endpoint; what is not given has its default."""
        parameters = self.info[f"/{name}"]["parameters"]
        values = [given.get(p["parameter_name"], p.get("parameter_default")) for p in parameters]
        return self.handler(self.function(name), values)

    def handler(self, index: int, data: Any, **more: Any) -> Answer:
        """Call a handler by its index, hidden or not."""
        body = {"data": data, "fn_index": index, "session_hash": self.session, "event_data": None} | more
        return self.join(json.dumps(body).encode("utf-8", "surrogatepass"))

    def join(self, body: bytes) -> Answer:
        """Put a call into the queue, given as bytes, and wait for its answer."""
        try:
            joined = self.http.post(
                "/gradio_api/queue/join", content=body, headers={"content-type": "application/json"}
            )
            if joined.status_code != 200:
                return self._kept(body, Answer(False, joined.text, joined.status_code))
            return self._kept(body, self.read(self.session))
        except httpx.HTTPError as e:
            return Answer(False, f"{type(e).__name__}: {e}", 0)

    def read(self, session: str) -> Answer:
        """Read what the queue has for a session until a call of it is completed."""
        last = ""
        with self.http.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
            if stream.status_code != 200:
                stream.read()
                return Answer(False, stream.text, stream.status_code)
            for line in stream.iter_lines():
                if not line.startswith("data:"):
                    continue
                last += line
                message = json.loads(line[5:])
                if message["msg"] == "process_completed":
                    return Answer(bool(message["success"]), last)
                if message["msg"] in ("unexpected_error", "close_stream", "queue_full"):
                    return Answer(False, last)
        return Answer(False, last)

    def get(self, path: str, **named: Any) -> Answer:
        """A GET whose path is sent as it is written."""
        return self.request("GET", path, **named)

    def request(self, method: str, path: str, **named: Any) -> Answer:
        """Any request whose path is sent as it is written, but for what no request line can have."""
        url = httpx.URL(self.url).copy_with(raw_path=path.encode("utf-8", "surrogatepass"))
        try:
            response = self.http.request(method, url, **named)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as e:
            return Answer(False, f"{type(e).__name__}: {e}", 0)
        return self._kept(path, Answer(response.status_code < 400, response.text, response.status_code))

    def _kept(self, asked: object, answer: Answer) -> Answer:
        self.world.answers.append((repr(asked)[:200], answer.text))
        return answer


def texts_of(program: Program, index: int) -> Sequence[str]:
    """Kinds of the components that a handler reads, in order."""
    kinds = {one["id"]: one["type"] for one in program.config["components"]}
    dependency = next(one for one in program.config["dependencies"] if one["id"] == index)
    return [kinds[id_] for id_ in dependency["inputs"]]
