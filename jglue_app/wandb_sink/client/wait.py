"""Waiting for W&B: until a run has finished, and until the server has what was sent."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import wandb
from wandb.sdk.artifacts.exceptions import WaitTimeoutError

from jglue_app.child_process import OnMessage, ProgressMessage
from jglue_app.errors import NetworkError
from jglue_app.messages import Message
from jglue_app.wandb_sink.client.connection import PUSH_AGAIN, api, translated_errors
from jglue_app.wandb_sink.payload import Payload

MAX_WAIT_S = 120.0
"""Longest wait for W&B to store what was sent, in addition to the transfer time."""
BYTES_PER_S = 50_000.0
"""Throughput of a slow connection, for the transfer time."""
SHORT_WAIT_S = 20.0
"""Longest wait for a W&B run to finish after a failure."""
NOTIFY_AFTER_S = 20.0
"""Seconds after which a message says that it takes a while."""
CONFIRM_PAUSES_S = (*(1.0 for _ in range(10)), 2.0, 5.0)
"""Pauses between checks whether everything has arrived, the last one repeated: the client uploads files after about
five seconds, and they appear at W&B some time later."""


class WaitLimit:
    """How long W&B may take to store something, and a message when that takes a while.

    Args:
        path: the W&B run, `entity/project/id`.
        size: bytes that are sent.
        on_message: takes the message.
    """

    def __init__(self, path: str, size: int = 0, on_message: OnMessage = lambda _: None) -> None:
        self.path = path
        self.seconds = MAX_WAIT_S + size / BYTES_PER_S
        self._on_message = on_message
        self._notified = False
        self._began = time.monotonic()

    def notify(self) -> None:
        """Send the message that it takes a while, once."""
        if not self._notified:
            self._notified = True
            remaining = max(0.0, self.seconds - (time.monotonic() - self._began))
            self._on_message(
                ProgressMessage(
                    Message(
                        "Sending takes a while: W&B may take {seconds:.0f} s more to store what it has.",
                        seconds=remaining,
                    )
                )
            )

    def is_over(self) -> bool:
        """Whether the limit is reached."""
        waited = time.monotonic() - self._began
        if waited > NOTIFY_AFTER_S:
            self.notify()
        return waited > self.seconds

    def error(self) -> NetworkError:
        """The error to raise when the limit is reached."""
        return NetworkError(
            "W&B does not confirm that all of {path} has arrived. {remedy}", path=self.path, remedy=PUSH_AGAIN
        )


def finish(run: wandb.Run, code: int = 0, seconds: float | None = None) -> None:
    """Finish a W&B run within a time limit; the client would wait for as long as a transfer hangs.

    Args:
        run: an open one.
        code: anything but 0 is a failed run.
        seconds: the longest wait; None for `MAX_WAIT_S`.

    Raises:
        NetworkError: it took longer. The client's threads keep running until the process exits.
    """
    failures: list[BaseException] = []

    def end() -> None:
        try:
            run.finish(exit_code=code)
        except BaseException as e:
            failures.append(e)

    limit = MAX_WAIT_S if seconds is None else seconds
    thread = threading.Thread(target=end, daemon=True)
    thread.start()
    thread.join(limit)
    if thread.is_alive():
        raise NetworkError("W&B has not answered for {limit:.0f} s. {remedy}", limit=limit, remedy=PUSH_AGAIN)
    if failures:
        raise failures[0]


def finish_failed(run: wandb.Run) -> None:
    """Finish a W&B run as failed, without a long wait; never raises."""
    with contextlib.suppress(Exception):
        finish(run, 1, SHORT_WAIT_S)


def wait_for_artifact(artifact: wandb.Artifact, limit: WaitLimit) -> None:
    """Wait until an artifact that was logged is stored.

    Raises:
        NetworkError: that took longer than the limit.
    """
    timer = threading.Timer(NOTIFY_AFTER_S, limit.notify)
    timer.daemon = True
    timer.start()
    try:
        artifact.wait(timeout=int(limit.seconds))
    except WaitTimeoutError as e:
        raise limit.error() from e
    finally:
        timer.cancel()


def wait_for_tables(path: str, tables: Mapping[str, Any], on_message: OnMessage) -> None:
    """Wait until the server has the files of an open run's tables: their uploads fail without an error.

    Args:
        path: the W&B run, `entity/project/id`.
        tables: summary key → the summary entry of the table.
        on_message: takes a message when that takes a while.

    Raises:
        NetworkError: they are not stored in the time that their size takes on a slow connection.
    """
    sizes = {str(table["path"]): int(table["size"]) for table in tables.values()}

    def stored(run: Any) -> bool:
        return {file.name: file.size for file in run.files(names=list(sizes))} == sizes

    if sizes:
        _confirm(stored, WaitLimit(path, sum(sizes.values()), on_message))


def confirm_summary(path: str, payload: Payload) -> None:
    """Wait until the server has the summary of an ended run: the client raises no error if it is not sent.

    Raises:
        NetworkError: it is not there in time.
    """
    _confirm(lambda run: run.summary.get("push/digest") == payload.digest, WaitLimit(path))


def _confirm(stored: Callable[[Any], bool], limit: WaitLimit) -> None:
    for pause in itertools.chain(CONFIRM_PAUSES_S, itertools.repeat(CONFIRM_PAUSES_S[-1])):
        with translated_errors(limit.path):
            if stored(api().run(limit.path)):
                return
        if limit.is_over():
            raise limit.error()
        time.sleep(pause)
