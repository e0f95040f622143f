"""One entry of `endpoints.toml` as an endpoint, or why it cannot be one. No key that stands in it is repeated."""

from __future__ import annotations

import ipaddress
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import TypeAdapter, ValidationError

from jglue_app.backends.endpoint_settings import CAPABILITIES, REFERENCE, Endpoint, ServedModel
from jglue_app.errors import InputError, UnknownNameError
from jglue_app.messages import Joined, Message, mark

OF_THE_RUN = (
    *("model", "messages", "prompt", "input", "max_tokens", "max_completion_tokens", "stop", "stream", "n", "best_of"),
    *("echo", "logprobs", "top_logprobs", "prompt_logprobs", "temperature", "seed", "repetition_penalty"),
)
"""What a request says for the run itself, so that `body` cannot say otherwise."""

MAX_SERVERS = 64
"""Servers of a pool."""
_SET_HERE = frozenset({"id", "hidden", "base_urls"})
"""Fields of an endpoint that are no settings of the file."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{1,63}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY_SHAPE = re.compile(r"^(sk|hf|gsk|xai|key|pk)[-_]|^AIza|^[0-9a-fA-F]{32,}$")
_RANDOM_NAME = re.compile(r"(?=.*[0-9])(?=.*[a-z])(?=.*[A-Z])[A-Za-z0-9]{20,}")
"""What no variable is called, and what keys of some providers look like."""
_SECRET = ("authorization", "proxy-authorization", "cookie", "key", "api-key", "api_key", "x-api-key", "x-goog-api-key")
"""Headers and query parameters that hold keys."""
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OF_HTTP = ("host", "content-length", "content-type", "transfer-encoding", "connection")
"""Headers that the HTTP client sets."""


def read_endpoint(path: Path, name: str, entry: object) -> Endpoint:
    """The endpoint of an entry.

    Args:
        path: of the file, for sentences.
        name: of the entry.
        entry: its table.

    Raises:
        InputError: it says something that cannot be.
    """
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
    if reserved := sorted(_SET_HERE & entry.keys()):
        raise _unknown_setting(where, reserved[0])
    listed = entry.get("base_url")
    urls = _addresses(where, listed) if isinstance(listed, list) else ()
    given = {**entry, "base_url": urls[0], "base_urls": urls} if urls else entry
    try:
        endpoint = TypeAdapter(Endpoint).validate_python({**given, "id": name})
    except ValidationError as e:
        raise _unusable(where, e) from None
    for prices in (entry, *(model for model in entry.get("models", {}).values())):
        if ("price_in" in prices) != ("price_out" in prices):
            raise InputError(
                "{where}: price_in and price_out belong together; write 0 for the one that costs nothing.", where=where
            )
    for url in urls or (endpoint.base_url,):
        _check_address(where, endpoint, url)
    _check_distinct(where, urls)
    _check_key(where, endpoint)
    _check_body(where, endpoint)
    if unknown := [key for key in endpoint.can if key not in CAPABILITIES]:
        error = UnknownNameError(mark("capability"), unknown[0], CAPABILITIES)
        raise InputError("{where}: {sentence}", where=where, sentence=error.message)
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
    known = Joined(", ", [name for name in Endpoint.__dataclass_fields__ if name not in _SET_HERE])
    return InputError("{where}: there is no setting {field}. Known: {known}.", where=where, field=field, known=known)


def _addresses(where: Message, listed: list[Any]) -> tuple[str, ...]:
    """The addresses of a pool: several servers of the same models, each once."""
    if not listed:
        raise InputError("{where}: base_url lists no address. Name at least one server.", where=where)
    if not all(isinstance(url, str) for url in listed):
        raise InputError(
            "{where}: base_url takes an address or a list of addresses. Key, prices and limits stand once, below the "
            "name, and hold for each server of the list; servers that differ in them are endpoints of their own.",
            where=where,
        )
    if len(listed) > MAX_SERVERS:
        raise InputError(
            "{where}: base_url lists {count} addresses; at most {most} are taken.",
            where=where,
            count=len(listed),
            most=MAX_SERVERS,
        )
    return tuple(listed)


def _check_distinct(where: Message, urls: tuple[str, ...]) -> None:
    """Refuse an address that is there twice, in whatever spelling: its server would get twice its share."""
    seen: dict[object, str] = {}
    for url in urls:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
        place = ("127.0.0.1" if host == "localhost" else host, port, parts.path.rstrip("/"))
        if place in seen:
            raise InputError(
                "{where}: base_url lists the server {address} twice. Name each once.", where=where, address=seen[place]
            )
        seen[place] = url


def _check_address(where: Message, endpoint: Endpoint, url: str) -> None:
    try:
        parts = urlsplit(url)
        port = parts.port
        (parts.hostname or "").encode("idna")
        if not url.isprintable() or " " in url:
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
    secret = endpoint.key_env or any(REFERENCE.search(value) for value in endpoint.headers.values())
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
        secret = header.lower() in _SECRET and not REFERENCE.search(value)
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
        if REFERENCE.search(value):  # Addresses are written into logs, here and on the way.
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
