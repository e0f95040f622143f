"""Prompts through a packed model: every distinct token runs once, and the vocabulary is scored only where needed.

The prefix that all prompts of a call share (instruction and examples) is computed once and cached for the next call.
What follows is grouped so that questions about one paragraph, and the answers of one question, are in one trie.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from jglue_app.backends.hf.ablation import ALL, Optimizations
from jglue_app.backends.hf.counters import Counters
from jglue_app.backends.hf.engine.decode_step import DecodeStep
from jglue_app.backends.hf.engine.equivalence import StopRequested
from jglue_app.backends.hf.engine.generation import Generation
from jglue_app.backends.hf.engine.kv_cache import MAX_COPIED_PREFIX, DecodeCache, LayerKV
from jglue_app.backends.hf.engine.outputs import (
    NON_FINITE,
    OUT_OF_MEMORY,
    at_stop,
    generated_output,
    raise_unless_out_of_memory,
    scored_output,
)
from jglue_app.backends.hf.engine.packed_model import MIN_CHUNK_TOKENS, PackedModel
from jglue_app.backends.hf.engine.product_attention import MAX_SCORE_BYTES
from jglue_app.backends.hf.engine.prompt_groups import PromptGroup, forward_passes, group_prompts
from jglue_app.backends.hf.engine.repetition_penalty import SeenTokens
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
from jglue_app.backends.hf.engine.speculative import MAX_DRAFT_TOKENS, STEP_TOKENS, max_draft_tokens
from jglue_app.backends.hf.engine.trie import build_trie
from jglue_app.backends.hf.memory import MemoryBudget
from jglue_app.backends.hf.tokenization.encoding import Encoder
from jglue_app.types import Prompt

MAX_PASS_TOKENS = {"cpu": 1_024, "other": 16_384}
"""Tokens of a forward pass, if memory allows: enough to use the processor fully, few enough to stop within seconds."""
MAX_GENERATIONS = {"cpu": 128, "other": 256}
"""Sequences that are generated at the same time."""
MAX_KV_TOKENS = {"cpu": 32_768, "other": 131_072}
"""Tokens whose keys and values are kept for the sequences that are being generated, if memory allows."""
COMPACTION_THRESHOLD = 0.5
"""The KV cache of ended sequences is dropped when at most this part of the rows goes on: that takes a copy."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """What all prompts of a call begin with."""

    length: int = 0
    """Tokens."""
    kv: LayerKV | None = None
    """Keys and values; None where no prefix is shared."""


class PackedEngine:
    """Runs prompts through one packed model.

    Args:
        model: the packed model.
        tokenizer: its tokenizer.
        eos: ids that end a generation.
        limits: how long prompts may be.
        memory: what it may work in.
        optimizations: which are on.
        max_row_tokens: most tokens of one row of a forward pass; None for no limit but memory.
    """

    def __init__(
        self,
        model: PackedModel,
        tokenizer: Any,
        eos: list[int],
        limits: Limits,
        memory: MemoryBudget,
        optimizations: Optimizations = ALL,
        *,
        max_row_tokens: int | None = None,
    ) -> None:
        self._model: Any = model
        self._tokenizer = tokenizer
        self._eos = set(eos)
        self.limits = limits
        self._encoder = Encoder(tokenizer)
        self.bos = self._encoder.bos
        self._memory = memory
        kind = "cpu" if model.device.type == "cpu" else "other"
        per_pass = MAX_PASS_TOKENS[kind] if max_row_tokens is None else min(max_row_tokens, MAX_PASS_TOKENS[kind])
        self._max_pass_tokens = memory.max_batch_tokens(per_pass)
        self._max_kv_tokens = memory.max_kv_tokens(MAX_KV_TOKENS[kind])
        model.chunk_tokens, model.max_mask_bytes = self._max_pass_tokens, memory.budget // 4
        model.batching.max_score_bytes = min(MAX_SCORE_BYTES, memory.budget // 12)
        self._max_generations = MAX_GENERATIONS[kind]
        self._step_tokens = STEP_TOKENS[kind] if optimizations.speculation else 0
        self._optimizations = optimizations
        self._cached_prefix: tuple[list[int], LayerKV] = ([], {})
        self.counters: Counters = model.counters

    def close(self) -> None:
        """Drop the model and the prefix cache; the model has its own attention again."""
        self._cached_prefix = ([], {})
        if self._model is not None:
            self._model.restore_attention()
        self._model = None

    def drop_prefix(self) -> None:
        """Drop the prefix cache: the next call computes its prefix again."""
        self._cached_prefix = ([], {})

    # --- log-likelihood ---

    def choose(self, prompts: Sequence[Prompt], should_stop: Callable[[], bool]) -> Iterator[Result]:
        """Summed log-probability of each answer's tokens; see `types.Backend`."""
        pending, rejected = encode_choices(prompts, self._encoder, self.limits, self.counters)
        lengths = {i: longest_sequence({i: pairs}) for i, pairs in pending.items()}
        for i in self._model.too_long_to_compare(lengths, self._memory):
            rejected[i] = OUT_OF_MEMORY
            del pending[i]
        if not self._verify_up_to(longest_sequence(pending), should_stop):
            return
        yield from rejected.items()
        requests = {i: tuple((tuple(context), tuple(answer)) for context, answer in p) for i, p in pending.items()}
        identical = group_identical(requests)
        if not identical:
            return
        prefix = self._prefix([context for i in identical for context, _ in pending[i]], should_stop)
        groups = self._groups({i: [[*c, *a[:-1]][prefix.length :] for c, a in pending[i]] for i in identical})

        def run(batch: Sequence[PromptGroup]) -> list[Result]:
            return self._score_batch(batch, pending, prefix, should_stop)

        def batch_size(groups: Sequence[PromptGroup]) -> int:
            return len(next(iter(forward_passes(groups, self._max_pass_tokens))))

        yield from for_all_identical(self._in_batches(groups, batch_size, run, should_stop), identical)

    def _score_batch(
        self,
        batch: Sequence[PromptGroup],
        pending: Mapping[int, Sequence[AnswerIds]],
        prefix: Prefix,
        should_stop: Callable[[], bool],
    ) -> list[Result]:
        started = time.perf_counter()
        tries = [group.trie for group in batch]
        states, starts, _ = self._model.prefill(tries, prefix.kv, prefix.length, should_stop=should_stop)
        # Of each node that is scored, its row among them; and of each target token the row, its id and its answer.
        rows: dict[int, int] = {}
        target_rows: list[int] = []
        targets: list[int] = []
        answers: list[tuple[int, int]] = []
        for group, trie, start in zip(batch, tries, starts, strict=True):
            for i, first in zip(group.keys, group.firsts, strict=True):
                for k, (context, answer) in enumerate(pending[i]):
                    path = trie.paths[first + k]
                    for j, target in enumerate(answer):
                        node = start + path[len(context) - prefix.length - 1 + j]
                        target_rows.append(rows.setdefault(node, len(rows)))
                        targets.append(target)
                        answers.append((i, k))
        logprobs = self._model.logprobs(states[list(rows)], target_rows, targets).tolist()
        sums = {i: [0.0] * len(pending[i]) for group in batch for i in group.keys}
        for (i, k), logprob in zip(answers, logprobs, strict=True):
            sums[i][k] += logprob
        seconds = (time.perf_counter() - started) / len(sums)
        return [(i, scored_output(scores, longest_context(pending[i]), seconds)) for i, scores in sums.items()]

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
        lengths = {i: len(ids) for i, ids in pending.items()}
        for i in self._model.too_long_to_compare(lengths, self._memory):
            rejected[i] = OUT_OF_MEMORY
            del pending[i]
        if not self._verify_up_to(max(map(len, pending.values()), default=0), should_stop):
            return
        yield from rejected.items()
        identical = group_identical({i: (tuple(ids), prompts[i].stop) for i, ids in pending.items()})
        if not identical:
            return
        prefix = self._prefix([pending[i] for i in identical], should_stop)
        groups = self._groups({i: [pending[i][prefix.length :]] for i in identical})

        def run(batch: Sequence[PromptGroup]) -> Iterator[Result]:
            generations = [Generation(i, pending[i], prompts[i].stop) for group in batch for i in group.keys]
            return self._generate_batch(batch, generations, prefix, max_new_tokens, should_stop, repetition_penalty)

        def batch_size(groups: Sequence[PromptGroup]) -> int:
            rows, longest, rows_per_trie = 0, 0, 0
            for count, group in enumerate(groups):
                rows += len(group.keys)
                longest, rows_per_trie = max(longest, group.tokens), max(rows_per_trie, len(group.keys))
                copied = prefix.length if prefix.length <= MAX_COPIED_PREFIX else 0
                kv_tokens = (count + 1) * (copied + longest + rows_per_trie * max_new_tokens)
                if count and (rows > self._max_generations or kv_tokens > self._max_kv_tokens):
                    return count
            return len(groups)

        yield from for_all_identical(self._in_batches(groups, batch_size, run, should_stop), identical)

    def _generate_batch(
        self,
        batch: Sequence[PromptGroup],
        generations: list[Generation],
        prefix: Prefix,
        max_new_tokens: int,
        should_stop: Callable[[], bool],
        repetition_penalty: float,
    ) -> Iterator[Result]:
        """Prefill a batch and decode until all its sequences have ended; each result is yielded when it has."""
        started, count = time.perf_counter(), len(generations)
        prefilled = self._prefill(batch, prefix, max_new_tokens, should_stop)
        if prefilled is None:
            return
        states, cache = prefilled
        for row, generation in enumerate(generations):
            generation.cache_row = row
        while True:
            alive: list[Generation] = []
            for generation, best, finite in self._best_tokens(states, generations, repetition_penalty):
                ended = self._accept(generation, best, finite, max_new_tokens)
                if ended is None:
                    yield generation.key, NON_FINITE
                elif ended:
                    self.counters.naive_tokens += len(generation.new)
                    seconds = (time.perf_counter() - started) / count
                    prompt_tokens, stops = len(generation.prompt), generation.stops
                    output = generated_output(self._tokenizer, generation.new, self._eos, stops, prompt_tokens, seconds)
                    yield generation.key, output
                else:
                    alive.append(generation)
            generations = alive
            if not generations or should_stop():
                return
            longest = max(len(g.prompt) + len(g.new) for g in generations) + MAX_DRAFT_TOKENS
            threshold = self._model.next_threshold
            if threshold is not None and longest > threshold:
                if self._model.too_long_to_compare({0: longest}, self._memory):
                    yield from ((generation.key, OUT_OF_MEMORY) for generation in generations)
                    return
                if not self._verify_up_to(longest, should_stop):
                    return
            if len(generations) <= COMPACTION_THRESHOLD * len(cache.prompt_lengths):
                cache = cache.select_rows([g.cache_row for g in generations])
                for row, generation in enumerate(generations):
                    generation.cache_row = row
            states = self._decode(generations, cache, max_new_tokens)

    def _best_tokens(
        self, states: torch.Tensor, generations: Sequence[Generation], repetition_penalty: float
    ) -> Iterator[tuple[Generation, list[int], list[bool]]]:
        """Of each sequence the best token after its last and after each draft token, and whether logits are finite."""
        seen = None
        if repetition_penalty != 1:
            tokens = [ids for generation in generations for ids in generation.seen_tokens()]
            seen = SeenTokens(repetition_penalty, tokens, states.device)
        best, finite = (tensor.tolist() for tensor in self._model.argmax(states, seen))
        first = 0
        for generation in generations:
            here = slice(first, first + len(generation.draft) + 1)
            first = here.stop
            yield generation, best[here], finite[here]

    def _accept(
        self, generation: Generation, best: Sequence[int], finite: Sequence[bool], max_new_tokens: int
    ) -> bool | None:
        """Add the best token, and those after the draft tokens for as long as these were right.

        Returns:
            Whether the sequence has ended; None if its logits are not finite.
        """
        draft, accepted, ended = generation.draft, 0, False
        for k, token in enumerate(best):
            if not finite[k]:
                return None
            generation.new.append(token)
            ended = (
                len(generation.new) == max_new_tokens
                or token in self._eos
                or at_stop(self._tokenizer, generation.new, generation.stops)
            )
            if ended or k == len(draft) or draft[k] != token:
                break
            accepted += 1
        rejected = len(draft) - accepted
        self.counters.rejected_draft_tokens += rejected
        self.counters.forward_tokens -= rejected
        self.counters.scored_positions -= rejected
        generation.lookup.update(len(draft), accepted)
        return ended

    def _decode(self, generations: Sequence[Generation], cache: DecodeCache, max_new_tokens: int) -> torch.Tensor:
        """One step: hidden states after the last token of each sequence and after each of its draft tokens."""
        limit = max_draft_tokens(self._step_tokens, len(generations))
        for generation in generations:
            generation.draft = generation.propose_draft(limit, max_new_tokens)
        inputs = [(generation, k) for generation in generations for k in range(len(generation.draft) + 1)]
        step = DecodeStep(cache, [g.cache_row for g, _ in inputs], [len(g.new) - 1 + k for g, k in inputs])
        tokens = [token for g in generations for token in (g.new[-1], *g.draft)]
        states: torch.Tensor = self._model.decode(tokens, step)
        return states

    def _prefill(
        self, batch: Sequence[PromptGroup], prefix: Prefix, max_new_tokens: int, should_stop: Callable[[], bool]
    ) -> tuple[torch.Tensor, DecodeCache] | None:
        """The last hidden state of every prompt of a batch, and a KV cache with room for the new tokens.

        None when the caller asked to stop between two passes.
        """
        tries = [group.trie for group in batch]
        cache = DecodeCache.allocate(tries, prefix.kv, prefix.length, self._model.device)
        last_states: list[torch.Tensor] = []
        first = 0
        for groups in forward_passes(batch, self._max_pass_tokens):
            if last_states and should_stop():
                return None
            tries = [group.trie for group in groups]
            states, starts, kv = self._model.prefill(
                tries, prefix.kv, prefix.length, keep=True, should_stop=should_stop
            )
            ends = [start + path[-1] for trie, start in zip(tries, starts, strict=True) for path in trie.paths]
            last_states.append(states[ends])
            cache.write_prefill(first, [len(trie.tokens) for trie in tries], kv, max_new_tokens)
            first += len(tries)
        return torch.cat(last_states), cache

    # --- sharing and batches ---

    def _verify_up_to(self, length: int, should_stop: Callable[[], bool]) -> bool:
        """Whether sequences of so many tokens can run; False when the caller asked to stop before that was known.

        Raises:
            Unsupported, NotCausalError: they cannot; see `PackedModel.verify_up_to`.
        """
        try:
            self._model.verify_up_to(length, should_stop)
        except StopRequested:
            return False
        return True

    def _prefix(self, sequences: Sequence[list[int]], should_stop: Callable[[], bool]) -> Prefix:
        """The prefix that all sequences share, computed unless it is cached."""
        if not self._optimizations.prefix_cache:
            return Prefix()
        ids, is_cached = shared_prefix(sequences, self._cached_prefix[0])
        length = len(ids)
        if is_cached:
            return Prefix(
                length, {layer: (k[:, :length], v[:, :length]) for layer, (k, v) in self._cached_prefix[1].items()}
            )
        if not ids:
            return Prefix()
        self._cached_prefix = ([], {})
        if not self._fits(0, length):
            return Prefix()
        try:
            _, _, kv = self._model.prefill([build_trie([ids])], keep=True, should_stop=should_stop)
        except StopRequested:
            return Prefix()
        except (RuntimeError, MemoryError) as e:
            raise_unless_out_of_memory(e)
            return Prefix()
        self._cached_prefix = (ids, kv)
        return Prefix(length, kv)

    def _groups(self, sequences: Mapping[int, list[list[int]]]) -> list[PromptGroup]:
        return group_prompts(sequences, share=self._optimizations.prefix_sharing)

    def _too_large(self, group: PromptGroup) -> bool:
        """Whether a group would not fit into memory beside the prefix."""
        return not self._fits(len(self._cached_prefix[0]), group.tokens)

    def _fits(self, prefix_tokens: int, tokens: int) -> bool:
        """Whether keys and values of a prefix and of tokens after it, which are copied once, fit into memory together
        with what one chunk of the tokens takes."""
        kept = self._memory.kv_bytes * (prefix_tokens + 2 * tokens)
        return self._memory.fits(kept + self._model.chunk_bytes(prefix_tokens, tokens, self._memory.activation_bytes))

    def _in_batches(
        self,
        groups: list[PromptGroup],
        batch_size: Callable[[Sequence[PromptGroup]], int],
        run: Callable[[Sequence[PromptGroup]], Iterable[Result]],
        should_stop: Callable[[], bool],
    ) -> Iterator[Result]:
        """Run as many groups at a time as `batch_size` says; less at a time after memory ran out."""
        while groups and not should_stop():
            count = batch_size(groups)
            batch, rest = groups[:count], groups[count:]
            left = {i for group in batch for i in group.keys}
            if count == 1 and self._too_large(batch[0]):
                if len(left) == 1:
                    yield from ((i, OUT_OF_MEMORY) for i in left)
                    groups = rest
                else:
                    groups = [batch[0].subset({i}) for i in left] + rest
                continue
            try:
                for i, result in run(batch):
                    left.discard(i)
                    yield i, result
            except StopRequested:
                return
            except (RuntimeError, MemoryError) as e:
                raise_unless_out_of_memory(e)
                retry = self._smaller(batch, left)
                if not retry:
                    yield from ((i, OUT_OF_MEMORY) for i in sorted(left))
                groups = retry + rest
            else:
                groups = rest

    def _smaller(self, batch: Sequence[PromptGroup], left: set[int]) -> list[PromptGroup]:
        """Groups of the prompts without a result, after reducing what runs at once; empty if that cannot be reduced."""
        if len(left) == 1:
            if self._model.chunk_tokens <= MIN_CHUNK_TOKENS:
                return []
            # A single prompt can still run in smaller chunks.
            self._max_pass_tokens = self._model.chunk_tokens = max(MIN_CHUNK_TOKENS, self._model.chunk_tokens // 2)
        elif len(left) > 1:
            self._max_pass_tokens = max(1, min(self._max_pass_tokens, sum(group.tokens for group in batch)) // 2)
            self._model.chunk_tokens = min(self._model.chunk_tokens, max(MIN_CHUNK_TOKENS, self._max_pass_tokens))
            self._max_generations = max(1, min(self._max_generations, len(left)) // 2)
        if len(batch) == 1 and len(left) > 1:
            # Of a single group only the sharing can be given up.
            return [batch[0].subset({i}) for i in left]
        return [group for group in (group.subset(left) for group in batch) if group.keys]
