"""Whether the servers of a model still answer known questions as when it was opened, asked while it is used.

Weights may be exchanged behind an address without a broken connection or another name.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from jglue_app.backends.endpoint_settings import ServedModel
from jglue_app.backends.openai_api.capabilities import Capabilities
from jglue_app.backends.openai_api.client import Client
from jglue_app.backends.openai_api.failures import RequestError
from jglue_app.backends.openai_api.known_answers import KnownAnswers, ask_known, differences
from jglue_app.backends.openai_api.parallel import in_parallel
from jglue_app.backends.openai_api.server_pool import ServerPool
from jglue_app.messages import Joined, Message
from jglue_app.types import Doubt

Recheck = Callable[[float], Doubt | None]
"""Seconds that it may take → the doubt; None if there is none."""
ASKED = 2
"""How often a server has to answer otherwise in turn: numbers in 16 bits may tip one answer over."""
REQUESTS = 6
"""Of known questions, at most."""
BETWEEN_SERVERS = ("model", "system_fingerprint", "context_length")
"""What servers behind one address, which take turns, may differ in."""


class ServerRecheck:
    """Asks the one server of a model.

    Args:
        served: the model.
        client: of its server.
        can: what it can do.
        known: what it answered when the model was opened; None where it did not answer then.
        forget: drops the handshake that is kept.
    """

    def __init__(
        self,
        served: ServedModel,
        client: Client,
        can: Capabilities,
        known: KnownAnswers | None,
        forget: Callable[[], None],
    ) -> None:
        self._served, self._client, self._can, self._known, self._forget = served, client, can, known, forget

    def __call__(self, seconds: float) -> Doubt | None:
        end = time.monotonic() + with_pauses(self._served, seconds)
        results = in_parallel([self._asked], 1, lambda: time.monotonic() >= end, threading.Event())
        differ = next((result for _, result in results), None)
        if differ is None:
            return could_not_be_asked(self._served)
        if not differ:
            return None
        self._forget()
        message = Message(
            "The server of {model} answers known questions otherwise than before ({differences}): it may have other "
            "weights now.",
            model=self._served.id,
            differences=Joined(", ", differ),
        )
        return Doubt(message)

    def _asked(self) -> list[str] | None:
        """In what it answers otherwise; None where it does not answer."""
        differ: list[str] = []
        for _ in range(ASKED):
            try:
                now = ask_known(self._served, self._client, self._can)
            except RequestError:
                return None
            differ = self._differences(now)
            if not differ:
                self._known = self._known or now
                break
        return differ

    def _differences(self, now: KnownAnswers) -> list[str]:
        models = self._can.models
        found = ["model"] if models and not set(now.models) <= set(models) else []
        if self._known is not None:
            return found + [name for name in differences(self._known, now) if name not in BETWEEN_SERVERS]
        interfaces = {"chat": self._can.chat, "completions": self._can.completions}
        samples = {kind: i.sample for kind, i in interfaces.items() if i is not None and i.sample and not i.reasoning}
        return found + [f"{kind}: answer" for kind, text in samples.items() if now.texts.get(kind, text) != text]


class PoolRecheck:
    """Asks the servers of a pool that have answered since they were last asked."""

    def __init__(self, served: ServedModel, pool: ServerPool) -> None:
        self._served, self._pool = served, pool

    def __call__(self, seconds: float) -> Doubt | None:
        others, silent = self._pool.ask_again(with_pauses(self._served, seconds))
        if others:
            message = Message(
                "Of {model}, the servers {addresses} answer known questions otherwise than before: they may have other "
                "weights now.",
                model=self._served.id,
                addresses=Joined(", ", others),
            )
            return Doubt(message, servers=others)
        return could_not_be_asked(self._served) if silent else None


def with_pauses(served: ServedModel, seconds: float) -> float:
    """The time that known questions may take, with the pauses between requests that an endpoint prescribes."""
    per_minute = served.endpoint.requests_per_minute
    return seconds + (60.0 / per_minute * REQUESTS * ASKED if per_minute else 0.0)


def could_not_be_asked(served: ServedModel) -> Doubt:
    """That it is not known whether the same model still answers."""
    message = Message(
        "The server of {model} could not be asked whether it is still the same model.",
        model=served.id,
    )
    return Doubt(message, is_certain=False)
