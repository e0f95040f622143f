"""The optimizations of the packed engine; `bench --without` turns one off to measure what it gains.

None of them changes a result beyond rounding. Outside the benchmark all of them are on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from jglue_app.errors import UnknownNameError


@dataclass(frozen=True, slots=True)
class Optimizations:
    """Which of them are on."""

    packing: bool = True
    """Run several prompts in one row without padding; else padded batches, as for older architectures."""
    prefix_cache: bool = True
    """Keep the keys and values of the prefix that all prompts of a call share."""
    prefix_sharing: bool = True
    """Run tokens once that some prompts, or the answers of one question, have in common."""
    speculation: bool = True
    """Propose draft tokens from the prompt and verify several in one forward pass."""
    screening: bool = True
    """Screen the vocabulary in bfloat16 before scoring it in float32."""
    prepacking: bool = True
    """Reorder weights once into the layout of the processor's matrix library."""
    fusion: bool = True
    """Make activations part of the products before them, and norms and layers fewer operations."""
    batching: bool = True
    """Attend to all short sequences of a pass in a few calls, instead of one for each of them."""


ALL = Optimizations()
OPTION_NAMES = {
    "packing": "packing",
    "beginning": "prefix_cache",
    "sharing": "prefix_sharing",
    "guesses": "speculation",
    "screening": "screening",
    "layout": "prepacking",
    "fusion": "fusion",
    "batching": "batching",
}
"""Value of `bench --without` → field of `Optimizations`."""


def without(names: Iterable[str]) -> Optimizations:
    """All optimizations but some.

    Args:
        names: of those to turn off; keys of `OPTION_NAMES`.

    Raises:
        UnknownNameError: there is no such optimization.
    """
    disabled: dict[str, bool] = {}
    for name in names:
        if name not in OPTION_NAMES:
            raise UnknownNameError("optimization", name, OPTION_NAMES)
        disabled[OPTION_NAMES[name]] = False
    return dataclasses.replace(ALL, **disabled)
