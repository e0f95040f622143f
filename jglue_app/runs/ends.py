"""How runs begin and end, wherever their items are answered: what is said before, and what is stored and said after."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jglue_app.backends.pool import ModelPool
from jglue_app.errors import RunBusyError
from jglue_app.messages import Joined, Message
from jglue_app.runs.changes import changes_since
from jglue_app.runs.events import Event
from jglue_app.runs.float32_sample import answer_in_float32
from jglue_app.runs.manifest import note_records, repair
from jglue_app.runs.paying import note_cost
from jglue_app.runs.plan import Plan
from jglue_app.runs.sessions import Session, Side
from jglue_app.runs.store import RunStore
from jglue_app.tasks import TASKS

SidedPlans = Sequence[tuple[Side, Plan]]
"""The plans of one call, each with the side its run is on."""


class OpenSubset(NamedTuple):
    """A subset of a plan of which items are left."""

    side: Side
    plan: Plan
    name: str


def repair_notices(plans: SidedPlans, stores: Mapping[int, RunStore]) -> Iterator[Event]:
    """Prepare stored runs to be continued; see `manifest.repair`. `stores` are by the `id` of a plan."""
    for side, p in plans:
        for message in repair(p, stores[id(p)]):
            yield Event("notice", p.spec.label, side, message=message)


def open_subsets(plans: SidedPlans, stores: Mapping[int, RunStore]) -> list[OpenSubset]:
    """The subsets of which items are left, in the order of the plans."""
    return [
        OpenSubset(side, p, name)
        for side, p in plans
        for name in p.spec.tasks
        if len(stores[id(p)].finished_of({name: p.items[name]})) < len(p.items[name])
    ]


def opening_notices(plans: SidedPlans, runs_dir: Path) -> Iterator[Event]:
    """What has to be known of the data and of earlier runs before items are answered."""
    for side, p in plans:
        for message in changes_since(p, runs_dir):
            yield Event("notice", p.spec.label, side, message=message)
        for dataset in (*p.datasets.values(), *p.pools.values()):
            if dataset.note:
                yield Event("notice", p.spec.label, side, message=dataset.note)
        borrowed = [TASKS[n].title for n, pool_ in p.pools.items() if pool_.source != p.datasets[n].source]
        if borrowed:
            message = Message(
                "No train file is at hand for {subsets}: the examples are our own sample items.",
                subsets=Joined(", ", borrowed),
            )
            yield Event("notice", p.spec.label, side, message=message)
        leaks = {TASKS[n].title: pool_.left_out for n, pool_ in p.pools.items() if pool_.left_out}
        if leaks:
            counts = [Message("{count:,} in {subset}", count=count, subset=title) for title, count in leaks.items()]
            message = Message(
                "Train items with the text of an evaluated item are never shown as examples: {counts}.",
                counts=Joined(", ", counts),
            )
            yield Event("notice", p.spec.label, side, message=message)


def note_end(store: RunStore, session: Session) -> None:
    """Note in the manifest what is stored of a run, and what it has cost."""
    if store.exists():
        # Another process that has taken the run over meanwhile notes it at its own end.
        with contextlib.suppress(RunBusyError), store.writing() as writer:
            note_records(store, writer)
            note_cost(store, writer, session.spending, session.info)


def end_of_runs(
    plans: SidedPlans,
    pool: ModelPool,
    stores: Mapping[int, RunStore],
    sessions: Mapping[int, Session],
    before: Mapping[int, int],
    should_stop: Callable[[], bool],
) -> Iterator[Event]:
    """Answer a sample of complete runs in float32 where they were computed in less, and say how each run has ended.

    Args:
        pool: loads the models of the samples.
        stores, sessions: by the `id` of a plan.
        before: `Session.attempted` at the beginning, in the same way.
    """
    for side, p in plans:
        finished = len(stores[id(p)].finished_of(p.items))
        for note in sessions[id(p)].closing_notes(p):
            yield Event("notice", p.spec.label, side, message=note)
        if finished == p.total:
            answered_now = sessions[id(p)].attempted > before[id(p)]
            for text, passing in answer_in_float32(p, stores[id(p)], pool, should_stop, answered_now=answered_now):
                yield Event("notice", p.spec.label, side, message=text, task=p.spec.tasks[-1] if passing else "")
        stopped = finished < p.total and (should_stop() or sessions[id(p)].exhausted)
        why = sessions[id(p)].lacks if stopped else ""
        yield Event("stopped" if stopped else "done", p.spec.label, side, run_done=finished, run_total=p.total, why=why)
