"""The progress of an active run → its W&B run: throughput and running scores. Failures here never stop the run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from jglue_app import messages
from jglue_app.child_process import OnMessage
from jglue_app.errors import EXIT_INCOMPLETE, EXIT_INTERRUPTED, InputError, JglueAppError, StoreError
from jglue_app.messages import Message
from jglue_app.results.library import Library
from jglue_app.results.local_paths import last_part
from jglue_app.runs.events import Event
from jglue_app.runs.plan import Plan
from jglue_app.runs.store import RunStore
from jglue_app.scoring.report import main_metric
from jglue_app.wandb_sink.login import Login
from jglue_app.wandb_sink.payload import EVALUATION, run_id
from jglue_app.wandb_sink.push_run import exclusive_lock
from jglue_app.wandb_sink.worker_process import WorkerProcess

SPEED_EVERY_S = 5.0
SCORES_EVERY_S = 30.0
SCORES_PAUSE_FACTOR = 50
"""The pause before the next running scores is at least this many times as long as computing the last ones took."""
END_WAIT_S, STOPPED_WAIT_S = 60.0, 10.0
"""How long W&B may take to receive the last of the progress; and when the work was stopped."""
NOTIFY_AFTER_S = 5.0
"""Seconds after which a message says that W&B is being waited for."""


class ProgressLog:
    """The progress values of one active run: throughput every few seconds, running scores less often.

    Args:
        plan: the plan of the run.
        runs_dir: where the run is stored.
        protocol: whose running scores are logged.
    """

    def __init__(self, plan: Plan, runs_dir: Path, protocol: str) -> None:
        self._plan, self._protocol = plan, protocol
        self._library = Library(runs_dir)
        self._speed_logged, self._scores_logged = 0.0, time.monotonic()
        self._scores_pause = SCORES_EVERY_S

    def values_after(self, event: Event) -> dict[str, float | int] | None:
        """Key → value to log after an event; None, at no cost, if it is too early for the next row."""
        now = time.monotonic()
        last = event.run_done == event.run_total
        if event.kind != "record" or (not last and now - self._speed_logged < SPEED_EVERY_S):
            return None
        values: dict[str, float | int] = {
            "progress/items": event.run_done,
            "progress/share": event.run_done / event.run_total,
            f"progress/{event.task}/items": event.done,
        }
        if event.items_per_s is not None:
            values["progress/items_per_s"] = event.items_per_s
        if last or now - self._scores_logged >= self._scores_pause:
            values |= self._running_scores()
            self._scores_logged = time.monotonic()
            # Scoring thousands of items takes seconds, during which the model is idle.
            self._scores_pause = max(SCORES_EVERY_S, SCORES_PAUSE_FACTOR * (self._scores_logged - now))
        self._speed_logged = now
        return values

    def _running_scores(self) -> dict[str, float]:
        try:
            # Items that an earlier session stored beyond this one's limit are not part of the progress.
            path = RunStore.of(self._library.runs_dir, self._plan.spec).path
            report = self._library.report(path, self._protocol, self._plan.ids)
        except StoreError:
            return {}
        scores = {name: main_metric(task, self._protocol).value for name, task in report.tasks.items()}
        return {f"progress/{name}/score": value for name, value in scores.items() if value is not None}


class EndWait:
    """The time limit for W&B to receive the end of the progress, with a message if that takes a while.

    Args:
        should_stop: whether the work was stopped: then the limit is shorter.
        on_message: takes the message.
    """

    def __init__(self, should_stop: Callable[[], bool], on_message: OnMessage) -> None:
        self._should_stop, self._on_message = should_stop, on_message
        self._began = time.monotonic()
        self._notified = False

    def is_over(self) -> bool:
        """Whether the limit is reached."""
        waited = time.monotonic() - self._began
        limit = STOPPED_WAIT_S if self._should_stop() else END_WAIT_S
        if NOTIFY_AFTER_S < waited < limit and not self._notified:
            self._notified = True
            self._on_message(
                Message("Waiting for W&B to take the last of the progress, at most {limit:.0f} s.", limit=limit)
            )
        return waited > limit


class Follower:
    """Progress of the runs of one command. Use it in a `with`; `on_event` takes every event of the runner.

    A key that W&B does not accept, or an entity that does not exist, raises at once, not after hours of work. A server
    that cannot be reached is reported in a message, and the run continues without it. Without a login, or without a
    plan, it does nothing.

    Args:
        plans: side → what is run.
        login: where, and the key.
        runs_dir: where the runs are stored.
        protocol: whose running scores are sent.
        on_message: takes messages on the way.
        should_stop: whether the work was stopped: then the limit is shorter.
    """

    def __init__(
        self,
        plans: Mapping[str, Plan],
        login: Login | None,
        runs_dir: Path,
        *,
        protocol: str = "official",
        on_message: OnMessage = lambda _: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._login, self._on_message, self._should_stop = login, on_message, should_stop
        self._plans = dict(plans)
        self._logs = {side: ProgressLog(plan, runs_dir, protocol) for side, plan in plans.items()}
        self._workers: dict[str, WorkerProcess] = {}
        self._exit_codes: dict[str, int] = {}
        self._locks: dict[str, contextlib.ExitStack] = {}

    def __enter__(self) -> Self:
        try:
            for side, plan in self._plans.items() if self._login else ():
                self._start(side, plan)
        except BaseException as e:
            for side in list(self._workers):
                self._drop(side, type(e))
            raise
        return self

    def _start(self, side: str, plan: Plan) -> None:
        assert self._login is not None
        try:
            # W&B's client sends the whole summary at its end, so a push meanwhile would be undone.
            self._locks[side] = contextlib.ExitStack()
            self._locks[side].enter_context(exclusive_lock(self._login, run_id(plan.spec.spec_id)))
            self._workers[side] = WorkerProcess(_job(plan, self._login), self._login)
            self._on_message(self._workers[side].first_message(self._should_stop))
        except InputError:
            raise
        except JglueAppError as e:
            self._drop(side)
            if not self._should_stop():
                self._on_message(Message("{error} The run goes on; `push` sends it afterwards.", error=messages.of(e)))

    def _drop(self, side: str, kind: type[BaseException] | None = None) -> None:
        """End the process of a run, and release the lock on its W&B run."""
        with contextlib.ExitStack() as lock:
            if side in self._locks:
                lock.push(self._locks.pop(side))
            if side in self._workers:
                self._workers.pop(side).__exit__(kind, None, None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and not issubclass(kind, Exception):  # Ctrl-C twice.
            for side in list(self._workers):
                self._drop(side, kind)
        self._close(1 if kind else 0)

    def _close(self, code: int) -> None:
        wait = EndWait(
            lambda: bool(code) or EXIT_INTERRUPTED in self._exit_codes.values() or self._should_stop(),
            self._on_message,
        )
        for side, worker in self._workers.items():
            worker.send({"end": code or self._exit_codes.get(side, 0)})
        kind: type[BaseException] | None = None
        for side, worker in list(self._workers.items()):
            try:
                worker.result(should_stop=wait.is_over)
            except JglueAppError as e:
                reason = Message("W&B does not answer.") if wait.is_over() else messages.of(e)
                label = self._plans[side].spec.label
                self._on_message(Message("The progress of {run} is not all at W&B: {reason}", run=label, reason=reason))
            except BaseException as e:
                kind = type(e)
                raise
            finally:
                for ended in list(self._workers) if kind else [side]:
                    self._drop(ended, kind)

    def on_event(self, event: Event) -> None:
        """Log the progress after an event, at no cost if it is too early for that."""
        if event.kind == "stopped":  # By somebody, or because its budget has no room.
            self._exit_codes[event.side] = EXIT_INTERRUPTED if self._should_stop() else EXIT_INCOMPLETE
        if event.record and event.record.error:
            self._exit_codes.setdefault(event.side, EXIT_INCOMPLETE)
        worker = self._workers.get(event.side)
        values = self._logs[event.side].values_after(event) if worker else None
        if worker is None or values is None:
            return
        if not worker.send({"log": values}):
            self._drop(event.side)
            self._on_message(Message("W&B's client has ended; the run goes on without it. `push` sends it afterwards."))


def _job(plan: Plan, login: Login) -> dict[str, Any]:
    spec, target = plan.spec, login.target
    return {
        "action": "follow",
        "id": run_id(spec.spec_id),
        "name": spec.label,
        "job_type": EVALUATION,
        "tags": ["jglue"],
        "config": {
            "model": last_part(spec.model.id),
            "files_sha256": spec.model.files_sha256,
            "tasks": list(spec.tasks),
            "planned": plan.total,
        },
        "entity": target.entity,
        "project": target.project,
    }
