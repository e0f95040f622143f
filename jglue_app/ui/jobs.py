"""Background jobs, each with an owner: one at a time on the accelerator, in the order in which they were started.

A job runs in a thread of its own. The page reads its fields to show its progress; nothing here knows of a page.
"""

from __future__ import annotations

import contextvars
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

from gradio.context import LocalContext

from jglue_app.backends.pool import ModelPool
from jglue_app.errors import BusyError, InputError, JglueAppError
from jglue_app.results.first_subset import first_subset
from jglue_app.runs.paying import Charge
from jglue_app.runs.plan import Plan
from jglue_app.runs.request import Plans, RunRequest
from jglue_app.runs.runner import Event, run_plans
from jglue_app.settings import Settings
from jglue_app.ui.pace import Pace
from jglue_app.ui.visitor_budget import VisitorBudgets

State = Literal[
    "preparing", "waiting", "running", "done", "stopped", "out_of_time", "out_of_budget", "out_of_gpu_time", "failed"
]
ENDED = ("done", "stopped", "out_of_time", "out_of_budget", "out_of_gpu_time", "failed")
MAX_JOBS = 1_000
"""Jobs that are remembered; the oldest that have ended are forgotten first."""
MAX_ACTIVE_JOBS = 64
"""Jobs that run or wait, over all owners."""
TIME_SLICE_S = 20.0
"""How long a preemptible job answers items at least before it lets waiting jobs run."""
MAX_NOTICES = 20
MAX_CPU_JOBS = 2
"""Jobs without the accelerator that run at the same time, over all owners; others wait."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run that a job makes. (Its plan holds whole data files, which should not stay in memory after the job.)"""

    run: str
    """Id of the run."""
    ids: Mapping[str, frozenset[str]]
    """Task → ids of the items to answer."""

    @classmethod
    def of(cls, plan: Plan) -> PlannedRun:
        """The run that a plan will make."""
        return cls(plan.spec.spec_id, plan.ids)


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


Work = Callable[[Job], None]


