"""What a model's requests are sent through: the client of its server, or the pool of its servers."""

from __future__ import annotations

from collections.abc import Callable

from jglue_app.backends.endpoint_settings import ServedModel
from jglue_app.backends.openai_api import capabilities as kept
from jglue_app.backends.openai_api.capabilities import Handshake
from jglue_app.backends.openai_api.client import Client
from jglue_app.backends.openai_api.handshake import handshake
from jglue_app.backends.openai_api.pool_handshake import (
    Notify,
    PoolReference,
    check_server,
    forget_reference,
    pool_handshake,
)
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
) -> tuple[Connection, Handshake]:
    """Connect to the server of a model, or to all of its pool.

    Raises:
        InputError: a key is missing.
        ModelError, NetworkError: it cannot be used.
    """
    if not served.servers:
        found = handshake(served, settings, tokenizer, notify)
        return Client(served), found
    reference = pool_handshake(served, settings, tokenizer, notify)
    return _pool(served, settings, tokenizer, reference), reference.handshake


def forget(served: ServedModel, settings: Settings) -> None:
    """Drop what is kept of a model's servers, so that they are asked again."""
    kept.forget(served, settings)
    for server in served.servers:
        kept.forget(server, settings)
    if served.servers:
        forget_reference(served, settings)


def _pool(served: ServedModel, settings: Settings, tokenizer: LoadTokenizer, reference: PoolReference) -> ServerPool:
    """The pool; servers that were not asked within the last minute are asked before they get work."""
    by_address = {server.endpoint.address: server for server in served.servers}

    def check(client: Client) -> tuple[str, ...]:
        return check_server(by_address[client.endpoint.address], client, settings, reference, tokenizer)

    can = reference.handshake.capabilities
    ready = {address: can.fingerprints for address in by_address if reference.is_recent(address)}
    return ServerPool(served, check, can.models, ready)
