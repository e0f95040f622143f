"""The runs of a grid, over the workers of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from jglue_app.backends.pool import ModelPool
from jglue_app.cluster.options import RayOptions
from jglue_app.cluster.runs import refuse_servers, run_plans_on_ray
from jglue_app.errors import ModelError, RunBusyError, StoreError
from jglue_app.grid.grid_run import Execute, Failures
from jglue_app.messages import Message
from jglue_app.runs.events import Event
from jglue_app.runs.plan import Plan
from jglue_app.settings import Settings

AT_ONCE = 100
"""Runs whose folders are open at the same time: each has files and a lock, of which a process may hold few."""


def over_workers(
    settings: Settings,
    pool: ModelPool,
    options: RayOptions,
    should_stop: Callable[[], bool] = lambda: False,
    *,
    failures: Failures | None = None,
) -> Execute:
    """What makes the runs of a grid over a cluster: workers keep the model that they hold while items of any of its
    runs are left. A run that cannot be made is named in a notice, and the others go on.

    Args:
        settings: of this process.
        pool: of this process; see `run_plans_on_ray`.
        options: which cluster, and how many workers.
        should_stop: asked a few times a second.
        failures: takes the errors of runs that could not be made.
    """

    def execute(plans: Sequence[Plan]) -> Iterator[Event]:
        refuse_servers([("a", plan) for plan in plans])
        for start in range(0, len(plans), AT_ONCE):
            together = plans[start : start + AT_ONCE]
            try:
                yield from _run(together)
            except (ModelError, RunBusyError, StoreError):
                # Which of them it was is seen where each is made alone; what others have answered is kept.
                for plan in together:
                    yield from _alone(plan)
            if should_stop():
                return

    def _run(plans: Sequence[Plan]) -> Iterator[Event]:
        yield from run_plans_on_ray([("a", plan) for plan in plans], pool, settings, options, should_stop)

    def _alone(plan: Plan) -> Iterator[Event]:
        if should_stop():
            return
        try:
            yield from _run([plan])
        except (ModelError, RunBusyError, StoreError) as e:
            if failures is not None:
                failures[plan.spec.spec_id] = e
            message = Message("{run}: {message}", run=plan.spec.label, message=e.message)
            yield Event("notice", plan.spec.label, message=message)

    return execute
