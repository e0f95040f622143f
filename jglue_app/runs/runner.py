"""Plan → records in a run directory, as a stream of events that the page and the command line both draw."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import queue
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jglue_app.backends.pool import ModelPool
from jglue_app.errors import RunBusyError, StoreError
from jglue_app.prompts import formats
from jglue_app.prompts.thoughts import FREE, is_ignored, is_open, may_follow
from jglue_app.runs.answering import generate, ranked
from jglue_app.runs.changes import tell_changes
from jglue_app.runs.manifest import mend, note_records, write_head
from jglue_app.runs.plan import Plan, build_prompts
from jglue_app.runs.store import RunStore
from jglue_app.tasks import TASKS
from jglue_app.types import Backend, Item, ModelSpec, Output, Prompt, Record, RunError, RunSpec, Task

FIRST_CHUNKS, LEAST_CHUNK, MOST_CHUNK = (4, 24), 96, 2_048
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


def run_plan(
    plan: Plan,
    pool: ModelPool,
    runs_dir: Path,
    should_stop: Callable[[], bool] = lambda: False,
    side: Literal["a", "b"] = "a",
) -> Iterator[Event]:
    """Answer every item of a plan that has no output yet, storing each record before it is told of.

    The model is not loaded when nothing is left to do.

    Raises:
        ModelError, NetworkError: the model cannot be loaded.
        StoreError: the run directory is in use, or cannot be written.
    """
    yield from run_plans([(side, plan)], pool, runs_dir, should_stop)


def run_plans(
    plans: Sequence[tuple[Literal["a", "b"], Plan]],
    pool: ModelPool,
    runs_dir: Path,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Run one or two plans, subset by subset in turn when their models fit in memory together, else one after the
    other; the same weights are loaded once. Two identical plans are run once.
    """
    stores = {id(p): RunStore.of(runs_dir, p.spec) for _, p in plans}
    for side, p in plans:
        for message in mend(p, stores[id(p)]):
            yield Event("notice", p.spec.label, side, message=message)
    steps = [
        (side, p, name)
        for side, p in plans
        for name in p.spec.tasks
        if len(stores[id(p)].finished_of({name: p.items[name]})) < len(p.items[name])
    ]
    for side, p in plans:
        changes: list[str] = []
        tell_changes(p, runs_dir, changes.append)
        yield from (Event("notice", p.spec.label, side, message=message) for message in changes)
        for dataset in (*p.datasets.values(), *p.pools.values()):
            if dataset.note:
                yield Event("notice", p.spec.label, side, message=dataset.note)
        borrowed = [TASKS[n].title for n, pool_ in p.pools.items() if pool_.source != p.datasets[n].source]
        if borrowed:
            message = f"No train file is at hand for {', '.join(borrowed)}: the examples are our own sample items."
            yield Event("notice", p.spec.label, side, message=message)
        leaks = {TASKS[n].title: pool_.left_out for n, pool_ in p.pools.items() if pool_.left_out}
        if leaks:
            counts = ", ".join(f"{count:,} in {title}" for title, count in leaks.items())
            message = f"Train items with the text of an evaluated item are never shown as examples: {counts}."
            yield Event("notice", p.spec.label, side, message=message)
    models = {p.spec.model for _, p, _ in steps}
    if len(models) == 1 or (len(models) > 1 and pool.fit_together(models)):
        steps.sort(key=lambda step: list(TASKS).index(step[2]))
    elif models:
        message = "The two models do not fit in memory together: they run one after the other."
        yield Event("notice", plans[0][1].spec.label, message=message)
    tried: dict[int, int] = {}
    told: dict[int, set[str]] = {}
    for side, p, name in steps:
        if should_stop():
            break
        before = tried.setdefault(id(p), len(stores[id(p)].finished_of(p.items)))
        tried[id(p)] += yield from _run_task(
            p, name, pool, stores[id(p)], should_stop, side, before, told.setdefault(id(p), set())
        )
    for p in {id(p): p for _, p, _ in steps}.values():
        if stores[id(p)].exists():
            # Another process that has taken the run over meanwhile notes it at its own end.
            with contextlib.suppress(RunBusyError), stores[id(p)].writing() as writer:
                note_records(stores[id(p)], writer)
    for side, p in plans:
        finished = len(stores[id(p)].finished_of(p.items))
        kind: Literal["done", "stopped"] = "stopped" if finished < p.total and should_stop() else "done"
        yield Event(kind, p.spec.label, side, run_done=finished, run_total=p.total)


