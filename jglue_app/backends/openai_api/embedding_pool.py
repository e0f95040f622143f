"""Several servers of one model behind one name that embed: each has to give the same vector of a known text."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence

from jglue_app.backends.endpoint_settings import ServedModel
from jglue_app.backends.openai_api import failures, responses
from jglue_app.backends.openai_api.client import Client
from jglue_app.backends.openai_api.failures import RequestError
from jglue_app.backends.openai_api.parallel import in_parallel
from jglue_app.backends.openai_api.server_pool import ServerPool
from jglue_app.errors import ModelError, NetworkError
from jglue_app.messages import Message

PATH = "embeddings"
FORM = {"encoding_format": "float"}
PROBE = "海辺で犬が走っている。"
"""A text whose vector tells how many dimensions a server gives, and whether servers have one model."""
LEAST_COSINE = 0.999
"""Of the vectors of one text that two servers of one model give: 16-bit numbers keep them within 0.0001."""
AT_ONCE = 16
"""Servers that are asked at once."""


def embedding_pool(served: ServedModel) -> ServerPool:
    """Connect to the servers of a pool, and ask each for the vector of a known text. One that does not answer may come
    back later, and is asked then.

    Raises:
        ModelError: one of them gives another vector than the others, or none.
        NetworkError: none of them answers.
    """
    jobs = [_asking(server) for server in served.servers]
    results = dict(in_parallel(jobs, AT_ONCE, lambda: False, threading.Event()))
    vectors = {k: result for k, result in results.items() if isinstance(result, list)}
    errors = [result for result in results.values() if isinstance(result, RequestError)]
    for error in errors:
        if not error.transient:
            raise error.as_exception()
    if not vectors:
        one = len(errors) == 1
        raise (errors[0] if one else failures.unreachable(served.endpoint, ConnectionError())).as_exception(
            NetworkError
        )
    # What most of them give, so that the sentence names the one that is different; of two the first.
    agreeing = {k: sum(is_same_vector(vector, other) for other in vectors.values()) for k, vector in vectors.items()}
    expected = vectors[max(sorted(agreeing), key=agreeing.__getitem__)]
    for k in sorted(vectors):
        if not is_same_vector(expected, vectors[k]):
            raise ModelError(_refusal(served.servers[k]))

    def check(client: Client) -> tuple[str, ...]:
        if not is_same_vector(expected, _known_vector(client)):
            server = next(s for s in served.servers if s.endpoint.id == client.endpoint.id)
            raise RequestError("other_answers", _refusal(server), run=ModelError)
        return ()

    return ServerPool(served, check, ready={served.servers[k].endpoint.address: () for k in vectors})


def is_same_vector(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two vectors of one text are those of one model."""
    lengths = math.hypot(*one) * math.hypot(*other)
    if len(one) != len(other) or not lengths > 0:
        return False
    return math.fsum(a * b for a, b in zip(one, other, strict=True)) / lengths >= LEAST_COSINE


def _asking(server: ServedModel) -> Callable[[], list[float] | RequestError]:
    def ask() -> list[float] | RequestError:
        client = Client(server)
        try:
            client.reach()
            return _known_vector(client, tries=3)
        except RequestError as e:
            return e
        finally:
            client.close()

    return ask


def _known_vector(client: Client, tries: int = 1) -> list[float]:
    (vector,) = responses.vectors(client.endpoint, client.post(PATH, {"input": [PROBE], **FORM}, tries=tries), 1)
    return vector


def _refusal(server: ServedModel) -> Message:
    return Message(
        "The server {endpoint} of {model} gives another vector of a known text than its pool, so that vectors of both "
        "cannot stand in one run. Start it with the same model, or take its address out of base_url.",
        endpoint=server.endpoint.id,
        model=server.name,
    )
