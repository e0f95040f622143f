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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from gradio.context import LocalContext

from jglue_app.backends.pool import ModelPool
from jglue_app.errors import BusyError, InputError, JglueAppError
from jglue_app.results.first_subset import first_subset
from jglue_app.runs.paying import Charge
from jglue_app.runs.plan import Plan
from jglue_app.runs.request import Plans, RunRequest
from jglue_app.runs.runner import run_plans
from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings
from jglue_app.ui.dtype_pace import DtypePaces
from jglue_app.ui.job import ENDED, MAX_NOTICES, Job, PlannedRun, State
from jglue_app.ui.line import Line
from jglue_app.ui.visitor import address_of
from jglue_app.ui.visitor_budget import VisitorBudgets
from jglue_app.ui.visits import Visits
from jglue_app.ui.waiting_time import Rates

__all__ = ["ENDED", "MAX_NOTICES", "Job", "Jobs", "PlannedRun", "State", "Work"]

MAX_JOBS = 1_000
"""Jobs that are remembered; the oldest that have ended are forgotten first."""
MAX_ACTIVE_JOBS = 64
"""Jobs that run or wait, over all owners."""
TIME_SLICE_S = 20.0
"""How long a preemptible job answers items at least before it lets waiting jobs run."""
MAX_CPU_JOBS = 2
"""Jobs without the accelerator that run at the same time, over all owners; others wait."""
MAX_CPU_JOBS_OF_ADDRESS = 8
"""Of these, those of one address that run or wait at the same time, on a public server."""
KEPT_S = 3_600.0
"""How long a public server remembers a job that has ended and at which nobody looks."""
REAP_INTERVAL_S = 1.0
"""How often a public server looks for jobs that were abandoned."""

log = logging.getLogger(__name__)


Work = Callable[[Job], None]


