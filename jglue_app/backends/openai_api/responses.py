"""Answers of a server, read and checked: nothing of them is believed that has not the form of the interface."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jglue_app.backends.endpoint_settings import Endpoint
from jglue_app.backends.openai_api import failures

MAX_COUNT = 10**8
"""Tokens of one request that are taken for a count; more is a fault of the server."""
TOLERANCE = 1e-4
"""How much above 0 a log-probability may be by rounding."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One generation."""

    text: str
    finish: str
    """As the server names it: `stop`, `length`, `content_filter` …; empty if it says nothing."""
    reasoning: str | None = None
    reasoning_tokens: int = 0
    prompt_tokens: int | None = None
    """None where the server gives no usable count."""
    new_tokens: int | None = None
    model: str = ""
    """Which model it says that it is."""
    fingerprint: str = ""
    """Its `system_fingerprint`."""
    first_tokens: Mapping[str, float] = field(default_factory=dict)
    """The most likely first tokens, where they were asked for: text → log-probability."""


def chat_answer(endpoint: Endpoint, answer: Mapping[str, Any]) -> Answer:
    """The answer of `chat/completions`; raises RequestError if it has not its form."""
    choice = first_choice(endpoint, answer)
    message = choice.get("message")
    if not isinstance(message, Mapping):
        raise failures.other_shape(endpoint, "choices[0].message")
    content = message.get("content")
    if isinstance(content, Sequence) and not isinstance(content, str):
        parts = [part.get("text") for part in content if isinstance(part, Mapping) and part.get("type") == "text"]
        content = "".join(part for part in parts if isinstance(part, str))
    if content is None:
        refusal = message.get("refusal")
        content = refusal if isinstance(refusal, str) else ""
    if not isinstance(content, str):
        raise failures.other_shape(endpoint, "choices[0].message.content")
    thoughts = [message.get(name) for name in ("reasoning_content", "reasoning")]
    reasoning = next((thought for thought in thoughts if isinstance(thought, str) and thought), None)
    return _answer(answer, choice, content, reasoning, _first_chat_tokens(choice))


def completion_answer(endpoint: Endpoint, answer: Mapping[str, Any]) -> Answer:
    """The answer of `completions` without echo; raises RequestError if it has not its form."""
    choice = first_choice(endpoint, answer)
    text = choice.get("text")
    if not isinstance(text, str):
        raise failures.other_shape(endpoint, "choices[0].text")
    return _answer(answer, choice, text, None, _first_completion_tokens(choice))


def echoed_logprobs(endpoint: Endpoint, answer: Mapping[str, Any]) -> list[float | None]:
    """Log-probabilities of the prompt's tokens, of an answer with `echo`; that of the first is mostly None.

    Raises:
        RequestError: there are none, or their number is not that of the prompt's tokens.
    """
    choice = first_choice(endpoint, answer)
    logprobs = choice.get("logprobs")
    values = logprobs.get("token_logprobs") if isinstance(logprobs, Mapping) else None
    if not isinstance(values, Sequence):
        raise failures.other_shape(endpoint, "choices[0].logprobs.token_logprobs")
    prompt, new = token_counts(answer)
    # One for each token of the prompt and each new one, and no other: where a BOS is left out, a new token would be
    # taken for one of the prompt. An end token is counted, and listed by some servers only.
    ended = 1 if choice.get("finish_reason") == "stop" and new else 0
    if prompt is None or new is None or not prompt + new - ended <= len(values) <= prompt + new:
        raise failures.other_shape(endpoint, f"{len(values)} log-probabilities, {prompt} + {new} tokens")
    return _checked(endpoint, values[:prompt])


def prompt_logprobs(endpoint: Endpoint, answer: Mapping[str, Any]) -> list[float | None]:
    """Log-probabilities of the prompt's tokens, of an answer to `prompt_logprobs: 0`; that of the first is mostly None.

    Raises:
        RequestError: there are none, or more than one for a token.
    """
    return [value for _, value in prompt_tokens(endpoint, answer)]


def prompt_tokens(endpoint: Endpoint, answer: Mapping[str, Any]) -> list[tuple[str, float | None]]:
    """(token id as a text, log-probability) of each of the prompt's tokens, of an answer to `prompt_logprobs: 0`; of
    the first both are unknown: empty and None.

    Raises:
        RequestError: there are none, or more than one for a token.
    """
    choice = first_choice(endpoint, answer)
    rows = choice.get("prompt_logprobs", answer.get("prompt_logprobs"))
    prompt, _ = token_counts(answer)
    if not isinstance(rows, Sequence) or isinstance(rows, str) or (prompt is not None and len(rows) != prompt):
        raise failures.other_shape(endpoint, "choices[0].prompt_logprobs")
    ids: list[str] = []
    values: list[Any] = []
    for row in rows:
        if row is None:
            ids.append("")
            values.append(None)
            continue
        entries = list(row.values()) if isinstance(row, Mapping) else []
        if len(entries) != 1 or not isinstance(entries[0], Mapping):
            raise failures.other_shape(endpoint, "choices[0].prompt_logprobs")
        ids.append(str(next(iter(row))))
        values.append(entries[0].get("logprob"))
    return list(zip(ids, _checked(endpoint, values), strict=True))


