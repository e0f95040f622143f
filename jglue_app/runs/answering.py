"""Prompts → stored records: both halves of an answer (text and ranking of the choices), and how long it may be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from jglue_app.runs.generation import generate, ranked, sum_of_usage
from jglue_app.runs.plan import Plan
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
            prompts_left = [ready[i] for i in index]
            for k, result in generate(backend, prompts_left, limit, budget, should_stop, penalty):
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
        output = replace(
            generated,
            seconds=generated.seconds + chosen.seconds,
            choice_logprobs=chosen.choice_logprobs,
            usage=sum_of_usage(generated.usage, chosen.usage),
        )
    return Record(spec.spec_id, task.name, prompt.item_id, prompt, output)
