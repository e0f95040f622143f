"""Log-probabilities of the tokens of a prompt, and whether those of a server can be believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jglue_app.backends.openai_api import responses
from jglue_app.backends.openai_api.bodies import PATHS, chat_logprobs_body
from jglue_app.backends.openai_api.client import Client

MAX_DIFFERENCE = 0.5
"""How much the log-probability of a token may differ by what stands behind it, through rounding."""
MAX_REPEATED_DIFFERENCE = 0.1
"""The same where the very same prompt is asked again."""


def ask_logprobs(
    client: Client, way: str, prompt: str | list[int], parameters: Mapping[str, Any], **more: Any
) -> list[float | None]:
    """Log-probabilities of the tokens of a prompt; that of the first is mostly None.

    Args:
        client: of the server.
        way: `echo` or `prompt_logprobs`.
        prompt: a text or its token ids.
        parameters: further ones of the request.
        more: further arguments of `Client.post`.

    Raises:
        RequestError: the server gives none.
    """
    body: dict[str, Any] = {"prompt": prompt, "max_tokens": 1, **parameters}
    body |= {"echo": True, "logprobs": 1} if way == "echo" else {"prompt_logprobs": 0}
    answer = client.post(PATHS["completions"], body, **more)
    read = responses.echoed_logprobs if way == "echo" else responses.prompt_logprobs
    return read(client.endpoint, answer)


def ask_chat_logprobs(
    client: Client, limit: str, turns: Sequence[Mapping[str, str]], answer: str | None, **more: Any
) -> list[tuple[str, float | None]]:
    """(token id, log-probability) of the tokens of a chat, up to where an answer begins, or with one.

    Args:
        client: of the server.
        limit: name of the parameter that bounds new tokens.
        turns: of the chat.
        answer: what the model's turn begins with; None for a turn that is only opened.
        more: further arguments of `Client.post`.

    Raises:
        RequestError: the server gives none.
    """
    endpoint = client.endpoint
    return responses.prompt_tokens(
        endpoint, client.post(PATHS["chat"], chat_logprobs_body(limit, turns, answer), **more)
    )


def begins_with(whole: Sequence[tuple[str, object]], before: Sequence[tuple[str, object]]) -> bool:
    """Whether the tokens of a chat with an answer begin with those before an answer. The last of these may be another,
    where a token spans the boundary."""
    ids = [id_ for id_, _ in before[:-1]]
    return len(whole) > len(before) - 1 and [id_ for id_, _ in whole[: len(ids)]] == ids


def are_of_prompt(long: list[float | None], short: list[float | None], *, same_tokens: bool = False) -> bool:
    """Whether two lists are log-probabilities of a text and of its beginning: equal where both have a value.

    Some servers give the value of each token at the one before it. Then that of the beginning's last token is of what
    follows, which is another in the whole, and the first token has a value.

    Args:
        long: of the text.
        short: of its beginning.
        same_tokens: whether the whole surely has the beginning's last token too; a text may have another there.
    """
    if same_tokens or (long and short and long[0] is not None and short[0] is not None):
        at_end = long[len(short) - 1] if len(long) >= len(short) > 0 else None
        if at_end is None or short[-1] is None or abs(at_end - short[-1]) > MAX_DIFFERENCE:
            return False
    shared = [(a, b) for a, b in zip(long[1:], short[1:-1], strict=False) if a is not None and b is not None]
    if len(long) <= len(short) or len(shared) < 3 or len({a for a, _ in shared}) < 3:
        return False
    return sum(abs(a - b) <= MAX_DIFFERENCE for a, b in shared) >= 0.9 * len(shared)


def are_equal(first: Sequence[float | None], second: Sequence[float | None]) -> bool:
    """Whether two answers to one request for log-probabilities are alike."""
    pairs = [(a, b) for a, b in zip(first, second, strict=False) if a is not None and b is not None]
    return len(first) == len(second) and all(abs(a - b) <= MAX_REPEATED_DIFFERENCE for a, b in pairs)
