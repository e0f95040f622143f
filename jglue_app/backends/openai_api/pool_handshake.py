"""Whether the servers of a pool are one model: each is asked what it can do, and the same known questions.

What they have in common is kept like the handshake of one server, under a name without their addresses: a run's
identity neither depends on how many servers there are nor on their order. A server that answers otherwise than the
others is refused by its address; no answer of it is ever stored.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import TypeAdapter, ValidationError

from jglue_app.backends.endpoint_settings import ServedModel
from jglue_app.backends.endpoints import key_of
from jglue_app.backends.openai_api import failures
from jglue_app.backends.openai_api.capabilities import VERSION, Capabilities, Handshake, forget, load
from jglue_app.backends.openai_api.client import Client
from jglue_app.backends.openai_api.failures import RequestError
from jglue_app.backends.openai_api.handshake import asking, handshake
from jglue_app.backends.openai_api.known_answers import KnownAnswers, ask_known, differences
from jglue_app.backends.openai_api.parallel import in_parallel
from jglue_app.errors import JglueAppError, ModelError, NetworkError
from jglue_app.messages import Joined, Message
from jglue_app.settings import Settings
from jglue_app.types import Tokenizer
from jglue_app.whole_files import write_atomically

POOL = "servers of one model"
"""In place of an address, in what distinguishes runs."""
AT_ONCE = 16
"""Servers that are asked at once."""
NOT_COMPARED = ("model", "system_fingerprint", "chat: answer", "completions: answer")
"""Of a handshake's identity what the known answers compare, which are asked now."""

Notify = Callable[[str], None]
LoadTokenizer = Callable[[], Tokenizer | None]


@dataclass(frozen=True, slots=True)
class PoolReference:
    """What every server of a pool does and answers."""

    handshake: Handshake
    known: KnownAnswers
    checked: Mapping[str, float] = field(default_factory=dict)
    """Address → when its server answered so, in seconds since 1970; of those that were asked together."""


@dataclass(frozen=True, slots=True)
class ServerState:
    """One server of a pool, as it was found."""

    served: ServedModel
    capabilities: Capabilities | None = None
    """What it can do; None where it does not answer."""
    known: KnownAnswers | None = None
    seconds: float = 0.0
    """That the known questions took."""
    error: JglueAppError | None = None
    """Why it cannot be used by itself."""
    differs: tuple[str, ...] = ()
    """In what it answers otherwise than the pool."""

    def as_error(self) -> JglueAppError | None:
        """Why it cannot be used; None if it can."""
        return ModelError(refusal(self.served, self.differs)) if self.differs else self.error

    def as_row(self) -> dict[str, Any]:
        """Its state as plain values."""
        state = "ready"
        if self.differs or self.error is not None:
            state = "other answers" if self.differs else "no answer"
        error = self.as_error()
        detail = str(error) if error else ""
        return {"address": self.served.endpoint.address, "state": state, "detail": detail, "seconds": self.seconds}


def pool_handshake(
    served: ServedModel,
    settings: Settings,
    tokenizer: LoadTokenizer,
    notify: Notify = lambda _: None,
    *,
    again: bool = False,
    verify: bool = False,
) -> PoolReference:
    """What the servers of a pool have in common: as it is kept, or found out now; see `handshake`.

    A server that does not answer is left out and told; it may come back during a run.

    Raises:
        ModelError: one of the servers answers otherwise than the others, or cannot be used.
        NetworkError: none of them answers.
    """
    kept = None if again else load_reference(served, settings)
    if kept is not None and kept.handshake.fresh and not verify:
        return kept
    reference, states = survey(served, settings, tokenizer, notify, again=again)
    silent = [state for state in states if isinstance(state.error, NetworkError)]
    for state in states:
        if state.error is not None and state not in silent:
            raise state.error
    if reference is None:
        if kept is not None and kept.handshake.fresh:  # Said where an item is sent.
            return replace(kept, checked={})
        raise silence(served, silent)
    for state in states:
        if state.differs:
            raise ModelError(refusal(state.served, state.differs))
    for state in silent:
        notify(
            Message(
                "The endpoint {endpoint} does not answer: the other servers go on without it, until it is back.",
                endpoint=state.served.endpoint.id,
            )
        )
    return reference


