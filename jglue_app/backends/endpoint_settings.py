"""What an endpoint of `endpoints.toml` is: its addresses, its key, its models and their prices, and bounds."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked_dataclass

THINKING_PARAMETERS = ("reasoning_effort", "chat_template_kwargs", "enable_thinking")
"""How a server is told to think or not to: OpenAI's own parameter, the chat template's arguments (vLLM, SGLang,
llama.cpp), or a parameter of the request (Alibaba's DashScope and others)."""
CAPABILITIES = (
    *("prompt_logprobs", "top_logprobs", "token_ids", "stop", "seed", "temperature", "repetition_penalty"),
    "embeddings",
)
"""What `can` may say of a server; what it does not say is tried in the handshake."""

REFERENCE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?")
"""An environment variable in the value of a header."""
_CONFIG = ConfigDict(extra="forbid")

Price = Annotated[float, Field(strict=True, ge=0, le=1e9)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Count = Annotated[int, Field(ge=1, strict=True)]


@checked_dataclass(frozen=True, config=_CONFIG)
class EndpointModel:
    """What holds for one model of an endpoint; what is left out is the endpoint's own."""

    price_in: Price | None = None
    """Price of a million tokens of prompts."""
    price_out: Price | None = None
    """Price of a million generated tokens."""
    context_length: Count | None = None
    """Most tokens of prompt and answer together."""
    tokenizer: str | None = None
    """Hub id or folder of the model's tokenizer."""
    thinking: Literal["reasoning_effort", "chat_template_kwargs", "enable_thinking"] | None = None
    """How it is told to think or not to; one of `THINKING_PARAMETERS`."""


@checked_dataclass(frozen=True, config=_CONFIG)
class Visitors:
    """What visitors of a public server may use of an endpoint. Amounts of money are in its currency."""

    budget: Positive | None = None
    """Most that one visitor may spend in a day."""
    budget_per_day: Positive | None = None
    """Most that all visitors together may spend in a day (UTC)."""
    tokens: Count | None = None
    """Most tokens, in and out, of one visitor in a day."""
    tokens_per_day: Count | None = None
    """Most tokens, in and out, of all visitors together in a day."""


@checked_dataclass(frozen=True, config=_CONFIG)
class Endpoint:
    """One server, as the operator describes it."""

    id: str
    base_url: str
    """Address below which `chat/completions` and others lie; the first of several."""
    key_env: str | None = None
    """Name of the environment variable that holds the key; None where none is needed."""
    key_header: str = "Authorization"
    """Header in which the key is sent: with `Bearer ` before it in this one, bare in another, as Azure's `api-key`."""
    interfaces: tuple[Literal["chat", "completions"], ...] = ("chat", "completions")
    """What may be used; which of these a server has, the handshake tells."""
    models: Mapping[str, EndpointModel] = Field(default_factory=dict)
    """Names of models as the server knows them; any other may be given too, except by visitors."""
    headers: Mapping[str, str] = Field(default_factory=dict)
    """Sent with each request; `$NAME` stands for an environment variable."""
    query: Mapping[str, str] = Field(default_factory=dict)
    """Query parameters of each request, such as Azure's `api-version`."""
    body: Mapping[str, Any] = Field(default_factory=dict)
    """Parameters of each generation that the server takes beyond those that are sent anyway."""
    can: Mapping[str, bool] = Field(default_factory=dict)
    """What of `CAPABILITIES` is not to be used (false); `stop` and `repetition_penalty` may also be said to work."""
    price_in: Price = 0.0
    price_out: Price = 0.0
    currency: str = "USD"
    requests_at_once: Annotated[int, Field(ge=1, le=256, strict=True)] = 4
    """Of each server, where there are several."""
    requests_per_minute: Annotated[float, Field(ge=0.01, allow_inf_nan=False)] | None = None
    """Of each server, where there are several."""
    timeout: Seconds = 120.0
    """Seconds that one try of a request may take."""
    deadline: Seconds = 600.0
    """Seconds that all tries of a request may take together."""
    context_length: Count | None = None
    tokenizer: str | None = None
    thinking: Literal["reasoning_effort", "chat_template_kwargs", "enable_thinking"] | None = None
    thinking_off: str = "none"
    """Value of `reasoning_effort` that turns thinking off, or is nearest to that: `none`, `minimal` or `low`."""
    thinking_on: str = "medium"
    """Value of `reasoning_effort` for thinking."""
    visitors: Visitors | None = None
    """What visitors of a public server may use; None keeps it from them."""

    def model(self, name: str) -> EndpointModel:
        """What holds for a model, listed or not."""
        given = self.models.get(name) or EndpointModel()
        return EndpointModel(
            price_in=self.price_in if given.price_in is None else given.price_in,
            price_out=self.price_out if given.price_out is None else given.price_out,
            context_length=given.context_length or self.context_length,
            tokenizer=given.tokenizer or self.tokenizer,
            thinking=given.thinking or self.thinking,
        )

    hidden: bool = False
    """Whether visitors use it, who are not shown where it is; set here and not in the file."""
    base_urls: tuple[str, ...] = ()
    """Addresses of the servers of a pool, where `base_url` lists them; set here and not in the file."""

    @property
    def address(self) -> str:
        """The address as it may be stored and shown: without the query, and for visitors a checksum of it. Of a pool
        all of them."""
        return ", ".join(self._shown(url) for url in self.base_urls or (self.base_url,))

    @property
    def name(self) -> str:
        """As the file has it, also of one server of a pool: for sentences that have its address."""
        return self.id.removesuffix(f" ({self.address})")

    @property
    def servers(self) -> tuple[Endpoint, ...]:
        """Each server of a pool as an endpoint of its own, which sentences name with its address; empty where there is
        one server that stands for itself."""
        return tuple(
            replace(self, id=f"{self.id} ({self._shown(url)})", base_url=url, base_urls=()) for url in self.base_urls
        )

    def _shown(self, url: str) -> str:
        bare = url.rstrip("/")
        return f"address {hashlib.sha256(bare.encode()).hexdigest()[:12]}" if self.hidden else bare


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model on an endpoint."""

    endpoint: Endpoint
    name: str
    """As the server knows it."""
    facts: EndpointModel

    @property
    def servers(self) -> tuple[ServedModel, ...]:
        """The model on each server of a pool; empty where there is one server that stands for itself."""
        return tuple(replace(self, endpoint=server) for server in self.endpoint.servers)

    @property
    def id(self) -> str:
        """As it is named here: `ENDPOINT:MODEL`."""
        return f"{self.endpoint.id}:{self.name}"

    @property
    def priced(self) -> bool:
        """Whether its tokens are paid for."""
        return bool(self.facts.price_in or self.facts.price_out)

    def as_row(self) -> dict[str, Any]:
        """What lists of models say of it, as plain values."""
        endpoint = self.endpoint
        prices = {"price_in": self.facts.price_in, "price_out": self.facts.price_out, "currency": endpoint.currency}
        return {"id": self.id, "interfaces": list(endpoint.interfaces), **prices}
