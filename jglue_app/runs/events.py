"""What a run tells while it goes on, for the page and the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jglue_app.types import Record


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a run."""

    kind: Literal["notice", "record", "done", "stopped"]
    """`notice` (a sentence), `record` (an item is stored), `done` or `stopped` (the run's end)."""
    run: str
    """Label of the run."""
    side: Literal["a", "b"] = "a"
    """Which of two compared runs."""
    message: str = ""
    task: str = ""
    done: int = 0
    """Items of the subset that have a record."""
    total: int = 0
    """Items of the subset in all."""
    run_done: int = 0
    """Items of the run that are answered or were tried in this session; at the run's end, those with an output."""
    run_total: int = 0
    """Items of the run in all."""
    items_per_s: float | None = None
    """Speed in this session, on this subset."""
    seconds_left: float | None = None
    """Estimate for the subset at that speed."""
    record: Record | None = None
    why: Literal["", "budget", "gpu_time"] = ""
    """Of a run that stopped by itself: what it has no more of."""
