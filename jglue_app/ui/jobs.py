"""Work that goes on when nobody looks: jobs with an owner, one at a time on the accelerator, in the order they came.

A job runs in a thread of its own. Whoever draws it reads its fields; nothing here knows of a page.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from jglue_app.backends.pool import ModelPool
from jglue_app.errors import BusyError, InputError, JglueAppError
from jglue_app.runs.plan import Plan
from jglue_app.runs.request import Plans, RunRequest
from jglue_app.runs.runner import Event, run_plans
from jglue_app.settings import Settings

State = Literal["preparing", "waiting", "running", "done", "stopped", "out_of_time", "failed"]
ENDED = ("done", "stopped", "out_of_time", "failed")
KEPT = 1_000
"""Jobs that are remembered; the oldest that have ended leave first."""
MOST_ACTIVE = 64
"""Jobs that run or wait, over all owners."""
SLICE_S = 20.0
"""How long a job that gives way answers at least before it lets others in between."""
MAX_NOTICES = 20
MOST_ASIDE = 2
"""Pieces of work that need no accelerator and run at the same time, over all owners; others wait."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Made:
    """A run that a job makes. (Its plan holds whole data files, which no ended job should keep.)"""

    run: str
    """Id of the run."""
    ids: Mapping[str, frozenset[str]]
    """Task → ids of the items to answer."""

    @classmethod
    def by(cls, plan: Plan) -> Made:
        """What a plan will make."""
        return cls(plan.spec.spec_id, plan.ids)


@dataclass(slots=True, eq=False)
class Job:
    """One piece of work and how far it is."""

    id: str
    """An unguessable token."""
    owner: str
    kind: str
    """What sort of work it is, such as `compare`; an owner has one active job of a kind."""
    asked: Any = None
    """What was asked for, so that a page can show it again."""
    gives_way: bool = False
    """Whether it pauses for the jobs that wait behind it: what a run has finished is not done again."""
    stop: threading.Event = field(default_factory=threading.Event)
    state: State = "preparing"
    made: dict[str, Made] = field(default_factory=dict)
    """Side → the run it makes, once that is planned."""
    bars: dict[tuple[str, str], Event] = field(default_factory=dict)
    """(side, subset) → the last event of that subset."""
    loading: str = ""
    """What is being prepared at the moment; empty while items are answered."""
    notices: list[str] = field(default_factory=list)
    """What was told on the way, without what concerns loading."""
    failure: JglueAppError | None = None
    """Why it failed; None for a fault of ours, which has an incident."""
    incident: str = ""
    """Under this id the fault stands in the log."""
    result: Any = None
    version: int = 0
    """Grows with every change."""
    over: threading.Event = field(default_factory=threading.Event)
    """Set at its end."""

    @property
    def active(self) -> bool:
        """Whether it is under way; one that was told to stop is not, though its last step may take a moment."""
        return self.state not in ENDED and not self.stop.is_set()

    def see(self, event: Event) -> None:
        """Take in an event of its runs."""
        if event.kind == "record":
            self.bars[event.side, event.task] = event
            self.loading = ""
        elif event.kind == "notice" and event.task:
            self.loading = event.message
        elif event.kind == "notice" and event.message not in self.notices and len(self.notices) < MAX_NOTICES:
            self.notices.append(event.message)
        self.version += 1


Work = Callable[[Job], None]


