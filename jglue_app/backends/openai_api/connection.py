"""What a model's requests are sent through: the client of its server, or the pool of its servers.

Whoever connects asks known questions first, however short ago that was done: a server may have been started anew with
other weights since.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from jglue_app.backends.endpoint_settings import ServedModel
from jglue_app.backends.openai_api import capabilities as kept
from jglue_app.backends.openai_api.capabilities import Handshake
from jglue_app.backends.openai_api.client import Client
from jglue_app.backends.openai_api.failures import RequestError
from jglue_app.backends.openai_api.handshake import handshake
from jglue_app.backends.openai_api.known_answers import KnownAnswers, ask_known
from jglue_app.backends.openai_api.pool_handshake import (
    Notify,
    PoolReference,
    check_server,
    forget_reference,
    is_other,
    pool_handshake,
)
from jglue_app.backends.openai_api.rechecks import PoolRecheck, Recheck, ServerRecheck
from jglue_app.backends.openai_api.server_pool import ServerPool
from jglue_app.settings import Settings
from jglue_app.types import Tokenizer

Connection = Client | ServerPool
LoadTokenizer = Callable[[], Tokenizer | None]


def what_it_can(
    served: ServedModel,
    settings: Settings,
    tokenizer: LoadTokenizer,
    notify: Notify = lambda _: None,
    *,
    again: bool = False,
    verify: bool = False,
) -> Handshake:
    """The handshake of a model's server, or what all servers of its pool have in common; see `handshake`."""
    if served.servers:
        return pool_handshake(served, settings, tokenizer, notify, again=again, verify=verify).handshake
    return handshake(served, settings, tokenizer, notify, again=again, verify=verify)


def connect(
    served: ServedModel, settings: Settings, tokenizer: LoadTokenizer, notify: Notify = lambda _: None
) -> tuple[Connection, Handshake, Recheck]:
    """Connect to the server of a model, or to all of its pool, each of which is asked known questions; what asks these
    again is the last that is returned.

    Raises:
        InputError: a key is missing.
        ModelError, NetworkError: it cannot be used.
    """
    if not served.servers:
        found = handshake(served, settings, tokenizer, notify)
        client = Client(served)
        try:
            known = _known(served, client, found)
            if known is not None and is_other(found.capabilities, known):
                found = handshake(served, settings, tokenizer, notify, again=True)
                known = _known(served, client, found)
        except BaseException:
            client.close()
            raise
        return (
            client,
            found,
            ServerRecheck(served, client, found.capabilities, known, forget=partial(forget, served, settings)),
        )
    reference = pool_handshake(served, settings, tokenizer, notify, verify=True)
    pool = _pool(served, settings, tokenizer, reference)
    return pool, reference.handshake, PoolRecheck(served, pool)


def forget(served: ServedModel, settings: Settings) -> None:
    """Drop what is kept of a model's servers, so that they are asked again."""
    kept.forget(served, settings)
    for server in served.servers:
        kept.forget(server, settings)
    if served.servers:
        forget_reference(served, settings)


def _known(served: ServedModel, client: Client, found: Handshake) -> KnownAnswers | None:
    """What a server answers to known questions now; None where it does not, which is said where an item is sent."""
    try:
        return ask_known(served, client, found.capabilities, tries=2)
    except RequestError:
        return None


def _pool(served: ServedModel, settings: Settings, tokenizer: LoadTokenizer, reference: PoolReference) -> ServerPool:
    """The pool; servers that did not answer just now are asked before they get work."""
    by_address = {server.endpoint.address: server for server in served.servers}

    def check(client: Client) -> tuple[str, ...]:
        return check_server(by_address[client.endpoint.address], client, settings, reference, tokenizer)

    can = reference.handshake.capabilities
    ready = {address: can.fingerprints for address in by_address if address in reference.checked}
    return ServerPool(served, check, can.models, ready)
