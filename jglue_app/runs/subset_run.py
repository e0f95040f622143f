"""One subset of a run while it is answered: what the manifest says of it, and the event of each record."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jglue_app.errors import StoreError
from jglue_app.runs.events import Event
from jglue_app.runs.manifest import Described, write_head
from jglue_app.runs.notes import notes_on_repetition_penalty, notes_on_thinking
from jglue_app.runs.plan import Plan
from jglue_app.runs.sessions import Session, Side
from jglue_app.runs.store import RunStore
from jglue_app.runs.writer import RunWriter
from jglue_app.tasks import TASKS
from jglue_app.types import Item, Prompt, Record


@dataclass(slots=True)
class SubsetRun:
    """Of one plan, in one session."""

    side: Side
    plan: Plan
    name: str
    """Of the subset."""
    session: Session
    writer: RunWriter
    """Of the run's folder, which it holds."""
    remaining: list[Item]
    """The items that are to be answered."""
    done: int = 0
    """Those of them that were tried so far."""
    _started: float = field(default=0.0)

    @classmethod
    def begin(cls, side: Side, plan: Plan, name: str, session: Session, writer: RunWriter) -> SubsetRun:
        """With the items of a subset that have no output."""
        finished = session.store.finished()
        remaining = [item for item in plan.items[name] if (name, item.id) not in finished]
        return cls(side, plan, name, session, writer, remaining)

    def describe(self, model: Described, first: Prompt | None = None, machine: Mapping[str, Any] | None = None) -> None:
        """Write what is answered, and by what, to the run's folder; see `manifest.write_head`.

        Args:
            model: what is loaded.
            first: one of its prompts.
            machine: where that is; None for this one.

        Raises:
            StoreError: the run was begun with other weights, or in another precision.
        """
        if first is not None:
            require_same_model(self.session.store, model)
        write_head(self.plan, self.session.store, self.writer, model, first, machine)

    def notes(self, first: Prompt) -> Iterator[Event]:
        """What has to be known of its prompts, once in a session."""
        spec, given = self.plan.spec, self.session.given
        for note in (*notes_on_thinking(spec, TASKS[self.name], first), *notes_on_repetition_penalty(spec, self.name)):
            if note not in given:
                given.add(note)
                yield self.notice(note)

    def notice(self, message: str) -> Event:
        """A sentence about this subset."""
        return Event("notice", self.plan.spec.label, self.side, message=message, task=self.name)

    def start(self) -> None:
        """Speed is counted from here on."""
        self._started = time.perf_counter()

    @property
    def speed(self) -> float:
        """Items per second; 0 as long as there are none."""
        return self.done / max(time.perf_counter() - self._started, 1e-9)

    def count(self, record: Record) -> Event:
        """The event of a record that was stored."""
        self.done += 1
        self.session.attempted += 1
        total = len(self.plan.items[self.name])
        speed = self.speed
        return Event(
            "record",
            self.plan.spec.label,
            self.side,
            task=self.name,
            done=total - len(self.remaining) + self.done,
            total=total,
            run_done=self.session.attempted,
            run_total=self.plan.total,
            items_per_s=speed,
            seconds_left=(len(self.remaining) - self.done) / speed,
            record=record,
        )


def require_same_model(store: RunStore, backend: Described) -> None:
    """Refuse to go on with other weights, or with the same in another precision."""
    before = store.manifest().get("model") if store.exists() else None
    if not before:
        return
    if before["commit"] != backend.info.commit:
        raise StoreError(
            "The weights of {model} have changed since this run was started ({old} is now {new}). Delete {folder} to "
            "start over, or name the old revision.",
            model=backend.info.name,
            old=before["commit"],
            new=backend.info.commit,
            folder=store.path,
        )
    if before["dtype"] != backend.info.dtype:
        raise StoreError(
            "This run was started in {old}, and here the model is loaded in {new}. Name the dtype ({old}) to go on, or "
            "{new} for a run of its own.",
            old=before["dtype"],
            new=backend.info.dtype,
        )
