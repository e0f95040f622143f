"""The runs of a grid, executed: those that are complete are left as they are, others begin or go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from jglue_app.backends import SERVERS
from jglue_app.backends.pool import ModelPool
from jglue_app.errors import JglueAppError, ModelError, NetworkError
from jglue_app.grid import members
from jglue_app.grid.grid_plan import GridPlan, weights_of
from jglue_app.messages import Message
from jglue_app.runs.events import Event
from jglue_app.runs.paying import Charge, nobody_else, spent_so_far
from jglue_app.runs.plan import Plan
from jglue_app.runs.runner import run_plan
from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings

Execute = Callable[[Sequence[Plan]], Iterator[Event]]
"""Executes plans, in their order or at the same time, and gives the events of their runs."""


Failures = dict[str, JglueAppError]
"""Run → why it could not be made."""


def run_grid(
    planned: GridPlan,
    settings: Settings,
    execute: Execute,
    left: Sequence[Plan] | None = None,
    failures: Failures | None = None,
) -> Iterator[Event]:
    """Remember the grid and make its runs that are not complete, as a stream of events. Which of them have begun, and
    why others could not be made, is remembered when it ends, also when it is stopped.

    Args:
        planned: the grid.
        settings: mode and folders.
        execute: makes the runs; `one_after_other` gives one for this process.
        left: the plans of the runs that are not complete, where they are known (`GridEstimate.left`).
        failures: those that `execute` fills.

    Raises:
        StoreError: the grid's own file cannot be written.
        JglueAppError: what `execute` raises.
    """
    members.write(planned, settings)
    try:
        yield from execute(unfinished(planned.plans, settings) if left is None else left)
    finally:
        failed = planned.failures | (failures or {})
        members.write(planned, settings, {run: error.message for run, error in failed.items()})


def unfinished(plans: Sequence[Plan], settings: Settings) -> list[Plan]:
    """The plans of runs that are not complete."""
    return [plan for plan in plans if not is_complete(plan, settings)]


def is_complete(plan: Plan, settings: Settings) -> bool:
    """Whether every item of a plan has an output."""
    return items_left(plan, settings) == 0


def items_left(plan: Plan, settings: Settings) -> int:
    """Items of a plan without an output."""
    store = RunStore.of(settings.runs_dir, plan.spec)
    return plan.total - (len(store.finished_of(plan.items)) if store.has_records() else 0)


def one_after_other(
    settings: Settings,
    pool: ModelPool,
    should_stop: Callable[[], bool] = lambda: False,
    *,
    budget: float | None = None,
    charge: Charge = nobody_else,
    failures: Failures | None = None,
) -> Execute:
    """What makes runs in this process, in their order, so that each model is loaded once.

    A run that cannot be made is named in a notice, and the others go on; those that need the same weights in the same
    format are left out where the model is at fault, or its server is silent.

    Args:
        settings: mode and folders.
        pool: loads the models.
        should_stop: asked between tokens.
        budget: most that the paid requests of all runs may cost together; what they have cost before does not count.
            No run is begun after the first that it has no room for.
        charge: see `runs.runner.run_plans`.
        failures: takes the errors of runs that could not be made.
    """

    def execute(plans: Sequence[Plan]) -> Iterator[Event]:
        left, unusable = budget, dict[object, JglueAppError]()
        failed = {} if failures is None else failures
        for plan in plans:
            needs = weights_of(plan), plan.spec.model.adapter, plan.spec.prompt.format
            if should_stop():
                return
            if (error := unusable.get(needs) or unusable.get(plan.spec.model)) is not None:
                failed[plan.spec.spec_id] = error
                continue
            store = RunStore.of(settings.runs_dir, plan.spec)
            before = spent_so_far(store) if left is not None else 0.0
            limited = plan if left is None else replace(plan, budget=before + left)
            try:
                for event in run_plan(limited, pool, settings.runs_dir, should_stop, charge=charge):
                    yield event
                    if event.kind == "stopped":
                        return
            except JglueAppError as e:
                failed[plan.spec.spec_id] = e
                if isinstance(e, ModelError):
                    unusable[needs] = e
                elif isinstance(e, NetworkError) and plan.spec.model.backend in SERVERS:
                    # It was tried as long as its deadline says, and is silent in any format.
                    unusable[plan.spec.model] = e
                message = Message("{run}: {message}", run=plan.spec.label, message=e.message)
                yield Event("notice", plan.spec.label, message=message)
            left = None if left is None else max(0.0, left - (spent_so_far(store) - before))

    return execute
