"""Plan → records in a run directory, as a stream of events that the page and the command line both draw."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jglue_app.backends.pool import ModelPool
from jglue_app.backends.zero_gpu.backend import ZeroGpuBackend
from jglue_app.errors import GpuTimeError, JglueAppError, RunBusyError, StoreError
from jglue_app.messages import Joined, Message
from jglue_app.prompts import formats
from jglue_app.runs.answering import answer_prompts, token_limits, work_of
from jglue_app.runs.changes import changes_since
from jglue_app.runs.float32_sample import answer_in_float32
from jglue_app.runs.manifest import Described, note_records, repair, write_head
from jglue_app.runs.notes import notes_on_repetition_penalty, notes_on_thinking
from jglue_app.runs.paying import Charge, charged_to, check_server, nobody_else, note_cost
from jglue_app.runs.plan import Plan, build_prompts
from jglue_app.runs.sessions import Session, open_sessions
from jglue_app.runs.store import RunStore
from jglue_app.tasks import TASKS
from jglue_app.types import Backend, ModelSpec, Record

FIRST_CHUNKS, MIN_CHUNK, MAX_CHUNK = (4, 24), 96, 2_048
"""Items handed to the model at a time: few at first, so that something is seen soon, then enough to share tokens."""
CHUNK_SECONDS = 5.0
"""About how long later ones take: a fast accelerator is kept full, a slow machine shows that it works."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a run."""

    kind: Literal["notice", "record", "done", "stopped"]
    """`notice` (a sentence), `record` (an item is stored), `done` or `stopped` (the run's end)."""
    run: str
    """Label of the run."""
    side: Literal["a", "b"] = "a"
    """Which of two compared runs."""
    message: str = ""
    task: str = ""
    done: int = 0
    """Items of the subset that have a record."""
    total: int = 0
    """Items of the subset in all."""
    run_done: int = 0
    """Items of the run that are answered or were tried in this session; at the run's end, those with an output."""
    run_total: int = 0
    """Items of the run in all."""
    items_per_s: float | None = None
    """Speed in this session, on this subset."""
    seconds_left: float | None = None
    """Estimate for the subset at that speed."""
    record: Record | None = None
    why: Literal["", "budget", "gpu_time"] = ""
    """Of a run that stopped by itself: what it has no more of."""


def run_plan(
    plan: Plan,
    pool: ModelPool,
    runs_dir: Path,
    should_stop: Callable[[], bool] = lambda: False,
    side: Literal["a", "b"] = "a",
    charge: Charge = nobody_else,
) -> Iterator[Event]:
    """Answer every item of a plan that has no output yet, storing each record before its event.

    The model is not loaded when nothing is left to do.

    Raises:
        InputError: the model is paid, and the plan has no budget.
        ModelError, NetworkError: the model cannot be loaded.
        StoreError: the run directory is in use, or cannot be written.
    """
    yield from run_plans([(side, plan)], pool, runs_dir, should_stop, charge)


def run_plans(
    plans: Sequence[tuple[Literal["a", "b"], Plan]],
    pool: ModelPool,
    runs_dir: Path,
    should_stop: Callable[[], bool] = lambda: False,
    charge: Charge = nobody_else,
    first: str = "",
) -> Iterator[Event]:
    """Run one or two plans, subset by subset in turn when their models fit in memory together, else one after the
    other; the same weights are loaded once. Two identical plans are run once.

    A run whose budget has no room for a next request ends as stopped, with a notice that says so; so does one for which
    no more GPU time is lent, while the other goes on. Of a complete run in less than float32 a sample is answered in
    float32 at the end. The budget is that of each run. `charge` names who else pays for
    the requests of a model, `first` the subset that comes before the others.
    """
    stores = {id(p): RunStore.of(runs_dir, p.spec) for _, p in plans}
    for side, p in plans:
        for message in repair(p, stores[id(p)]):
            yield Event("notice", p.spec.label, side, message=message)
    steps = [
        (side, p, name)
        for side, p in plans
        for name in p.spec.tasks
        if len(stores[id(p)].finished_of({name: p.items[name]})) < len(p.items[name])
    ]
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
    sessions, notes = open_sessions(plans, pool, stores, charge)
    for side, p, text in notes:
        yield Event("notice", p.spec.label, side, message=text, task=p.spec.tasks[0])
    models = {p.spec.model for _, p, _ in steps}
    if len(models) == 1 or (len(models) > 1 and pool.fit_together(models)):
        steps.sort(key=lambda step: (step[2] != first, list(TASKS).index(step[2])))
    elif models:
        steps.sort(key=lambda step: (step[0], step[2] != first))
        message = Message("The two models do not fit in memory together: they run one after the other.")
        yield Event("notice", plans[0][1].spec.label, message=message)
    begun = {id(p): p for _, p, _ in steps}
    before = {id(p): sessions[id(p)].attempted for _, p in plans}
    try:
        for side, p, name in steps:
            if should_stop():
                break
            if not sessions[id(p)].exhausted:
                yield from _run_task(p, name, pool, sessions[id(p)], should_stop, side)
    except BaseException:
        for plan_id in begun:
            if sessions[plan_id].spending is not None:
                with contextlib.suppress(JglueAppError):
                    _note_end(stores[plan_id], sessions[plan_id])
        raise
    for plan_id in begun:
        _note_end(stores[plan_id], sessions[plan_id])
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


