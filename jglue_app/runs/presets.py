"""Options that were left open, filled as the scoring protocol's own system has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jglue_app.runs.request import RunRequest, Side
from jglue_app.runs.request_checks import read_values
from jglue_app.runs.request_options import Surface, options
from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.types import Preset
from jglue_app.tasks import DEFAULT_TASKS

DEFAULT = Preset("ja-labels")
"""Where the protocol suits any run."""


def request(
    protocol: str,
    common: Mapping[str, Any],
    a: Mapping[str, Any],
    b: Mapping[str, Any] | None = None,
    *,
    surface: Surface = "program",
) -> RunRequest:
    """A request from the values that were given; None is none. What is open is as the protocol's system has it.

    Args:
        protocol: a key of `PROTOCOLS`.
        common: field of `RunRequest` → value.
        a, b: field of `Side` → value.
        surface: where the values came from; see `request_checks.read_values`.

    Raises:
        InputError: a value that its field does not take.
        UnknownNameError: no such protocol, or a name that is in none of our tables.
    """
    get_protocol(protocol)
    values = {name: option.traits.command_default for name, option in options(RunRequest).items()}
    values = {name: value for name, value in values.items() if value is not ...} | _given(common)
    if values["tasks"] == "all":
        values["tasks"] = subsets(protocol)
    own = get_protocol(protocol).preset or DEFAULT
    values.setdefault("method", own.method)
    # Of how its system writes text nothing is taken over where answers are only ranked.
    writes = values["method"] != "choose"
    values.setdefault("oracle_length", own.oracle_length and writes)
    sides = {name: _filled(own, _given(given), writes) for name, given in (("a", a), ("b", b)) if given is not None}
    return read_values(
        RunRequest, values | {name: read_values(Side, side, surface) for name, side in sides.items()}, surface
    )


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _filled(preset: Preset, given: dict[str, Any], writes: bool) -> dict[str, Any]:
    """The values of one side, the open ones from the protocol."""
    open_values: dict[str, Any] = {"style": preset.style, "format": preset.format}
    if "shots" not in given:
        open_values |= {"shots": preset.shots, "shots_by_task": preset.shots_by_task}
    if "repetition_penalty" not in given and writes:
        open_values["repetition_penalty_by_task"] = preset.repetition_penalty
    return open_values | given


def subsets(protocol: str, names: Sequence[str] | None = None) -> list[str]:
    """The subsets named; without any, those that the protocol scores and that need not be named."""
    return [name for name in DEFAULT_TASKS if name in get_protocol(protocol).metrics] if names is None else list(names)
