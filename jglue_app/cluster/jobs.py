"""What a worker is told, and what it gives back. Everything here is pickled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from jglue_app.errors import JglueAppError
from jglue_app.runs.plan import Plan
from jglue_app.settings import Settings
from jglue_app.types import Item, ModelInfo, ModelSpec, Prompt, Record, RunSpec


@dataclass(frozen=True, slots=True)
class Load:
    """Load a model, for the jobs that follow."""

    model: ModelSpec
    settings: Settings
    own_folders: bool
    """Whether the worker's machine has folders and tokens of its own, and `settings` only limits."""
    device: str
    needs_template: bool


@dataclass(frozen=True, slots=True)
class Prepare:
    """Make the prompts of a subset, for which the model's tokenizer is needed."""

    plan: Plan
    name: str
    items: tuple[Item, ...]

    @classmethod
    def of(cls, plan: Plan, name: str, items: tuple[Item, ...]) -> Prepare:
        """With what is needed of the plan alone."""
        pools = {name: plan.pools[name]} if name in plan.pools else {}
        return cls(replace(plan, datasets={}, pools=pools, items={}, files={}), name, items)


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer a batch of prompts of one subset."""

    spec: RunSpec
    task: str
    prompts: tuple[Prompt, ...]
    limits: Mapping[str, int]
    """Item id → most new tokens."""


Job = Load | Prepare | Answer


@dataclass(frozen=True, slots=True)
class LoadingNotice:
    """A sentence about what takes long while a model is loaded."""

    message: str


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that is loaded."""

    info: ModelInfo
    machine: Mapping[str, Any]
    """Where; see `manifest.machine_facts`."""


@dataclass(frozen=True, slots=True)
class SubsetPrompts:
    """The prompts of a subset, in the order of their items."""

    prompts: tuple[Prompt, ...]
    limits: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Records:
    """Records of a batch; there may be more of them."""

    records: tuple[Record, ...]
    info: ModelInfo
    """Longer prompts may have changed how they go through the model."""


@dataclass(frozen=True, slots=True)
class JobError:
    """An error of ours."""

    error: JglueAppError


Reply = LoadingNotice | LoadedModel | SubsetPrompts | Records | JobError
