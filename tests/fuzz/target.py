"""What is fuzzed: a reader, and how its inputs are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

Made = Any
"""An input: a text, bytes, or a JSON value."""


@dataclass(frozen=True)
class Allowance:
    """More time than other readers have, for a reason that the table states."""

    ms: float
    """CPU time that an input of ordinary length may take."""
    why: str


@dataclass(frozen=True)
class Target:
    """One reader."""

    name: str
    make: Callable[[Random], Made]
    """An input of ordinary length: at most about 20,000 characters."""
    read: Callable[[Any], object]
    """Reads one input; what it raises apart from `JglueAppError` is a fault. Only this is timed."""
    examples: Sequence[Made] = ()
    """Valid inputs, which must be accepted: a target that refuses everything proves nothing."""
    place: Callable[[Made], Any] | None = None
    """Makes of an input what `read` takes, such as a file that holds it."""
    large: Callable[[], Sequence[Made]] | None = None
    """Inputs of about a megabyte."""
    allowed: tuple[type[Exception], ...] = ()
    """Further errors that the reader is documented to raise, and all its callers catch."""
    allowance: Allowance | None = None
    share: float = 1.0
    """Part of the inputs that is tried; less than 1 where each costs the system itself much, as an archive does."""
