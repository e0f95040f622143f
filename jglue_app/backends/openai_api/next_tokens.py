"""The most likely next tokens, as far as a server gives them: after a prompt, and where its own ids were sent, at every
place of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from jglue_app.backends.endpoint_settings import Endpoint
from jglue_app.backends.openai_api import failures, responses
from jglue_app.backends.openai_api.bodies import generation_body
from jglue_app.backends.openai_api.capabilities import Capabilities
from jglue_app.backends.openai_api.ranking import VERY_UNLIKELY
from jglue_app.backends.openai_api.requests import ItemExchange
from jglue_app.messages import Message
from jglue_app.types import NextToken, NextTokens, Prompt, RunError

NO_TOP_TOKENS = RunError(
    "no_top_tokens", Message("The server of this model does not give the most likely next tokens.")
)


MAX_ID_DIGITS = 12
"""Digits of a token's id that a server may give."""


def next_tokens(
    exchange: ItemExchange, can: Capabilities, prompt: Prompt, count: int, *, turns: bool, ids: Sequence[int] | None
) -> NextTokens | RunError:
    """The most likely tokens after a prompt, and at its places.

    Args:
        exchange: of the item.
        can: what the server can do.
        prompt: the prompt.
        count: how many of each place; a server may give fewer.
        turns: whether it is sent as a chat.
        ids: its token ids, if these are sent.

    Raises:
        RequestError: no usable answer of the server.
        OutOfBudgetError: it was not sent.
    """
    interface = can.chat if turns else can.completions
    if interface is None or not interface.top_logprobs:
        return NO_TOP_TOKENS
    most = min(count, interface.top_logprobs)
    # The first token of a thought would be shown as that of an answer: what is asked stands behind a closed one.
    unstopped = replace(prompt, thinking="off")
    path, body = generation_body(exchange.shared.served, can, unstopped, 1, None, 1.0, None if turns else ids)
    body.pop("stop", None)
    body |= {"logprobs": True, "top_logprobs": most} if turns else {"logprobs": most}
    way = can.prompt_logprobs if ids is not None and not turns else ""
    body |= {"echo": True} if way == "echo" else {"prompt_logprobs": most} if way == "prompt_logprobs" else {}
    endpoint = exchange.shared.client.endpoint

    def read(answer: dict[str, Any]) -> NextTokens | RunError:
        places = _places(endpoint, answer, way, ids) if way and ids is not None else None
        if places is not None and way == "echo":
            after = places[1]
        else:
            given = responses.chat_answer if turns else responses.completion_answer
            after = _sorted(given(endpoint, answer).first_tokens.items())
        if not after:
            return NO_TOP_TOKENS
        if places is None or ids is None:
            return NextTokens((), (after[:most],), ())
        return replace(places[0], top=(*(place[:most] for place in places[0].top), after[:most]))

    found: NextTokens | RunError = exchange.send(path, body, prompt.text, 1, read)
    return found


def _places(
    endpoint: Endpoint, answer: Mapping[str, Any], way: str, ids: Sequence[int]
) -> tuple[NextTokens, tuple[NextToken, ...]]:
    """What is known of the prompt's places, and with `echo` what follows it."""
    choice = responses.first_choice(endpoint, answer)
    if way == "echo":
        logprobs = choice.get("logprobs")
        table = logprobs if isinstance(logprobs, Mapping) else {}
        rows, values = table.get("top_logprobs"), table.get("token_logprobs")
        if not isinstance(rows, list) or not isinstance(values, list) or len(rows) != len(values):
            raise failures.other_shape(endpoint, "choices[0].logprobs.top_logprobs")
        if not len(ids) < len(rows) <= len(ids) + 1:
            raise failures.other_shape(endpoint, f"{len(rows)} log-probabilities, {len(ids)} + 1 tokens")
        top = [_sorted(row.items()) if isinstance(row, Mapping) else () for row in rows]
        own = [_likelihood(value) for value in values[: len(ids)]]
        return NextTokens(tuple(ids), ((), *top[1 : len(ids)]), (None, *own[1:])), top[len(ids)]
    rows = choice.get("prompt_logprobs", answer.get("prompt_logprobs"))
    if not isinstance(rows, list) or len(rows) != len(ids):
        raise failures.other_shape(endpoint, "choices[0].prompt_logprobs")
    tables = [row if isinstance(row, Mapping) else {} for row in rows]
    own = [_likelihood(_entry(table.get(str(id_))).get("logprob")) for id_, table in zip(ids, tables, strict=True)]
    return NextTokens(tuple(ids), ((), *map(_of_ids, tables[1:])), (None, *own[1:])), ()


def _of_ids(table: Mapping[str, Any]) -> tuple[NextToken, ...]:
    """Tokens of one place of `prompt_logprobs`: id → what is known of it."""
    found = []
    for id_, entry in table.items():
        value, text = _likelihood(_entry(entry).get("logprob")), _entry(entry).get("decoded_token")
        if value is not None and len(id_) <= MAX_ID_DIGITS and id_.isdecimal():
            found.append(NextToken(text if isinstance(text, str) else "", value, int(id_)))
    return tuple(sorted(found, key=lambda token: (-token.logprob, token.id)))


def _entry(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sorted(given: Any) -> tuple[NextToken, ...]:
    """Tokens of (text, log-probability), the likeliest first."""
    values = ((str(text), _likelihood(value)) for text, value in given)
    return tuple(
        sorted((NextToken(t, v) for t, v in values if v is not None), key=lambda token: (-token.logprob, token.text))
    )


def _likelihood(value: Any) -> float | None:
    """A log-probability as it was given; None for what is none, and for a value that stands for very unlikely."""
    if not responses.is_number(value):
        return None
    return min(0.0, float(value)) if value > VERY_UNLIKELY else None
