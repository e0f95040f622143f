"""The settings of a run that were left open, as the scoring protocol's own system has them."""

from __future__ import annotations

from collections.abc import Sequence

from jglue_app.protocols import get_protocol
from jglue_app.tasks import CORE
from jglue_app.types import Preset

USUAL = Preset("ja-labels")
"""Where the protocol suits any run."""


def fill(
    protocol: str,
    style: str | None = None,
    format: str | None = None,
    shots: int | None = None,
    method: str | None = None,
) -> Preset:
    """What was asked for, and for the rest what the protocol's system does.

    Raises:
        UnknownNameError: no such protocol.
    """
    own = get_protocol(protocol).preset or USUAL
    return Preset(
        style=own.style if style is None else style,
        shots=own.shots if shots is None else shots,
        shots_by_task=own.shots_by_task if shots is None else (),
        method=own.method if method is None else method,
        format=own.format if format is None else format,
    )


def subsets(protocol: str, asked: Sequence[str] | None = None) -> list[str]:
    """The subsets asked for; without any, those that the protocol scores and that need not be named."""
    return [name for name in CORE if name in get_protocol(protocol).metrics] if asked is None else list(asked)
