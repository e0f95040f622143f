"""Servers with an OpenAI-compatible interface that the operator has listed, read from `endpoints.toml`.

    [vllm]                                     # named as vllm:MODEL
    base_url = "http://127.0.0.1:8000/v1"
    tokenizer = "llm-jp/llm-jp-3-1.8b"         # to send token ids, and to render chats here
    models = { "llm-jp/llm-jp-3-1.8b" = {} }

    [openai]
    base_url = "https://api.openai.com/v1"
    key_env = "OPENAI_API_KEY"                 # the name of a variable, never a key
    requests_at_once = 8
    models = { "gpt-4o-mini" = { price_in = 0.15, price_out = 0.60 } }

The file is in the user's config folder, or where `JGLUE_ENDPOINTS` says. No key is read here, and none is ever kept:
the client reads its variable when it is opened, and sends it to this endpoint alone.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from jglue_app.data.toml_text import load_toml
from jglue_app.errors import InputError, UnknownNameError, reason_of
from jglue_app.messages import Joined, Message, mark
from jglue_app.settings import Settings

BACKEND = "openai_api"
"""The backend of these models, a key of `BACKENDS`."""
THINKING_PARAMETERS = ("reasoning_effort", "chat_template_kwargs", "enable_thinking")
"""How a server is told to think or not to: OpenAI's own parameter, the chat template's arguments (vLLM, SGLang,
llama.cpp), or a parameter of the request (Alibaba's DashScope and others)."""
CAPABILITIES = (
    *("prompt_logprobs", "top_logprobs", "token_ids", "stop", "seed", "temperature", "repetition_penalty"),
    "embeddings",
)
"""What `can` may say of a server; what it does not say is tried in the handshake."""

OF_THE_RUN = (
    *("model", "messages", "prompt", "input", "max_tokens", "max_completion_tokens", "stop", "stream", "n", "best_of"),
    *("echo", "logprobs", "top_logprobs", "prompt_logprobs", "temperature", "seed", "repetition_penalty"),
)
"""What a request says for the run itself, so that `body` cannot say otherwise."""

_MODEL_ID = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]+):(.+)", re.DOTALL)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{1,63}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REFERENCE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?")
_KEY_SHAPE = re.compile(r"^(sk|hf|gsk|xai|key|pk)[-_]|^AIza|^[0-9a-fA-F]{32,}$")
_RANDOM_NAME = re.compile(r"(?=.*[0-9])(?=.*[a-z])(?=.*[A-Z])[A-Za-z0-9]{20,}")
"""What no variable is called, and what keys of some providers look like."""
_SECRET = ("authorization", "proxy-authorization", "cookie", "key", "api-key", "api_key", "x-api-key", "x-goog-api-key")
"""Headers and query parameters that hold keys."""
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OF_HTTP = ("host", "content-length", "content-type", "transfer-encoding", "connection")
"""Headers that the HTTP client sets."""
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
    """Address below which `chat/completions` and others lie."""
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
    requests_per_minute: Annotated[float, Field(ge=0.01, allow_inf_nan=False)] | None = None
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

    @property
    def address(self) -> str:
        """The address as it may be stored and shown: without the query, and for visitors a checksum of it."""
        if self.hidden:
            return f"address {hashlib.sha256(self.base_url.rstrip('/').encode()).hexdigest()[:12]}"
        return self.base_url.rstrip("/")


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model on an endpoint."""

    endpoint: Endpoint
    name: str
    """As the server knows it."""
    facts: EndpointModel

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


def is_served(model: str) -> bool:
    """Whether a model id has the form `ENDPOINT:MODEL`."""
    return _MODEL_ID.fullmatch(model) is not None and not _exists(model)


def endpoints(settings: Settings) -> Mapping[str, Endpoint]:
    """Id → endpoint, in the order of the file; empty where there is none.

    Raises:
        InputError: the file cannot be read, or says something that cannot be.
    """
    file = settings.endpoints_file
    if file is None:
        return {}
    path = Path(file.name) if settings.public else file  # Visitors are not told where it is.
    if not file.is_file():
        if os.environ.get("JGLUE_ENDPOINTS"):
            raise InputError("There is no file {path}, which JGLUE_ENDPOINTS names.", path=path)
        return {}
    try:
        table = load_toml(file.read_text("utf-8-sig"))
    except OSError as e:
        raise InputError("{path} cannot be read ({reason}).", path=path, reason=reason_of(e)) from e
    except ValueError as e:  # Not UTF-8 or not TOML, or tables in tables without end.
        raise InputError("{path} is not a TOML file ({reason}).", path=path, reason=reason_of(e)) from e
    return {name: _endpoint(path, name, entry) for name, entry in table.items()}


def served_model(model: str, settings: Settings) -> ServedModel:
    """The model of an id `ENDPOINT:MODEL`.

    Raises:
        InputError: the id has another form, the file is unusable, or there is none.
        UnknownNameError: no such endpoint; on a public server, none that visitors may use, or no listed model.
    """
    match = _MODEL_ID.fullmatch(model)
    if not match:
        raise InputError(
            "{model!r} names no model on a server. Write ENDPOINT:MODEL, where ENDPOINT is an entry of endpoints.toml.",
            model=model[:100],
        )
    known = visible_endpoints(settings)
    if not known and not settings.public:
        raise InputError(
            "{model!r} names a model on a server, and no server is listed. Describe it in {path}, as the README shows; "
            "a folder with a colon in its name is written ./{model}.",
            model=model[:100],
            path=settings.endpoints_file or "endpoints.toml",
        )
    if match[1] not in known:
        raise UnknownNameError(mark("endpoint"), match[1], known)
    endpoint, name = known[match[1]], match[2].strip()
    if settings.public and name not in endpoint.models:
        raise UnknownNameError(mark("model"), model, served_models(settings))
    return ServedModel(endpoint, name, endpoint.model(name))


def visible_endpoints(settings: Settings) -> Mapping[str, Endpoint]:
    """The endpoints that may be used: on a public server, those that the operator lists for visitors."""
    known = endpoints(settings)
    if not settings.public:
        return known
    return {name: replace(e, hidden=True) for name, e in known.items() if e.visitors is not None}


def served_models(settings: Settings) -> dict[str, ServedModel]:
    """Id → every model that the endpoints name and that may be used."""
    found = (
        ServedModel(endpoint, name, endpoint.model(name))
        for endpoint in visible_endpoints(settings).values()
        for name in endpoint.models
    )
    return {model.id: model for model in found}


def key_of(endpoint: Endpoint) -> str | None:
    """The key of an endpoint, from its environment variable; None where it needs none.

    Raises:
        InputError: the variable is not set, or holds what cannot be a key.
    """
    return _variable(endpoint, endpoint.key_env) if endpoint.key_env else None


def with_variables(endpoint: Endpoint, texts: Mapping[str, str]) -> dict[str, str]:
    """The headers or query parameters of an endpoint, with the values of the environment variables that they name.

    Raises:
        InputError: as `key_of`.
    """
    return {name: _REFERENCE.sub(lambda match: _variable(endpoint, match[1]), text) for name, text in texts.items()}


def _variable(endpoint: Endpoint, name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise InputError(
            "The endpoint {endpoint} takes its key from the environment variable {name}, which is not set. Set it, and "
            "start the application again.",
            endpoint=endpoint.id,
            name=name,
        )
    if not value.isascii() or any(c.isspace() or not c.isprintable() for c in value) or "://" in value:
        raise InputError(
            "The environment variable {name} of the endpoint {endpoint} does not hold a key: a key is one line of "
            "letters, digits and signs. Check that it is the right variable.",
            endpoint=endpoint.id,
            name=name,
        )
    return value


# --- reading the file -----------------------------------------------------------------------------------


def _endpoint(path: Path, name: str, entry: object) -> Endpoint:
    where = Message("{path}, [{endpoint}]", path=path, endpoint=name[:100])
    if not isinstance(entry, dict):
        raise InputError(
            "{path}: {name!r} stands alone. Each endpoint is a table: [name] with base_url and others below it.",
            path=path,
            name=name[:100],
        )
    if not _ID.fullmatch(name):
        raise InputError(
            "{where}: the name of an endpoint has 2 to 64 letters, digits, '-' and '_'.",
            where=where,
        )
    if reserved := sorted({"id", "hidden"} & entry.keys()):
        raise _unknown_setting(where, reserved[0])
    try:
        endpoint = TypeAdapter(Endpoint).validate_python({**entry, "id": name})
    except ValidationError as e:
        raise _unusable(where, e) from None
    for prices in (entry, *(model for model in entry.get("models", {}).values())):
        if ("price_in" in prices) != ("price_out" in prices):
            raise InputError(
                "{where}: price_in and price_out belong together; write 0 for the one that costs nothing.", where=where
            )
    _check_address(where, endpoint)
    _check_key(where, endpoint)
    _check_body(where, endpoint)
    if unknown := [key for key in endpoint.can if key not in CAPABILITIES]:
        raise UnknownNameError(mark("capability"), unknown[0], CAPABILITIES)
    if not endpoint.interfaces:
        raise InputError('{where}: interfaces takes "chat", "completions" or both.', where=where)
    _check_visitors(where, endpoint)
    return endpoint


def _unusable(where: Message, error: ValidationError) -> InputError:
    """What pydantic has against an entry, as a sentence. Values are not repeated: one may be a key."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = ".".join(str(part) for part in first["loc"])[:100]
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return _unknown_setting(where, field)
    if first["type"] in ("missing", "missing_argument"):
        return InputError("{where}: {field} is missing.", where=where, field=field)
    return InputError(
        "{where}: {field} has a value that it does not take ({reason}).", where=where, field=field, reason=first["msg"]
    )


