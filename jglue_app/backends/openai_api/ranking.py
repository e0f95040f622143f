"""Log-probabilities of the legal answers of a prompt, by what a server gives of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from jglue_app.backends.openai_api import responses
from jglue_app.backends.openai_api.bodies import PATHS, chat_logprobs_body, generation_body, thinking_parameters
from jglue_app.backends.openai_api.capabilities import Capabilities
from jglue_app.backends.openai_api.logprobs import begins_with
from jglue_app.backends.openai_api.requests import ItemExchange
from jglue_app.messages import Message
from jglue_app.types import Output, Prompt, RunError

FIRST_TOKEN = "first token"
"""As `ModelInfo.ranking` has it: by the most likely first tokens of an answer."""
VERY_UNLIKELY = -9999.0
"""What OpenAI's interface gives for a token that is not among the most likely ones."""
CHAT = "chat"
"""By log-probabilities of a whole chat."""
NO_CHOICES = RunError("no_choices", Message("This item has no answers to rank."))
EMPTY_ANSWER = RunError("empty_answer", Message("An answer has no tokens of its own, so that it has no score."))


def ways_to_rank(can: Capabilities, turns: bool) -> str:
    """How answers of a prompt are ranked: `echo`, `prompt_logprobs` or `chat` (all of whole answers), `first token`, or
    empty if they cannot be.

    Args:
        can: what the server can do.
        turns: whether the prompt is sent as a chat, which the server renders.
    """
    if not turns and can.completions is not None and can.prompt_logprobs:
        return can.prompt_logprobs
    if turns and can.chat_logprobs:
        return CHAT
    interface = can.chat if turns else can.completions
    return FIRST_TOKEN if interface is not None and interface.top_logprobs else ""


def rank(
    exchange: ItemExchange,
    can: Capabilities,
    prompt: Prompt,
    *,
    turns: bool,
    ids: Sequence[tuple[list[int], list[int]]] | None,
) -> Output | RunError:
    """The summed log-probability of each answer, natural logarithm.

    Args:
        exchange: of the item.
        can: what the server can do.
        prompt: with its answers.
        turns: whether it is sent as a chat.
        ids: token ids of (context, answer) for each answer, if these are sent.

    Raises:
        RequestError: no usable answer of the server.
        OutOfBudgetError: not all was sent.
    """
    if not prompt.answers:
        return NO_CHOICES
    way = ways_to_rank(can, turns)
    if way == FIRST_TOKEN:
        result = _by_first_token(exchange, can, prompt, turns=turns)
    elif way == CHAT:
        result = _of_turns(exchange, can, prompt)
    elif ids is not None:
        result = _of_ids(exchange, can, way, prompt, ids)
    else:
        result = _of_texts(exchange, can, way, prompt)
    if isinstance(result, Output) and any(score <= VERY_UNLIKELY for score in result.choice_logprobs or ()):
        return RunError(
            "no_logprob",
            Message(
                "The server gives {value:g} for a token of an answer, which stands for very unlikely and is no "
                "log-probability.",
                value=VERY_UNLIKELY,
            ),
        )
    return result


def _of_ids(
    exchange: ItemExchange, can: Capabilities, way: str, prompt: Prompt, pairs: Sequence[tuple[list[int], list[int]]]
) -> Output | RunError:
    scores = []
    for (context, answer), text in zip(pairs, prompt.answers, strict=True):
        if not context or not answer:
            return EMPTY_ANSWER
        values = _logprobs(exchange, can, way, context + answer, prompt.text + prompt.lead + text)
        if len(values) != len(context) + len(answer):
            return _other_tokens(len(values), len(context) + len(answer))
        scores.append(_sum(values[len(context) :]))
    return Output(None, "scored", max(len(context) for context, _ in pairs), 0, 0.0, tuple(scores))


def _of_texts(exchange: ItemExchange, can: Capabilities, way: str, prompt: Prompt) -> Output | RunError:
    """As `Encoder.encode_answer` has it, by the tokens that the server counts: white space at the end of the prompt
    goes to the answer, and an answer keeps its last token where one spans the boundary."""
    context = prompt.text.rstrip()
    space = prompt.text[len(context) :]
    size = len(_logprobs(exchange, can, way, context, context))
    scores = []
    for answer in prompt.answers:
        whole = context + space + prompt.lead + answer
        if not answer or whole == context:
            return EMPTY_ANSWER
        values = _logprobs(exchange, can, way, whole, whole)
        scores.append(_sum(values[min(size, len(values) - 1) :]))
    return Output(None, "scored", size, 0, 0.0, tuple(scores))


