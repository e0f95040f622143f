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

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from jglue_app.backends.endpoint_checks import read_endpoint
from jglue_app.backends.endpoint_settings import REFERENCE, Endpoint, ServedModel
from jglue_app.data.toml_text import load_toml
from jglue_app.errors import InputError, UnknownNameError, reason_of
from jglue_app.messages import mark
from jglue_app.settings import Settings

BACKEND = "openai_api"
"""The backend of these models, a key of `BACKENDS`."""
_MODEL_ID = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]+):(.+)", re.DOTALL)


def is_served(model: str) -> bool:
    """Whether a model id has the form `ENDPOINT:MODEL`."""
    return _MODEL_ID.fullmatch(model) is not None and not _exists(model)


@dataclass(frozen=True, slots=True)
class EndpointsFile:
    """What `endpoints.toml` describes; empty where there is none."""

    usable: Mapping[str, Endpoint] = field(default_factory=dict)
    """Id → endpoint, in the order of the file."""
    refused: Mapping[str, InputError] = field(default_factory=dict)
    """Name of a section → what it says that cannot be. The others do not depend on it."""


def read_endpoints(settings: Settings) -> EndpointsFile:
    """The file of endpoints.

    Raises:
        InputError: it cannot be read, or is no TOML.
    """
    file = settings.endpoints_file
    if file is None:
        return EndpointsFile()
    path = Path(file.name) if settings.public else file  # Visitors are not told where it is.
    if not file.is_file():
        if os.environ.get("JGLUE_ENDPOINTS"):
            raise InputError("There is no file {path}, which JGLUE_ENDPOINTS names.", path=path)
        return EndpointsFile()
    try:
        table = load_toml(file.read_text("utf-8-sig"))
    except OSError as e:
        raise InputError("{path} cannot be read ({reason}).", path=path, reason=reason_of(e)) from e
    except ValueError as e:  # Not UTF-8 or not TOML, or tables in tables without end.
        raise InputError("{path} is not a TOML file ({reason}).", path=path, reason=reason_of(e)) from e
    usable, refused = dict[str, Endpoint](), dict[str, InputError]()
    for name, entry in table.items():
        try:
            usable[name] = read_endpoint(path, name, entry)
        except InputError as e:
            refused[name] = e
    return EndpointsFile(usable, refused)


def refused_sections(settings: Settings) -> list[str]:
    """A sentence on each section of the file that cannot be used; raises as `read_endpoints` does."""
    return [error.message for error in read_endpoints(settings).refused.values()]


def served_model(model: str, settings: Settings) -> ServedModel:
    """The model of an id `ENDPOINT:MODEL`.

    Raises:
        InputError: the id has another form, the file or this section of it is unusable, or there is none.
        UnknownNameError: no such endpoint; on a public server, none that visitors may use, or no listed model.
    """
    match = _MODEL_ID.fullmatch(model)
    if not match:
        raise InputError(
            "{model!r} names no model on a server. Write ENDPOINT:MODEL, where ENDPOINT is an entry of endpoints.toml.",
            model=model[:100],
        )
    file = read_endpoints(settings)
    known = _visible(file, settings)
    if match[1] in file.refused and not settings.public:  # What is wrong there concerns no visitor.
        raise file.refused[match[1]]
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


def _visible(file: EndpointsFile, settings: Settings) -> Mapping[str, Endpoint]:
    """The endpoints that may be used: on a public server, those that the operator lists for visitors."""
    if not settings.public:
        return file.usable
    return {name: replace(e, hidden=True) for name, e in file.usable.items() if e.visitors is not None}


def served_models(settings: Settings) -> dict[str, ServedModel]:
    """Id → every model that the endpoints name and that may be used; raises as `read_endpoints` does."""
    found = (
        ServedModel(endpoint, name, endpoint.model(name))
        for endpoint in _visible(read_endpoints(settings), settings).values()
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
    return {name: REFERENCE.sub(lambda match: _variable(endpoint, match[1]), text) for name, text in texts.items()}


def _variable(endpoint: Endpoint, name: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise InputError(
            "The endpoint {endpoint} takes its key from the environment variable {name}, which is not set. Set it in "
            "the environment that the application is started from.",
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


def _exists(model: str) -> bool:
    """Whether there is a file or folder here with a colon in its name. A drive of Windows has one letter, which no
    endpoint has."""
    try:
        return Path(model).exists()
    except (OSError, ValueError):
        return False
