"""A model that answers on a borrowed GPU: here is its tokenizer, there are its weights."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jglue_app.backends.zero_gpu.call import replies
from jglue_app.backends.zero_gpu.durations import Estimate, Rates, Work
from jglue_app.backends.zero_gpu.refusals import KilledError, QuotaError
from jglue_app.backends.zero_gpu.request import START_S, Answered, Begun, Ended, GpuRequest, Ready, Task
from jglue_app.backends.zero_gpu.space import gpu_call
from jglue_app.errors import GpuTimeError, ModelError
from jglue_app.messages import Message
from jglue_app.settings import Settings
from jglue_app.types import Backend, ModelInfo, ModelSpec, NextTokens, Output, Prompt, RunError, Tokenizer

MAX_FRUITLESS = 3
"""Requests after one another without a single answer, after which it is given up."""
MEASURED_PROMPTS = 8
"""Prompts whose tokens are counted to estimate those of all."""

_rates = Rates()


class ZeroGpuBackend:
    """A model on ZeroGPU; see `types.Backend`.

    Args:
        spec: the model, with the checksum of its files.
        settings: mode and folders.
        tokenizer: of the model.
        info: what is known of the model before it is loaded; replaced by what it says itself.
        weight_bytes: bytes of the weights on the GPU; None if not known.
        needs_template: whether a model without a chat template is refused.
    """

    def __init__(
        self,
        spec: ModelSpec,
        settings: Settings,
        tokenizer: Tokenizer,
        info: ModelInfo,
        weight_bytes: int | None,
        *,
        needs_template: bool = False,
        rates: Rates | None = None,
    ) -> None:
        self._spec, self._settings, self._tokenizer = spec, settings, tokenizer
        self._weight_bytes, self._needs_template = weight_bytes, needs_template
        self._rates = rates or _rates
        self.info = info
        self.is_loaded = False
        """Whether `info` is that of the loaded model."""
        self.gpu_seconds = 0.0
        """Seconds of a GPU that were used so far."""

    def render_chat(self, messages: Sequence[Mapping[str, str]], thinking: str = "off") -> str:
        """A conversation in the model's own chat template; see `types.Backend`."""
        return self._tokenizer.render_chat(messages, thinking)

    def count_tokens(self, text: str) -> int:
        """Tokens of a text; see `types.Backend`."""
        return len(self._tokenizer.encode_text(text))

    def close(self) -> None:
        """Nothing is held here."""

    def generate(
        self,
        prompts: Sequence[Prompt],
        max_new_tokens: int,
        should_stop: Callable[[], bool],
        repetition_penalty: float = 1.0,
    ) -> Iterator[tuple[int, Output | RunError]]:
        """Greedy generation; see `types.Backend`."""
        work = self.work("generate", prompts, max_new_tokens)
        return self.answers(generate_there, prompts, (max_new_tokens, repetition_penalty), work, should_stop)

    def choose(
        self, prompts: Sequence[Prompt], should_stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Output | RunError]]:
        """Log-likelihood of each legal answer; see `types.Backend`."""
        return self.answers(choose_there, prompts, (), self.work("choose", prompts), should_stop)

    def next_tokens(self, prompt: Prompt, count: int, should_stop: Callable[[], bool]) -> NextTokens | RunError | None:
        """The most likely tokens at each place of a prompt; see `types.PredictingBackend`."""
        work = self.work("next_tokens", [prompt])
        found = [value for _, value in self.answers(next_tokens_there, [prompt], (count,), work, should_stop)]
        return found[0] if found else None

    # --- requests ---

    def work(self, method: str, prompts: Sequence[Prompt], new_tokens: int = 0) -> Work:
        """What one of several prompts takes, for an estimate.

        Args:
            method: rates are remembered for each.
            prompts: of which a few are tokenized.
            new_tokens: most tokens that are written for each.
        """
        measured = prompts[:: max(1, len(prompts) // MEASURED_PROMPTS)]
        counts = [self.count_tokens(prompt.text) for prompt in measured]
        return Work(method, statistics.fmean(counts) if counts else 0.0, new_tokens)

    def estimate(self, work: Work) -> Estimate:
        """What requests take, by the rates as they are now."""
        return Estimate(self._rates, self._spec, self._weight_bytes, work)

    def next_request(self, work: Work, items: int) -> tuple[int, Message]:
        """How many of some items come into one request, and a sentence that says what it asks for."""
        estimate = self.estimate(work)
        count = min(items, estimate.items)
        return count, Message(
            "Asking ZeroGPU for {seconds} s of a GPU for {count} items, with loading {model}.",
            seconds=estimate.seconds(count),
            count=count,
            model=self._spec.id,
        )

    def answers(
        self,
        task: Task,
        prompts: Sequence[Any],
        args: tuple[Any, ...],
        work: Work,
        should_stop: Callable[[], bool],
    ) -> Iterator[tuple[int, Any]]:
        """What a function gives for prompts, in as many requests as that takes, each answer once and as it comes.

        Prompts that a request has not answered (its seconds were almost over, or the process was killed) come into the
        next one. Where the quota has no room for a request but for a smaller one, that is made.

        Args:
            task: a function of a module: (backend, should_stop, prompts, *args) → (number of the prompt, answer).
            prompts: what to answer.
            args: further arguments.
            work: what one prompt takes.
            should_stop: asked several times a second.

        Raises:
            GpuTimeError: no GPU is lent any more, or nothing is answered in the time that may be asked for.
            JglueAppError: another of its kinds, when the model cannot be loaded or fails.
        """
        left, fruitless, room = list(range(len(prompts))), 0, None
        while left and not should_stop():
            estimate = self.estimate(work)
            numbers = left[: estimate.items if room is None else max(1, min(estimate.items, room))]
            answered: set[int] = set()
            killed: KilledError | None = None
            try:
                batch = [prompts[i] for i in numbers]
                seconds = estimate.seconds(len(batch))
                for k, value in self._request(task, (batch, *args), seconds, work, should_stop):
                    if numbers[k] not in answered:
                        answered.add(numbers[k])
                        yield numbers[k], value
            except QuotaError as e:
                smaller = estimate.items_within(e.left) if e.left else 0
                if not 1 <= smaller < len(numbers):
                    raise
                room = smaller
                continue
            except KilledError as e:
                killed = e
            left = [i for i in left if i not in answered]
            fruitless = 0 if answered else fruitless + 1
            if left and fruitless >= MAX_FRUITLESS and not should_stop():
                raise killed or GpuTimeError(
                    "{model} has answered nothing within {seconds} s of GPU time. Choose a smaller model, fewer "
                    "examples or shorter answers.",
                    model=self._spec.id,
                    seconds=seconds,
                )

    def _request(
        self, task: Task, args: tuple[Any, ...], seconds: int, work: Work, should_stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Any]]:
        """One request; what it took is remembered."""
        gpu = gpu_call()
        if gpu is None:
            raise ModelError("This process has no GPU to borrow. Start the application again.")
        request = GpuRequest(self._spec, self._settings, task, args, seconds, Path(), self._needs_template)
        loaded_after: float | None = None
        begun: float | None = None
        count = 0
        try:
            for reply in replies(gpu, request, should_stop):
                if isinstance(reply, Begun):
                    begun = time.monotonic()
                elif isinstance(reply, Ready):
                    self._loaded(reply.info)
                    loaded_after = reply.seconds
                    if not reply.was_loaded:
                        self._rates.note_load(self._spec, reply.seconds)
                elif isinstance(reply, Answered):
                    count += 1
                    yield reply.value
                elif isinstance(reply, Ended):
                    self.info = reply.info
                    self.gpu_seconds += START_S + reply.seconds
                    if not should_stop():
                        self._note_items(work, count, reply.seconds - (loaded_after or 0.0), of=len(args[0]))
        except KilledError:
            if begun is not None:
                took = time.monotonic() - begun
                self.gpu_seconds += START_S + took
                if not count:
                    self._rates.note_killed(self._spec, self._weight_bytes, work, took, loaded=loaded_after is not None)
            raise

    def _note_items(self, work: Work, count: int, seconds: float, of: int) -> None:
        self._rates.note_items(self._spec, self._weight_bytes, work, count, seconds, at_least=count < of)

    def _loaded(self, info: ModelInfo) -> None:
        """Take over what the loaded model says of itself; raises ModelError if prompts were made for another."""
        before = self.info
        for name in ("commit", "dtype", "context_length", "bos", "adds_bos", "eos", "has_chat_template", "prefix"):
            if getattr(info, name) != getattr(before, name):
                raise ModelError(
                    "{model} is not on the GPU as it is described here ({name}: {there!r}, not {here!r}). Its files "
                    "may have changed: run again.",
                    model=self._spec.id,
                    name=name,
                    there=getattr(info, name),
                    here=getattr(before, name),
                )
        self.info = info
        self.is_loaded = True


def generate_there(
    backend: Backend, should_stop: Callable[[], bool], prompts: Sequence[Prompt], limit: int, penalty: float
) -> Iterator[tuple[int, Output | RunError]]:
    """See `Backend.generate`."""
    return backend.generate(prompts, limit, should_stop, penalty)


def choose_there(
    backend: Backend, should_stop: Callable[[], bool], prompts: Sequence[Prompt]
) -> Iterator[tuple[int, Output | RunError]]:
    """See `Backend.choose`."""
    return backend.choose(prompts, should_stop)


def next_tokens_there(
    backend: Any, should_stop: Callable[[], bool], prompts: Sequence[Prompt], count: int
) -> Iterator[tuple[int, NextTokens | RunError]]:
    """See `PredictingBackend.next_tokens`."""
    found = backend.next_tokens(prompts[0], count, should_stop)
    if found is not None:
        yield 0, found