def _note_end(store: RunStore, session: Session) -> None:
    """Note in the manifest what is stored of a run, and what it has cost."""
    if store.exists():
        # Another process that has taken the run over meanwhile notes it at its own end.
        with contextlib.suppress(RunBusyError), store.writing() as writer:
            note_records(store, writer)
            note_cost(store, writer, session.spending, session.info)


def _run_task(
    plan: Plan,
    name: str,
    pool: ModelPool,
    session: Session,
    should_stop: Callable[[], bool],
    side: Literal["a", "b"],
) -> Iterator[Event]:
    """Answer what is left of one subset."""
    label, store, before = plan.spec.label, session.store, session.attempted
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(store.writing())
        finished = store.finished()
        remaining = [item for item in plan.items[name] if (name, item.id) not in finished]
        if not remaining:
            return
        loading = _load(pool, plan.spec.model, needs_template=plan.spec.prompt.format == "chat")
        while isinstance(step := next(loading), str):
            yield Event("notice", label, side, message=step, task=name)
        backend = step
        stack.enter_context(charged_to(backend, session.spending))
        require_same_model(store, backend)
        check_server(backend, plan)
        info = backend.info
        built = build_prompts(plan, name, remaining, formats.format_info(info, backend.render_chat))
        first = built[0]
        described = not isinstance(backend, ZeroGpuBackend) or backend.is_loaded
        if described:
            write_head(plan, store, writer, backend, first)

        def append(records: Sequence[Record]) -> None:
            nonlocal described, info
            if not described:  # Only a model that is loaded can say what it is.
                require_same_model(store, backend)
                write_head(plan, store, writer, backend, first)
                described, info = True, backend.info
            writer.append(records)

        for note in (
            *notes_on_thinking(plan.spec, TASKS[name], first),
            *notes_on_repetition_penalty(plan.spec, name),
        ):
            if note not in session.given:
                session.given.add(note)
                yield Event("notice", label, side, message=note, task=name)
        limits = token_limits(plan, TASKS[name], remaining, backend)
        total = len(plan.items[name])
        started, done_here = time.perf_counter(), 0
        speed = 0.0
        for number in itertools.count():
            size = _chunk_size(number, speed)
            if isinstance(backend, ZeroGpuBackend) and built:
                work = work_of(plan.spec, TASKS[name], limits, built, backend)
                size, request = backend.next_request(work, len(built))
                yield Event("notice", label, side, message=request, task=name)
            chunk, built = built[:size], built[size:]
            if not chunk:
                break
            try:
                for record in answer_prompts(plan.spec, TASKS[name], limits, chunk, backend, should_stop, append):
                    done_here += 1
                    session.attempted += 1
                    speed = done_here / max(time.perf_counter() - started, 1e-9)
                    yield Event(
                        "record",
                        label,
                        side,
                        task=name,
                        done=total - len(remaining) + done_here,
                        total=total,
                        run_done=before + done_here,
                        run_total=plan.total,
                        items_per_s=speed,
                        seconds_left=(len(remaining) - done_here) / speed,
                        record=record,
                    )
            except GpuTimeError as e:
                session.refusal = e.message
            writer.sync()
            if described and backend.info != info:  # Longer prompts have changed how they go through the model.
                info = backend.info
                write_head(plan, store, writer, backend)
            if should_stop() or session.exhausted:
                break


def require_same_model(store: RunStore, backend: Described) -> None:
    """Refuse to go on with other weights, or with the same in another precision."""
    before = store.manifest().get("model") if store.exists() else None
    if not before:
        return
    if before["commit"] != backend.info.commit:
        raise StoreError(
            "The weights of {model} have changed since this run was started ({old} is now {new}). Delete {folder} to "
            "start over, or name the old revision.",
            model=backend.info.name,
            old=before["commit"],
            new=backend.info.commit,
            folder=store.path,
        )
    if before["dtype"] != backend.info.dtype:
        raise StoreError(
            "This run was started in {old}, and here the model is loaded in {new}. Name the dtype ({old}) to go on, or "
            "{new} for a run of its own.",
            old=before["dtype"],
            new=backend.info.dtype,
        )


def _load(pool: ModelPool, spec: ModelSpec, *, needs_template: bool) -> Iterator[str | Backend]:
    """The progress messages while a model loads, as they come, and at last the model."""
    messages: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        future = executor.submit(pool.get, spec, messages.put, needs_template=needs_template)
        future.add_done_callback(lambda _: messages.put(None))
        while (message := messages.get()) is not None:
            yield message
        yield future.result()


def _chunk_size(number: int, items_per_s: float) -> int:
    """Items of the next chunk, at the speed so far."""
    if number < len(FIRST_CHUNKS):
        return FIRST_CHUNKS[number]
    return max(MIN_CHUNK, min(MAX_CHUNK, int(items_per_s * CHUNK_SECONDS)))
