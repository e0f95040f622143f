"""What makes the engine fast, each part for itself; `bench --without` leaves one out to measure what it gains.

None of them changes a result beyond rounding. Everywhere else all of them are used.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from jglue_app.errors import UnknownNameError


@dataclass(frozen=True, slots=True)
class Tricks:
    """Which are used."""

    packing: bool = True
    """Tokens of several prompts lie behind each other without padding; else padded batches, as for old models."""
    beginning: bool = True
    """What all prompts begin with is read once."""
    sharing: bool = True
    """What some prompts, or the answers of one question, have in common is read once."""
    guesses: bool = True
    """Tokens are guessed from the prompt and read several at a time."""
    screening: bool = True
    """The vocabulary is screened in bfloat16 before it is scored."""
    layout: bool = True
    """Weights are laid out anew for the processor's matrix library."""


ALL = Tricks()
NAMES = tuple(found.name for found in dataclasses.fields(Tricks))


def without(names: Iterable[str]) -> Tricks:
    """All but these; raises UnknownNameError if there is no such trick."""
    left_out = list(names)
    for name in left_out:
        if name not in NAMES:
            raise UnknownNameError("trick", name, NAMES)
    return dataclasses.replace(ALL, **dict.fromkeys(left_out, False))
