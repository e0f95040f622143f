"""What bfloat16 would save on this machine: told beside the box of the dtype where the same settings were measured in
both dtypes, and only there."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from cachetools import LRUCache

from jglue_app.errors import StoreError
from jglue_app.messages import Message
from jglue_app.runs.request import RunRequest, Side
from jglue_app.runs.store import RunStore
from jglue_app.ui.enough_items import fewest_items
from jglue_app.ui.job import Job
from jglue_app.ui.pace import MIN_ITEMS

MAX_SETTINGS = 256
"""Settings whose pace is remembered."""
USUAL_ITEMS = 100
"""Items of each subset that a time is told for where their number is not known."""
MINUTES_FROM_S = 120
"""Longer times are told in minutes."""


class DtypePaces:
    """Seconds that an item took in each dtype on a CPU, by the other settings. Safe for several threads.

    Args:
        runs_dir: where the runs of the jobs are stored.
    """

    def __init__(self, runs_dir: Path) -> None:
        self._runs_dir = runs_dir
        self._lock = threading.Lock()
        self._seconds: LRUCache[RunRequest, dict[str, float]] = LRUCache(MAX_SETTINGS)
        """Settings without dtype → dtype → seconds of an item."""

    def learn(self, job: Job) -> None:
        """Note how fast the runs of a job were."""
        if not isinstance(job.request, RunRequest):
            return
        for name, side in job.request.sides.items():
            count = job.pace.counts.get(name, 0)
            if count < MIN_ITEMS or name not in job.runs:
                continue
            try:
                model: Any = RunStore(self._runs_dir / job.runs[name].run).manifest().get("model") or {}
            except StoreError:
                continue
            if str(model.get("device", "")).startswith("cpu"):
                with self._lock:
                    by_dtype = self._seconds.setdefault(_settings(job.request, side), {})
                    by_dtype[str(model.get("dtype"))] = job.pace.seconds[name] / count

    def hint(self, request: RunRequest, side: Side) -> Message | None:
        """How long a run would take in bfloat16 and in float32; None unless both were measured with its settings."""
        with self._lock:
            found = dict(self._seconds.get(_settings(request, side), {}))
        if "bfloat16" not in found or "float32" not in found:
            return None
        items = (fewest_items(request) or USUAL_ITEMS) * len(request.tasks)
        fast, slow = items * found["bfloat16"], items * found["float32"]
        facts: dict[str, int | float] = {"n": items}
        if slow >= MINUTES_FROM_S:
            return Message(
                "At the pace measured here with these settings, {n:,} items take about {fast:.1f} minutes in bfloat16 "
                "and {slow:.1f} in float32. bfloat16 is approximate.",
                fast=fast / 60,
                slow=slow / 60,
                **facts,
            )
        return Message(
            "At the pace measured here with these settings, {n:,} items take about {fast:.1f} seconds in bfloat16 "
            "and {slow:.1f} in float32. bfloat16 is approximate.",
            fast=fast,
            slow=slow,
            **facts,
        )


def _settings(request: RunRequest, side: Side) -> RunRequest:
    """A request for one side, without what does not change how long an item takes."""
    return replace(request, a=replace(side, dtype="auto"), b=None, limit=None, budget=None)
