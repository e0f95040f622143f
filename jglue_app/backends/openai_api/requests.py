"""Prompts as requests, and the requests of one item with what they cost."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jglue_app.backends.endpoint_settings import ServedModel
from jglue_app.backends.openai_api import responses
from jglue_app.backends.openai_api.capabilities import Capabilities
from jglue_app.backends.openai_api.connection import Connection
from jglue_app.backends.openai_api.failures import RequestError
from jglue_app.backends.openai_api.paid_answers import PaidAnswers
from jglue_app.backends.openai_api.responses import Answer
from jglue_app.errors import ModelError
from jglue_app.messages import Message
from jglue_app.money import reserved_tokens
from jglue_app.types import Account, Finish, Output, Prompt, RunError, Tokenizer, Usage

MAX_CHARS_PER_TOKEN = 40
"""A server that counts fewer tokens than text of this many characters each does not count."""
LEAST_SHARE = 0.5
"""Of the tokens that Japanese text of some characters is expected to have: with fewer, a part was left out."""
MAX_CHARS_OF_TOKEN = 256
"""No token is longer: a text of more characters for each token of its limit was written beyond that limit."""


class OutOfBudgetError(Exception):
    """A request that was not sent, since there is no money left for it."""


def output_of(prompt: Prompt, answer: Answer, exchange: ItemExchange, limit: int, seconds: float) -> Output | RunError:
    """An answer as the output of an item: up to the first stop string, also where the server does not stop there."""
    if answer.finish in ("content_filter", "tool_calls", "function_call"):
        return RunError(
            answer.finish,
            Message("The server ended the answer with {reason} instead of giving it.", reason=answer.finish),
        )
    new_tokens = (
        exchange.tokens_of(answer.text + (answer.reasoning or "")) if answer.new_tokens is None else answer.new_tokens
    )
    over = answer.new_tokens is not None and answer.new_tokens > limit
    size = len(answer.text) + len(answer.reasoning or "")
    if not over and size > limit * MAX_CHARS_OF_TOKEN:
        over, new_tokens = True, math.ceil(size / MAX_CHARS_OF_TOKEN)
    if over:
        return RunError(
            "limit_ignored",
            Message(
                "The server wrote {new:,} tokens where {limit:,} were the limit, so that the answer cannot be compared "
                "with others.",
                new=new_tokens,
                limit=limit,
            ),
        )
    places = [place for stop in prompt.stop if (place := answer.text.find(stop)) >= 0]
    text = answer.text[: min(places)] if places else answer.text
    # A server that does not say why an answer ends has cut it where all tokens of the limit are used.
    full = not answer.finish and answer.new_tokens is not None and answer.new_tokens >= limit
    cut = answer.finish in ("length", "max_tokens") or full
    finish: Finish = "length" if cut and not places else "stop"
    if finish == "stop" and not text.strip():
        finish = "empty"
    prompt_tokens = answer.prompt_tokens or exchange.shared.estimated_tokens(prompt.text, turns=False)
    return Output(
        text,
        finish,
        prompt_tokens,
        new_tokens,
        seconds,
        reasoning=answer.reasoning,
        reasoning_tokens=answer.reasoning_tokens or min(exchange.tokens_of(answer.reasoning or ""), new_tokens),
        usage=exchange.usage,
        servers=tuple(exchange.servers),
    )


class Exchange:
    """What all requests to a server share. Safe for several threads."""

    def __init__(
        self,
        client: Connection,
        served: ServedModel,
        can: Capabilities,
        tokenizer: Tokenizer | None,
        paid: PaidAnswers | None,
        changed: Callable[[str], ModelError] | None = None,
    ) -> None:
        self.client, self.served, self.can, self.paid = client, served, can, paid
        self._tokenizer, self._changed = tokenizer, changed
        self._lock = threading.Lock()
        self._fingerprints = list(can.fingerprints)

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Configurations of the server that have answered so far."""
        with self._lock:
            return tuple(self._fingerprints)

    def begin(self, spending: Account | None, cancelled: threading.Event) -> ItemExchange:
        """The requests of one item."""
        return ItemExchange(self, spending, cancelled)

    def count(self, text: str) -> int:
        """Tokens of a text, estimated where the tokenizer is not here."""
        if self._tokenizer is not None:
            return len(self._tokenizer.encode_text(text))
        return math.ceil(len(text) * self.can.tokens_per_character)

    def estimated_tokens(self, text: str, *, turns: bool) -> int:
        """Tokens of a prompt, with what a chat has besides its text."""
        return self.count(text) + (self.can.overhead if turns else 2)

    def least_tokens(self, body: Mapping[str, Any], text: str) -> int:
        """Fewest tokens that a prompt can have: exact where its ids are known, else far below what the server's own
        counts of Japanese text let expect; 0 where it does not count."""
        if isinstance(body.get("prompt"), list):
            return len(body["prompt"])
        if self._tokenizer is not None and "messages" not in body:
            return len(self._tokenizer.encode_text(text))
        interface = self.can.chat if "messages" in body else self.can.completions
        if interface is None or not interface.usage:
            return 0
        ascii_characters = sum(map(str.isascii, text))
        return int(LEAST_SHARE * self.can.tokens_per_character * (len(text) - ascii_characters))

    def note(self, answer: Mapping[str, Any]) -> None:
        """Look at which model and configuration gave an answer; raises ModelError if it is another model."""
        model, fingerprint = answer.get("model"), answer.get("system_fingerprint")
        if isinstance(model, str) and model and self.can.models and model not in self.can.models and self._changed:
            raise self._changed(model)
        if isinstance(fingerprint, str) and fingerprint:
            with self._lock:
                if fingerprint not in self._fingerprints:
                    self._fingerprints.append(fingerprint)


