"""The runs of a grid, over the workers of a Ray cluster."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

from jglue_app.backends.pool import ModelPool
from jglue_app.cluster.connection import connected
from jglue_app.cluster.failures import FailedRuns
from jglue_app.cluster.options import RayOptions
from jglue_app.cluster.runs import refuse_servers, run_plans_on_ray
from jglue_app.grid.grid_plan import weights_of
from jglue_app.grid.grid_run import Execute, Failures
from jglue_app.runs.ends import SidedPlans
from jglue_app.runs.events import Event
from jglue_app.runs.plan import Plan
from jglue_app.settings import Settings

AT_ONCE = 500
"""About so many runs are made by the same workers; after the last of them it is said how each has ended."""


def over_workers(
    settings: Settings,
    pool: ModelPool,
    options: RayOptions,
    should_stop: Callable[[], bool] = lambda: False,
    *,
    failures: Failures | None = None,
) -> Execute:
    """What makes the runs of a grid over a cluster: workers keep the model that they hold while items of any of its
    runs are left. A run that cannot be made is named in a notice, and the others go on; those of the same model in the
    same format are left out with it where the model is at fault.

    Args:
        settings: of this process.
        pool: of this process; see `run_plans_on_ray`.
        options: which cluster, and how many workers.
        should_stop: asked a few times a second.
        failures: takes the errors of runs that could not be made.
    """
    errors = {} if failures is None else failures

    def execute(plans: Sequence[Plan]) -> Iterator[Event]:
        if not plans:
            return
        refuse_servers([("a", plan) for plan in plans])
        with connected(options):
            for some in run_together(plans, AT_ONCE):
                sided: SidedPlans = [("a", plan) for plan in some]
                yield from run_plans_on_ray(sided, pool, settings, options, should_stop, FailedRuns(errors))
                if should_stop():
                    return

    return execute


def run_together(plans: Sequence[Plan], most: int) -> Iterator[list[Plan]]:
    """Plans in their order, as many at a time as asked for; but those of one model stay together, however many there
    are, so that it is not loaded again."""
    some: list[Plan] = []
    for _, of_model in itertools.groupby(plans, weights_of):
        more = list(of_model)
        if some and len(some) + len(more) > most:
            yield some
            some = []
        some += more
    if some:
        yield some
