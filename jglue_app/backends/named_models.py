"""The registry of named models, read from `assets/models.toml`, and all models that can be chosen by name."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache

from jglue_app.backends.endpoints import served_models
from jglue_app.settings import ASSETS, Settings

PLAIN_INSTRUCTED = frozenset({"bigscience/bloomz-560m"})
"""Models that were trained to follow instructions without a format of their own."""


@dataclass(frozen=True, slots=True)
class NamedModel:
    """One entry of the registry."""

    id: str
    """Registry name or Hub id."""
    family: str
    parameters: int
    """Millions of weights."""
    licence: str
    format: str
    """The prompt format the model was trained with."""
    memory_gb: float
    """Gigabytes the weights need in 16 bit; twice that in float32 (the default on a CPU), half in 8-bit."""
    note: str
    """One Japanese line."""
    gated: bool = False
    """Whether the Hub asks for consent first."""
    package: str = ""
    """Python package that carries the weights as a GGUF file; empty for models on the Hub."""

    @property
    def follows_instructions(self) -> bool:
        """Whether it was trained to follow instructions or to chat; else it is a base model."""
        return self.format != "plain" or self.id in PLAIN_INSTRUCTED


@cache
def named_models() -> dict[str, NamedModel]:
    """The registry, in the order of the file."""
    table = tomllib.loads((ASSETS / "models.toml").read_text("utf-8"))
    return {row["id"]: NamedModel(**row) for row in table["model"]}


def model_ids(settings: Settings) -> list[str]:
    """Every model that can be chosen by name: the registry, then those that endpoints list.

    Raises:
        InputError: endpoints.toml cannot be used.
    """
    return [*named_models(), *served_models(settings)]
