"""What the server does and does not, each thing for itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Support = Literal["supported", "ignored", "refused"]
"""`ignored`: accepted without a word and without effect, which is what clients trip over."""


@dataclass(frozen=True)
class ApiConfig:
    """A server; the default is like vLLM with a tiny model."""

    key: str | None = None
    """Required as `Authorization: Bearer KEY`; None: none is looked at."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers that a request must have, such as Azure's `api-key`."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Query parameters that a request must have, such as Azure's `api-version`."""
    prefix: str = "/v1"
    """Path before `/chat/completions` and the others."""
    models: tuple[str, ...] = ("tiny",)
    answers_as: str | None = None
    """Model id in responses; None for the one that was requested."""
    fingerprints: tuple[str | None, ...] = (None,)
    """`system_fingerprint` of responses, in turn."""
    chat: bool = True
    completions: bool = True
    embeddings: bool = True
    lists_models: bool = True

    echo: Support = "supported"
    """`echo` with the log-probabilities of the prompt in completions."""
    prompt_logprobs: Support = "supported"
    """As vLLM gives them."""
    top_logprobs: Support = "supported"
    """`logprobs` of generated tokens, in completions and chat."""
    most_logprobs: int = 20
    """More are refused."""
    continues_turns: bool = True
    """Whether `continue_final_message` leaves the last turn of a chat open, as vLLM does; else it is ignored."""
    token_ids: Support = "supported"
    """Prompts of completions as ids; `ignored` is not a case."""
    adds_bos: bool = True
    """Whether a prompt that is a text begins with a BOS."""
    least_tokens: int = 1
    """Fewer new tokens are refused."""
    default_tokens: int = 16
    token_limit: Literal["both", "max_tokens", "max_completion_tokens", "ignored"] = "both"
    """Which name of the limit of new tokens is taken; the other is refused. `ignored`: texts have 400 tokens."""
    unknown_parameters: Literal["ignored", "refused"] = "ignored"
    """Parameters outside OpenAI's interface that are not supported here."""

    temperature: Support = "supported"
    """`ignored`: answers vary whatever is sent; `refused`: only the default 1 is taken."""
    stop: Literal["supported", "ignored", "refused", "four", "kept"] = "supported"
    """`four`: at most four strings, as OpenAI has it. `kept`: the string stays in the text, as `transformers serve` has
    it."""
    seed: Support = "supported"
    repetition_penalty: Support = "supported"

    reasoning: Literal["", "field", "tags"] = ""
    """Whether the model thinks first: in `reasoning_content`, or in `<think>…</think>` at the head of the content."""
    reasoning_switches: tuple[str, ...] = ("reasoning_effort", "chat_template_kwargs", "enable_thinking")
    """What it reacts to."""
    counts_reasoning: bool = True
    """Whether `usage` has `reasoning_tokens`."""

    usage: Literal["right", "missing", "zero", "negative", "huge", "strings", "without_bos"] = "right"
    """`without_bos`: one token less for each prompt."""
    context_length: int = 4096
    cuts_prompts: bool = False
    """Whether the beginning of a prompt that does not fit is left out without a word, instead of a refusal."""
    context_wording: Literal["openai", "vllm"] = "vllm"
    latency: float = 0.0
    """Seconds that each answer takes."""
    gathers: int = 0
    """The first answers wait until so many requests have been in flight at once: for a minute at most."""
    price_in: float = 0.0
    """Of a million tokens."""
    price_out: float = 0.0
