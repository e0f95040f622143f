"""A backend whose answers cost money, and which counts what it is sent. One character is one token.

A model of it is named by its prices of a million tokens in and out and their currency, such as `2000000/10000000/USD`:
with these, a prompt of 3 characters and an answer of 2 cost 3 × 2 + 2 × 10 = 26 dollars. Each answer is `はい`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest

from jglue_app import backends
from jglue_app.runs import paying
from jglue_app.settings import Settings
from jglue_app.types import Account, ModelInfo, ModelSpec, Output, Prompt, RunError, Usage

ANSWER = "はい"
SENT: list[tuple[str, str]] = []
"""(item id, `generate` or `choose`) of every request, since `register`."""
FAILING: set[str] = set()
"""Ids of items whose texts are paid for and fail."""


def register(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make it the backend `paid` for one test."""
    monkeypatch.setitem(backends.BACKENDS, "paid", "tests.paid_backend")
    monkeypatch.setattr(paying, "SERVERS", ("paid",))
    SENT.clear()
    FAILING.clear()


def open_model(
    spec: ModelSpec,
    settings: Settings,
    device: str,
    notify: Callable[[str], None],
    *,
    needs_template: bool = False,
) -> PaidModel:
    price_in, price_out, currency = spec.id.split("/")
    return PaidModel(float(price_in), float(price_out), currency)


def memory_needed(spec: ModelSpec, settings: Settings, device: str = "auto") -> int | None:
    return 0


def memory_free(device: str) -> int:
    return 1


class PaidModel:
    """See the module."""

    def __init__(self, price_in: float, price_out: float, currency: str) -> None:
        self.info = ModelInfo(
            *("paid", "1", "none", "server", None, "", False, "", True, 0),
            price_in=price_in,
            price_out=price_out,
            currency=currency,
        )
        self.spending: Account | None = None

    def render_chat(self, messages: Sequence[Mapping[str, str]], thinking: str = "off") -> str:
        return "".join(turn["content"] for turn in messages)

    def estimate(self, prompts: Sequence[Prompt], max_new_tokens: int, *, generating: bool, choosing: bool) -> Usage:
        requests = [p.text for p in prompts] * generating
        ranked = [p.text + answer for p in prompts for answer in p.answers] * choosing
        tokens = sum(map(len, requests + ranked))
        return Usage(len(requests) + len(ranked), tokens, max_new_tokens * len(requests), estimated=True)

    def generate(
        self,
        prompts: Sequence[Prompt],
        max_new_tokens: int,
        should_stop: Callable[[], bool],
        repetition_penalty: float = 1.0,
    ) -> Iterator[tuple[int, Output | RunError]]:
        for i, prompt in enumerate(prompts):
            if should_stop():
                return
            usage = Usage(1, len(prompt.text), len(ANSWER))
            if not self._paid(prompt, "generate", usage, max_new_tokens):
                continue
            if prompt.item_id in FAILING:
                yield i, RunError("server", "It failed.")
            else:
                yield i, Output(ANSWER, "stop", len(prompt.text), len(ANSWER), 0.0, usage=usage)

    def choose(
        self, prompts: Sequence[Prompt], should_stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Output | RunError]]:
        for i, prompt in enumerate(prompts):
            if should_stop():
                return
            usage = Usage(len(prompt.answers), sum(len(prompt.text + answer) for answer in prompt.answers), 0)
            if self._paid(prompt, "choose", usage, 0):
                scores = tuple(-1.0 - k for k in range(len(prompt.answers)))
                yield i, Output(None, "scored", len(prompt.text), 0, 0.0, scores, usage=usage)

    def _paid(self, prompt: Prompt, kind: str, usage: Usage, max_new_tokens: int) -> bool:
        most, paid = (self._price(usage.prompt_tokens, new) for new in (max_new_tokens, usage.new_tokens))
        if self.spending is not None and not self.spending.reserve(most, usage.prompt_tokens + max_new_tokens):
            return False
        SENT.append((prompt.item_id, kind))
        if self.spending is not None:
            tokens = usage.prompt_tokens + usage.new_tokens
            self.spending.settle(most, paid, usage.prompt_tokens + max_new_tokens, tokens)
        return True

    def _price(self, tokens_in: int, tokens_out: int) -> float:
        return (tokens_in * self.info.price_in + tokens_out * self.info.price_out) / 1e6

    def count_tokens(self, text: str) -> int:
        return len(text)

    def close(self) -> None:
        pass
