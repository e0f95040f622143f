"""What a backend has done since it was opened: tokens, and seconds per phase. Read by the benchmark."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import torch

Phase = Literal["tokenize", "prefill", "decode", "head"]
PHASES: tuple[Phase, ...] = ("tokenize", "prefill", "decode", "head")


@dataclass(slots=True)
class Counters:
    """Counts since the backend was opened, or since `reset`."""

    naive_tokens: int = 0
    """Tokens of a run without sharing: of every prompt, or of every prompt with each answer, and generated ones."""
    forward_tokens: int = 0
    """Tokens that went through the model's layers, padding included."""
    rejected_draft_tokens: int = 0
    """Draft tokens that were verified and rejected; neither they nor their positions count above and below."""
    scored_positions: int = 0
    """Positions at which the vocabulary was scored."""
    seconds: dict[Phase, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))
    synchronize: bool = False
    """Wait for the accelerator at the end of each phase, so that the phases are timed separately."""

    @contextmanager
    def timed(self, phase: Phase) -> Iterator[None]:
        """Add the time of a block to one phase."""
        started = time.perf_counter()
        try:
            yield
        finally:
            if self.synchronize and torch.cuda.is_available():
                torch.cuda.synchronize()
            self.seconds[phase] += time.perf_counter() - started

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """Leave out of the counts what a block does."""
        counts = self.naive_tokens, self.forward_tokens, self.rejected_draft_tokens, self.scored_positions
        seconds = dict(self.seconds)
        try:
            yield
        finally:
            self.naive_tokens, self.forward_tokens, self.rejected_draft_tokens, self.scored_positions = counts
            self.seconds = seconds

    def reset(self) -> None:
        """Set all counts to zero."""
        self.naive_tokens = self.forward_tokens = self.scored_positions = self.rejected_draft_tokens = 0
        self.seconds = dict.fromkeys(PHASES, 0.0)
