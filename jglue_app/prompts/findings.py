"""What the linter of prompts finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in a prompt that will cost points or time."""

    rule: str
    """What was found, such as `answer_too_long`."""
    level: Literal["error", "warning", "info"]
    """`error` (scores will be wrong or missing), `warning` (they may suffer), `info` (good to know)."""
    task: str
    """The subset; empty when it concerns all."""
    message: str
    """What is wrong, what it costs and what to do, in one or two English sentences."""
    items: int = 0
    """Items concerned, of those looked at."""
    of: int = 0
    """Items looked at."""
    example: str = ""
    """Id of the first item concerned."""
    facts: Mapping[str, str | float] = field(default_factory=dict)
    """The values in the message."""