def vectors(endpoint: Endpoint, answer: Mapping[str, Any], count: int) -> list[list[float]]:
    """The vectors of `embeddings`, in the order of the texts.

    Raises:
        RequestError: they are not as many as the texts, not of one length, or not finite.
    """
    rows = answer.get("data")
    if not isinstance(rows, Sequence) or len(rows) != count or not all(isinstance(row, Mapping) for row in rows):
        raise failures.other_shape(endpoint, "data")
    indices = [row.get("index", k) for k, row in enumerate(rows)]
    if sorted(i for i in indices if isinstance(i, int)) != list(range(count)):
        raise failures.other_shape(endpoint, "data[].index")
    ordered: list[list[float]] = [[] for _ in rows]
    for i, row in zip(indices, rows, strict=True):
        vector = row.get("embedding")
        if not isinstance(vector, list) or not vector or not all(map(is_number, vector)):
            raise failures.other_shape(endpoint, "data[].embedding")
        ordered[i] = [float(x) for x in vector]
    if len({len(vector) for vector in ordered}) > 1:
        raise failures.other_shape(endpoint, "data[].embedding")
    return ordered


def token_counts(answer: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Tokens of the prompt and generated ones, as far as the server gives numbers that can be counts."""
    usage = answer.get("usage")
    if not isinstance(usage, Mapping):
        return None, None
    prompt, new = _count(usage.get("prompt_tokens"), 1), _count(usage.get("completion_tokens"), 0)
    thought, total = _reasoning_tokens(usage), _count(usage.get("total_tokens"), 1)
    # Some servers count a thought, which is paid for, beside the answer: only the sum of all has it.
    if prompt is not None and new is not None and thought and total == prompt + new + thought:
        new += thought
    return prompt, new


def _answer(
    answer: Mapping[str, Any],
    choice: Mapping[str, Any],
    text: str,
    reasoning: str | None,
    first_tokens: Mapping[str, float],
) -> Answer:
    prompt, new = token_counts(answer)
    if new == 0 and (text or reasoning):  # It does not count.
        new = None
    usage = answer.get("usage")
    thinking = _reasoning_tokens(usage) if isinstance(usage, Mapping) else 0
    finish, model, fingerprint = choice.get("finish_reason"), answer.get("model"), answer.get("system_fingerprint")
    return Answer(
        text,
        finish if isinstance(finish, str) else "",
        reasoning,
        min(thinking, new or 0),
        prompt,
        new,
        model if isinstance(model, str) else "",
        fingerprint if isinstance(fingerprint, str) else "",
        first_tokens,
    )


def first_choice(endpoint: Endpoint, answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first of an answer's choices; raises RequestError if there is none."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        raise failures.other_shape(endpoint, "choices")
    # Of several, the one that says that it is the first.
    return next((c for c in choices if isinstance(c, Mapping) and c.get("index") == 0), choices[0])


def _first_chat_tokens(choice: Mapping[str, Any]) -> dict[str, float]:
    """`logprobs.content[0].top_logprobs` as text → log-probability; empty where it is missing."""
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    first = content[0] if isinstance(content, list) and content else None
    rows = first.get("top_logprobs") if isinstance(first, Mapping) else None
    found: dict[str, float] = {}
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, Mapping) and isinstance(row.get("token"), str) and _is_logprob(row.get("logprob")):
            found.setdefault(row["token"], min(float(row["logprob"]), 0.0))
    return found


def _first_completion_tokens(choice: Mapping[str, Any]) -> dict[str, float]:
    """`logprobs.top_logprobs[0]` as text → log-probability; empty where it is missing."""
    logprobs = choice.get("logprobs")
    if isinstance(logprobs, Mapping) and "content" in logprobs:  # Some servers answer here as in a chat.
        return _first_chat_tokens(choice)
    rows = logprobs.get("top_logprobs") if isinstance(logprobs, Mapping) else None
    first = rows[0] if isinstance(rows, list) and rows else None
    if not isinstance(first, Mapping):
        return {}
    return {str(token): min(float(value), 0.0) for token, value in first.items() if _is_logprob(value)}


def _checked(endpoint: Endpoint, values: Sequence[Any]) -> list[float | None]:
    """Log-probabilities of which only the first may be missing: it is there where something unseen stands before it."""
    if len(values) < 2 or not all(_is_logprob(value) for value in values[1:]):
        raise failures.other_shape(endpoint, "token_logprobs")
    rest = [min(float(value), 0.0) for value in values[1:]]
    return [min(float(values[0]), 0.0) if _is_logprob(values[0]) else None, *rest]


def _reasoning_tokens(usage: Mapping[str, Any]) -> int:
    """Tokens of the thought as the server counts them; 0 where it does not."""
    details = usage.get("completion_tokens_details")
    return (_count(details.get("reasoning_tokens"), 0) or 0) if isinstance(details, Mapping) else 0


def _count(value: Any, least: int) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and least <= value <= MAX_COUNT else None


def is_number(value: Any) -> bool:
    """Whether a value is a finite number, as JSON can hold it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # A whole number of hundreds of digits.
        return False


def _is_logprob(value: Any) -> bool:
    return is_number(value) and value <= TOLERANCE