def _unknown_setting(where: Message, field: str) -> InputError:
    known = Joined(", ", [name for name in Endpoint.__dataclass_fields__ if name not in ("id", "hidden")])
    return InputError("{where}: there is no setting {field}. Known: {known}.", where=where, field=field, known=known)


def _check_address(where: Message, endpoint: Endpoint) -> None:
    try:
        parts = urlsplit(endpoint.base_url)
        port = parts.port
        (parts.hostname or "").encode("idna")
        if not endpoint.base_url.isprintable() or " " in endpoint.base_url:
            raise ValueError
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise InputError(
            "{where}: base_url holds a name or a password. Take it out: a key belongs into an environment variable "
            "that key_env names.",
            where=where,
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise InputError(
            "{where}: base_url is no address. Write it as https://host/v1 or http://127.0.0.1:8000/v1.", where=where
        )
    secret = endpoint.key_env or any(_REFERENCE.search(value) for value in endpoint.headers.values())
    if secret and parts.scheme == "http" and not _is_near(parts.hostname):
        raise InputError(
            "{where}: the key would be sent without encryption to {host}. Write base_url with https.",
            where=where,
            host=parts.hostname,
        )
    if parts.query or parts.fragment:
        raise InputError("{where}: base_url has a query. Write its parameters into `query`.", where=where)


def _is_near(host: str) -> bool:
    """Whether a host is this machine or of a private network: by its address, or by a name without a domain."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # An address may also be one number, and the dot of a domain a full-width one.
        return (host.isascii() and not host[0].isdigit() and "." not in host) or host.endswith(
            (".local", ".internal", ".localhost")
        )
    return address.is_private or address.is_loopback or address.is_link_local


def _check_key(where: Message, endpoint: Endpoint) -> None:
    """Refuse keys that stand in the file itself, without repeating them."""
    name = endpoint.key_env
    if name is not None and (not _VARIABLE.fullmatch(name) or _KEY_SHAPE.search(name) or _RANDOM_NAME.fullmatch(name)):
        raise InputError(
            "{where}: key_env takes the name of an environment variable, such as OPENAI_API_KEY; what stands there is "
            "none. If it is the key itself, take it out of the file and set it in a variable.",
            where=where,
        )
    parameters = {name: value for name, value in endpoint.body.items() if isinstance(value, str)}
    for header, value in {**parameters, **endpoint.headers, **endpoint.query}.items():
        secret = header.lower() in _SECRET and not _REFERENCE.search(value)
        if secret or _KEY_SHAPE.search(value.removeprefix("Bearer ").strip()):
            raise InputError(
                "{where}: {header} holds a key. Take it out of the file, and name the environment variable that holds "
                "it with key_env, or as $NAME.",
                where=where,
                header=header[:100],
            )
    for header, value in {**endpoint.headers, **endpoint.query}.items():
        if not value.isascii() or any(ord(c) < 32 for c in value + header):
            raise InputError("{where}: {header} holds what a header cannot have.", where=where, header=header[:100])
    for header in (*endpoint.headers, endpoint.key_header):
        if not _HEADER.fullmatch(header) or header.lower() in _OF_HTTP:
            raise InputError("{where}: {header!r} cannot be set as a header.", where=where, header=header[:100])
    for name, value in endpoint.query.items():
        if _REFERENCE.search(value):  # Addresses are written into logs, here and on the way.
            raise InputError(
                "{where}: the query parameter {name} would hold a key, which addresses never do here. Send it as a "
                "header: key_env, with key_header where that is not Authorization.",
                where=where,
                name=name[:100],
            )


def _check_body(where: Message, endpoint: Endpoint) -> None:
    """Refuse parameters that would change what a run asks for, or hold a key."""
    try:
        json.dumps(dict(endpoint.body), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise InputError(
            "{where}: body holds what JSON cannot have: a date, a time, or a number without end.", where=where
        ) from None
    ways = {endpoint.thinking, *(model.thinking for model in endpoint.models.values())}
    for name, value in endpoint.body.items():
        if name.lower() in OF_THE_RUN or name in ways:
            raise InputError(
                "{where}: body holds {name}, which each run sets by itself. Take it out.", where=where, name=name[:100]
            )
        if isinstance(value, str) and _KEY_SHAPE.search(value.strip()):
            raise InputError(
                "{where}: {header} holds a key. Take it out of the file, and name the environment variable that holds "
                "it with key_env, or as $NAME.",
                where=where,
                header=name[:100],
            )


def _check_visitors(where: Message, endpoint: Endpoint) -> None:
    """An endpoint for visitors has limits: of money where its models are paid, and of tokens where one is not."""
    visitors = endpoint.visitors
    if visitors is None:
        return
    if not endpoint.models:
        raise InputError("{where}: visitors may use the models that `models` lists, and it lists none.", where=where)
    money = visitors.budget is not None and visitors.budget_per_day is not None
    tokens = visitors.tokens is not None and visitors.tokens_per_day is not None
    priced = [ServedModel(endpoint, name, endpoint.model(name)).priced for name in endpoint.models]
    # What has no price, or whose price was forgotten, is never stopped by a budget.
    if (any(priced) and not money) or (not all(priced) and not tokens):
        raise InputError(
            "{where}: visitors need a limit for each of them and one for the day: budget and budget_per_day where "
            "models have a price, and tokens and tokens_per_day where one has none.",
            where=where,
        )


def _exists(model: str) -> bool:
    """Whether there is a file or folder here with a colon in its name. A drive of Windows has one letter, which no
    endpoint has."""
    try:
        return Path(model).exists()
    except (OSError, ValueError):
        return False
