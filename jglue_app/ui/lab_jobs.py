"""What the prompt lab does in the background: tokenize a prompt, answer one item, sweep over formats."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from jglue_app import prompt_lab
from jglue_app.errors import InputError
from jglue_app.messages import Message
from jglue_app.prompt_lab import Foreseen, Inspected, Tried
from jglue_app.runs.events import Event
from jglue_app.runs.request import MAX_BUDGET, Side
from jglue_app.tasks import get_task
from jglue_app.types import Item
from jglue_app.ui import controls
from jglue_app.ui.jobs import Job, PlannedRun
from jglue_app.ui.state import AppState

INSPECT, ANSWER, SWEEP = "look", "try", "sweep"
"""Kinds of jobs."""
MAX_SWEPT_ITEMS = 200


def inspect_prompt(state: AppState, side: Side, item: Item, job: Job, data: str = "sample") -> Inspected:
    """One prompt as a tokenizer sees it, within a job that can be stopped; raises as `prompt_lab.inspect_prompt`."""
    plan = prompt_lab.plan_one(state.settings, item.task, side, data=data)
    return prompt_lab.inspect_prompt(plan, item, state.tokenizer(plan.spec.model), job.stop.is_set)


def start_answer(
    state: AppState,
    owner: str,
    sides: Mapping[str, Side],
    item: Item,
    data: str = "sample",
    budget: float | None = None,
) -> Job:
    """Have a model answer one item in one or two ways; the job's result is side → `Tried`, as far as it came. `budget`
    is the most that each answer of a paid model may cost.

    Raises:
        BusyError: the owner's last answer is not there yet.
        InputError: too many jobs wait.
    """

    return _start_on_sides(state, owner, sides, item, data, budget, prompt_lab.try_item)


def start_foresight(
    state: AppState,
    owner: str,
    sides: Mapping[str, Side],
    item: Item,
    data: str = "sample",
    budget: float | None = None,
) -> Job:
    """Find the most likely next tokens at every place of an item's prompts; the job's result is side → `Foreseen`. It
    is of the same kind as an answer, so that one of them is made at a time, and the same button stops it.

    Raises:
        BusyError, InputError: as `start_answer`.
    """
    return _start_on_sides(state, owner, sides, item, data, budget, prompt_lab.foresee)


def _start_on_sides(
    state: AppState,
    owner: str,
    sides: Mapping[str, Side],
    item: Item,
    data: str,
    budget: float | None,
    make: Callable[..., Tried | Foreseen | None],
) -> Job:
    """Have something made of one item in one or two ways, one after the other; the result is side → what was made."""

    def work(job: Job) -> None:
        def notify(message: str) -> None:
            job.activity = message
            job.version += 1

        made: dict[str, Tried | Foreseen] = {}
        job.result = made
        with state.jobs.accelerator(job) as acquired:
            should_stop = _stop_condition(job, state.settings.max_seconds)
            for name, side in sides.items():
                if not acquired or should_stop():
                    return
                charge = state.jobs.charge_for(owner)
                one = make(state.settings, state.pool, side, item, should_stop, notify, data, budget, charge)
                if one is not None:
                    made[name] = one

    return state.jobs.start(owner, ANSWER, work)


def start_sweep(
    state: AppState,
    owner: str,
    task: str,
    sides: Sequence[Side],
    items: Any,
    data: str,
    budget: float | None = None,
) -> Job:
    """Begin a sweep; the job's result is a growing list of (side, plan). `budget` is the most that the whole sweep may
    cost.

    Raises:
        InputError: too many items, or a sweep of the owner is active.
    """
    max_items = min(MAX_SWEPT_ITEMS, state.settings.max_items)
    if not controls.is_number(items, 1, max_items):
        raise InputError("The number of items is a whole number from 1 to {most:,}.", most=max_items)
    get_task(task)

    def work(job: Job) -> None:
        job.result = []
        with state.jobs.accelerator(job) as acquired:
            if not acquired:
                return
            should_stop = _stop_condition(job, state.settings.max_seconds)
            settings, pool, charge = state.settings, state.pool, state.jobs.charge_for(owner)
            for event in prompt_lab.sweep(settings, pool, task, sides, int(items), data, should_stop, budget, charge):
                if isinstance(event, Event):
                    job.handle(event)
                    if event.kind == "stopped" and not should_stop():
                        job.state = "out_of_gpu_time" if event.why == "gpu_time" else "out_of_budget"
                    continue
                side, plan = event
                job.runs[str(len(job.result))] = PlannedRun.of(plan)
                # Without the data files, which should not stay in memory after the job.
                job.result.append((side, replace(plan, datasets={}, pools={})))
                job.activity = Message("{format} · {style}", format=side.format, style=side.style)
                job.bars.clear()
                job.version += 1
            if should_stop() and not job.stop.is_set():
                job.state = "out_of_time"

    return state.jobs.start(owner, SWEEP, work, task)


def _stop_condition(job: Job, seconds: float | None) -> Callable[[], bool]:
    """Whether a job has to stop: it was stopped, or so many seconds from now are over."""
    deadline = time.monotonic() + seconds if seconds else None
    return lambda: job.stop.is_set() or (deadline is not None and time.monotonic() > deadline)


def read_budget(value: Any) -> float | None:
    """A budget from a control or a program: None for 0 or nothing.

    Raises:
        InputError: it is no amount of money.
    """
    if value is None or (controls.is_number(value, 0, 0)):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MAX_BUDGET:
        raise InputError("The budget is an amount of money above 0, or 0 for none.")
    return float(value)
