"""One job of a visitor and its progress. The page reads its fields; nothing here knows of a page."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from jglue_app.errors import JglueAppError
from jglue_app.runs.events import Event
from jglue_app.runs.plan import Plan
from jglue_app.ui.pace import Pace

State = Literal[
    "preparing", "waiting", "running", "done", "stopped", "out_of_time", "out_of_budget", "out_of_gpu_time", "failed"
]
ENDED = ("done", "stopped", "out_of_time", "out_of_budget", "out_of_gpu_time", "failed")
MAX_NOTICES = 20


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run that a job makes. (Its plan holds whole data files, which should not stay in memory after the job.)"""

    run: str
    """Id of the run."""
    ids: Mapping[str, frozenset[str]]
    """Task → ids of the items to answer."""
    model: str = ""
    """The model and how it is asked: runs of the same take about as long for an item."""
    finished: int = 0
    """Items that were answered before the job."""
    name: str = ""
    """What people call the model."""

    @classmethod
    def of(cls, plan: Plan, finished: int = 0) -> PlannedRun:
        """The run that a plan will make."""
        model = plan.spec.model
        rounded = [value for value in (model.dtype, model.quantization) if value not in ("auto", "none")]
        asked = " ".join([model.id, plan.spec.decoding.method, *rounded])
        return cls(plan.spec.spec_id, plan.ids, asked, finished, plan.spec.label.partition(" · ")[0])


@dataclass(slots=True, eq=False)
class Job:
    """One job and its progress."""

    id: str
    """An unguessable token."""
    owner: str
    kind: str
    """Such as `compare`; an owner has at most one active job of each kind."""
    request: Any = None
    """What was requested, so that a page can show it again."""
    preemptible: bool = False
    """Whether it pauses for the jobs that wait behind it: what a run has finished is not done again."""
    stop: threading.Event = field(default_factory=threading.Event)
    state: State = "preparing"
    runs: dict[str, PlannedRun] = field(default_factory=dict)
    """Side → the run it makes, once that is planned."""
    bars: dict[tuple[str, str], Event] = field(default_factory=dict)
    """(side, subset) → the last event of that subset."""
    done: dict[str, int] = field(default_factory=dict)
    """Side → items of its run that are answered, in all subsets."""
    pace: Pace = field(default_factory=Pace)
    activity: str = ""
    """What it is doing at the moment, such as loading a model; empty while items are answered and at the end."""
    notices: list[str] = field(default_factory=list)
    """Sentences that still matter after the end; what it is doing at the moment is its `activity`."""
    failure: JglueAppError | None = None
    """Why it failed; None after an unexpected exception, which has an incident."""
    incident: str = ""
    """The id under which the log has the unexpected exception."""
    result: Any = None
    version: int = 0
    """Grows with every change."""
    ended: threading.Event = field(default_factory=threading.Event)
    """Set when its thread is done with it."""
    address: str = ""
    """Where its owner's requests come from; empty where nothing depends on it."""
    looked_at: float = field(default_factory=time.monotonic)
    """When a page last looked at it, or its owner asked for anything."""
    abandoned: bool = False
    """Whether it was stopped because nobody looked at it any more."""
    wait_s: int | None = None
    """About how many seconds it still waits for its turn, rounded; None where that is not known."""

    @property
    def active(self) -> bool:
        """Whether it waits or runs. A stopped job is not active, though its last step may still take a moment."""
        return self.state not in ENDED and not self.stop.is_set()

    def handle(self, event: Event) -> None:
        """Update the progress from an event of its runs."""
        if event.kind == "record":
            self.bars[event.side, event.task] = event
            self.done[event.side] = event.run_done
            self.pace.answered(event.side, time.monotonic())
            self.activity = ""
        elif event.kind == "notice" and event.task:
            self.pace.interrupted(time.monotonic())
            self.activity = event.message
        elif event.kind == "notice" and event.message not in self.notices and len(self.notices) < MAX_NOTICES:
            self.notices.append(event.message)
        self.version += 1
