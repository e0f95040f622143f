"""Deaths of workers that have answered nothing: how many of them end a run."""

from __future__ import annotations

import time

from jglue_app.cluster.workers import RemoteWorker
from jglue_app.errors import ModelError

MAX_FRUITLESS = 5
"""Workers that may end in a row without an answer: at all, or to the same items."""


class Deaths:
    """Of one call."""

    def __init__(self) -> None:
        self.in_a_row = 0
        """Workers that have ended before they had anything to answer, since the last answer of any worker."""
        self._last: dict[str, float] = {}
        """Machine → when a worker has ended there last, and not with others."""

    def is_another(self, worker: RemoteWorker) -> bool:
        """Whether a worker has ended for a reason of its own, as far as is known: one that was there already when
        another ended on the same machine may have been lost with that, which is seen when it is sent a job."""
        if worker.started <= self._last.get(worker.host, float("-inf")):
            return False
        self._last[worker.host] = time.monotonic()
        return True

    def count(self, reason: str) -> None:
        """One has ended while it started, loaded a model or made prompts; raises ModelError once they are too many."""
        self.in_a_row += 1
        if self.in_a_row >= MAX_FRUITLESS:
            count, self.in_a_row = self.in_a_row, 0  # A call that goes on with other models counts anew.
            raise ModelError(
                "{count} workers in a row have ended before they answered anything ({reason}). Most often memory is "
                "short: start fewer on a machine (--ray-workers, --ray-cpus).",
                count=count,
                reason=reason,
            )
