"""How a launched evaluation ends: finished, failed, or stopped by a signal."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from jglue_app.errors import EXIT_INTERRUPTED
from jglue_app.messages import Message
from jglue_app.runs.progress import ProgressView

if TYPE_CHECKING:  # W&B's client is imported only when an evaluation starts.
    from jglue_app.wandb_sink.client.launched_run import LaunchedRun

GRACE_S = 15.0
"""From a signal to the end of the process, however long a model still loads: Kubernetes kills after 30 seconds."""
REPORT_TIMEOUT_S = 10.0
"""How long W&B may take to store that end."""


class ShutdownHandler:
    """The end of the W&B run. It comes once: from the evaluation, or from the timer that a signal has started."""

    def __init__(self, run: LaunchedRun, view: ProgressView) -> None:
        self._run, self._view = run, view
        self._lock = threading.RLock()
        self._over = False

    def finish(self) -> None:
        """End the run as finished.

        Raises:
            NetworkError: W&B does not answer.
        """
        with self._lock:
            if not self._over:
                self._over = True
                self._run.finish()

    def fail(self, code: int, message: str, *, state: str = "failed", tags: Sequence[str] = ()) -> None:
        """Print what is wrong, write it into the W&B run, and end that as failed. Never raises."""
        with self._lock, contextlib.suppress(Exception):
            self._view.say(Message("error: {message}", message=message))
            if not self._over:
                self._over = True
                self._run.fail(code, state, message, tags)

    def stop(self, message: str) -> None:
        """As `fail`, of a run that a signal has stopped."""
        self.fail(EXIT_INTERRUPTED, message, state="stopped", tags=("jglue", "unfinished"))

    def exit_now(self) -> None:
        """End run and process where the evaluation has not stopped; the process alone where W&B does not answer."""
        timer = threading.Timer(REPORT_TIMEOUT_S, os._exit, (EXIT_INTERRUPTED,))
        timer.daemon = True
        timer.start()
        self.stop(
            Message("Stopped while the model was loading or a long step was running. Launch the same again to go on.")
        )
        os._exit(EXIT_INTERRUPTED)


@contextlib.contextmanager
def stop_on_signal(handler: ShutdownHandler) -> Iterator[threading.Event]:
    """SIGTERM or Ctrl-C asks the run to stop after the current token; a second one ends at once."""
    stop = threading.Event()
    timer = threading.Timer(GRACE_S, handler.exit_now)
    timer.daemon = True

    def on_signal(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        timer.start()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        timer.cancel()
        for number, previous in before.items():
            signal.signal(number, previous)
