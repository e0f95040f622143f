"""About how long a job still waits for its turn: from how fast jobs were on this machine before, how fast the running
one is, and how much those in front of it have to do.

It is an estimate, and is told as one. What is told never rises while the same jobs stand in front, unless the running
one has become much slower than it was.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from jglue_app.ui.job import Job
from jglue_app.ui.pace import MIN_ITEMS

WEIGHT_OF_LAST = 0.5
"""How much the last measurement counts against those before it."""
MUCH_SLOWER, SLACK_S = 1.5, 5.0
"""An estimate above so many times the last one, and so many seconds more, is told although it has risen."""


class Rates:
    """How long jobs took on this machine. Safe for several threads.

    Args:
        most_s: longest that one job may take; None for no limit.
        slice_s: longest that a preemptible job goes on while others wait.
    """

    def __init__(self, most_s: float | None, slice_s: float) -> None:
        self._most_s, self._slice_s = most_s, slice_s
        self._lock = threading.Lock()
        self._item_s: dict[str, float] = {}
        """Model → seconds of an item."""
        self._job_s: dict[str, float] = {}
        """Kind → seconds of a job, for jobs that make no runs of sides."""
        self._loading_s: float = 0.0
        """Seconds of a job that go by without an answer: mostly loading a model."""

    def learn(self, job: Job, held_s: float) -> None:
        """A job has ended its turn, which took so many seconds."""
        with self._lock:
            if not _makes_sides(job):
                self._job_s[job.kind] = _mixed(self._job_s.get(job.kind), held_s)
                return
            for side, run in list(job.runs.items()):
                count = job.pace.counts.get(side, 0)
                if count >= MIN_ITEMS:
                    measured = job.pace.seconds[side] / count
                    self._item_s[run.model] = _mixed(self._item_s.get(run.model), measured)
            if not job.preemptible:
                self._loading_s = _mixed(self._loading_s, max(0.0, held_s - sum(job.pace.seconds.values())))

    def seconds_left(self, job: Job, held_s: float | None) -> float | None:
        """Seconds until a job gives the accelerator up.

        Args:
            job: that has it, or waits for it.
            held_s: how long it has it; None for one that waits.

        Returns:
            Not below 0. None where nothing like it was measured yet.
        """
        with self._lock:
            whole = self._left(job, held_s)
        if whole is None:
            return None
        held = held_s or 0.0
        most = math.inf if self._most_s is None else self._most_s - held
        if job.preemptible:
            most = min(most, self._slice_s - held)
        return max(0.0, min(whole, most))

    def _left(self, job: Job, held_s: float | None) -> float | None:
        if not _makes_sides(job):
            usual = self._job_s.get(job.kind)
            return None if usual is None else usual - (held_s or 0.0)
        left = 0.0 if job.bars else max(0.0, self._loading_s - (held_s or 0.0))
        for side, run in list(job.runs.items()):
            pace = self._pace(job, side, run.model)
            if pace is None:
                return None
            planned = sum(map(len, run.ids.values()))
            left += pace * max(0, planned - max(run.finished, job.done.get(side, 0)))
        return left

    def _pace(self, job: Job, side: str, model: str) -> float | None:
        """Seconds of an item: as the job has measured them, as they were before, or as those of other models."""
        count = job.pace.counts.get(side, 0)
        if count >= MIN_ITEMS:
            measured = job.pace.seconds[side] / count
            # Until a job of this model has ended, others that wait are taken to be as fast.
            self._item_s.setdefault(model, measured)
            return measured
        if model in self._item_s:
            return self._item_s[model]
        return sum(self._item_s.values()) / len(self._item_s) if self._item_s else None


def _makes_sides(job: Job) -> bool:
    return bool(job.runs) and job.runs.keys() <= {"a", "b"}


def _mixed(before: float | None, measured: float) -> float:
    return measured if not before else before + WEIGHT_OF_LAST * (measured - before)


@dataclass(slots=True)
class Told:
    """What was told to one job that waits."""

    seconds: float | None = None
    ahead: frozenset[str] = frozenset()
    """Ids of the jobs in front of it then."""

    def next(self, estimate: float | None, ahead: Sequence[str]) -> int | None:
        """What is told now, in seconds; see `rounded`.

        Args:
            estimate: seconds that those in front will take.
            ahead: their ids.
        """
        before, in_front = self.seconds, frozenset(ahead)
        if estimate is not None and before is not None:
            has_reason = not in_front <= self.ahead or estimate > MUCH_SLOWER * before + SLACK_S
            estimate = estimate if has_reason else min(estimate, before)
        self.seconds, self.ahead = estimate, in_front
        return None if estimate is None else rounded(estimate)


def rounded(seconds: float) -> int:
    """Seconds as somebody would say them: at least 5; by fives to a minute, by tens to 100, then whole minutes."""
    if seconds <= 60:
        return max(5, 5 * math.ceil(seconds / 5))
    return 10 * math.ceil(seconds / 10) if seconds <= 90 else 60 * math.ceil(seconds / 60)
