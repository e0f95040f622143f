"""A run under way → its W&B run: throughput and running scores as it goes. What goes wrong here never stops the run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from jglue_app.errors import InputError, JglueAppError, StoreError
from jglue_app.results.library import Library
from jglue_app.runs.plan import Plan
from jglue_app.runs.runner import Event
from jglue_app.runs.store import RunStore
from jglue_app.scoring.report import main_metric
from jglue_app.wandb_sink.login import Login
from jglue_app.wandb_sink.payload import EVALUATION, run_id
from jglue_app.wandb_sink.process import Worker
from jglue_app.wandb_sink.push_run import alone

SPEED_EVERY_S = 5.0
SCORES_EVERY_S = 30.0
SCORES_SHARE = 50
"""The pause before the next running scores is at least so many times as long as they took."""
END_S, SHORT_END_S = 60.0, 10.0
"""How long W&B may take to receive the last of the progress; and when somebody has stopped the work."""
TELL_AFTER_S = 5.0
"""When a wait for W&B is told of."""
STOPPED = 130
"""Exit code that a W&B run is given when somebody stopped the work: it is not finished."""
INCOMPLETE = 6
"""And when an item has no output; the command line ends with it too."""


class Pace:
    """What is due to be logged of one run under way: throughput every few seconds, running scores less often."""

    def __init__(self, plan: Plan, runs_dir: Path, protocol: str) -> None:
        self._plan, self._protocol = plan, protocol
        self._library = Library(runs_dir)
        self._speed, self._scores = 0.0, time.monotonic()
        self._pause = SCORES_EVERY_S

    def due(self, event: Event) -> dict[str, float | int] | None:
        """Key → value after an event; None when nothing is due, which costs nothing."""
        now = time.monotonic()
        last = event.run_done == event.run_total
        if event.kind != "record" or (not last and now - self._speed < SPEED_EVERY_S):
            return None
        log: dict[str, float | int] = {
            "progress/items": event.run_done,
            "progress/share": event.run_done / event.run_total,
            f"progress/{event.task}/items": event.done,
        }
        if event.items_per_s is not None:
            log["progress/items_per_s"] = event.items_per_s
        if last or now - self._scores >= self._pause:
            log |= self._running_scores()
            self._scores = time.monotonic()
            # Of thousands of items scoring takes seconds, which the model waits for.
            self._pause = max(SCORES_EVERY_S, SCORES_SHARE * (self._scores - now))
        self._speed = now
        return log

    def _running_scores(self) -> dict[str, float]:
        try:
            # What an earlier session stored beyond this one's limit is no part of what is followed.
            path = RunStore.of(self._library.runs_dir, self._plan.spec).path
            report = self._library.report(path, self._protocol, self._plan.ids)
        except StoreError:
            return {}
        found = {name: main_metric(task, self._protocol).value for name, task in report.tasks.items()}
        return {f"progress/{name}/score": value for name, value in found.items() if value is not None}


class Clock:
    """How long somebody has waited, and a sentence when that has been a while."""

    def __init__(self, should_stop: Callable[[], bool], say: Callable[[str], None]) -> None:
        self._should_stop, self._say = should_stop, say
        self._began = time.monotonic()
        self._told = False

    def is_over(self) -> bool:
        """Whether that was long enough; sooner when somebody has stopped the work."""
        waited = time.monotonic() - self._began
        limit = SHORT_END_S if self._should_stop() else END_S
        if TELL_AFTER_S < waited < limit and not self._told:
            self._told = True
            self._say(f"Waiting for W&B to take the last of the progress, at most {limit:.0f} s.")
        return waited > limit


class Follower:
    """Progress of the runs of one command. Use it in a `with`; `see` takes every event of the runner.

    A key that W&B does not accept, or an entity that is not there, raises at once: nobody should find that out after
    hours. A server that cannot be reached is told in a sentence, and the run goes on without it. Without a login, or
    without a plan, it does nothing.
    """

    def __init__(
        self,
        plans: Mapping[str, Plan],
        login: Login | None,
        runs_dir: Path,
        *,
        protocol: str = "official",
        say: Callable[[str], None] = lambda _: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Args:
            plans: side → what is run.
            login: where, and the key.
            runs_dir: where the runs are stored.
            protocol: whose running scores are sent.
            say: takes sentences on the way.
            should_stop: whether somebody has stopped the work: then W&B is not waited for as long.
        """
        self._login, self._say, self._should_stop = login, say, should_stop
        self._plans = dict(plans)
        self._paces = {side: Pace(plan, runs_dir, protocol) for side, plan in plans.items()}
        self._workers: dict[str, Worker] = {}
        self._codes: dict[str, int] = {}
        self._held: dict[str, contextlib.ExitStack] = {}

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
            self._held[side] = contextlib.ExitStack()
            self._held[side].enter_context(alone(self._login, run_id(plan.spec.spec_id)))
            self._workers[side] = Worker(self._job(plan, self._login), self._login)
            self._say(self._workers[side].first_sentence(self._should_stop))
        except InputError:
            raise
        except JglueAppError as e:
            self._drop(side)
            if not self._should_stop():
                self._say(f"{e} The run goes on; `push` sends it afterwards.")

    def _drop(self, side: str, kind: type[BaseException] | None = None) -> None:
        """End the process of a run, and let others push the run."""
        with contextlib.ExitStack() as held:
            if side in self._held:
                held.push(self._held.pop(side))
            if side in self._workers:
                self._workers.pop(side).__exit__(kind)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and not issubclass(kind, Exception):  # Ctrl-C twice.
            for side in list(self._workers):
                self._drop(side, kind)
        self._close(1 if kind else 0)

    def _close(self, code: int) -> None:
        clock = Clock(lambda: bool(code) or STOPPED in self._codes.values() or self._should_stop(), self._say)
        for side, worker in self._workers.items():
            worker.send({"end": code or self._codes.get(side, 0)})
        kind: type[BaseException] | None = None
        for side, worker in list(self._workers.items()):
            try:
                worker.result(should_stop=clock.is_over)
            except JglueAppError as e:
                why = "W&B does not answer." if clock.is_over() else str(e)
                self._say(f"The progress of {self._plans[side].spec.label} is not all at W&B: {why}")
            except BaseException as e:
                kind = type(e)
                raise
            finally:
                for ended in list(self._workers) if kind else [side]:
                    self._drop(ended, kind)

    def see(self, event: Event) -> None:
        """Take in an event; cheap unless something is due."""
        if event.kind == "stopped":
            self._codes[event.side] = STOPPED
        if event.record and event.record.error:
            self._codes.setdefault(event.side, INCOMPLETE)
        worker = self._workers.get(event.side)
        log = self._paces[event.side].due(event) if worker else None
        if worker is None or log is None:
            return
        if not worker.send({"log": log}):
            self._drop(event.side)
            self._say("W&B's client has ended; the run goes on without it. `push` sends it afterwards.")

    def _job(self, plan: Plan, login: Login) -> dict[str, Any]:
        spec, target = plan.spec, login.target
        return {
            "action": "follow",
            "id": run_id(spec.spec_id),
            "name": spec.label,
            "job_type": EVALUATION,
            "tags": ["jglue"],
            "config": {
                "model": spec.model.id,
                "files_sha256": spec.model.files_sha256,
                "tasks": list(spec.tasks),
                "planned": plan.total,
            },
            "entity": target.entity,
            "project": target.project,
        }
