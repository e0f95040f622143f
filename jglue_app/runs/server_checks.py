"""Whether a server is still the model that a run was begun with, asked while its answers are stored.

Answers that were stored since it last was for sure are replaced by errors where it is not: the latest record of an item
counts, and items with errors are answered when the run is started again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from jglue_app.errors import JglueAppError, ModelError
from jglue_app.messages import Message
from jglue_app.runs.events import Event
from jglue_app.runs.subset_run import SubsetRun
from jglue_app.types import Backend, Doubt, Record, RunError, WatchedBackend

MAX_ITEMS, MAX_S = 300, 60.0
"""After so many answers, or so long, it is asked again."""
WAIT_S, LAST_WAIT_S = 20.0, 3.0
"""How long its answer is waited for, and after an error or a request to stop."""


class ServerChecks:
    """Of one subset of a run. Use as a context manager, while the run's folder is held."""

    def __init__(self, backend: Backend, subset: SubsetRun) -> None:
        self._backend = backend if isinstance(backend, WatchedBackend) else None
        self._subset = subset
        self._since: list[Record] = []
        """What was stored since it was last the same model for sure."""
        self._at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ask also where the run ends with an error, or its reader has left."""
        if self._backend is not None and self._since:
            with contextlib.suppress(JglueAppError):
                doubt = self._backend.ask_again(LAST_WAIT_S)
                if doubt is not None and doubt.is_certain:
                    self._replace(doubt)

    def stored(self, records: Sequence[Record]) -> None:
        """Note what was stored."""
        if self._backend is not None:
            self._since += [record for record in records if record.output is not None]

    def after_chunk(self, *, is_last: bool, stops: bool) -> Iterator[Event]:
        """Ask, where it is time to.

        Args:
            is_last: whether no more items follow.
            stops: whether somebody waits for the end.

        Raises:
            ModelError: the one server is another model now.
            StoreError: the errors could not be stored.
        """
        due = is_last or len(self._since) >= MAX_ITEMS or time.monotonic() - self._at >= MAX_S
        if self._backend is None or not self._since or not due:
            return
        doubt = self._backend.ask_again(LAST_WAIT_S if stops else WAIT_S)
        self._at = time.monotonic()
        if doubt is None:
            self._since.clear()
        elif not doubt.is_certain:
            if is_last:
                yield self._subset.notice(doubt.message)
                self._since.clear()
        else:
            count = self._replace(doubt)
            message = Message(
                "{reason} {count:,} answers since it was last asked are stored as errors. Start the run again to get "
                "them anew.",
                reason=doubt.message,
                count=count,
            )
            if not doubt.servers:
                raise ModelError(message)
            yield self._subset.notice(message)

    def _replace(self, doubt: Doubt) -> int:
        """Store errors in place of the answers that are in doubt; returns how many."""
        error = RunError("other_model", doubt.message)
        doubted = [
            record
            for record in self._since
            if record.output is not None and (not doubt.servers or set(record.output.servers) & set(doubt.servers))
        ]
        self._since.clear()
        self._subset.writer.append([replace(record, output=None, error=error) for record in doubted])
        self._subset.writer.sync()
        return len(doubted)
