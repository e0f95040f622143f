"""Vectors of texts from a server's `/v1/embeddings`."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from jglue_app.backends.endpoints import served_model
from jglue_app.backends.openai_api import responses
from jglue_app.backends.openai_api.client import Client
from jglue_app.backends.openai_api.failures import RequestError
from jglue_app.backends.openai_api.parallel import in_parallel
from jglue_app.errors import NetworkError
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec

BATCH = 32
"""Texts of one request."""


class EmbeddedText(NamedTuple):
    """What a server gives for a text."""

    vector: list[float]
    tokens: int
    """The text's share, by its length, of the tokens that the server counts for the request; estimated as one for a
    character where it does not count. 0 for a text that was sent already."""


def embed(
    spec: ModelSpec, settings: Settings, texts: Sequence[str], should_stop: Callable[[], bool] = lambda: False
) -> list[EmbeddedText]:
    """The vector of each text, as the server gives it; equal texts are sent once.

    Args:
        spec: `ENDPOINT:MODEL`.
        settings: where the endpoint is described.
        texts: what is embedded, prefixes included.
        should_stop: ends it early.

    Returns:
        One for each text, with vectors of one length; fewer if it was stopped.

    Raises:
        InputError: the endpoint is not described, or its key is missing.
        ModelError, NetworkError: the server gives no vectors.
    """
    served = served_model(spec.id, settings)
    client = Client(served)
    distinct = list(dict.fromkeys(texts))
    cancelled = threading.Event()

    def job(batch: list[str]) -> Callable[[], list[EmbeddedText]]:
        def run() -> list[EmbeddedText]:
            answer = client.post("embeddings", {"input": batch, "encoding_format": "float"}, cancelled)
            found = responses.vectors(served.endpoint, answer, len(batch))
            return list(map(EmbeddedText, found, _shares(batch, responses.token_counts(answer)[0])))

        return run

    batches = [distinct[k : k + BATCH] for k in range(0, len(distinct), BATCH)]
    vectors: dict[str, EmbeddedText] = {}
    try:
        at_once = served.endpoint.requests_at_once
        for k, found in in_parallel([job(batch) for batch in batches], at_once, should_stop, cancelled):
            vectors |= dict(zip(batches[k], found, strict=True))
    except RequestError as e:
        raise e.as_exception() from None
    finally:
        client.close()
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
