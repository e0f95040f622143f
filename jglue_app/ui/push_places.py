"""Places for pushes: how many send at the same time, and how long one may take."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

from jglue_app.errors import JglueAppError, NetworkError
from jglue_app.settings import Settings
from jglue_app.ui.jobs import Job, Work

WAIT_S = 0.2
"""How often a push that waits looks whether it was stopped."""


class PushPlaces:
    """The places of one kind of push, over all visitors: each is a process of its own.

    Args:
        most: pushes that send at the same time.
        max_seconds: longest push of a visitor of a public page, the wait for a place included.
    """

    def __init__(self, most: int, max_seconds: float) -> None:
        self._slots = threading.BoundedSemaphore(most)
        self._max_seconds = max_seconds

    def work(self, settings: Settings, send: Callable[[Job, Callable[[], bool]], Any]) -> Work:
        """The work of a job that waits for a place and then sends; what it sent becomes the job's result.

        Args:
            settings: whose pushes have a limit of time on a public page.
            send: takes the job and what tells whether it has to stop. Its error after a stop is none.
        """
        limit = self._max_seconds if settings.public else math.inf

        def work(job: Job) -> None:
            started = time.monotonic()

            def should_stop() -> bool:
                return job.stop.is_set() or time.monotonic() - started > limit

            while not self._slots.acquire(timeout=WAIT_S):
                if job.stop.is_set():
                    return
                if should_stop():
                    raise NetworkError(
                        "Other pushes have kept this server busy too long. Nothing was sent: try again later."
                    )
            try:
                job.result = send(job, should_stop)
            except JglueAppError:
                if not job.stop.is_set():
                    raise
            finally:
                self._slots.release()

        return work