def _of_turns(exchange: ItemExchange, can: Capabilities, prompt: Prompt) -> Output | RunError:
    """After the tokens that the server's template puts before an answer, which are seen in a request without one."""
    before = _chat_tokens(exchange, can, prompt, None)
    scores = []
    for answer in prompt.answers:
        if not answer.strip():
            return EMPTY_ANSWER
        whole = _chat_tokens(exchange, can, prompt, answer)
        if not begins_with(whole, before):
            return RunError(
                "other_chat",
                Message("The server renders a chat with an answer otherwise than one that it is to answer."),
            )
        scores.append(_sum([value for _, value in whole[min(len(before), len(whole) - 1) :]]))
    return Output(None, "scored", len(before), 0, 0.0, tuple(scores))


def _chat_tokens(
    exchange: ItemExchange, can: Capabilities, prompt: Prompt, answer: str | None
) -> list[tuple[str, float | None]]:
    assert can.chat is not None
    body = chat_logprobs_body(can.chat.limit, prompt.messages or (), answer)
    body |= thinking_parameters(exchange.shared.served, "off", None, can.chat.thinking_off)
    endpoint = exchange.shared.client.endpoint
    text = prompt.text + (answer or "")
    tokens: list[tuple[str, float | None]] = exchange.send(
        PATHS["chat"], body, text, 1, lambda given: responses.prompt_tokens(endpoint, given)
    )
    return tokens


def _logprobs(exchange: ItemExchange, can: Capabilities, way: str, prompt: str | list[int], text: str) -> list[Any]:
    assert can.completions is not None
    body: dict[str, Any] = {"prompt": prompt, can.completions.limit: 1}
    if can.completions.temperature:
        body["temperature"] = 0
    body |= {"echo": True, "logprobs": 1} if way == "echo" else {"prompt_logprobs": 0}
    endpoint = exchange.shared.client.endpoint
    read = responses.echoed_logprobs if way == "echo" else responses.prompt_logprobs
    values: list[Any] = exchange.send(PATHS["completions"], body, text, 1, lambda answer: read(endpoint, answer))
    return values


def _by_first_token(exchange: ItemExchange, can: Capabilities, prompt: Prompt, *, turns: bool) -> Output | RunError:
    """Each answer by the first new token that is this answer, with white space around it or without."""
    interface = can.chat if turns else can.completions
    assert interface is not None
    # The first token of a thought would say nothing: what is ranked stands behind a closed one.
    path, body = generation_body(exchange.shared.served, can, replace(prompt, thinking="off"), 1, None, 1.0, None)
    body.pop("stop", None)
    body |= (
        {"logprobs": True, "top_logprobs": interface.top_logprobs} if turns else {"logprobs": interface.top_logprobs}
    )
    answer = exchange.generate(path, body, prompt.text, 1, turns=turns)
    scores = [_of_label(answer.first_tokens, label) for label in prompt.answers]
    missing = [label for label, score in zip(prompt.answers, scores, strict=True) if score is None]
    if missing:
        return RunError(
            "not_in_top",
            Message(
                "{label!r} is not among the {count} most likely first tokens that the server gives, so that the "
                "answers cannot be ranked. Choose a style whose answers are single tokens, such as number, or free "
                "generation as “Method” (--method generate).",
                label=missing[0],
                count=interface.top_logprobs,
            ),
        )
    size = answer.prompt_tokens or exchange.shared.estimated_tokens(prompt.text, turns=turns)
    return Output(None, "scored", size, 0, 0.0, tuple(score for score in scores if score is not None))


def _of_label(first_tokens: Mapping[str, float], label: str) -> float | None:
    """The log-probability of all tokens that are a label but for white space; None if there is none."""
    values = [value for token, value in first_tokens.items() if token.strip() == label.strip() and label.strip()]
    if not values:
        return None
    most = max(values)
    return min(0.0, most + math.log(sum(math.exp(value - most) for value in values)))


def _sum(values: Sequence[float | None]) -> float:
    return math.fsum(value for value in values if value is not None)


def _other_tokens(given: int, expected: int) -> RunError:
    return RunError(
        "other_tokens",
        Message(
            "The server gave log-probabilities of {given} tokens where {expected} were sent.",
            given=given,
            expected=expected,
        ),
    )