def survey(
    served: ServedModel, settings: Settings, tokenizer: LoadTokenizer, notify: Notify, *, again: bool = False
) -> tuple[PoolReference | None, list[ServerState]]:
    """Ask all servers of a pool now.

    Returns:
        What they have in common, kept from now on where they agree, None where none answers; and each of them.
    """
    earlier = None if again else load_reference(served, settings)
    load_tokenizer = _loaded_once(tokenizer)
    for server in served.servers:
        before = None if again else load(server, settings)
        if before is None or not before.fresh:
            key_of(server.endpoint)  # Without a key nothing is asked, and nothing is announced.
            notify(asking(server))
    jobs = [_asking(server, settings, load_tokenizer, again=again) for server in served.servers]
    answers = in_parallel(jobs, AT_ONCE, lambda: False, threading.Event())
    states = [state for _, state in sorted(answers, key=lambda pair: pair[0])]
    usable = [state for state in states if state.known is not None]
    if not usable:
        return None, states
    if earlier is not None and not any(_differences(earlier.handshake.capabilities, earlier.known, s) for s in usable):
        capabilities, known = earlier.handshake.capabilities, earlier.known
    else:
        capabilities, known = _of_most(usable, earlier)
    states = [replace(s, differs=_differences(capabilities, known, s)) if s.known is not None else s for s in states]
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    found = Handshake(VERSION, date, POOL, capabilities)
    checked = {s.served.endpoint.address: time.time() for s in states if s.known is not None and not s.differs}
    reference = PoolReference(found, known, checked)
    if not any(state.differs for state in states):
        _keep(served, settings, reference)
    return reference, states


def check_server(
    server: ServedModel, client: Client, settings: Settings, reference: PoolReference, tokenizer: LoadTokenizer
) -> tuple[str, ...]:
    """Ask one server of a pool whether it still (or again) is the pool's model, before it gets work.

    Returns:
        The configurations (`system_fingerprint`) that answered.

    Raises:
        RequestError: it does not answer, or (with `run`) answers otherwise.
    """
    if load(server, settings) is None:  # It was not there when the others were asked.
        try:
            found = handshake(server, settings, tokenizer).capabilities
        except JglueAppError as e:
            down = isinstance(e, NetworkError)
            raise RequestError("unreachable" if down else "refused", e.message, run=None if down else ModelError) from e
    else:
        found = reference.handshake.capabilities
    known = ask_known(server, client, reference.handshake.capabilities)
    differs = _differences(reference.handshake.capabilities, reference.known, ServerState(server, found, known))
    if differs:
        forget(server, settings)
        raise RequestError("other_answers", refusal(server, differs), run=ModelError)
    return known.fingerprints


def refusal(server: ServedModel, differs: Sequence[str]) -> Message:
    """That a server is not the model of its pool."""
    return Message(
        "The server {endpoint} of {model} answers otherwise than its pool ({differences}), so that answers of both "
        "cannot stand in one run. Start it with the same model, version and settings, or take its address out of "
        "base_url. If all servers were changed on purpose, `models --check` asks them anew.",
        endpoint=server.endpoint.id,
        model=server.name,
        differences=Joined(", ", differs),
    )


def silence(served: ServedModel, states: Sequence[ServerState]) -> JglueAppError:
    """That no server of a pool answers."""
    errors = [state.error for state in states if state.error is not None]
    if len(errors) == 1:
        return errors[0]
    return failures.unreachable(served.endpoint, ConnectionError()).as_exception(NetworkError)


def load_reference(served: ServedModel, settings: Settings) -> PoolReference | None:
    """What is kept of a pool, fresh or not; None if there is nothing that can be used."""
    try:
        found: PoolReference = TypeAdapter(PoolReference).validate_json(_path(served, settings).read_bytes())
    except (OSError, ValueError, ValidationError, RecursionError):
        return None
    return found if found.handshake.version == VERSION and found.handshake.address == POOL else None


