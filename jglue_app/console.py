"""What the command line shows: progress (a bar on a terminal, plain lines elsewhere) and tables."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from jglue_app.runner import Event
from jglue_app.scoreboard import ScoreRow, estimate_text, number, score_rows
from jglue_app.tasks import TASKS
from jglue_app.types import Comparison, Report

_PLAIN_EVERY_S = 10.0
_SOURCES = {"official": "", "user": " (own file)", "sample": " (sample)"}
_VERDICTS = {"a": "A is better", "b": "B is better", "undecided": "cannot tell"}


class ProgressView:
    """Draws the events of a run on standard error, so that standard output stays for results."""

    def __init__(self) -> None:
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
        speed = f"{event.items_per_s:.1f} items/s" if event.items_per_s else ""
        if self._console.is_terminal:
            if key not in self._ids:
                name = f"{event.side.upper()} {TASKS[event.task].title}"
                self._ids[key] = self._bars.add_task(name, total=event.total, speed="")
            self._bars.update(self._ids[key], completed=event.done, speed=speed)
            return
        now = time.monotonic()
        if event.done == event.total or now - self._last > _PLAIN_EVERY_S:
            self._last = now
            left = f", {event.seconds_left:.0f} s left" if event.seconds_left else ""
            self.say(f"{event.side.upper()} {TASKS[event.task].title}: {event.done}/{event.total} items, {speed}{left}")

    def say(self, message: str) -> None:
        """One sentence on standard error."""
        self._console.print(message, markup=False, soft_wrap=True)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i < 2 else "right", no_wrap=True)
    return table


def print_table(table: Table) -> None:
    """A table on standard output, never folded when it is not a terminal."""
    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 10_000
    console.print(table)


def print_lines(lines: Iterable[str]) -> None:
    """Plain lines on standard output."""
    for line in lines:
        print(line)


def print_report(report: Report) -> None:
    """The scoreboard of one run."""
    print_lines([f"{report.label}  (run {report.spec_id}, protocol {report.protocol})"])
    table = _table("subset", "metric", "score (95 % interval)", "n", "floor", "unreadable")
    for row in score_rows(report):
        n = row.a.n if row.a else 0
        table.add_row(*_head(row), estimate_text(row.a), str(n), number(row.floor), str(row.unreadable_a))
    print_table(table)
    print_lines([_outcomes(report), _average(report)])


def print_comparison(comparison: Comparison) -> None:
    """The scoreboard of two runs."""
    a, b = comparison.a, comparison.b
    print_lines([f"A: {a.label}  (run {a.spec_id})", f"B: {b.label}  (run {b.spec_id})", f"protocol {a.protocol}", ""])
    table = _table("subset", "metric", "A", "B", "B − A", "verdict", "n", "floor", "unreadable A/B")
    for row in score_rows(a, b, comparison):
        found = row.difference
        table.add_row(
            *_head(row),
            estimate_text(row.a),
            estimate_text(row.b),
            estimate_text(found.difference, sign=True) if found else "–",
            _VERDICTS[found.verdict] if found and found.difference.value is not None else "–",
            str(found.difference.n) if found else "–",
            number(row.floor),
            f"{row.unreadable_a}/{row.unreadable_b}",
        )
    print_table(table)
    for side, report in (("A", a), ("B", b)):
        print_lines([f"{side} " + _outcomes(report), f"{side} " + _average(report)])


def _head(row: ScoreRow) -> tuple[str, str]:
    reading = {"strict": "", "lenient": ", lenient", "choose": ", log-likelihood", "imputed": ", unreadable = 2.5"}[
        row.reading
    ]
    return TASKS[row.task].title + "/".join(_SOURCES[source] for source in row.sources), row.metric + reading


def _outcomes(report: Report) -> str:
    totals: dict[str, int] = {}
    for task in report.tasks.values():
        for outcome, count in task.outcomes.items():
            totals[outcome] = totals.get(outcome, 0) + count
    order = ("correct", "wrong_form", "wrong", "unreadable", "empty", "overflow", "error")
    counts = ", ".join(f"{totals[name]} {name.replace('_', ' ')}" for name in order if name in totals)
    return f"outcomes: {counts or 'none'}"


def _average(report: Report) -> str:
    names = ", ".join(TASKS[name].title + _SOURCES[task.source] for name, task in report.tasks.items())
    text = f"average of the main metric over {names}: {number(report.average.value)}"
    without = [TASKS[name].title for name in report.average_without]
    return f"{text} (no value for {', '.join(without)})" if without else text