class ItemExchange:
    """The requests of one item, what they took, and the names of the answers that were paid for."""

    def __init__(self, shared: Exchange, spending: Account | None, cancelled: threading.Event) -> None:
        self.shared = shared
        self.keys: list[str] = []
        self._spending, self._cancelled = spending, cancelled
        self._client = shared.client.for_item()
        self._requests = self._prompt_tokens = self._new_tokens = 0
        self._estimated = False

    @property
    def usage(self) -> Usage:
        """What all requests so far took."""
        return Usage(self._requests, self._prompt_tokens, self._new_tokens, self._estimated)

    @property
    def servers(self) -> Sequence[str]:
        """Addresses of the servers of a pool that answered; empty where there is one server."""
        return self._client.servers

    def tokens_of(self, text: str) -> int:
        """Tokens of a text, estimated where the tokenizer is not here."""
        return self.shared.count(text)

    def generate(self, path: str, body: Mapping[str, Any], text: str, limit: int, *, turns: bool) -> Answer:
        """The answer to a request that generates.

        Args:
            path: of the interface.
            body: of the request.
            text: of the prompt, for estimates.
            limit: most new tokens.
            turns: whether it is a chat.

        Raises:
            RequestError: no usable answer.
            OutOfBudgetError: it was not sent.
            ModelError: another model answers than was planned with.
        """
        read = responses.chat_answer if turns else responses.completion_answer
        answer: Answer = self.send(path, body, text, limit, lambda a: read(self.shared.client.endpoint, a))
        return answer

    def send(
        self, path: str, body: Mapping[str, Any], text: str, limit: int, read: Callable[[dict[str, Any]], Any]
    ) -> Any:
        """What `read` makes of the answer to a request, which is charged, and kept where it is paid for."""
        shared = self.shared
        key = PaidAnswers.key(path, body) if shared.paid else ""
        if shared.paid and (kept := shared.paid.get(key)):
            answer, recorded = kept
            if not recorded:  # It was paid for this run, which was killed before it made a record of it.
                paid = self._count(answer, text, body)
                if self._spending is not None:  # After a kill it is in no sum of what was spent, and takes its room.
                    self._spending.hold(self._cost(*paid))
            self.keys.append(key)
            return read(answer)
        tokens = reserved_tokens(shared.estimated_tokens(text, turns="messages" in body))
        cost = self._cost(tokens, limit)
        if self._spending is not None and not self._spending.reserve(cost, tokens + limit):
            raise OutOfBudgetError
        paid, reserved = (0, 0), True

        def lost() -> None:
            """Charge a try whose answer was lost as if it had been as long as it may be, and reserve for another."""
            nonlocal reserved
            if not shared.served.priced:
                return
            size = shared.estimated_tokens(text, turns="messages" in body)
            self._estimated = True
            self._add(size, limit)
            if self._spending is not None:
                self._spending.settle(cost, self._cost(size, limit), tokens + limit, size + limit)
                reserved = self._spending.reserve(cost, tokens + limit)
                if not reserved:
                    raise OutOfBudgetError

        try:
            answer = self._client.post(path, body, self._cancelled, lost)
            paid = self._count(answer, text, body)
        finally:
            if self._spending is not None and reserved:
                self._spending.settle(cost, self._cost(*paid), tokens + limit, sum(paid))
        shared.note(answer)
        self._check_whole(answer, body, text)
        value = read(answer)
        if shared.paid:
            shared.paid.put(key, answer)
            self.keys.append(key)
        return value

    def _check_whole(self, answer: Mapping[str, Any], body: Mapping[str, Any], text: str) -> None:
        """Raise RequestError if the server has left out a part of a prompt, as some do where it does not fit."""
        given, _ = responses.token_counts(answer)
        least = self.shared.least_tokens(body, text)
        if given is not None and given < least:
            message = Message(
                "The server counts {given:,} tokens of a prompt of {least:,} or more: it leaves a part out without a "
                "word. Raise the context length in the server's settings, or write it into endpoints.toml "
                "(context_length).",
                given=given,
                least=least,
            )
            raise RequestError("cut_prompt", message)

    def _cost(self, prompt_tokens: int, new_tokens: int) -> float:
        facts = self.shared.served.facts
        return (prompt_tokens * (facts.price_in or 0.0) + new_tokens * (facts.price_out or 0.0)) / 1e6

    def _count(self, answer: Mapping[str, Any], text: str, body: Mapping[str, Any]) -> tuple[int, int]:
        """Add what an answer took, as the server counts it where that can be; returns prompt and new tokens."""
        prompt, new = responses.token_counts(answer)
        size = len(text)
        # No tokenizer makes more tokens than bytes, or one of a whole paragraph.
        if prompt is not None and not size / MAX_CHARS_PER_TOKEN <= prompt <= 4 * size + 4_096:
            prompt = None
        if new == 0 and not body.get("echo") and _generated(answer):
            new = None
        if prompt is None or new is None:
            self._estimated = True
        prompt = self.shared.estimated_tokens(text, turns=False) if prompt is None else prompt
        if new is None:
            limits = [body[name] for name in ("max_tokens", "max_completion_tokens") if isinstance(body.get(name), int)]
            new = min([self.tokens_of(_generated(answer)), *limits])
        self._add(prompt, new)
        return prompt, new

    def _add(self, prompt_tokens: int, new_tokens: int) -> None:
        self._requests += 1
        self._prompt_tokens += prompt_tokens
        self._new_tokens += new_tokens


def _generated(answer: Mapping[str, Any]) -> str:
    """The text of an answer in whatever form, to measure it."""
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], Mapping) else {}
    message = first.get("message")
    parts = [first.get("text")]
    if isinstance(message, Mapping):
        parts += [message.get("content"), message.get("reasoning_content"), message.get("reasoning")]
    return "".join(part for part in parts if isinstance(part, str))