class Jobs:
    """All jobs of one process."""

    def __init__(self, settings: Settings, pool: ModelPool) -> None:
        self._settings = settings
        self._pool = pool
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._line: list[Job] = []
        """Those who want the accelerator; the first has it."""
        self._changed = threading.Condition()
        self._aside = threading.BoundedSemaphore(MOST_ASIDE)

    def start(self, owner: str, kind: str, work: Work, asked: Any = None, *, gives_way: bool = False) -> Job:
        """Begin a job in the background.

        Raises:
            BusyError: the owner has an active job of this kind; on a public server, of any kind.
            InputError: too many jobs wait.
        """
        with self._changed:
            for other in self._jobs.values():
                if other.owner == owner and other.active and (self._settings.public or other.kind == kind):
                    raise BusyError(
                        "A run of yours is already going on, perhaps in another tab. Stop it, or wait for its end."
                    )
            if sum(other.active for other in self._jobs.values()) >= MOST_ACTIVE:
                raise InputError("Too many people are waiting for this server. Try again in a few minutes.")
            job = Job(secrets.token_urlsafe(16), owner, kind, asked, gives_way)
            self._jobs[job.id] = job
            for old in [key for key, j in self._jobs.items() if j.state in ENDED][: max(0, len(self._jobs) - KEPT)]:
                del self._jobs[old]
        threading.Thread(target=self._run, args=(job, work), name=f"job-{kind}", daemon=True).start()
        return job

    def runs(
        self,
        owner: str,
        kind: str,
        asked: RunRequest,
        *,
        gives_way: bool = False,
        after: Callable[[Job], None] = lambda _: None,
    ) -> Job:
        """Begin a job that makes one or two runs; see `start`. `after` is called when they have come to their end
        without a stop; what it raises of our errors is told among the notices.
        """

        def work(job: Job) -> None:
            planned = asked.for_page(self._settings).plans(self._settings)
            job.made = {side: Made.by(plan) for side, plan in planned}
            self._make_runs(job, planned)
            if job.stop.is_set() or job.state in ENDED:
                return
            try:
                after(job)
            except JglueAppError as e:
                job.notices.append(str(e))

        return self.start(owner, kind, work, asked, gives_way=gives_way)

    def aside(self, owner: str, kind: str, work: Work) -> Job:
        """Do in the background what needs a processor for a moment and no accelerator, such as tokenizing one prompt.
        It does not count as the owner's active job, and a few at most run at a time. `work` looks at `job.stop` itself.
        """
        job = Job(secrets.token_urlsafe(16), owner, kind)

        def wait_and_work(job: Job) -> None:
            job.state = "waiting"
            while not self._aside.acquire(timeout=0.2):
                if job.stop.is_set():
                    return
            try:
                if not job.stop.is_set():
                    job.state = "running"
                    work(job)
            finally:
                self._aside.release()

        threading.Thread(target=self._run, args=(job, wait_and_work), name=f"aside-{kind}", daemon=True).start()
        return job

    def latest(self, owner: str, kind: str) -> Job | None:
        """The owner's last job of a kind, under way or ended."""
        with self._changed:
            return next((j for j in reversed(self._jobs.values()) if j.owner == owner and j.kind == kind), None)

    def halt(self, job: Job) -> None:
        """Tell a job to stop. What it has finished stays."""
        job.stop.set()
        with self._changed:
            self._changed.notify_all()

    def ahead(self, job: Job) -> int:
        """How many have the accelerator or come before this one."""
        with self._changed:
            return self._line.index(job) if job in self._line else 0

    @contextmanager
    def turn(self, job: Job) -> Iterator[bool]:
        """Wait for the accelerator and hold it; False if the job was stopped before."""
        with self._changed:
            self._line.append(job)
            job.state = "waiting"
            job.version += 1
            while self._line[0] is not job and not job.stop.is_set():
                self._changed.wait(0.5)
            mine = self._line[0] is job and not job.stop.is_set()
            if mine:
                job.state = "running"
                job.version += 1
        try:
            yield mine
        finally:
            with self._changed:
                self._line.remove(job)
                self._changed.notify_all()

    def _make_runs(self, job: Job, planned: Plans) -> None:
        limit, used = self._settings.max_seconds, 0.0
        while not job.stop.is_set():
            with self.turn(job) as mine:
                if not mine:
                    return
                began = time.monotonic()
                left = None if limit is None else began + limit - used
                brake = _Brake(job, left, lambda: self._others_wait(job))
                ends = set()
                for event in run_plans(planned, self._pool, self._settings.runs_dir, brake):
                    job.see(event)
                    ends.add(event.kind)
                    if event.kind == "record":
                        brake.answered()
            used += time.monotonic() - began
            if "stopped" not in ends:
                return
            if brake.why == "late":
                job.state = "out_of_time"
            if brake.why != "way":
                return

    def _others_wait(self, job: Job) -> bool:
        with self._changed:
            return any(other is not job for other in self._line)

    def _run(self, job: Job, work: Work) -> None:
        try:
            work(job)
            if job.state not in ENDED:
                job.state = "stopped" if job.stop.is_set() else "done"
        except JglueAppError as e:
            # A traceback holds what the work was given, and a key may be among that.
            e.__cause__ = e.__context__ = None
            job.failure, job.state = e.with_traceback(None), "failed"
        except Exception:
            job.incident = uuid.uuid4().hex[:8]
            log.exception("incident %s", job.incident)
            job.state = "failed"
        finally:
            job.loading = ""
            job.version += 1
            job.over.set()


class _Brake:
    """Whether a run has to stop, and why; once it has, that stays so.

    The slice of a run that gives way begins with its first answer: loading a model again and again is no progress.
    """

    def __init__(self, job: Job, deadline: float | None, others_wait: Callable[[], bool]) -> None:
        self._job, self._deadline, self._others_wait = job, deadline, others_wait
        self._slice_end: float | None = None
        self.why: Literal["", "told", "late", "way"] = ""

    def answered(self) -> None:
        """An item has been answered."""
        if self._slice_end is None:
            self._slice_end = time.monotonic() + SLICE_S

    def __call__(self) -> bool:
        if not self.why:
            now = time.monotonic()
            over = self._job.gives_way and self._slice_end is not None and now > self._slice_end
            if self._job.stop.is_set():
                self.why = "told"
            elif self._deadline is not None and now > self._deadline:
                self.why = "late"
            elif over and self._others_wait():
                self.why = "way"
        return bool(self.why)
