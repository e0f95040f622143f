"""Requests as the server keeps them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from tests.api_server.answers import Json


@dataclass
class Request:
    """One request, as it arrived and as it went out."""

    number: int
    """Of `POST` requests in the order of arrival, from 1; 0 for `GET`."""
    method: str
    path: str
    """Without the query."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: Json
    time: float
    """`time.monotonic()` at arrival."""
    at_once: int = 1
    """Requests in flight at arrival, this one among them."""
    status: int = 0
    fault: str = ""
    written: bool = False
    """Whether the whole response, as long as its headers say, went to the socket."""
    seconds: float = 0.0
    prompt_tokens: int = 0
    new_tokens: int = 0
    """Billed; 0 where the model did not answer."""
    price: float = 0.0

    @property
    def key(self) -> str | None:
        """The bearer token that was sent."""
        given = self.headers.get("authorization", "")
        return given.removeprefix("Bearer ") if given.startswith("Bearer ") else None

    @property
    def fingerprint(self) -> str:
        """Equal for requests of the same path and body."""
        text = self.path + json.dumps(self.body, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def billed(self) -> bool:
        """Whether the model answered."""
        return self.prompt_tokens > 0

    @property
    def answered(self) -> bool:
        """Whether the right answer went out whole."""
        return self.status == 200 and not self.fault and self.written


def as_json(request: Request) -> Json:
    """One request of the record, without what may hold a key."""
    hidden = {"headers", "query"}
    return {name: value for name, value in asdict(request).items() if name not in hidden}
