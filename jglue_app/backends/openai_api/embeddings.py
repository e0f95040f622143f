"""Vectors of texts from a server's `/v1/embeddings`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

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


def embed(
    spec: ModelSpec, settings: Settings, texts: Sequence[str], should_stop: Callable[[], bool] = lambda: False
) -> list[list[float]]:
    """The vector of each text, as the server gives it; equal texts are sent once.

    Args:
        spec: `ENDPOINT:MODEL`.
        settings: where the endpoint is described.
        texts: what is embedded, prefixes included.
        should_stop: ends it early.

    Returns:
        One vector for each text, all of one length; fewer if it was stopped.

    Raises:
        InputError: the endpoint is not described, or its key is missing.
        ModelError, NetworkError: the server gives no vectors.
    """
    served = served_model(spec.id, settings)
    client = Client(served)
    distinct = list(dict.fromkeys(texts))
    cancelled = threading.Event()

    def job(batch: list[str]) -> Callable[[], list[list[float]]]:
        def run() -> list[list[float]]:
            answer = client.post("embeddings", {"input": batch, "encoding_format": "float"}, cancelled)
            return responses.vectors(served.endpoint, answer, len(batch))

        return run

    batches = [distinct[k : k + BATCH] for k in range(0, len(distinct), BATCH)]
    vectors: dict[str, list[float]] = {}
    try:
        at_once = served.endpoint.requests_at_once
        for k, found in in_parallel([job(batch) for batch in batches], at_once, should_stop, cancelled):
            vectors |= dict(zip(batches[k], found, strict=True))
    except RequestError as e:
        raise e.as_exception() from None
    finally:
        client.close()
    if len({len(vector) for vector in vectors.values()}) > 1:
        raise NetworkError(
            "The endpoint {endpoint} gave vectors of several lengths, which cannot be compared.",
            endpoint=served.endpoint.id,
        )
    return [vectors[text] for text in texts if text in vectors]
