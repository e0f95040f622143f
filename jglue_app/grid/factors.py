"""Options of a run as factors of a grid: which there are, what they change, and their levels."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jglue_app.errors import InputError
from jglue_app.messages import Message, mark
from jglue_app.prompts.styles import load_style
from jglue_app.runs.request import RunRequest, Side
from jglue_app.runs.request_checks import read_values
from jglue_app.runs.request_options import Option, as_text, options
from jglue_app.scoring.protocols import get_protocol

PROTOCOL = "protocol"
"""Also a factor: options that no other one names are then as each protocol's own system has them."""
NO_FACTORS = {
    "budget": mark("the budget is that of all runs of the grid together"),
    "limit": mark("a run with a higher limit is the same run with more items"),
}
"""Options that are in `[run]` alone → why."""

Group = Literal["model", "prompt", "answering", "questions"]
"""What a factor changes: which model answers, what it is shown, how it answers, or which items it is asked."""
GROUPS: Mapping[str, Group] = {
    "Prompt": "prompt",
    "Answering": "answering",
    "Model and machine": "model",
    "Questions": "questions",
}
"""Panel of an option → group; the model itself is in no panel."""
REPLICATES = ("style", "shot_seed", "seed", "system")
"""Factors whose levels stand for others that might as well have been taken: wordings, and seeds."""


@dataclass(frozen=True, slots=True)
class GridFactor:
    """An option with several values."""

    name: str
    group: Group
    values: tuple[Hashable, ...]
    levels: tuple[str, ...]
    """The same as texts."""

    @property
    def is_replicate(self) -> bool:
        """Whether its levels are a sample of those that might have been taken."""
        return self.name in REPLICATES


def option_of(name: str) -> Option | None:
    """An option of a run by its name, with underscores or hyphens; None if there is none."""
    name = name.replace("-", "_")
    return options(Side).get(name) or options(RunRequest).get(name)


def option_names() -> list[str]:
    """The names of all options of a run."""
    return [*options(Side), *options(RunRequest)]


def read_factor(name: str, values: object, path: Path) -> GridFactor:
    """A factor of a file.

    Raises:
        InputError: the option is no factor, or a value is none of its.
    """
    if name in NO_FACTORS:
        raise InputError(
            "{path}: {name} cannot be a factor: {why}. Put it in [run].",
            path=path,
            name=name,
            why=Message(NO_FACTORS[name]),
        )
    if values == []:
        raise InputError(
            "{path}: [factors] {name} is an empty list. Give it values, or take it out.", path=path, name=name
        )
    if not isinstance(values, list):
        raise InputError(
            "{path}: [factors] {name} takes a list of values in brackets. Put a single one in [run].",
            path=path,
            name=name,
        )
    pairs = [read_value(name, value, f"[factors] {name}", path) for value in values]
    levels = [level for _, level in pairs]
    if len(set(levels)) < len(levels):
        twice = next(level for level in levels if levels.count(level) > 1)
        raise InputError("{path}: [factors] {name} has {level!r} twice. Leave one.", path=path, name=name, level=twice)
    return GridFactor(name, group_of(name), tuple(value for value, _ in pairs), tuple(levels))


def group_of(name: str) -> Group:
    """What a factor changes, by the panel of its option."""
    if name == PROTOCOL:
        return "prompt"
    option = option_of(name)
    return GROUPS.get(option.traits.panel, "model") if option else "model"


def read_value(name: str, value: object, where: str, path: Path) -> tuple[Any, str]:
    """A value as its option takes it, and as a text; "" and 0 are none where an option may have none."""
    if name == PROTOCOL:
        if not isinstance(value, str):
            raise InputError("{path}: {where} takes names of protocols.", path=path, where=where)
        return get_protocol(value).name, value
    option = option_of(name)
    assert option is not None
    if option.optional and value in ("", 0) and not isinstance(value, bool):
        return None, "none"
    if option.kind in ("integer", "number") and isinstance(value, str) and re.fullmatch(r"-?[0-9.]+", value.strip()):
        raise InputError(
            "{path}: {where}: {value!r} is a text. Write the number without quotes.",
            path=path,
            where=where,
            value=value[:50],
        )
    model: type = Side if name in options(Side) else RunRequest
    try:
        checked = getattr(read_values(model, {name: value}, "program"), name)
        if name == "style":
            load_style(checked)
    except InputError as e:
        if str(value) in e.message:
            raise InputError("{path}: {where}: {sentence}", path=path, where=where, sentence=e.message) from e
        raise InputError(
            "{path}: {where}: {sentence} The file has {value}.",
            path=path,
            where=where,
            sentence=e.message,
            value=str(value)[:100],
        ) from e
    return checked, as_text(option, checked) or '""'
