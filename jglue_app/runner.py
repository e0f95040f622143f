"""RunSpec → records in a run directory, as a stream of events that the page and the command line both draw.

`plan` validates everything that can be validated without a model; `run_plan` answers what is not yet answered.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import datetime
import importlib.metadata
import platform
import queue
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from jglue_app import __version__, data, prompts
from jglue_app.backends import BACKENDS, ModelPool
from jglue_app.errors import InputError, UnknownNameError
from jglue_app.report import run_label
from jglue_app.settings import Settings
from jglue_app.store import RunStore, RunWriter
from jglue_app.tasks import TASKS, get_task
from jglue_app.types import (
    Backend,
    Dataset,
    Decoding,
    Item,
    ModelSpec,
    Output,
    Prompt,
    PromptSpec,
    Record,
    RunError,
    RunSpec,
    Task,
)

METHODS = ("generate", "choose", "both")
FIRST_CHUNK, CHUNK = 4, 24


@dataclass(frozen=True, slots=True)
class Plan:
    """A run that can start: names checked, files verified, items chosen, examples drawn."""

    spec: RunSpec
    style: prompts.Style
    datasets: Mapping[str, Dataset]
    pools: Mapping[str, Dataset]
    """Task → where few-shot examples come from; only when there are shots."""
    items: Mapping[str, tuple[Item, ...]]
    """Task → the items to answer under the limit."""

    @property
    def total(self) -> int:
        """Items over all subsets."""
        return sum(len(items) for items in self.items.values())


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
    """Items of the run that have a record."""
    run_total: int = 0
    """Items of the run in all."""
    items_per_s: float | None = None
    """Speed in this session, on this subset."""
    seconds_left: float | None = None
    """Estimate for the subset at that speed."""
    record: Record | None = None


def plan(
    settings: Settings,
    model: ModelSpec,
    tasks: Sequence[str],
    *,
    data_kind: str = "official",
    split: str = "valid",
    limit: int | None = None,
    seed: int = 0,
    prompt: PromptSpec | None = None,
    decoding: Decoding | None = None,
    marc_ja: Path | None = None,
    progress: data.Progress | None = None,
) -> Plan:
    """Check a run and gather all it needs but the model.

    Raises:
        InputError: anything in the request that cannot be done, with a remedy (includes DataError, StyleError).
        NetworkError: a data file is missing and cannot be downloaded.
    """
    prompt, decoding = prompt or PromptSpec(), decoding or Decoding()
    _check_request(model, tasks, prompt, decoding, limit)
    style = prompts.load_style(prompt.style, allow_paths=not settings.public)
    datasets = {
        name: data.load(settings, name, split, data=data_kind, marc_ja=marc_ja, progress=progress) for name in tasks
    }
    pools = {name: data.few_shot_pool(settings, d) for name, d in datasets.items()} if prompt.shots else {}
    for name, pool in pools.items():
        style.of(name)
        prompts.pick_shots(datasets[name].items[0], pool.items, prompt, TASKS[name])
    sums = {f"{name}/{split}": d.sha256 for name, d in datasets.items()}
    sums |= {f"{name}/examples": pool.sha256 for name, pool in pools.items()}
    for name in tasks:
        style.of(name)
    spec = RunSpec(
        model=model,
        tasks=tuple(name for name in TASKS if name in tasks),
        data_version=data.OFFICIAL_VERSION if data_kind == "official" else data.SAMPLE_VERSION,
        data_sha256=sums,
        prompt=prompt,
        style_sha256=style.sha256,
        decoding=decoding,
        code_version=__version__,
        split=split,
        seed=seed,
        limit=limit,
    )
    items = {name: data.take(datasets[name].items, limit, seed) for name in spec.tasks}
    return Plan(spec, style, datasets, pools, items)


def _check_request(
    model: ModelSpec, tasks: Sequence[str], prompt: PromptSpec, decoding: Decoding, limit: int | None
) -> None:
    if not tasks:
        raise InputError(f"Choose at least one subset: {', '.join(TASKS)}.")
    if limit is not None and limit < 1:
        raise InputError("The number of items must be at least 1.")
    for name in tasks:
        get_task(name)
    for kind, name, known in (
        ("backend", model.backend, tuple(BACKENDS)),
        ("format", prompt.format, tuple(prompts.FORMATS)),
        ("few-shot selection", prompt.shot_selection, prompts.SHOT_SELECTIONS),
        ("method", decoding.method, METHODS),
    ):
        if name not in known:
            raise UnknownNameError(kind, name, known)
    if prompt.shots < 0:
        raise InputError("The number of few-shot examples must be 0 or more.")
    if decoding.max_new_tokens is not None and not 1 <= decoding.max_new_tokens <= 4096:
        raise InputError("The limit on new tokens must be from 1 to 4096.")
    if decoding.method == "choose":
        open_ended = [TASKS[n].title for n in tasks if TASKS[n].kind != "choice"]
        if open_ended:
            raise InputError(
                f"{' and '.join(open_ended)} have no fixed answers to rank. "
                "Choose the method generate or both, or leave them out."
            )


# --- running --------------------------------------------------------------------------------------------


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
    steps = [(side, p, name) for side, p in plans for name in p.spec.tasks]
    if pool.fit_together({p.spec.model for _, p in plans}):
        steps.sort(key=lambda step: list(TASKS).index(step[2]))
    else:
        yield Event(
            "notice",
            run_label(plans[0][1].spec),
            message="The two models do not fit in memory together: they run one after the other.",
        )
    for side, p, name in steps:
        if should_stop():
            break
        yield from _run_task(p, name, pool, RunStore.of(runs_dir, p.spec), should_stop, side)
    for side, p in plans:
        finished = len(RunStore.of(runs_dir, p.spec).finished() & _wanted(p))
        yield Event(
            "stopped" if should_stop() and finished < p.total else "done",
            run_label(p.spec),
            side,
            run_done=finished,
            run_total=p.total,
        )


def _wanted(plan: Plan) -> set[tuple[str, str]]:
    return {(name, item.id) for name, items in plan.items.items() for item in items}


def _run_task(
    plan: Plan,
    name: str,
    pool: ModelPool,
    store: RunStore,
    should_stop: Callable[[], bool],
    side: Literal["a", "b"],
) -> Iterator[Event]:
    label = run_label(plan.spec)
    with store.writing() as writer:
        _write_head(plan, store, writer)
        finished = store.finished()
        todo = [item for item in plan.items[name] if (name, item.id) not in finished]
        if not todo:
            return
        yield Event("notice", label, side, message=f"Preparing {plan.spec.model.id}.", task=name)
        loading = _load(pool, plan.spec.model)
        while isinstance(news := next(loading), str):
            yield Event("notice", label, side, message=news, task=name)
        backend = news
        _write_head(plan, store, writer, backend)
        built = _build_prompts(plan, TASKS[name], todo, backend)
        run_done, total = len(finished & _wanted(plan)), len(plan.items[name])
        started, done_here = time.perf_counter(), 0
        for chunk in _chunks(built):
            for record in _answer(plan.spec, TASKS[name], plan.style, chunk, backend, should_stop, writer.append):
                done_here += 1
                speed = done_here / max(time.perf_counter() - started, 1e-9)
                yield Event(
                    "record",
                    label,
                    side,
                    task=name,
                    done=total - len(todo) + done_here,
                    total=total,
                    run_done=run_done + done_here,
                    run_total=plan.total,
                    items_per_s=speed,
                    seconds_left=(len(todo) - done_here) / speed,
                    record=record,
                )
            writer.sync()
            if should_stop():
                return


def _load(pool: ModelPool, spec: ModelSpec) -> Iterator[str | Backend]:
    """The sentences told while a model loads, as they come, and at last the model."""
    news: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        future = executor.submit(pool.get, spec, news.put)
        future.add_done_callback(lambda _: news.put(None))
        while (message := news.get()) is not None:
            yield message
        yield future.result()


def _build_prompts(plan: Plan, task: Task, items: Sequence[Item], backend: Backend) -> list[Prompt]:
    spec = plan.spec.prompt
    info = backend.info
    model = prompts.ModelText(info.bos, info.eos, backend.render_chat if info.has_chat_template else None)
    pool = plan.pools[task.name].items if spec.shots else ()
    same = prompts.pick_shots(items[0], pool, spec, task)
    out = []
    for item in items:
        shots = prompts.pick_shots(item, pool, spec, task) if spec.shot_selection == "random" else same
        out.append(prompts.build_prompt(item, task, plan.style, spec, shots, model))
    return out


def _chunks(built: list[Prompt]) -> Iterator[list[Prompt]]:
    """A small first chunk, so that something is seen soon."""
    yield built[:FIRST_CHUNK]
    for start in range(FIRST_CHUNK, len(built), CHUNK):
        yield built[start : start + CHUNK]


def _answer(
    spec: RunSpec,
    task: Task,
    style: prompts.Style,
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
    limit = spec.decoding.max_new_tokens or style.of(task.name).max_new_tokens
    chosen: dict[int, Output | RunError] = {}
    if choosing:
        for i, result in backend.choose(chunk, should_stop):
            chosen[i] = result
            if not generating:
                record = _record(spec, task, chunk[i], None, result)
                append([record])
                yield record
    if generating:
        ready = {i: p for i, p in enumerate(chunk) if not choosing or i in chosen}
        index = list(ready)
        for k, result in backend.generate(list(ready.values()), limit, should_stop):
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


# --- manifest -------------------------------------------------------------------------------------------


def _write_head(plan: Plan, store: RunStore, writer: RunWriter, backend: Backend | None = None) -> None:
    """Write manifest and items, keeping what an earlier session of the same run put there."""
    old = store.manifest() if store.exists() else {}
    items = {(item.task, item.id): item for item in store.items()}
    items |= {(name, item.id): item for name, chosen in plan.items.items() for item in chosen}
    model = dataclasses.asdict(backend.info) if backend else old.get("model")
    head = {
        "label": run_label(plan.spec),
        "created": old.get("created") or now(),
        "spec_id": plan.spec.spec_id,
        "spec": plan.spec,
        "data": {name: _data_facts(plan, name) for name in plan.spec.tasks},
        "model": model,
        "machine": machine_facts(),
    }
    if head != {name: old.get(name) for name in head}:
        writer.items(items.values())
        writer.manifest(head)


def _data_facts(plan: Plan, name: str) -> dict[str, Any]:
    def facts(dataset: Dataset) -> dict[str, Any]:
        return {
            "source": dataset.source,
            "version": dataset.version,
            "split": dataset.split,
            "file": Path(dataset.path).name,
            "sha256": dataset.sha256,
            "items": len(dataset.items),
        }

    found = facts(plan.datasets[name])
    return found | ({"examples": facts(plan.pools[name])} if name in plan.pools else {})


def machine_facts() -> dict[str, Any]:
    """Processor, memory and versions, for the manifest. No names and no paths of the machine."""
    packages = ("torch", "transformers", "accelerate", "bitsandbytes", "gradio")
    versions = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": psutil.cpu_count(logical=True),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "packages": versions,
    }


def now() -> str:
    """The present moment in UTC, to the second, ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