class Jobs:
    """All jobs of one process."""

    def __init__(self, settings: Settings, pool: ModelPool) -> None:
        self._settings = settings
        self._pool = pool
        self._budgets = VisitorBudgets(settings)
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._line = Line(Rates(settings.max_seconds, TIME_SLICE_S))
        self.dtype_paces = DtypePaces(settings.runs_dir)
        """How fast runs were here in each dtype."""
        self._visits = Visits(settings)
        self._lock = threading.Lock()
        self._cpu_slots = threading.BoundedSemaphore(MAX_CPU_JOBS)
        self._cpu_jobs: dict[tuple[str, str], Job] = {}
        """(Owner, kind) → the job without the accelerator that is under way."""
        self._reaper: threading.Thread | None = None

    def start(self, owner: str, kind: str, work: Work, request: Any = None, *, preemptible: bool = False) -> Job:
        """Begin a job in the background.

        Raises:
            BusyError: the owner has an active job of this kind; on a public server, of any kind.
            InputError: too many jobs wait, or the owner may start no more at the moment; see `Visits`.
        """
        with self._lock:
            for other in self._jobs.values():
                if other.owner == owner and other.active and (self._settings.public or other.kind == kind):
                    raise BusyError(
                        "A run of yours is already going on, perhaps in another tab. Stop it, or wait for its end."
                    )
            active = [other for other in self._jobs.values() if other.active]
            if len(active) >= MAX_ACTIVE_JOBS:
                raise InputError("Too many people are waiting for this server. Try again in a few minutes.")
            self._visits.admit(owner, [other.address for other in active])
            job = Job(secrets.token_urlsafe(16), str(owner), kind, request, preemptible, address=address_of(owner))
            self._jobs[job.id] = job
            self._forget()
            self._reap()
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
            job.runs = {side: PlannedRun.of(plan, self._finished(plan)) for side, plan in planned}
            self._make_runs(job, planned)
            self.dtype_paces.learn(job)
            if job.stop.is_set() or job.state in ENDED:
                return
            try:
                on_done(job)
            except JglueAppError as e:
                job.notices.append(e.message)

        return self.start(owner, kind, work, request, preemptible=preemptible)

    def start_on_cpu(self, owner: str, kind: str, work: Work) -> Job:
        """Begin a job that needs a processor for a moment and no accelerator, such as tokenizing one prompt. It does
        not count as the owner's active job, and only a few run at a time; the owner's next one of a kind takes the
        place of the one before it. `work` has to check `job.stop` itself.

        Raises:
            BusyError: on a public server, too many of one address wait.
        """
        job = Job(secrets.token_urlsafe(16), str(owner), kind, address=address_of(owner))
        with self._lock:
            before = self._cpu_jobs.get((job.owner, kind))
            others = [other for other in self._cpu_jobs.values() if other is not before and other.active]
            of_address = sum(other.address == job.address for other in others)
            if self._settings.public and job.address and of_address >= MAX_CPU_JOBS_OF_ADDRESS:
                raise BusyError(
                    "From your network this server is asked for too much at once. Try it again in a moment."
                )
            self._cpu_jobs[job.owner, kind] = job
        if before is not None and self._settings.public:
            self.stop(before)

        def wait_and_work(job: Job) -> None:
            job.state = "waiting"
            has_slot = False
            try:
                while not (has_slot or job.stop.is_set()):
                    has_slot = self._cpu_slots.acquire(timeout=0.2)
                if not job.stop.is_set():
                    job.state = "running"
                    work(job)
            finally:
                if has_slot:
                    self._cpu_slots.release()
                with self._lock:
                    if self._cpu_jobs.get((job.owner, kind)) is job:
                        del self._cpu_jobs[job.owner, kind]

        threading.Thread(target=self._run, args=(job, wait_and_work), name=f"cpu-job-{kind}", daemon=True).start()
        return job

    def charge_for(self, owner: str) -> Charge:
        """Who is charged for the requests of an owner's jobs, beside their own budget: on a public server, the owner's
        share of what the operator gives to visitors."""
        return self._budgets.charge_for(owner)

    def latest(self, owner: str, kind: str) -> Job | None:
        """The owner's last job of a kind, under way or ended. Whoever asks for it looks at it."""
        with self._lock:
            job = next((j for j in reversed(self._jobs.values()) if j.owner == owner and j.kind == kind), None)
        if job is not None:
            job.looked_at = time.monotonic()
        return job

    def has(self, owner: str) -> bool:
        """Whether any job of an owner is remembered."""
        with self._lock:
            return any(job.owner == owner for job in self._jobs.values())

    def stop(self, job: Job) -> None:
        """Tell a job to stop. What it has finished stays."""
        job.stop.set()
        self._line.look()

    def queue_position(self, job: Job) -> int:
        """How many jobs hold the accelerator or come before this one."""
        return self._line.ahead(job)

    def in_the_way(self, job: Job) -> Job | None:
        """The job that has the accelerator while this one waits for it, if its owner may see and stop that one: on a
        public server visitors may not."""
        return None if self._settings.public else self._line.holder_before(job)

    @contextmanager
    def accelerator(self, job: Job) -> Iterator[bool]:
        """Wait for the accelerator and hold it; gives False if the job was stopped while it waited."""
        with self._line.turn(job) as acquired:
            yield acquired

    def _finished(self, plan: Plan) -> int:
        """How many of a plan's items are answered already; on a private server nobody waits to know."""
        store = RunStore.of(self._settings.runs_dir, plan.spec)
        if not (self._settings.public and store.exists()):
            return 0
        answered = {(record.task, record.item_id) for record in store.records() if record.output is not None}
        return sum((task, id_) in answered for task, ids in plan.ids.items() for id_ in ids)

    def _forget(self) -> None:
        """Forget the oldest jobs that have ended, beyond so many; on a public server also those that are of no use to
        anybody any more."""
        ended = [job for job in self._jobs.values() if job.state in ENDED]
        too_many = max(0, len(self._jobs) - MAX_JOBS)
        oldest = time.monotonic() - KEPT_S
        for at, job in enumerate(ended):
            if at < too_many or (self._settings.public and job.looked_at < oldest):
                del self._jobs[job.id]

    def _reap(self) -> None:
        """Have abandoned jobs ended as long as there is one that could be."""
        if self._settings.abandoned_after_s is not None and self._reaper is None:
            self._reaper = threading.Thread(target=self._end_abandoned, name="abandoned-jobs", daemon=True)
            self._reaper.start()

    def _end_abandoned(self) -> None:
        limit = self._settings.abandoned_after_s
        assert limit is not None
        while True:
            time.sleep(REAP_INTERVAL_S)
            with self._lock:
                active = [job for job in self._jobs.values() if job.active]
                if not active:
                    self._reaper = None
                    return
            for job in active:
                if time.monotonic() - job.looked_at > limit:
                    job.abandoned = True
                    self.stop(job)

    def _make_runs(self, job: Job, planned: Plans) -> None:
        limit, used = self._settings.max_seconds, 0.0
        while not job.stop.is_set():
            with self.accelerator(job) as acquired:
                if not acquired:
                    return
                began = time.monotonic()
                job.pace.interrupted(began)
                left = None if limit is None else began + limit - used
                stop_condition = _StopCondition(job, left, lambda: self._line.others_wait(job))
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
