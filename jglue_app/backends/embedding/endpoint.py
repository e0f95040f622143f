"""Vectors of a server: `POST /embeddings` of an endpoint that the operator has listed.

What a server does with a text that is too long, and in which precision it computes, is its own affair: some cut
silently. Tokens are those that the server counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jglue_app.backends.embedding.vectors import Embedding, as_vector
from jglue_app.backends.endpoints import served_model
from jglue_app.backends.openai_api.embedding_pool import PROBE
from jglue_app.backends.openai_api.embeddings import connect_embedder, embed
from jglue_app.backends.openai_api.pool_handshake import POOL
from jglue_app.errors import InputError
from jglue_app.settings import Settings
from jglue_app.types import ModelInfo, ModelSpec, RunError


def identity(spec: ModelSpec, settings: Settings) -> dict[str, str]:
    """What distinguishes runs of embeddings of a model on a server: its address and name, and the dimensions of its
    vectors, for which it is asked once. The servers of a pool have no addresses in it, so that one more of them is no
    other run.

    Raises:
        InputError: the endpoint is not described, its key is missing, or it is said to give no embeddings.
        ModelError, NetworkError: the server gives no vector.
    """
    served = served_model(spec.id, settings)
    if served.endpoint.can.get("embeddings") is False:
        raise InputError(
            "endpoints.toml says of {endpoint} that it gives no embeddings (can). Choose another model.",
            endpoint=served.endpoint.id,
        )
    connection = connect_embedder(served)
    try:
        (found,) = embed(served, connection, [PROBE])
    finally:
        connection.close()
    server = POOL if served.servers else served.endpoint.address
    return {"server": server, "model": served.name, "dimensions": str(len(found.vector))}


def open_embedder(spec: ModelSpec, settings: Settings, device: str, notify: Callable[[str], None]) -> ServedEmbedder:
    """The embedder of a model on a server; see `backends.embedding.open_embedder`. Of a pool each server is asked
    whether it is the same model; else nothing is sent yet."""
    return ServedEmbedder(spec, settings)


class ServedEmbedder:
    """A model on a server; see `backends.embedding.Embedder`."""

    def __init__(self, spec: ModelSpec, settings: Settings) -> None:
        self._served = served = served_model(spec.id, settings)
        self._connection = connect_embedder(served)
        self.items_at_once = 32 * max(1, len(served.servers))
        self.info = ModelInfo(
            name=served.id,
            commit=served.name,
            dtype="as served",
            device=served.endpoint.address,
            context_length=None,
            bos="",
            adds_bos=False,
            eos="",
            has_chat_template=False,
            memory_bytes=0,
            engine="embeddings of a server",
            price_in=served.facts.price_in or 0.0,
            currency=served.endpoint.currency if served.facts.price_in else "",
        )

    def embed(
        self, texts: Sequence[str], prefix: str, should_stop: Callable[[], bool] = lambda: False
    ) -> list[Embedding | RunError]:
        """The vector of each text with the prefix before it; none at all if it was stopped."""
        vectors = embed(self._served, self._connection, [prefix + text for text in texts], should_stop)
        if len(vectors) < len(texts):
            return []
        return [Embedding(as_vector(found.vector), found.tokens, found.servers) for found in vectors]

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()
