"""Progress of a run on standard error: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from jglue_app.messages import Message
from jglue_app.runs.events import Event
from jglue_app.tasks import TASKS

_PLAIN_EVERY_S = 10.0
_SLOW_ITEMS_PER_S = 0.1
"""Below this, one reads how long an item takes."""


class ProgressView:
    """Draws the events of runs on standard error, so that standard output stays for results.

    Args:
        names_sides: whether there are two sides, A and B, of which each line names its own.
    """

    def __init__(self, *, names_sides: bool = False) -> None:
        self._names_sides = names_sides
        self._console = Console(file=sys.stderr, highlight=False, emoji=False)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._ids: dict[tuple[str, str], TaskID] = {}
        self._downloaded: set[str] = set()
        self._last = 0.0

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def still(self) -> None:
        """Draw no bars any more: while they move, they take in what is printed on standard output."""
        self._bars.stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Draw no bars in the meantime, so that something can be asked on the terminal."""
        self._bars.stop()
        try:
            yield
        finally:
            self._bars.start()

    def show(self, event: Event) -> None:
        """Draw one event."""
        if event.kind == "notice":
            self.say(event.message)
        elif event.kind == "record":
            self._advance(event)

    def download(self, name: str, done: int, total: int) -> None:
        """Draw the progress of a download."""
        key = ("download", name)
        if self._console.is_terminal:
            if key not in self._ids:
                self._ids[key] = self._bars.add_task(name.rsplit("/", 2)[-2], total=total or None, speed="")
            self._bars.update(self._ids[key], completed=done)
        elif done == total and name not in self._downloaded:
            self._downloaded.add(name)
            self.say(f"Downloaded {name} ({done:,} bytes).")

    def _advance(self, event: Event) -> None:
        key = (event.side, event.task)
        speed = _speed(event.items_per_s)
        if self._console.is_terminal:
            if key not in self._ids:
                name = self._name(event)
                self._ids[key] = self._bars.add_task(name, total=event.total, speed="")
            self._bars.update(self._ids[key], completed=event.done, speed=speed)
            return
        now = time.monotonic()
        if event.done == event.total or now - self._last > _PLAIN_EVERY_S:
            self._last = now
            left = f", {event.seconds_left:.0f} s left" if event.seconds_left else ""
            self.say(f"{self._name(event)}: {event.done}/{event.total} items, {speed}{left}")

    def _name(self, event: Event) -> str:
        title = TASKS[event.task].title
        return f"{event.side.upper()} {title}" if self._names_sides else title

    def say(self, message: str) -> None:
        """One sentence on standard error; how far a step is is left out, whose beginning was told."""
        if isinstance(message, Message) and "percent" in message.values:
            return
        self._console.print(message, markup=False, soft_wrap=True)


def _speed(items_per_s: float | None) -> str:
    if not items_per_s:
        return ""
    return f"{items_per_s:.1f} items/s" if items_per_s >= _SLOW_ITEMS_PER_S else f"{1 / items_per_s:.0f} s/item"
