"""One server of a pool: what is in flight there, how fast it answers, and whether it gets work."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

from jglue_app.backends.openai_api.client import Client
from jglue_app.backends.openai_api.failures import RequestError
from jglue_app.messages import Message

FIRST_PAUSE_S, MAX_PAUSE_S = 1.0, 60.0
"""Before a server that does not answer is asked again, and the most that this doubles to."""
TIMEOUTS, SERVER_ERRORS = 2, 3
"""In a row, after which a server is left out; a connection that cannot be made or breaks off is enough by itself."""
NEW_SHARE = 0.2
"""Weight of the latest request in the latency."""
LIMIT_PAUSE_S, MAX_LIMIT_PAUSE_S = 0.5, 30.0
"""Without work after a 429 that does not say how long to wait, and the most that this doubles to."""

MOMENT_S = 10
"""Without work, after which known questions come first again: a server takes longer to start anew with other weights,
and one that is restarted under load is noticed by its broken connections."""

State = Literal["unchecked", "ready", "down", "refused"]


@dataclass(eq=False)
class PoolMember:
    """A server of a pool. Whoever changes it holds the pool's lock."""

    client: Client
    state: State = "unchecked"
    """`ready` gets work; `unchecked` and `down` are asked known questions before; `refused` answered them otherwise."""
    in_flight: int = 0
    room: float = 1.0
    """Requests at once: its limit, and fewer after it has answered 429."""
    latency: float = 0.0
    """Seconds of a request, the latest with the most weight; 0 before the first."""
    answers: int = 0
    breaks: int = 0
    """How often its connections broke: it may have been started anew since."""
    checking: bool = False
    """Whether it is being asked now."""
    fingerprints: set[str] = field(default_factory=set)
    """Configurations that have answered known questions."""
    error: RequestError | None = None
    """Why it gets no work."""
    is_doubtful: bool = False
    """Whether it was refused although no connection broke: since when it has been another model is not known."""
    _known_at: tuple[int, int] = (0, 0)
    """Answers and breaks when it last answered known questions as the pool does."""
    _faults: dict[str, int] = field(default_factory=dict)
    """Kind of fault → how often in a row."""
    _unconfirmed: set[str] = field(default_factory=set)
    _pauses: int = 0
    _check_at: float = 0.0
    _free_at: float = 0.0
    _last_at: float = 0.0

    def __post_init__(self) -> None:
        self.room = float(self.limit)

    @property
    def address(self) -> str:
        """As it may be stored and shown."""
        return self.client.endpoint.address

    @property
    def limit(self) -> int:
        """Most requests at once."""
        return self.client.endpoint.requests_at_once

    @property
    def limited_for(self) -> float:
        """Seconds for which it has asked to be left alone (429); 0 or less where it has not."""
        return self._free_at - time.monotonic()

    @property
    def has_room(self) -> bool:
        """Whether it could be sent a request now: fewer are in flight than it takes, and the next one may leave."""
        free = self.in_flight < max(1, int(self.room)) and self.client.next_at <= time.monotonic()
        return self.state == "ready" and free and self.limited_for <= 0

    @property
    def is_idle(self) -> bool:
        """Whether it gets work and has had none for some time, in which it could have been started anew unnoticed."""
        return self.state == "ready" and not self.in_flight and time.monotonic() - self._last_at > MOMENT_S

    @property
    def load(self) -> tuple[float, int]:
        """Which server gets the next request: the one where this is least. About the seconds that it would take, with
        what is in flight there; of equal ones the one with fewer answers."""
        return (self.in_flight + 1) / max(1.0, self.room) * (self.latency or 1e-3), self.answers

    @property
    def is_due(self) -> bool:
        """Whether it is to be asked known questions now."""
        return self.state != "ready" and not self.checking and time.monotonic() >= self._check_at

    @property
    def is_unasked(self) -> bool:
        """Whether it has answered anything since it was asked known questions."""
        return self.answers > self._known_at[0]

    def answered(self, seconds: float) -> None:
        """A request was answered."""
        self.answers += 1
        self._last_at = time.monotonic()
        self.latency = seconds if not self.latency else (1 - NEW_SHARE) * self.latency + NEW_SHARE * seconds
        self.room = min(self.limit, self.room + 1 / max(1.0, self.room))
        self._faults.clear()

    def failed(self, error: RequestError) -> None:
        """A request met a fault, so that this server may be left out for some time."""
        self._faults[error.kind] = count = self._faults.get(error.kind, 0) + 1
        if error.run is not None:
            self.refuse(error)
        elif error.kind == "rate_limited":
            self.room = max(1.0, min(self.room, self.in_flight + 1) / 2)
            pause = min(MAX_LIMIT_PAUSE_S, LIMIT_PAUSE_S * 2 ** (count - 1))
            self._free_at = time.monotonic() + (pause if error.retry_after is None else error.retry_after)
            self.error = error
        elif error.kind == "unreachable" or (error.kind == "timeout" and count >= TIMEOUTS):
            self.leave_out(error)
        elif error.kind in ("server_error", "not_json"):
            if error.retry_after is not None:
                self._free_at = time.monotonic() + error.retry_after
            if count >= SERVER_ERRORS:
                self.leave_out(error)

    def leave_out(self, error: RequestError) -> None:
        """Give it no work until it has answered known questions, which it is asked after growing pauses."""
        self.breaks += error.kind == "unreachable"
        if self.state == "ready":
            self._pauses = 0
        self.state, self.error = "down", error
        self._check_at = time.monotonic() + min(MAX_PAUSE_S, FIRST_PAUSE_S * 2**self._pauses)
        self._pauses += 1

    def hurry(self) -> None:
        """Let it be asked again soon, as no other server works."""
        if self.state != "refused":
            self._check_at = min(self._check_at, time.monotonic() + FIRST_PAUSE_S)

    def refuse(self, error: RequestError) -> None:
        """Give it no work, as it is not the model of the pool; it may be started anew with that."""
        # Where a connection has broken, it was started anew then, and what it answered before is of the model.
        self.is_doubtful |= self.is_unasked and self.breaks == self._known_at[1]
        self.state, self.error = "refused", error
        self._check_at = time.monotonic() + MAX_PAUSE_S

    def take_in(self, fingerprints: tuple[str, ...]) -> None:
        """It has answered the known questions as the pool does."""
        self.fingerprints |= {*fingerprints, *self._unconfirmed}
        self._unconfirmed.clear()
        self.state, self.error, self._pauses = "ready", None, 0
        self._last_at = time.monotonic()
        self._known_at = self.answers, self.breaks
        self._faults.clear()

    def ask_again(self, fingerprint: str = "") -> None:
        """It answers as another configuration: it is asked known questions before it gets more work. Until then no
        answer of that one is used, also of requests that are out already."""
        self._unconfirmed |= {fingerprint} - {""}
        self.state, self._check_at = "unchecked", 0.0

    @property
    def left_out(self) -> str:
        """Its address with the reason, where it was refused; empty where it was not."""
        if self.state != "refused" or self.error is None:
            return ""
        message: Message = self.error.message
        return f"{self.address}: {message}"