def _run_task(
    plan: Plan,
    name: str,
    pool: ModelPool,
    store: RunStore,
    should_stop: Callable[[], bool],
    side: Literal["a", "b"],
    before: int,
    told: set[str],
) -> Generator[Event, None, int]:
    """Answer what is left of one subset and return how many items that was; `before` counts those of the whole run,
    `told` are the notices it has had."""
    label = plan.spec.label
    with store.writing() as writer:
        finished = store.finished()
        todo = [item for item in plan.items[name] if (name, item.id) not in finished]
        if not todo:
            return 0
        loading = _load(pool, plan.spec.model, needs_template=plan.spec.prompt.format == "chat")
        while isinstance(news := next(loading), str):
            yield Event("notice", label, side, message=news, task=name)
        backend = news
        _same_model(store, backend)
        info = backend.info
        model = formats.ModelText(info.bos, info.eos, backend.render_chat if info.has_chat_template else None)
        built = build_prompts(plan, name, todo, model)
        write_head(plan, store, writer, backend, built[0])
        for sentence in (*thoughts_told(plan.spec, TASKS[name], built[0]), *penalty_told(plan.spec, name)):
            if sentence not in told:
                told.add(sentence)
                yield Event("notice", label, side, message=sentence, task=name)
        limits = token_limits(plan, TASKS[name], todo, backend)
        total = len(plan.items[name])
        started, done_here = time.perf_counter(), 0
        speed = 0.0
        for number in itertools.count():
            size = _chunk_size(number, speed)
            chunk, built = built[:size], built[size:]
            if not chunk:
                break
            for record in answer_prompts(plan.spec, TASKS[name], limits, chunk, backend, should_stop, writer.append):
                done_here += 1
                speed = done_here / max(time.perf_counter() - started, 1e-9)
                yield Event(
                    "record",
                    label,
                    side,
                    task=name,
                    done=total - len(todo) + done_here,
                    total=total,
                    run_done=before + done_here,
                    run_total=plan.total,
                    items_per_s=speed,
                    seconds_left=(len(todo) - done_here) / speed,
                    record=record,
                )
            writer.sync()
            if backend.info != info:  # Longer prompts have changed how they go through the model.
                info = backend.info
                write_head(plan, store, writer, backend)
            if should_stop():
                break
        return done_here


def thoughts_told(spec: RunSpec, task: Task, prompt: Prompt) -> Iterator[str]:
    """What has to be known of thoughts before a subset is answered, by its first prompt."""
    thinking, budget, writes = spec.prompt.thinking, spec.decoding.max_thinking_tokens, spec.decoding.method != "choose"
    ignored = thinking == "on" and is_ignored(prompt)
    if ignored:
        yield (
            "Thinking was asked for, and nothing in the prompt turns it on: the model answers as it does without. "
            "Choose the format chat, and a model whose template has a switch for thinking."
        )
    if is_open(prompt.thought) and thinking == "off":
        yield f"The prompt opens a thought ({prompt.thought}) although thinking is off: what follows it is the answer."
    expected = may_follow(prompt, thinking)
    if expected and writes and not budget and (thinking == "on" or prompt.thought != FREE):
        yield "A thought has no tokens of its own: it takes them from the answer's. Set --max-thinking-tokens."
    elif budget and not writes and not ignored:
        yield "--max-thinking-tokens has no effect here: answers are only ranked, and no text is written."
    elif budget and not expected and not ignored:
        yield (
            "--max-thinking-tokens has no effect here: nothing in the prompt opens a thought. Only a thought that the "
            "model opens by itself would be limited."
        )
    if prompt.ranked_text and task.kind == "choice" and spec.decoding.method != "generate":
        yield "The thought is closed before answers are ranked: each record holds the text they are ranked after."


def penalty_told(spec: RunSpec, task: str) -> Iterator[str]:
    """What has to be known of a repetition penalty before a subset is answered."""
    if spec.decoding.for_task(task).repetition_penalty == 1:
        return
    if spec.decoding.method == "choose":
        yield "--repetition-penalty has no effect here: answers are only ranked, and no text is written."
    elif spec.model.backend == "scripted":
        yield "--repetition-penalty has no effect here: a table of answers gives them as they stand in it."


