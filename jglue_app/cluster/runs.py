"""Runs over a Ray cluster from beginning to end, with the events of `runs.runner.run_plans`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from jglue_app.backends import SERVERS
from jglue_app.backends.pool import ModelPool
from jglue_app.cluster.connection import connected, node_sizes
from jglue_app.cluster.distribution import Distribution
from jglue_app.cluster.failures import FailedRuns
from jglue_app.cluster.options import RayOptions, WorkerSize, worker_size
from jglue_app.cluster.workers import Workers
from jglue_app.errors import InputError, StoreError
from jglue_app.messages import Message, mark
from jglue_app.runs.ends import (
    OpenSubset,
    SidedPlans,
    end_of_runs,
    note_end,
    open_subsets,
    opening_notices,
    repair_notices,
)
from jglue_app.runs.events import Event
from jglue_app.runs.paying import nobody_else
from jglue_app.runs.sessions import open_sessions
from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings
from jglue_app.tasks import TASKS

NOTHING_LEFT = Message("No item is left to answer, so no Ray cluster is used.")


def run_plans_on_ray(
    plans: SidedPlans,
    pool: ModelPool,
    settings: Settings,
    options: RayOptions,
    should_stop: Callable[[], bool] = lambda: False,
    failures: FailedRuns | None = None,
) -> Iterator[Event]:
    """Answer every item of some plans that has no output yet, over the workers of a Ray cluster, storing each record
    before its event.

    Run folders are those of `settings.runs_dir`, the same as without a cluster: a run that was begun with one can be
    continued without, and the other way round. No cluster is needed when nothing is left to do.

    Args:
        plans: any number, each with the side its events are on; identical ones are run once.
        pool: of this process; answers the sample in float32 of runs in less.
        settings: of this process.
        options: which cluster, and how many workers.
        should_stop: asked a few times a second; unfinished items stay open.
        failures: takes runs that cannot be made, if the others are to go on.

    Raises:
        InputError: a model is on a server, ray is missing, or the cluster cannot be used.
        NetworkError: the cluster does not answer.
        ModelError: a worker cannot load the model, or workers end again and again.
        RunBusyError: another process writes to one of the runs.
        StoreError: a run folder cannot be written.
    """
    failures = failures or FailedRuns()
    refuse_servers(plans)
    stores = {id(p): RunStore.of(settings.runs_dir, p.spec) for _, p in plans}
    subsets: list[OpenSubset] = []

    def open_run(sided: SidedPlans) -> Iterator[Event]:
        yield from repair_notices(sided, stores)
        subsets.extend(open_subsets(sided, stores))

    yield from failures.each(plans, open_run)
    yield from failures.each(plans, lambda sided: opening_notices(sided, settings.runs_dir))
    plans = failures.others(plans)
    subsets = [subset for subset in subsets if subset.plan.spec.spec_id not in failures.run_ids]
    sessions, _ = open_sessions(plans, pool, stores, nobody_else)
    before = {id(p): sessions[id(p)].attempted for _, p in plans}
    if subsets and not should_stop():
        with connected(options) as ray:
            size = worker_size(options, node_sizes(ray))
            side, plan, _ = subsets[0]
            yield Event("notice", plan.spec.label, side, message=_size_notice(size))
            workers = Workers(ray, size)
            yield from Distribution(
                _in_turn(subsets, len(plans)), sessions, workers, size, options, settings, should_stop, failures
            ).events()
    elif plans and not subsets:
        side, plan = plans[0]
        yield Event("notice", plan.spec.label, side, message=NOTHING_LEFT)
    for subset_plan in {id(p): p for _, p, _ in subsets}.values():
        try:
            note_end(stores[id(subset_plan)], sessions[id(subset_plan)])
        except StoreError:
            if subset_plan.spec.spec_id not in failures.run_ids:  # Else it has been said why.
                raise
    yield from failures.each(plans, lambda sided: end_of_runs(sided, pool, stores, sessions, before, should_stop))


def refuse_servers(plans: SidedPlans) -> None:
    """Raise InputError for a model on a server: it needs no cluster, and what it costs is counted in one process."""
    for _, plan in plans:
        if plan.spec.model.backend in SERVERS:
            raise InputError(
                "{model} runs on a server, which several workers would not make faster. Leave --ray out.",
                model=plan.spec.model.id,
            )


def _in_turn(subsets: list[OpenSubset], plans: int) -> list[OpenSubset]:
    """Two runs subset by subset, so that they can be compared while they go on; more of them one after the other, so
    that each is complete as soon as possible."""
    return sorted(subsets, key=lambda s: list(TASKS).index(s.name)) if plans == 2 else subsets


def _size_notice(size: WorkerSize) -> Message:
    with_gpu, without = (
        mark("Ray: at most {most} workers, each with a GPU."),
        mark("Ray: at most {most} workers; CPUs of each: {cpus}."),
    )
    template = with_gpu if size.gpus else without
    one = "Ray: at most one worker, with a GPU." if size.gpus else "Ray: at most one worker; its CPUs: {cpus}."
    return Message.worded(
        one if size.most == 1 else template, template, {"most": size.most} | ({} if size.gpus else {"cpus": size.cpus})
    )
