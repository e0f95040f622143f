"""Generation with thinking: a token budget for the thought, and stop strings that apply to the answer alone.

A thought and its answer are generated one after the other where they have different limits, or where a stop string
would cut the thought: first up to the mark that closes the thought, then on from there. What is stored is one text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from jglue_app.prompts import thoughts
from jglue_app.types import Backend, Output, Prompt, RunError, ServerBackend, Usage

Result = Output | RunError
Results = Iterator[tuple[int, Result]]


def generate(
    backend: Backend,
    prompts: Sequence[Prompt],
    limit: int,
    budget: int | None,
    should_stop: Callable[[], bool],
    repetition_penalty: float = 1.0,
) -> Results:
    """Greedy continuations of prompts, as `Backend.generate` gives them, with their thoughts whole or cut off.

    Args:
        backend: what answers.
        prompts: what to answer.
        limit: most new tokens of an answer; of thought and answer together if there is no budget.
        budget: most new tokens of a thought; None if the limit is for both.
        should_stop: called between tokens.
        repetition_penalty: see `types.Decoding`; of an answer, its thought belongs to what it may repeat.
    """
    remote = [i for i, p in enumerate(prompts) if p.thinking]
    if remote and isinstance(backend, ServerBackend):  # A server renders these, and no text of theirs can be continued.
        chats = [prompts[i] for i in remote]
        for k, result in backend.generate_chats(chats, limit, budget, should_stop, repetition_penalty):
            yield remote[k], result
        if len(remote) == len(prompts):
            return
        remaining = [i for i in range(len(prompts)) if i not in set(remote)]
        texts = [prompts[i] for i in remaining]
        for k, result in generate(backend, texts, limit, budget, should_stop, repetition_penalty):
            yield remaining[k], result
        return
    first = {i for i, p in enumerate(prompts) if thoughts.is_open(p.thought) and (budget is not None or p.stop)}
    plain = [i for i in range(len(prompts)) if i not in first]
    again: dict[int, str] = {}
    unsplit = [prompts[i] for i in plain]
    for k, result in backend.generate(unsplit, limit, should_stop, repetition_penalty) if plain else ():
        mark = _opened_by_model(prompts[plain[k]], result, budget, backend.count_tokens)
        if mark:
            again[plain[k]] = mark
        else:
            yield plain[k], result
    marks = {i: prompts[i].thought for i in first} | again
    by_mark: dict[str, list[int]] = {}
    for i in sorted(marks):
        by_mark.setdefault(marks[i], []).append(i)
    for mark, group in by_mark.items():
        group_prompts = {i: prompts[i] for i in group}
        yield from _thought_then_answer(backend, group_prompts, mark, limit, budget, should_stop, repetition_penalty)


def ranked(prompt: Prompt) -> Prompt:
    """The prompt as log-likelihoods of answers are taken after it: with its thought closed."""
    return replace(prompt, text=prompt.ranked_text) if prompt.ranked_text else prompt


def sum_of_usage(a: Usage | None, b: Usage | None) -> Usage | None:
    """What two requests took together; None if neither was sent to a server."""
    if a is None or b is None:
        return a or b
    return a.plus(b)


def _opened_by_model(prompt: Prompt, result: Result, budget: int | None, count: Callable[[str], int]) -> str:
    """The mark of a thought that the model itself has opened and that has to be generated separately; else empty."""
    if isinstance(result, RunError) or not result.text or thoughts.is_open(prompt.thought):
        return ""
    parts = thoughts.split(result.text, prompt.thought)
    if not parts.mark or not thoughts.closings(parts.mark):
        return ""
    # Cut by the answer's limit, longer than its own, or cut by a stop string that was meant for the answer.
    limited = budget is not None and (result.finish == "length" or count(result.text[: parts.answer]) > budget)
    nothing = parts.answer is None or not result.text[parts.answer :].strip()
    stopped = bool(prompt.stop) and result.finish == "stop" and nothing
    return parts.mark if limited or stopped else ""


def _thought_then_answer(
    backend: Backend,
    prompts: Mapping[int, Prompt],
    mark: str,
    limit: int,
    budget: int | None,
    should_stop: Callable[[], bool],
    penalty: float,
) -> Results:
    """The thought up to its closing mark, then the answer."""
    closings = tuple(map(thoughts.Closing, thoughts.closings(mark)))
    index = list(prompts)
    thinking = [replace(prompts[i], stop=closings) for i in index]
    left: dict[int, list[tuple[int, Output]]] = {}
    for k, result in backend.generate(thinking, limit if budget is None else budget, should_stop, penalty):
        i = index[k]
        ended = isinstance(result, Output) and result.finish == "stop" and (result.text or "").endswith(closings)
        rest = limit if budget is not None else limit - result.new_tokens if isinstance(result, Output) else 0
        if isinstance(result, Output) and ended and rest > 0:
            left.setdefault(rest, []).append((i, result))
        elif isinstance(result, Output) and ended:
            yield i, replace(result, finish="length")
        else:
            yield i, result
    for rest, group in left.items():
        answering = [replace(prompts[i], text=prompts[i].text + (of.text or "")) for i, of in group]
        blank: dict[int, Output] = {}
        for k, result in backend.generate(answering, rest, should_stop, penalty):
            i, of = group[k]
            if isinstance(result, Output) and result.finish == "empty" and prompts[i].stop:
                blank[k] = result
            else:
                yield i, _joined(of, result)
        # An answer stands some lines below its thought: a line end may stop it, and not what stands before it.
        unstopped = [replace(answering[k], stop=()) for k in blank]
        tried = list(blank)
        for n, result in backend.generate(unstopped, rest, should_stop, penalty) if unstopped else ():
            i, of = group[tried[n]]
            twice = replace(of, usage=sum_of_usage(of.usage, blank[tried[n]].usage))
            yield i, _joined(twice, _cut_at_stop(result, prompts[i].stop))


def _cut_at_stop(result: Result, stop: Sequence[str]) -> Result:
    """An output up to the first stop string that does not stand in the white space before it."""
    if isinstance(result, RunError) or not result.text:
        return result
    start = len(result.text) - len(result.text.lstrip())
    places = [at for s in stop if (at := result.text.find(s, start)) >= 0]
    return replace(result, text=result.text[: min(places)], finish="stop") if places else result


def _joined(thought: Output, answer: Result) -> Result:
    if isinstance(answer, RunError):
        return answer
    if answer.finish == "overflow":  # The context is full: what was written is all there is.
        return replace(thought, finish="length", usage=sum_of_usage(thought.usage, answer.usage))
    return Output(
        (thought.text or "") + (answer.text or ""),
        "stop" if answer.finish == "empty" else answer.finish,
        thought.prompt_tokens,
        thought.new_tokens + answer.new_tokens,
        thought.seconds + answer.seconds,
        reasoning=thought.reasoning if answer.reasoning is None else (thought.reasoning or "") + answer.reasoning,
        reasoning_tokens=thought.reasoning_tokens + answer.reasoning_tokens,
        usage=sum_of_usage(thought.usage, answer.usage),
        servers=tuple(dict.fromkeys((*thought.servers, *answer.servers))),
    )