def _same_model(store: RunStore, backend: Backend) -> None:
    """Refuse to go on with other weights, or with the same in another precision."""
    before = store.manifest().get("model") if store.exists() else None
    if not before:
        return
    if before["commit"] != backend.info.commit:
        raise StoreError(
            "The weights of {info} have changed since this run was started ({commit} is now "
            "{commit_2}). Delete {path} to start anew, or name the old revision.",
            info=backend.info.name,
            commit=before["commit"],
            commit_2=backend.info.commit,
            path=store.path,
        )
    if before["dtype"] != backend.info.dtype:
        raise StoreError(
            "This run was started in {dtype}, and here the model is loaded in {dtype_2}. Name the "
            "dtype ({dtype}) to go on, or {dtype_2} for a run of its own.",
            dtype=before["dtype"],
            dtype_2=backend.info.dtype,
        )


def _load(pool: ModelPool, spec: ModelSpec, *, needs_template: bool) -> Iterator[str | Backend]:
    """The sentences told while a model loads, as they come, and at last the model."""
    news: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        future = executor.submit(pool.get, spec, news.put, needs_template=needs_template)
        future.add_done_callback(lambda _: news.put(None))
        while (message := news.get()) is not None:
            yield message
        yield future.result()


def token_limits(plan: Plan, task: Task, items: Sequence[Item], backend: Backend) -> dict[str, int]:
    """Item id → new tokens an answer may take: the same for all, unless an oracle gives the gold answer's length."""
    usual = plan.spec.decoding.max_new_tokens or plan.style.of(task.name).max_new_tokens
    if task.kind != "span" or not plan.spec.decoding.oracle_length:
        return {item.id: usual for item in items}
    return {
        item.id: min(usual, max(1, *(backend.count_tokens(text) for text in item.gold)))
        for item in items
        if isinstance(item.gold, tuple)
    }


def _chunk_size(number: int, items_per_s: float) -> int:
    """Items of the next chunk, at the speed so far."""
    if number < len(FIRST_CHUNKS):
        return FIRST_CHUNKS[number]
    return max(LEAST_CHUNK, min(MOST_CHUNK, int(items_per_s * CHUNK_SECONDS)))


def answer_prompts(
    spec: RunSpec,
    task: Task,
    limits: Mapping[str, int],
    chunk: list[Prompt],
    backend: Backend,
    should_stop: Callable[[], bool],
    append: Callable[[Sequence[Record]], None],
) -> Iterator[Record]:
    """Records of a chunk, stored as soon as both of its halves (text and choices) are there."""
    if not chunk:
        return
    generating = spec.decoding.method in ("generate", "both")
    choosing = spec.decoding.method in ("choose", "both") and task.kind == "choice"
    chosen: dict[int, Output | RunError] = {}
    if choosing:
        for i, result in backend.choose([ranked(prompt) for prompt in chunk], should_stop):
            chosen[i] = result
            if not generating:
                record = _record(spec, task, chunk[i], None, result)
                append([record])
                yield record
    if generating:
        for i, result in chosen.items():
            if isinstance(result, RunError):
                record = _record(spec, task, chunk[i], None, result)
                append([record])
                yield record
        ready = {i: p for i, p in enumerate(chunk) if not choosing or isinstance(chosen.get(i), Output)}
        for limit in dict.fromkeys(limits[p.item_id] for p in ready.values()):
            index = [i for i, p in ready.items() if limits[p.item_id] == limit]
            budget = spec.decoding.max_thinking_tokens
            penalty = spec.decoding.for_task(task.name).repetition_penalty
            some = [ready[i] for i in index]
            for k, result in generate(backend, some, limit, budget, should_stop, penalty):
                i = index[k]
                record = _record(spec, task, chunk[i], result, chosen.get(i))
                append([record])
                yield record


def _record(
    spec: RunSpec,
    task: Task,
    prompt: Prompt,
    generated: Output | RunError | None,
    chosen: Output | RunError | None,
) -> Record:
    for result in (generated, chosen):
        if isinstance(result, RunError):
            return Record(spec.spec_id, task.name, prompt.item_id, prompt, None, result)
    assert not isinstance(generated, RunError) and not isinstance(chosen, RunError)
    output = generated or chosen
    if generated and chosen:
        output = Output(
            generated.text,
            generated.finish,
            generated.prompt_tokens,
            generated.new_tokens,
            generated.seconds + chosen.seconds,
            chosen.choice_logprobs,
        )
    return Record(spec.spec_id, task.name, prompt.item_id, prompt, output)
