"""Plan → records in a run directory, as a stream of events that the page and the command line both draw."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import queue
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from jglue_app.backends.pool import ModelPool
from jglue_app.backends.zero_gpu.backend import ZeroGpuBackend
from jglue_app.errors import GpuTimeError, JglueAppError
from jglue_app.messages import Message
from jglue_app.prompts import formats
from jglue_app.runs.answering import answer_prompts, token_limits, work_of
from jglue_app.runs.ends import end_of_runs, note_end, open_subsets, opening_notices, repair_notices
from jglue_app.runs.events import Event
from jglue_app.runs.paying import Charge, charged_to, check_server, nobody_else
from jglue_app.runs.plan import Plan, build_prompts
from jglue_app.runs.server_checks import ServerChecks
from jglue_app.runs.sessions import Session, open_sessions
from jglue_app.runs.store import RunStore
from jglue_app.runs.subset_run import SubsetRun, require_same_model
from jglue_app.tasks import TASKS
from jglue_app.types import Backend, ModelSpec, Record

FIRST_CHUNKS, MIN_CHUNK, MAX_CHUNK = (4, 24), 96, 2_048
"""Items handed to the model at a time: few at first, so that something is seen soon, then enough to share tokens."""
CHUNK_SECONDS = 5.0
"""About how long later ones take: a fast accelerator is kept full, a slow machine shows that it works."""


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
    yield from repair_notices(plans, stores)
    steps = open_subsets(plans, stores)
    yield from opening_notices(plans, runs_dir)
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
                    note_end(stores[plan_id], sessions[plan_id])
        raise
    for plan_id in begun:
        note_end(stores[plan_id], sessions[plan_id])
    yield from end_of_runs(plans, pool, stores, sessions, before, should_stop)


def _run_task(
    plan: Plan,
    name: str,
    pool: ModelPool,
    session: Session,
    should_stop: Callable[[], bool],
    side: Literal["a", "b"],
) -> Iterator[Event]:
    """Answer what is left of one subset."""
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(session.store.writing())
        subset = SubsetRun.begin(side, plan, name, session, writer)
        remaining = subset.remaining
        if not remaining:
            return
        loading = _load(pool, plan.spec.model, needs_template=plan.spec.prompt.format == "chat")
        while isinstance(step := next(loading), str):
            yield subset.notice(step)
        backend = step
        stack.enter_context(charged_to(backend, session.spending))
        require_same_model(session.store, backend)
        check_server(backend, plan)
        info = backend.info
        built = build_prompts(plan, name, remaining, formats.format_info(info, backend.render_chat))
        first = built[0]
        described = not isinstance(backend, ZeroGpuBackend) or backend.is_loaded
        if described:
            subset.describe(backend, first)

        def append(records: Sequence[Record]) -> None:
            nonlocal described, info
            if not described:  # Only a model that is loaded can say what it is.
                subset.describe(backend, first)
                described, info = True, backend.info
            writer.append(records)
            checks.stored(records)

        yield from subset.notes(first)
        limits = token_limits(plan, TASKS[name], remaining, backend)
        checks = stack.enter_context(ServerChecks(backend, subset))
        subset.start()
        for number in itertools.count():
            size = _chunk_size(number, subset.speed)
            if isinstance(backend, ZeroGpuBackend) and built:
                work = work_of(plan.spec, TASKS[name], limits, built, backend)
                size, request = backend.next_request(work, len(built))
                yield subset.notice(request)
            chunk, built = built[:size], built[size:]
            if not chunk:
                break
            try:
                for record in answer_prompts(plan.spec, TASKS[name], limits, chunk, backend, should_stop, append):
                    yield subset.count(record)
            except GpuTimeError as e:
                session.refusal = e.message
            writer.sync()
            stops = should_stop() or session.exhausted
            yield from checks.after_chunk(is_last=stops or not built, stops=stops)
            if described and backend.info != info:  # Longer prompts have changed how they go through the model.
                info = backend.info
                subset.describe(backend)
            if stops:
                break


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
