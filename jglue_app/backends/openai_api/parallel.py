"""Several requests in flight at once."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.2
"""How often a request to stop is looked at while nothing arrives."""
LAST_WAIT_S = 1.0
"""How long answers that are on their way are waited for after a request to stop."""


def in_parallel(
    jobs: Sequence[Callable[[], T]],
    workers: int,
    should_stop: Callable[[], bool],
    cancelled: threading.Event,
) -> Iterator[tuple[int, T]]:
    """Results of jobs as they come, each with the index of its job.

    Once it is stopped, or its consumer leaves, no further job begins and nothing more is yielded; those that are
    running end in the background.

    Args:
        jobs: each in a thread.
        workers: jobs that run at once.
        should_stop: looked at before each result and while there is none.
        cancelled: set at the end, for the jobs to see.

    Raises:
        Exception: what a job raises, after which no further job begins.
    """
    if not jobs or should_stop():
        return
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    results: queue.SimpleQueue[tuple[int, T | None, BaseException | None]] = queue.SimpleQueue()
    for i in range(len(jobs)):
        waiting.put(i)

    def work() -> None:
        while not cancelled.is_set():
            try:
                i = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                results.put((i, jobs[i](), None))
            except BaseException as e:  # Raised where the results are read.
                results.put((i, None, e))
                cancelled.set()

    # Not those of an executor: the process may end while a server keeps one waiting.
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(workers, len(jobs)))]
    for thread in threads:
        thread.start()
    try:
        for _ in jobs:
            while True:
                try:
                    i, result, error = results.get(timeout=POLL_S)
                    break
                except queue.Empty:
                    if should_stop():
                        return
            if should_stop():
                return
            if error is not None:
                raise error
            yield i, result  # type: ignore[misc]  # A result, as there is no error.
    finally:
        cancelled.set()
        end = time.monotonic() + LAST_WAIT_S
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
