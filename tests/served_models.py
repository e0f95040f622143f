"""Models on the servers of the tests, described in a file of endpoints as an operator would."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from jglue_app.backends.endpoints import ServedModel, served_model
from jglue_app.settings import Settings
from tests.api_server import ApiServer


def toml(value: object) -> str:
    """A value as TOML has it, in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def with_endpoints(settings: Settings, **endpoints: Mapping[str, object]) -> Settings:
    """The settings with a file of these endpoints; it lies beside the cache folder."""
    path = Path(settings.cache_dir).parent / "endpoints.toml"
    tables = [
        f"[{name}]\n" + "\n".join(f"{key} = {toml(value)}" for key, value in entry.items())
        for name, entry in endpoints.items()
    ]
    path.write_text("\n\n".join(tables) + "\n", "utf-8")
    return replace(settings, endpoints_file=path)


def with_server(settings: Settings, server: ApiServer, **entry: object) -> Settings:
    """The settings with one endpoint `here`, which is this server."""
    return with_endpoints(settings, here={"base_url": server.base_url, **entry})


def served(settings: Settings, server: ApiServer, **entry: object) -> ServedModel:
    """The model `tiny` on this server."""
    return served_model("here:tiny", with_server(settings, server, **entry))
