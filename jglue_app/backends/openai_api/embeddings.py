"""Vectors of texts from a server's `/v1/embeddings`."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from jglue_app.backends.endpoint_settings import ServedModel
from jglue_app.backends.openai_api import responses
from jglue_app.backends.openai_api.client import Client
from jglue_app.backends.openai_api.connection import Connection
from jglue_app.backends.openai_api.embedding_pool import FORM, PATH, embedding_pool
from jglue_app.backends.openai_api.failures import RequestError
from jglue_app.backends.openai_api.parallel import in_parallel
from jglue_app.errors import NetworkError

BATCH = 32
"""Texts of one request."""


class EmbeddedText(NamedTuple):
    """What a server gives for a text."""

    vector: list[float]
    tokens: int
    """The text's share, by its length, of the tokens that the server counts for the request; estimated as one for a
    character where it does not count. 0 for a text that was sent already."""
    servers: tuple[str, ...] = ()
    """Address of the server of a pool that gave it."""


def connect_embedder(served: ServedModel) -> Connection:
    """Connect to the server of a model that embeds, or to all of its pool, whose servers are asked for the vector of a
    known text; to be closed by the caller.

    Raises:
        InputError: a key is missing.
        ModelError, NetworkError: the servers of a pool differ, or none of them answers.
    """
    return embedding_pool(served) if served.servers else Client(served)


def embed(
    served: ServedModel,
    connection: Connection,
    texts: Sequence[str],
    should_stop: Callable[[], bool] = lambda: False,
) -> list[EmbeddedText]:
    """The vector of each text, as the server gives it; equal texts are sent once.

    Args:
        served: the model.
        connection: to its server.
        texts: what is embedded, prefixes included.
        should_stop: ends it early.

    Returns:
        One for each text, with vectors of one length; fewer if it was stopped.

    Raises:
        ModelError, NetworkError: the server gives no vectors.
    """
    distinct = list(dict.fromkeys(texts))
    cancelled = threading.Event()

    def job(batch: list[str]) -> Callable[[], list[EmbeddedText]]:
        def run() -> list[EmbeddedText]:
            requests = connection.for_item()
            answer = requests.post(PATH, {"input": batch, **FORM}, cancelled)
            found = responses.vectors(served.endpoint, answer, len(batch))
            shares, servers = _shares(batch, responses.token_counts(answer)[0]), tuple(requests.servers)
            return [EmbeddedText(*pair, servers) for pair in zip(found, shares, strict=True)]

        return run

    batches = [distinct[k : k + BATCH] for k in range(0, len(distinct), BATCH)]
    vectors: dict[str, EmbeddedText] = {}
    try:
        for k, found in in_parallel([job(batch) for batch in batches], connection.at_once, should_stop, cancelled):
            vectors |= dict(zip(batches[k], found, strict=True))
    except RequestError as e:
        raise e.as_exception() from None
    if len({len(of.vector) for of in vectors.values()}) > 1:
        raise NetworkError(
            "The endpoint {endpoint} gave vectors of several lengths, which cannot be compared.",
            endpoint=served.endpoint.id,
        )
    seen: set[str] = set()
    result: list[EmbeddedText] = []
    for text in texts:
        if text in vectors:
            result.append(vectors[text] if text not in seen else vectors[text]._replace(tokens=0))
            seen.add(text)
    return result


def _shares(texts: Sequence[str], tokens: int | None) -> list[int]:
    """Tokens of a request shared among its texts by their lengths, so that the shares add up to them."""
    lengths = [max(1, len(text)) for text in texts]
    if tokens is None:
        return lengths
    before = [0, *itertools.accumulate(lengths)]
    at = [tokens * place // before[-1] for place in before]
    return [end - start for start, end in itertools.pairwise(at)]