def forget_reference(served: ServedModel, settings: Settings) -> None:
    """Drop what is kept of a pool."""
    _path(served, settings).unlink(missing_ok=True)


def _asking(
    server: ServedModel, settings: Settings, tokenizer: LoadTokenizer, *, again: bool
) -> Callable[[], ServerState]:
    def ask() -> ServerState:
        client = Client(server)
        try:
            client.reach()
            can = handshake(server, settings, tokenizer, again=again).capabilities
            known, seconds = _timed(server, client, can)
            if not again and is_other(can, known):  # Started anew with another model since it was asked.
                can = handshake(server, settings, tokenizer, again=True).capabilities
                known, seconds = _timed(server, client, can)
        except RequestError as e:
            return ServerState(server, error=e.as_exception(NetworkError if e.transient else ModelError))
        except JglueAppError as e:
            return ServerState(server, error=e)
        finally:
            client.close()
        return ServerState(server, can, known, seconds)

    return ask


def _loaded_once(tokenizer: LoadTokenizer) -> LoadTokenizer:
    """The same for several threads, of which one loads it."""
    lock = threading.Lock()
    cached = functools.cache(tokenizer)

    def load_it() -> Tokenizer | None:
        with lock:
            return cached()

    return load_it


def _timed(server: ServedModel, client: Client, can: Capabilities) -> tuple[KnownAnswers, float]:
    start = time.perf_counter()
    return ask_known(server, client, can, tries=2), time.perf_counter() - start


def is_other(can: Capabilities, known: KnownAnswers) -> bool:
    """Whether known answers are not those of a handshake that was kept."""
    interfaces = {"chat": can.chat, "completions": can.completions}
    samples = {kind: i.sample for kind, i in interfaces.items() if i is not None and i.sample and not i.reasoning}
    other_text = any(known.texts.get(kind, sample) != sample for kind, sample in samples.items())
    return other_text or known.context_length != can.context_length or not set(known.models) <= set(can.models)


def _differences(capabilities: Capabilities, known: KnownAnswers, state: ServerState) -> tuple[str, ...]:
    """In what a server is not what others are."""
    assert state.capabilities is not None and state.known is not None
    one, other = (of.identity for of in (capabilities, state.capabilities))
    names = [k for k in dict.fromkeys([*one, *other]) if k not in NOT_COMPARED and one.get(k) != other.get(k)]
    return tuple(dict.fromkeys([*names, *differences(known, state.known)]))


def _of_most(states: Sequence[ServerState], earlier: PoolReference | None) -> tuple[Capabilities, KnownAnswers]:
    """What most servers agree on, so that the sentence names the one that is different; of two the first."""
    candidates = [(s.capabilities, s.known) for s in states if s.capabilities is not None and s.known is not None]
    if earlier is not None:
        candidates.append((earlier.handshake.capabilities, earlier.known))
    counts = [sum(not _differences(can, known, state) for state in states) for can, known in candidates]
    capabilities, known = candidates[counts.index(max(counts))]
    # Of another model the identity is another. Other log-probabilities alone are not in it: they would be mixed.
    if earlier is not None and earlier.handshake.capabilities.identity == capabilities.identity:
        return candidates[-1]
    return capabilities, known


def _keep(served: ServedModel, settings: Settings, reference: PoolReference) -> None:
    path = _path(served, settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        write_atomically(path, json.dumps(dataclasses.asdict(reference), ensure_ascii=False, indent=1))


def _path(served: ServedModel, settings: Settings) -> Path:
    """Where a pool is kept: by its name and all that changes its answers, without its addresses."""
    endpoint, facts = served.endpoint, served.facts
    parts = (endpoint.id, served.name, dict(endpoint.query), list(endpoint.interfaces), dict(endpoint.can))
    more = (dict(endpoint.body), dict(endpoint.headers), facts.tokenizer, facts.thinking, endpoint.thinking_off)
    text = json.dumps([*parts, *more, endpoint.hidden], sort_keys=True, default=str)
    return settings.cache_dir / "endpoints" / f"pool-{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
