"""What a backend has done: tokens asked for and read, and where the time went. Read by the benchmark."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import torch

Part = Literal["tokenize", "prefill", "decode", "head"]
PARTS: tuple[Part, ...] = ("tokenize", "prefill", "decode", "head")


@dataclass(slots=True)
class Work:
    """Counts since the backend was opened, or since `reset`."""

    naive: int = 0
    """Tokens that one reading of every prompt, or of every prompt with each answer, would take, and those written."""
    distinct: int = 0
    """Tokens that went through the model's layers; with padding, where there is any."""
    refused: int = 0
    """Tokens that were guessed, read and turned out wrong; not among the distinct ones, nor are their rows."""
    rows: int = 0
    """Positions at which the vocabulary was scored."""
    seconds: dict[Part, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    wait: bool = False
    """Wait for an accelerator at the end of each part, so that the parts can be told from each other."""

    @contextmanager
    def part(self, name: Part) -> Iterator[None]:
        """Add the time of a block to one part."""
        started = time.perf_counter()
        try:
            yield
        finally:
            if self.wait and torch.cuda.is_available():
                torch.cuda.synchronize()
            self.seconds[name] += time.perf_counter() - started

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """What a block does is not counted."""
        counts = self.naive, self.distinct, self.refused, self.rows
        seconds = dict(self.seconds)
        try:
            yield
        finally:
            self.naive, self.distinct, self.refused, self.rows = counts
            self.seconds = seconds

    def reset(self) -> None:
        """Count from zero."""
        self.naive = self.distinct = self.rows = self.refused = 0
        self.seconds = dict.fromkeys(PARTS, 0.0)
