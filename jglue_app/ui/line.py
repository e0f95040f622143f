"""The line in which jobs wait for the accelerator: one has it, the others wait in the order in which they came."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from jglue_app.ui.job import Job
from jglue_app.ui.waiting_time import Rates, Told

LOOK_INTERVAL_S = 0.5
"""How often a job that waits looks at the line, whatever happens."""


class Line:
    """The line. Safe for several threads.

    Args:
        rates: how long jobs take.
    """

    def __init__(self, rates: Rates) -> None:
        self._rates = rates
        self._jobs: list[Job] = []
        """The first one has the accelerator."""
        self._began = 0.0
        """When it was given to the first one."""
        self._changed = threading.Condition()

    def ahead(self, job: Job) -> int:
        """How many jobs have the accelerator or come before this one."""
        with self._changed:
            return self._jobs.index(job) if job in self._jobs else 0

    def holder_before(self, job: Job) -> Job | None:
        """The job that has the accelerator while this one waits."""
        with self._changed:
            return self._jobs[0] if job in self._jobs and self._jobs[0] is not job else None

    def others_wait(self, job: Job) -> bool:
        """Whether somebody waits behind a job."""
        with self._changed:
            return any(other is not job for other in self._jobs)

    def look(self) -> None:
        """Have all that wait look again: one may have been stopped."""
        with self._changed:
            self._changed.notify_all()

    @contextmanager
    def turn(self, job: Job) -> Iterator[bool]:
        """Wait for the accelerator and hold it; gives False if the job was stopped while it waited."""
        told = Told()
        with self._changed:
            self._jobs.append(job)
            job.state = "waiting"
            while self._jobs[0] is not job and not job.stop.is_set():
                before = told.ahead, job.wait_s
                job.wait_s = told.next(*self._estimate(job))
                job.version += before != (told.ahead, job.wait_s)
                self._changed.wait(LOOK_INTERVAL_S)
            acquired = self._jobs[0] is job and not job.stop.is_set()
            job.wait_s = None
            if acquired:
                self._began = time.monotonic()
                job.state = "running"
            job.version += 1
        began = time.monotonic()
        try:
            yield acquired
        finally:
            if acquired:
                self._rates.learn(job, time.monotonic() - began)
            with self._changed:
                self._jobs.remove(job)
                self._changed.notify_all()

    def _estimate(self, job: Job) -> tuple[float | None, list[str]]:
        """Seconds that those in front of a job will take, and their ids."""
        in_front = self._jobs[: self._jobs.index(job)]
        held_s = time.monotonic() - self._began
        seconds = [
            self._rates.seconds_left(other, held_s if at == 0 and other.state == "running" else None)
            for at, other in enumerate(in_front)
            if not other.stop.is_set()
        ]
        known = [one for one in seconds if one is not None]
        return (sum(known) if len(known) == len(seconds) else None), [other.id for other in in_front]
