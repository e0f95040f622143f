"""Batches of prompts through a transformers model: greedy generation and log-likelihood of answers.

For models whose attention cannot be exchanged; see `packed_engine` for the others. The prefix that all prompts of a
call share is computed once, and its keys and values are copied into every batch. Where a model keeps something else,
its state is copied; see `state_sharing`. Batches are filled up to a number of tokens and halved when memory runs out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from jglue_app.backends.hf.counters import Counters
from jglue_app.backends.hf.engine.equivalence import StopRequested
from jglue_app.backends.hf.engine.outputs import (
    NON_FINITE,
    OUT_OF_MEMORY,
    at_stop,
    generated_output,
    is_finite,
    raise_unless_out_of_memory,
    scored_output,
)
from jglue_app.backends.hf.engine.padded_model import PADDED, BatchMode, PaddedModel
from jglue_app.backends.hf.engine.repetition_penalty import RepetitionPenalty
from jglue_app.backends.hf.engine.requests import (
    AnswerIds,
    Limits,
    Result,
    encode_choices,
    encode_prompts,
    for_all_identical,
    group_identical,
    longest_context,
    longest_sequence,
    shared_prefix,
)
from jglue_app.backends.hf.engine.state_generation import MAX_FED, StateGeneration, Unit, batches, units
from jglue_app.backends.hf.memory import MemoryBudget
from jglue_app.backends.hf.tokenization.encoding import Encoder
from jglue_app.types import Prompt, RunError

MAX_BATCH_TOKENS = {"cpu": 1_024, "other": 16_384}
"""Tokens of a batch, padding included, if memory allows."""
MAX_KV_TOKENS = {"cpu": 32_768, "other": 131_072}
"""Tokens whose keys and values are kept, if memory allows."""
MAX_ROWS = 64
EXPECTED_NEW_TOKENS = 256
"""Tokens that a generation is expected to have at most when prompts are compared with a length threshold."""

Row = tuple[Any, list[int]]
"""A key and the token ids that go in."""
Results = list[tuple[Any, Any]]
"""A key and what came out, for every row of a batch."""


class _StopBatchError(Exception):
    """The caller asked to stop in the middle of a batch."""


class PaddedEngine:
    """Runs prompts through one model in padded batches.

    Args:
        model: the model in its batch mode.
        tokenizer: its tokenizer.
        eos: ids that end a generation.
        limits: how long prompts may be.
        memory: what it may work in.
    """

    def __init__(
        self, model: PaddedModel, tokenizer: Any, eos: list[int], limits: Limits, memory: MemoryBudget
    ) -> None:
        self.model = model
        self._tokenizer = tokenizer
        self._eos = set(eos)
        self.limits = limits
        self._encoder = Encoder(tokenizer)
        self.bos = self._encoder.bos
        self._memory = memory
        kind = "cpu" if model.device.type == "cpu" else "other"
        self._max_batch_tokens = memory.max_batch_tokens(MAX_BATCH_TOKENS[kind], model.logit_bytes)
        self._max_kv_tokens = memory.max_kv_tokens(MAX_KV_TOKENS[kind])
        self._max_state_rows = MAX_ROWS
        self.counters: Counters = model.counters

    @property
    def mode(self) -> BatchMode:
        """How prompts run together now."""
        return self.model.mode

    @property
    def reason(self) -> str:
        """Why not in a faster mode; empty if in the fastest."""
        return self.model.reason

    def close(self) -> None:
        """Drop the model and the prefix cache."""
        self.model.close()

    def drop_prefix(self) -> None:
        """Drop the prefix cache: the next call computes its prefix again."""
        self.model.drop_prefix()

    # --- generation ---

    def generate(
        self,
        prompts: Sequence[Prompt],
        max_new_tokens: int,
        should_stop: Callable[[], bool],
        repetition_penalty: float = 1.0,
    ) -> Iterator[Result]:
        """Greedy continuations; see `types.Backend`."""
        pending, rejected = encode_prompts(prompts, max_new_tokens, self._encoder, self.limits, self.counters)
        expected = min(max_new_tokens, EXPECTED_NEW_TOKENS)
        lengths = {i: len(ids) + expected for i, ids in pending.items()}
        for i in self.model.too_long_to_compare(lengths, self._memory):
            rejected[i] = OUT_OF_MEMORY
            del pending[i], lengths[i]
        if not self.model.verify_up_to(max(lengths.values(), default=0), should_stop):
            return
        yield from rejected.items()
        identical = group_identical({i: (tuple(ids), prompts[i].stop) for i, ids in pending.items()})
        left = {i: pending[i] for i in identical}
        stops = {i: prompts[i].stop for i in identical}
        by_state = self._generate_by_state(left, stops, max_new_tokens, should_stop, repetition_penalty)
        for i, result in for_all_identical(by_state, identical):
            left.pop(i, None)
            yield i, result
        prefix_length = self._prefix(list(left.values()), should_stop)

        def run(batch: list[Row]) -> Results:
            rows_stops = [stops[i] for i, _ in batch]
            return self._generate_batch(
                batch, rows_stops, prefix_length, max_new_tokens, should_stop, repetition_penalty
            )

        rows: list[Row] = list(left.items())
        yield from for_all_identical(self._in_batches(rows, prefix_length, max_new_tokens, run, should_stop), identical)

    def _generate_by_state(
        self,
        prompts: Mapping[int, list[int]],
        stops: Mapping[int, tuple[str, ...]],
        max_new_tokens: int,
        should_stop: Callable[[], bool],
        repetition_penalty: float,
    ) -> Iterator[Result]:
        """Results of the prompts that could be continued from copies of the model's cache: those that share something,
        where it has such copies."""
        sharing = self.model.state_sharing
        if sharing is None or not prompts:
            return
        generation = StateGeneration(sharing, self._tokenizer, self._eos, self.counters)
        contexts = list(prompts.values())
        left = {i: ids for i, ids in prompts.items() if self.model.fits(len(ids) + max_new_tokens, self._memory)}

        def stopped() -> AbstractContextManager[None]:
            return self.model.stopped_between_layers(should_stop)

        while left and not should_stop():
            try:
                with stopped():
                    prefix_length = sharing.keep_prefix(contexts)
                plan = self._state_batches(left, prefix_length, max_new_tokens)
                for i, result in generation.results(
                    left, stops, max_new_tokens, repetition_penalty, batches=plan, stopped=stopped
                ):
                    yield i, result
                    left = {k: ids for k, ids in left.items() if k != i}
            except StopRequested:
                return
            except (RuntimeError, MemoryError) as e:
                raise_unless_out_of_memory(e)
                if generation.running < 2:  # The others run row by row.
                    return
                self._max_state_rows = generation.running // 2
            else:
                return

    def _state_batches(
        self, prompts: Mapping[int, list[int]], prefix_length: int, max_new_tokens: int
    ) -> list[list[Unit]]:
        """Prompts as they are continued from copies of the model's cache, which fit into memory together."""
        sharing = self.model.state_sharing
        assert sharing is not None

        def rows_of_pass(tokens: int) -> int:
            if sharing.rows == "single":
                return 1
            # A model that reads in chunks fills up the last one.
            return min(self._max_state_rows, self._max_batch_tokens // max(tokens, self.model.chunk_tokens))

        def rows_of_batch(unit: Unit) -> int:
            tokens = max(len(prompts[i]) for i in unit.keys) + max_new_tokens
            # Rows are copied when some of them have ended.
            row_bytes = 2 * (sharing.state_bytes + self._memory.kv_bytes * tokens)
            return max(1, min(self._max_state_rows, self._max_kv_tokens // tokens, self._memory.budget // row_bytes))

        # On a CPU a pass over the tokens of one sequence takes no longer than their part of a larger pass.
        group = sharing.rows != "equal" and self.model.device.type == "cpu"
        found = units(prompts, prefix_length, MAX_FED[sharing.rows], rows_of_pass, group=group)
        return list(batches(found, rows_of_batch)) if sharing.rows == "any" else [[unit] for unit in found]

    def _generate_batch(
        self,
        batch: list[Row],
        stops: list[tuple[str, ...]],
        prefix_length: int,
        max_new_tokens: int,
        should_stop: Callable[[], bool],
        repetition_penalty: float,
    ) -> Results:
        started = time.perf_counter()
        inputs = self.model.padded([ids for _, ids in batch])
        width = inputs["input_ids"].shape[1]
        stopping = _StopStrings(self._tokenizer, stops, width, should_stop)
        finite = _FiniteCheck(len(batch), self.model.device)
        processors: list[LogitsProcessor] = [finite]
        if repetition_penalty != 1:
            processors.append(RepetitionPenalty(repetition_penalty, inputs["attention_mask"]))
        stopped = self.model.stopped_between_layers(should_stop)
        with torch.inference_mode(), self.counters.timed("decode"), stopped:
            sequences = self.model.generate(
                inputs,
                **self.model.cache_option(inputs, prefix_length),
                use_cache=self.mode.use_cache,
                max_new_tokens=max_new_tokens,
                stopping_criteria=StoppingCriteriaList([stopping]),
                logits_processor=LogitsProcessorList(processors),
            )
        steps = sequences.shape[1] - width
        self.counters.forward_tokens += (width - prefix_length + steps - 1) * len(batch)
        self.counters.scored_positions += steps * len(batch)
        seconds = (time.perf_counter() - started) / len(batch)
        results: Results = []
        for row, (i, ids) in enumerate(batch):
            if not bool(finite.finite[row]):
                results.append((i, NON_FINITE))
                continue
            new = sequences[row, width:].tolist()[: stopping.ends[row]]
            self.counters.naive_tokens += len(new)
            results.append((i, generated_output(self._tokenizer, new, self._eos, stops[row], len(ids), seconds)))
        return results

    # --- log-likelihood ---

    def choose(self, prompts: Sequence[Prompt], should_stop: Callable[[], bool]) -> Iterator[Result]:
        """Summed log-probability of each answer's tokens; see `types.Backend`.

        A row is context + answer without its last token; answers that differ in their last token share a row.
        """
        started = time.perf_counter()
        pending, rejected = encode_choices(prompts, self._encoder, self.limits, self.counters)
        lengths = {i: longest_sequence({i: pairs}) for i, pairs in pending.items()}
        for i in self.model.too_long_to_compare(lengths, self._memory):
            rejected[i] = OUT_OF_MEMORY
            del pending[i]
        if not self.model.verify_up_to(longest_sequence(pending), should_stop):
            return
        yield from rejected.items()
        for i, result in self._choose_by_state(pending, should_stop):
            del pending[i]
            yield i, result
        # Row → the prompts and the answers that are scored in it: number of the prompt, of the answer, its ids.
        uses: dict[tuple[int, ...], list[tuple[int, int, list[int]]]] = {}
        for i, pairs in pending.items():
            for k, (context, answer) in enumerate(pairs):
                uses.setdefault((*context, *answer[:-1]), []).append((i, k, answer))
        rows_left = dict.fromkeys(pending, 0)
        for row_uses in uses.values():
            for i in {i for i, _, _ in row_uses}:
                rows_left[i] += 1
        scores = {i: [0.0] * len(pairs) for i, pairs in pending.items()}
        errors: dict[int, RunError] = {}
        # Of each at least the token before its answer is left after the prefix.
        prefix_length = self._prefix([context for pairs in pending.values() for context, _ in pairs], should_stop)

        def run(batch: list[Row]) -> Results:
            answers = [[answer for _, _, answer in uses[key]] for key, _ in batch]
            return self._score_batch(batch, answers, prefix_length, should_stop)

        rows: list[Row] = [(key, list(key)) for key in uses]
        for key, result in self._in_batches(rows, prefix_length, 0, run, should_stop):
            for k, (i, choice, _) in enumerate(uses[key]):
                if isinstance(result, RunError):
                    errors[i] = result
                else:
                    scores[i][choice] = result[k]
            for i in {i for i, _, _ in uses[key]}:
                rows_left[i] -= 1
                if rows_left[i] == 0:
                    seconds = (time.perf_counter() - started) / len(prompts)
                    yield i, errors.get(i) or scored_output(scores[i], longest_context(pending[i]), seconds)

    def _choose_by_state(
        self, pending: Mapping[int, Sequence[AnswerIds]], should_stop: Callable[[], bool]
    ) -> Iterator[Result]:
        """Results of the prompts that could be ranked from copies of the model's cache; none where it has none such."""
        sharing = self.model.state_sharing
        if sharing is None or len(pending) == 0:
            return
        requests = {i: tuple((tuple(context), tuple(answer)) for context, answer in p) for i, p in pending.items()}
        identical = group_identical(requests)
        try:
            with self.model.stopped_between_layers(should_stop):
                sharing.keep_prefix([context for pairs in pending.values() for context, _ in pairs])
            for first, numbers in identical.items():
                started = time.perf_counter()
                pairs = list(pending[first])
                if not self.model.fits(longest_sequence({0: pairs}), self._memory):
                    continue
                with self.model.stopped_between_layers(should_stop):
                    scores = sharing.logprobs(pairs)
                output = scored_output(scores, longest_context(pairs), time.perf_counter() - started)
                for i in numbers:
                    yield i, output
        except StopRequested:
            return
        except (RuntimeError, MemoryError) as e:  # The others run row by row.
            raise_unless_out_of_memory(e)

    def _score_batch(
        self,
        batch: list[Row],
        answers: list[list[list[int]]],
        prefix_length: int,
        should_stop: Callable[[], bool],
    ) -> Results:
        """Summed log-probabilities of the answers that are scored in each row."""
        inputs = self.model.padded([ids for _, ids in batch])
        longest = max(len(answer) for row_answers in answers for answer in row_answers)
        stopped = self.model.stopped_between_layers(should_stop)
        with torch.inference_mode(), self.counters.timed("prefill"), stopped:
            logits = self.model.logits(inputs, prefix_length, longest)
        results: Results = []
        for row, (key, _) in enumerate(batch):
            values: list[float] = []
            for answer in answers[row]:
                logprobs = torch.log_softmax(logits[row, -len(answer) :].float(), dim=-1)
                target = torch.tensor(answer, device=logprobs.device)
                values.append(float(logprobs.gather(1, target[:, None]).sum()))
            results.append((key, values if all(map(is_finite, values)) else NON_FINITE))
        return results

    # --- the shared prefix, and batches ---

    def _prefix(self, sequences: list[list[int]], should_stop: Callable[[], bool]) -> int:
        """Tokens of the prefix that all sequences share and whose keys and values are cached; computes these."""
        if not self.model.shares_prefix or self.mode != PADDED or not sequences:
            return 0
        ids, is_cached = shared_prefix(sequences, self.model.cached_prefix)
        if ids and not is_cached:
            if not self.model.fits(len(ids), self._memory):
                return 0
            try:
                with self.model.stopped_between_layers(should_stop):
                    self.model.cache_prefix(ids)
            except StopRequested:
                return 0
            except (RuntimeError, MemoryError) as e:
                raise_unless_out_of_memory(e)
                return 0
        return len(ids)

    def _in_batches(
        self,
        rows: list[Row],
        prefix_length: int,
        new_tokens: int,
        run: Callable[[list[Row]], Results],
        should_stop: Callable[[], bool],
    ) -> Iterator[tuple[Any, Any]]:
        """Longest rows first, so that memory runs out at once if ever; batches are halved when it does."""
        todo = sorted(rows, key=lambda row: -len(row[1]))
        while todo and not should_stop():
            kv_tokens = len(todo[0][1]) + new_tokens
            forward_tokens = kv_tokens - prefix_length
            count = self._batch_size(todo, forward_tokens, kv_tokens)
            if not self.model.fits(kv_tokens, self._memory):
                yield todo[0][0], OUT_OF_MEMORY
                del todo[0]
                continue
            try:
                results = run(todo[:count])
            except (_StopBatchError, StopRequested):
                return
            except (RuntimeError, MemoryError) as e:
                raise_unless_out_of_memory(e)
                if count > 1:
                    self._max_batch_tokens = max(1, forward_tokens * (count // 2))
                    continue
                results = [(todo[0][0], OUT_OF_MEMORY)]
            del todo[:count]
            yield from results

    def _batch_size(self, todo: Sequence[Row], forward_tokens: int, kv_tokens: int) -> int:
        """How many of the rows run together, the longest of which has so many tokens."""
        if self.mode.rows == "single":
            return 1
        by_tokens, by_memory = self._max_batch_tokens // forward_tokens, self._max_kv_tokens // kv_tokens
        count = max(1, min(MAX_ROWS, len(todo), by_tokens, by_memory))
        if self.mode.rows == "equal":
            longest = len(todo[0][1])
            count = min(count, next((k for k, row in enumerate(todo) if len(row[1]) < longest), len(todo)))
        return count


class _StopStrings(StoppingCriteria):  # type: ignore[misc]  # transformers is read without its types.
    """Ends a row at its first stop string, and the batch when the caller asks to stop."""

    def __init__(
        self, tokenizer: Any, stops: list[tuple[str, ...]], width: int, should_stop: Callable[[], bool]
    ) -> None:
        self._tokenizer = tokenizer
        self._stops = stops
        self._width = width
        self._should_stop = should_stop
        self.ends: list[int | None] = [None] * len(stops)
        """New tokens of each row when its first stop string was complete; later ones are not part of it."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """Whether each row has ended, (rows,)."""
        if self._should_stop():
            raise _StopBatchError
        for row, stop in enumerate(self._stops):
            if stop and self.ends[row] is None:
                new = input_ids[row, self._width :].tolist()
                if at_stop(self._tokenizer, new, stop):
                    self.ends[row] = len(new)
        return torch.tensor([end is not None for end in self.ends], device=input_ids.device)


class _FiniteCheck(LogitsProcessor):  # type: ignore[misc]  # As above.
    """Notes which rows ever had a logit of NaN or +∞; changes nothing."""

    def __init__(self, rows: int, device: torch.device) -> None:
        self.finite = torch.ones(rows, dtype=torch.bool, device=device)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The logits, unchanged."""
        self.finite &= torch.isfinite(scores.max(dim=-1).values)  # NaN where there is one.
        return scores
