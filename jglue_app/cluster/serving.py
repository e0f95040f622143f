"""What a worker does with a job, in its own process."""

from __future__ import annotations

import concurrent.futures
import queue
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from jglue_app.backends.pool import ModelPool
from jglue_app.cluster.jobs import (
    Answer,
    Job,
    JobError,
    Load,
    LoadedModel,
    LoadingNotice,
    Prepare,
    Records,
    Reply,
    SubsetPrompts,
)
from jglue_app.errors import JglueAppError
from jglue_app.prompts import formats
from jglue_app.runs.answering import answer_prompts, token_limits
from jglue_app.runs.manifest import machine_facts
from jglue_app.runs.plan import build_prompts
from jglue_app.settings import load_settings
from jglue_app.tasks import TASKS
from jglue_app.types import Backend, Doubt, Record, RunError, WatchedBackend

GROUP_S, GROUP_ITEMS = 0.5, 64
"""Records are given back when so much time has passed since the last ones, or so many are there: what was not given
back is lost with the process."""

CHECK_S = 20.0
"""How long a server is waited for that is asked whether it is still the same model."""


def serve(models: dict[str, Any], job: Job, should_stop: Callable[[], bool]) -> Iterator[Reply]:
    """The replies to a job; the last one is `JobError` if an error of ours has ended it.

    Args:
        models: what is kept from one job to the next; empty at first.
        should_stop: asked between the model's steps.
    """
    try:
        if isinstance(job, Load):
            yield from _load(models, job)
        elif isinstance(job, Prepare):
            yield _prepare(job, models["backend"])
        else:
            yield from _answer(job, models["backend"], should_stop)
    except JglueAppError as e:
        yield JobError(e)


def _load(models: dict[str, Any], job: Load) -> Iterator[Reply]:
    if "pool" not in models:
        settings = replace(load_settings(), memory_bytes=job.settings.memory_bytes)
        models["pool"] = ModelPool(settings if job.own_folders else job.settings, device=job.device)
    pool: ModelPool = models["pool"]
    messages: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        future = executor.submit(pool.get, job.model, messages.put, needs_template=job.needs_template)
        future.add_done_callback(lambda _: messages.put(None))
        while (message := messages.get()) is not None:
            yield LoadingNotice(message)
        models["backend"] = future.result()
    yield LoadedModel(models["backend"].info, machine_facts())


def _prepare(job: Prepare, backend: Backend) -> SubsetPrompts:
    model = formats.format_info(backend.info, backend.render_chat)
    prompts = build_prompts(job.plan, job.name, job.items, model)
    return SubsetPrompts(tuple(prompts), token_limits(job.plan, TASKS[job.name], job.items, backend))


def _is_of(record: Record, doubt: Doubt) -> bool:
    """Whether a record has an answer that is in doubt."""
    return record.output is not None and (not doubt.servers or bool(set(record.output.servers) & set(doubt.servers)))


def _answer(job: Answer, backend: Backend, should_stop: Callable[[], bool]) -> Iterator[Reply]:
    group: list[Record] = []
    given = float("-inf")  # The first one at once: it shows that the batch can be answered.
    answers = answer_prompts(
        job.spec, TASKS[job.task], job.limits, list(job.prompts), backend, should_stop, lambda _: None
    )
    for record in answers:
        group.append(record)
        if isinstance(backend, WatchedBackend):  # Given back once it is sure that it is still the same model.
            continue
        if len(group) >= GROUP_ITEMS or time.monotonic() - given >= GROUP_S:
            yield Records(tuple(group), backend.info)
            group, given = [], time.monotonic()
    if group and isinstance(backend, WatchedBackend):
        doubt = backend.ask_again(CHECK_S)
        if doubt is not None and doubt.is_certain:
            error = RunError("other_model", doubt.message)
            group = [replace(record, output=None, error=error) if _is_of(record, doubt) else record for record in group]
    if group:
        yield Records(tuple(group), backend.info)
