"""The settings of a run that were left open, as the scoring protocol's own system has them."""

from __future__ import annotations

from collections.abc import Sequence

from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.types import Preset
from jglue_app.tasks import CORE, TASKS
from jglue_app.types import Decoding

USUAL = Preset("ja-labels")
"""Where the protocol suits any run."""


def fill(
    protocol: str,
    style: str | None = None,
    format: str | None = None,
    shots: int | None = None,
    method: str | None = None,
    repetition_penalty: float | None = None,
    oracle_length: bool | None = None,
) -> Preset:
    """What was asked for, and for the rest what the protocol's system does.

    Of how its system writes text nothing is taken over where answers are only ranked.

    Raises:
        UnknownNameError: no such protocol.
    """
    own = get_protocol(protocol).preset or USUAL
    writes = (own.method if method is None else method) != "choose"
    usual = own.repetition_penalty if writes else ()
    return Preset(
        style=own.style if style is None else style,
        shots=own.shots if shots is None else shots,
        shots_by_task=own.shots_by_task if shots is None else (),
        method=own.method if method is None else method,
        format=own.format if format is None else format,
        repetition_penalty=(
            usual if repetition_penalty is None else tuple((name, repetition_penalty) for name in TASKS)
        ),
        oracle_length=own.oracle_length and writes if oracle_length is None else oracle_length,
    )


def decoding(preset: Preset, max_new_tokens: int | None = None, max_thinking_tokens: int | None = None) -> Decoding:
    """How answers are obtained under a preset as `fill` gives it."""
    return Decoding(
        preset.method,
        max_new_tokens,
        preset.oracle_length,
        max_thinking_tokens,
        repetition_penalty_by_task=preset.repetition_penalty,
    )


def subsets(protocol: str, asked: Sequence[str] | None = None) -> list[str]:
    """The subsets asked for; without any, those that the protocol scores and that need not be named."""
    return [name for name in CORE if name in get_protocol(protocol).metrics] if asked is None else list(asked)
