"""What becomes of items when workers die, fail or are late. Jobs are done in this process, one reply after the other,
so that each order of them can be tried."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from jglue_app.backends.pool import ModelPool
from jglue_app.cluster import RayOptions, runs
from jglue_app.cluster.deaths import MAX_FRUITLESS
from jglue_app.cluster.distribution import Distribution
from jglue_app.cluster.failures import FailedRuns
from jglue_app.cluster.grid_runs import run_together
from jglue_app.cluster.jobs import Answer, Job, JobError, Load, LoadedModel, LoadingNotice, Prepare, Reply
from jglue_app.cluster.options import WorkerSize
from jglue_app.cluster.serving import serve
from jglue_app.cluster.worker import process_facts
from jglue_app.cluster.workers import RemoteWorker, WorkerEvent, Workers
from jglue_app.errors import JglueAppError, ModelError, RunBusyError
from jglue_app.runs.ends import open_subsets
from jglue_app.runs.events import Event
from jglue_app.runs.paying import nobody_else
from jglue_app.runs.plan import Plan
from jglue_app.runs.runner import run_plan
from jglue_app.runs.sessions import open_sessions
from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings
from jglue_app.types import ModelInfo, PromptSpec
from tests.runs.test_runner import planned, table, wanted, written

Round = Callable[[list[RemoteWorker]], Iterable[WorkerEvent] | None]
"""What comes next of some workers, if it is not the next reply of each."""


class InProcessWorkers:
    """As `Workers`: each has its models in this process.

    Args:
        dies: whether a worker is found dead, asked before each of its replies.
        hosts: of the workers, in the order in which they start; the last one is that of all others.
        order: see `Round`.
    """

    def __init__(
        self,
        dies: Callable[[RemoteWorker], bool] = lambda _: False,
        hosts: Sequence[str] = ("h",),
        order: Round = lambda _: None,
    ) -> None:
        self.all: list[RemoteWorker] = []
        self.loads: list[str] = []
        """Models, in the order in which they were loaded."""
        self.started = 0
        self._dies, self._hosts, self._order = dies, hosts, order

    def start(self) -> None:
        host = self._hosts[min(self.started, len(self._hosts) - 1)]
        self.all.append(RemoteWorker({}, {**process_facts(), "host": host}))
        self.started += 1

    def send(self, worker: RemoteWorker, job: Job, part: Any = None, prompts: Any = ()) -> None:
        if isinstance(job, Load):
            self.loads.append(Path(job.model.id).stem)
        worker.job, worker.part, worker.answered, worker.state = job, part, 0, "busy"
        worker.sent = {prompt.item_id: prompt for prompt in prompts}
        worker.pending = serve(worker.actor, job, lambda: False)

    def remove(self, worker: RemoteWorker) -> None:
        self.all.remove(worker)

    def close(self) -> None:
        self.all.clear()

    def ask_to_stop(self) -> None: ...

    def require_machines(self) -> None: ...

    def events(self, _: float) -> Iterator[WorkerEvent]:
        there = list(self.all)
        given = self._order(there)
        yield from given if given is not None else (self.next(w) for w in there if w.pending is not None)

    def next(self, worker: RemoteWorker) -> WorkerEvent:
        if self._dies(worker):
            self.remove(worker)
            return WorkerEvent(worker, "died", "lost")
        if worker.state == "starting":
            facts, worker.pending, worker.state = worker.pending, None, "idle"
            worker.host = facts["host"]
            return WorkerEvent(worker, "facts", facts)
        try:
            return WorkerEvent(worker, "reply", next(worker.pending))
        except StopIteration:
            worker.state, worker.pending = "idle", None
            return WorkerEvent(worker, "end")


def answered(
    settings: Settings,
    plans: Sequence[Plan],
    workers: InProcessWorkers,
    count: int = 1,
    failures: FailedRuns | None = None,
) -> list[Event]:
    """Everything that is left of some plans, over so many workers."""
    sided = [("a", plan) for plan in plans]
    stores = {id(plan): RunStore.of(settings.runs_dir, plan.spec) for plan in plans}
    with ModelPool(settings, device="cpu") as pool:
        sessions, _ = open_sessions(sided, pool, stores, nobody_else)  # type: ignore[arg-type]
    subsets = open_subsets(sided, stores)  # type: ignore[arg-type]
    size, options = WorkerSize(1, 0, count, count), RayOptions("local", count, count, 1, "cpu")
    return list(
        Distribution(
            subsets, sessions, cast("Workers", workers), size, options, settings, lambda: False, failures
        ).events()
    )


@pytest.fixture
def plan(settings: Settings, tmp_path: Path) -> Plan:
    return planned(settings, table(tmp_path / "table.jsonl"), ["jnli"], limit=8)


def test_a_machine_that_is_lost_with_idle_and_loading_workers_does_not_end_a_run(
    settings: Settings, tmp_path: Path
) -> None:
    plan = planned(settings, table(tmp_path / "table.jsonl"), ["jnli"], limit=40)
    lost: set[RemoteWorker] = set()

    def dies(worker: RemoteWorker) -> bool:
        # Eight workers on one machine: they are gone when the first job arrives, whichever it is.
        if worker.host == "lost" and worker.state == "busy":
            lost.add(worker)
        return worker in lost

    workers = InProcessWorkers(dies, ["lost"] * 8 + ["other"])
    events = answered(settings, [plan], workers, 8)
    assert len(lost) > MAX_FRUITLESS
    assert sorted(written(settings, plan)) == sorted(wanted(plan))
    assert sum(event.record is not None for event in events) == plan.total


def test_a_machine_that_is_lost_over_one_batch_each_does_not_count_for_every_worker(
    settings: Settings, tmp_path: Path
) -> None:
    plan = planned(settings, table(tmp_path / "table.jsonl"), ["jnli"], limit=40)
    deaths = 0

    def dies(worker: RemoteWorker) -> bool:
        nonlocal deaths
        deaths += (dead := worker.host == "lost" and isinstance(worker.job, Answer))
        return dead

    answered(settings, [plan], InProcessWorkers(dies, ["lost"] * 7 + ["other"]), 8)
    assert deaths > MAX_FRUITLESS
    assert sorted(written(settings, plan)) == sorted(wanted(plan))


@pytest.mark.parametrize("kind", [Load, Prepare])
def test_workers_that_die_over_a_model_again_and_again_end_the_run(
    settings: Settings, plan: Plan, kind: type[Job]
) -> None:
    workers = InProcessWorkers(lambda worker: worker.state == "busy" and isinstance(worker.job, kind))
    with pytest.raises(ModelError, match=rf"{MAX_FRUITLESS} workers in a row have ended before .* \(lost\)"):
        answered(settings, [plan], workers, 2)
    assert workers.started < 5 * MAX_FRUITLESS


def test_deaths_between_answers_are_not_in_a_row(settings: Settings, tmp_path: Path) -> None:
    models = [table(tmp_path / f"{n}.jsonl") for n in range(2 * MAX_FRUITLESS)]
    plans = [planned(settings, model, ["jnli"], limit=5) for model in models]
    died: set[Any] = set()

    def dies(worker: RemoteWorker) -> bool:
        # One dies over each model.
        dead = isinstance(worker.job, Load) and worker.job.model not in died
        if dead:
            died.add(worker.model)
        return dead

    answered(settings, plans, InProcessWorkers(dies))
    assert len(died) == 2 * MAX_FRUITLESS
    for plan in plans:
        assert sorted(written(settings, plan)) == sorted(wanted(plan))


@pytest.mark.parametrize("late", ["said", "failed", "mismatch"])
def test_what_a_late_worker_says_after_the_last_answer_is_of_no_run(settings: Settings, plan: Plan, late: str) -> None:
    def order(there: list[RemoteWorker]) -> Iterator[WorkerEvent]:
        late_one = there[-1]
        for worker in there:
            if worker.pending is None or (worker is late_one and worker.state == "busy"):
                continue  # It loads until everything is answered.
            yield workers.next(worker)
            if worker.part is not None and worker.part.is_done:
                assert worker.info is not None
                yield WorkerEvent(late_one, "reply", reply(replace(worker.info, name="another")))

    def reply(other: ModelInfo) -> Reply:
        if late == "said":
            return LoadingNotice("Loading.")
        return JobError(ModelError("no room")) if late == "failed" else LoadedModel(other, {})

    workers = InProcessWorkers(order=order)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Distribution, "_may_start", lambda *_: True)
        answered(settings, [plan], workers, 2)
    assert sorted(written(settings, plan)) == sorted(wanted(plan))


def test_runs_that_cannot_be_made_are_left_out_and_the_others_share_their_workers(
    settings: Settings, tmp_path: Path
) -> None:
    models = [table(tmp_path / f"{n}.jsonl") for n in range(3)]
    broken, busy, good = (
        [planned(settings, model, ["jnli", "jsts"], limit=4, prompt=PromptSpec(shots=n)) for n in range(3)]
        for model in models
    )
    models[0].unlink()
    errors: dict[str, JglueAppError] = {}
    failures = FailedRuns(errors)
    workers = InProcessWorkers()
    with RunStore.of(settings.runs_dir, busy[1].spec).writing():
        events = answered(settings, [*broken, *busy, *good], workers, 1, failures)
    assert workers.loads == ["0", "1", "2"]  # Each once, the broken one too.
    assert failures.run_ids == {plan.spec.spec_id for plan in (*broken, busy[1])}
    assert len(errors) == 2
    first, second = errors.values()
    assert isinstance(second, RunBusyError)
    assert sum(first.message in event.message for event in events if event.kind == "notice") == 1
    for plan in (busy[0], busy[2], *good):
        assert sorted(written(settings, plan)) == sorted(wanted(plan))


def test_a_model_is_never_split_between_the_runs_that_are_made_together(settings: Settings, tmp_path: Path) -> None:
    plans = [
        planned(settings, tmp_path / name, ["jnli"], limit=limit)
        for name in "abc"
        for limit in range(1, {"a": 3, "b": 7, "c": 4}[name])
    ]
    sizes = [len(some) for some in run_together(plans, 5)]
    assert sizes == [2, 6, 3]
    assert [plan for some in run_together(plans, 8) for plan in some] == plans
    assert [len(some) for some in run_together(plans, 8)] == [8, 3]
    assert list(run_together([], 5)) == []


def test_one_worker_is_said_in_the_singular() -> None:
    assert runs._size_notice(WorkerSize(2, 0, 1, 1)) == "Ray: at most one worker; its CPUs: 2."
    assert runs._size_notice(WorkerSize(2, 1, 1, 1)) == "Ray: at most one worker, with a GPU."
    assert runs._size_notice(WorkerSize(1, 1, 1, 4)) == "Ray: at most 4 workers, each with a GPU."


def test_a_complete_run_needs_no_cluster_and_says_so(settings: Settings, tmp_path: Path) -> None:
    plan = planned(settings, table(tmp_path / "table.jsonl"), ["jnli"])
    with ModelPool(settings, device="cpu") as pool:
        list(run_plan(plan, pool, settings.runs_dir))
        nowhere = RayOptions("192.0.2.1:1", 1, 1, 1, "cpu")
        events = list(runs.run_plans_on_ray([("a", plan), ("b", plan)], pool, settings, nowhere))
    assert [event.message for event in events if event.kind == "notice"] == [runs.NOTHING_LEFT]
    assert {event.kind for event in events} == {"notice", "done"}