class Jobs:
    """All jobs of one process."""

    def __init__(self, settings: Settings, pool: ModelPool) -> None:
        self._settings = settings
        self._pool = pool
        self._budgets = VisitorBudgets(settings)
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._queue: list[Job] = []
        """Jobs that need the accelerator; the first one holds it."""
        self._changed = threading.Condition()
        self._cpu_slots = threading.BoundedSemaphore(MAX_CPU_JOBS)

    def start(self, owner: str, kind: str, work: Work, request: Any = None, *, preemptible: bool = False) -> Job:
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
            if sum(other.active for other in self._jobs.values()) >= MAX_ACTIVE_JOBS:
                raise InputError("Too many people are waiting for this server. Try again in a few minutes.")
            job = Job(secrets.token_urlsafe(16), owner, kind, request, preemptible)
            self._jobs[job.id] = job
            for old in [key for key, j in self._jobs.items() if j.state in ENDED][: max(0, len(self._jobs) - MAX_JOBS)]:
                del self._jobs[old]
        # With the context of the request: ZeroGPU charges the quota of the visitor whose request that is.
        context = _request_context()
        threading.Thread(target=context.run, args=(self._run, job, work), name=f"job-{kind}", daemon=True).start()
        return job

    def start_runs(
        self,
        owner: str,
        kind: str,
        request: RunRequest,
        *,
        preemptible: bool = False,
        on_done: Callable[[Job], None] = lambda _: None,
    ) -> Job:
        """Begin a job that makes one or two runs; see `start`. `on_done` is called when they have ended without being
        stopped; an error of ours that it raises becomes a notice.
        """

        def work(job: Job) -> None:
            planned = request.for_page(self._settings).plans(self._settings)
            job.runs = {side: PlannedRun.of(plan) for side, plan in planned}
            self._make_runs(job, planned)
            if job.stop.is_set() or job.state in ENDED:
                return
            try:
                on_done(job)
            except JglueAppError as e:
                job.notices.append(e.message)

        return self.start(owner, kind, work, request, preemptible=preemptible)

    def start_on_cpu(self, owner: str, kind: str, work: Work) -> Job:
        """Begin a job that needs a processor for a moment and no accelerator, such as tokenizing one prompt. It does
        not count as the owner's active job, and only a few run at a time. `work` has to check `job.stop` itself.
        """
        job = Job(secrets.token_urlsafe(16), owner, kind)

        def wait_and_work(job: Job) -> None:
            job.state = "waiting"
            while not self._cpu_slots.acquire(timeout=0.2):
                if job.stop.is_set():
                    return
            try:
                if not job.stop.is_set():
                    job.state = "running"
                    work(job)
            finally:
                self._cpu_slots.release()

        threading.Thread(target=self._run, args=(job, wait_and_work), name=f"cpu-job-{kind}", daemon=True).start()
        return job

    def charge_for(self, owner: str) -> Charge:
        """Who is charged for the requests of an owner's jobs, beside their own budget: on a public server, the owner's
        share of what the operator gives to visitors."""
        return self._budgets.charge_for(owner)

    def latest(self, owner: str, kind: str) -> Job | None:
        """The owner's last job of a kind, under way or ended."""
        with self._changed:
            return next((j for j in reversed(self._jobs.values()) if j.owner == owner and j.kind == kind), None)

    def stop(self, job: Job) -> None:
        """Tell a job to stop. What it has finished stays."""
        job.stop.set()
        with self._changed:
            self._changed.notify_all()

    def queue_position(self, job: Job) -> int:
        """How many jobs hold the accelerator or come before this one."""
        with self._changed:
            return self._queue.index(job) if job in self._queue else 0

    @contextmanager
    def accelerator(self, job: Job) -> Iterator[bool]:
        """Wait for the accelerator and hold it; gives False if the job was stopped while it waited."""
        with self._changed:
            self._queue.append(job)
            job.state = "waiting"
            job.version += 1
            while self._queue[0] is not job and not job.stop.is_set():
                self._changed.wait(0.5)
            acquired = self._queue[0] is job and not job.stop.is_set()
            if acquired:
                job.state = "running"
                job.version += 1
        try:
            yield acquired
        finally:
            with self._changed:
                self._queue.remove(job)
                self._changed.notify_all()

    def _make_runs(self, job: Job, planned: Plans) -> None:
        limit, used = self._settings.max_seconds, 0.0
        while not job.stop.is_set():
            with self.accelerator(job) as acquired:
                if not acquired:
                    return
                began = time.monotonic()
                job.pace.interrupted(began)
                left = None if limit is None else began + limit - used
                stop_condition = _StopCondition(job, left, lambda: self._others_wait(job))
                ends, lacks = set(), set()
                charge = self.charge_for(job.owner)
                first = first_subset(self._settings)
                for event in run_plans(planned, self._pool, self._settings.runs_dir, stop_condition, charge, first):
                    job.handle(event)
                    ends.add(event.kind)
                    lacks.add(event.why)
                    if event.kind == "record":
                        stop_condition.start_slice()
            used += time.monotonic() - began
            if "stopped" not in ends:
                return
            if stop_condition.why == "timeout":
                job.state = "out_of_time"
            elif not stop_condition.why:
                job.state = "out_of_gpu_time" if "gpu_time" in lacks else "out_of_budget"
            if stop_condition.why != "preempted":
                return

    def _others_wait(self, job: Job) -> bool:
        with self._changed:
            return any(other is not job for other in self._queue)

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
            job.activity = ""
            job.version += 1
            job.ended.set()


def _request_context() -> contextvars.Context:
    """A copy of the context of the request that is answered now, without its event, which ends before a job does."""
    context = contextvars.copy_context()
    context.run(LocalContext.event_id.set, None)
    return context


class _StopCondition:
    """Whether a run has to stop, and why; once true, it stays true.

    The time slice of a preemptible run begins with its first answer: loading a model again and again is no progress.
    """

    def __init__(self, job: Job, deadline: float | None, others_wait: Callable[[], bool]) -> None:
        self._job, self._deadline, self._others_wait = job, deadline, others_wait
        self._slice_end: float | None = None
        self.why: Literal["", "stopped", "timeout", "preempted"] = ""

    def start_slice(self) -> None:
        """Start the time slice with the first answer."""
        if self._slice_end is None:
            self._slice_end = time.monotonic() + TIME_SLICE_S

    def __call__(self) -> bool:
        if not self.why:
            now = time.monotonic()
            slice_over = self._job.preemptible and self._slice_end is not None and now > self._slice_end
            if self._job.stop.is_set():
                self.why = "stopped"
            elif self._deadline is not None and now > self._deadline:
                self.why = "timeout"
            elif slice_over and self._others_wait():
                self.why = "preempted"
        return bool(self.why)
