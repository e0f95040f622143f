"""Prompts → stored records: both halves of an answer (text and ranking of the choices), and how long it may be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from jglue_app.backends.zero_gpu.backend import ZeroGpuBackend
from jglue_app.backends.zero_gpu.durations import Work
from jglue_app.runs.generation import generate, ranked, sum_of_usage
from jglue_app.runs.plan import Plan
from jglue_app.tasks import TASKS
from jglue_app.types import Backend, Item, Output, Prompt, Record, RunError, RunSpec, Task


def token_limits(plan: Plan, task: Task, items: Sequence[Item], backend: Backend) -> dict[str, int]:
    """Item id → new tokens an answer may take: the same for all, unless an oracle gives the gold answer's length."""
    limit = plan.spec.decoding.max_new_tokens or plan.style.of(task.name).max_new_tokens
    if task.kind != "span" or not plan.spec.decoding.oracle_length:
        return {item.id: limit for item in items}
    return {
        item.id: min(limit, max(1, *(backend.count_tokens(text) for text in item.gold)))
        for item in items
        if isinstance(item.gold, tuple)
    }


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
    if isinstance(backend, ZeroGpuBackend):
        # Both halves, and a thought with its answer, come from one request: nothing is lost between two.
        work = work_of(spec, task, limits, chunk, backend)
        answers = backend.answers(records_there, chunk, (spec, task.name, limits), work, should_stop)
        records: Iterator[Record] = (record for _, record in answers)
    else:
        records = _records(spec, task, limits, chunk, backend, should_stop)
    for record in records:
        append([record])
        yield record


def work_of(
    spec: RunSpec, task: Task, limits: Mapping[str, int], prompts: Sequence[Prompt], backend: ZeroGpuBackend
) -> Work:
    """What one of several prompts takes, for an estimate of GPU time."""
    generating, choosing = _halves(spec, task)
    method = "both" if generating and choosing else "generate" if generating else "choose"
    limit = max((limits[prompt.item_id] for prompt in prompts), default=0) + (spec.decoding.max_thinking_tokens or 0)
    return backend.work(method, prompts, limit if generating else 0)


def records_there(
    backend: Backend,
    should_stop: Callable[[], bool],
    prompts: Sequence[Prompt],
    spec: RunSpec,
    task: str,
    limits: Mapping[str, int],
) -> Iterator[tuple[int, Record]]:
    """Records of prompts under the numbers of these: what a process with a borrowed GPU does."""
    numbers = {prompt.item_id: i for i, prompt in enumerate(prompts)}
    for record in _records(spec, TASKS[task], limits, list(prompts), backend, should_stop):
        yield numbers[record.item_id], record


def _halves(spec: RunSpec, task: Task) -> tuple[bool, bool]:
    """Whether texts are generated, and whether answers are ranked."""
    method = spec.decoding.method
    return method in ("generate", "both"), method in ("choose", "both") and task.kind == "choice"


def _records(
    spec: RunSpec,
    task: Task,
    limits: Mapping[str, int],
    chunk: list[Prompt],
    backend: Backend,
    should_stop: Callable[[], bool],
) -> Iterator[Record]:
    """Records of a chunk, as soon as both of their halves are there."""
    generating, choosing = _halves(spec, task)
    chosen: dict[int, Output | RunError] = {}
    if choosing:
        for i, result in backend.choose([ranked(prompt) for prompt in chunk], should_stop):
            chosen[i] = result
            if not generating:
                yield _record(spec, task, chunk[i], None, result)
    if generating:
        for i, result in chosen.items():
            if isinstance(result, RunError):
                yield _record(spec, task, chunk[i], None, result)
        ready = {i: p for i, p in enumerate(chunk) if not choosing or isinstance(chosen.get(i), Output)}
        for limit in dict.fromkeys(limits[p.item_id] for p in ready.values()):
            index = [i for i, p in ready.items() if limits[p.item_id] == limit]
            budget = spec.decoding.max_thinking_tokens
            penalty = spec.decoding.for_task(task.name).repetition_penalty
            prompts_left = [ready[i] for i in index]
            for k, result in generate(backend, prompts_left, limit, budget, should_stop, penalty):
                i = index[k]
                yield _record(spec, task, chunk[i], result, chosen.get(i))


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
        output = replace(
            generated,
            seconds=generated.seconds + chosen.seconds,
            choice_logprobs=chosen.choice_logprobs,
            usage=sum_of_usage(generated.usage, chosen.usage),
            servers=tuple(dict.fromkeys((*chosen.servers, *generated.servers))),
        )
    return Record(spec.spec_id, task.name, prompt.item_id, prompt, output)
