"""Greedy generation from copies of a state, for models whose keys and values cannot be cut, moved or padded.

The prefix that all prompts share runs once, and then what several of them share, such as a paragraph; see
`state_sharing`. Prompts with the same beginning are continued from copies of its state by as many tokens as the
shortest of them has left. The few that the others have left go in one by one while the first ones are generated. So no
row is padded, and of keys and values only the place is moved.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from jglue_app.backends.hf.counters import Counters
from jglue_app.backends.hf.engine.cache_rows import repeated
from jglue_app.backends.hf.engine.generation import Generation
from jglue_app.backends.hf.engine.outputs import NON_FINITE, at_stop, generated_output
from jglue_app.backends.hf.engine.repetition_penalty import SeenTokens
from jglue_app.backends.hf.engine.requests import MIN_SHARED_TOKENS, Result
from jglue_app.backends.hf.engine.state_sharing import Rows, RowStates, StateSharing
from jglue_app.backends.hf.engine.trie import common_prefix_length

MAX_FED: dict[Rows, int] = {"any": 16, "equal": 64, "single": 0}
"""Tokens of a prompt that may go in one by one: more where sequences of one length are all that run together."""
COMPACTION_THRESHOLD = 0.5
"""The states of ended sequences are dropped when at most this part of the rows goes on: that takes a copy."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Prompts that are continued from the same state in one pass."""

    start: int
    """Tokens that all of them share, the state after which is copied."""
    keys: list[int]
    """Numbers of the prompts, longest first."""


@dataclass(slots=True)
class _Row:
    """A sequence that is being generated."""

    generation: Generation
    waiting: list[int]
    """Tokens of the prompt that have not gone in, last first."""


class StateGeneration:
    """Generates from copies of a model's cache.

    Args:
        sharing: makes them.
        tokenizer: of the model.
        eos: ids that end a generation.
        counters: of what is processed.
    """

    def __init__(self, sharing: StateSharing, tokenizer: Any, eos: set[int], counters: Counters) -> None:
        self._sharing, self._tokenizer, self._eos, self._counters = sharing, tokenizer, eos, counters
        self.running = 0
        """Rows of the batch that runs, or that failed."""

    def results(
        self,
        prompts: Mapping[int, list[int]],
        stops: Mapping[int, tuple[str, ...]],
        max_new_tokens: int,
        repetition_penalty: float,
        *,
        batches: Sequence[Sequence[Unit]],
        stopped: Callable[[], AbstractContextManager[None]],
    ) -> Iterator[Result]:
        """Greedy continuations of the prompts of all batches, each as soon as it has ended.

        Args:
            prompts: number of a prompt → its token ids, which begin with the kept prefix.
            stops: number of a prompt → its stop strings.
            max_new_tokens: most tokens of a continuation.
            repetition_penalty: 1 for none.
            batches: of `batches`.
            stopped: raises StopRequested within it once the caller asks to stop.
        """
        shared: tuple[list[int], Any] = ([], None)
        for batch in batches:
            started = time.perf_counter()
            self.running = sum(len(unit.keys) for unit in batch)
            rows: list[_Row] = []
            logits: list[torch.Tensor] = []
            parts: list[RowStates] = []
            with stopped(), self._counters.timed("prefill"):
                for unit in batch:
                    beginning = prompts[unit.keys[0]][: unit.start]
                    if shared[0] != beginning:
                        shared = ([], None)
                        shared = beginning, self._state_after(beginning)
                    rests = [prompts[i][unit.start :] for i in unit.keys]
                    first = min(map(len, rests))
                    scores, states = self._sharing.begin([rest[:first] for rest in rests], shared[1], unit.start)
                    logits.append(scores)
                    parts.append(states)
                    for i, rest in zip(unit.keys, rests, strict=True):
                        rows.append(_Row(Generation(i, prompts[i], stops[i]), rest[: first - 1 : -1]))
                together = self._sharing.together(parts)
                del parts, states
            yield from self._decoded(
                rows, torch.cat(logits), together, started, max_new_tokens, repetition_penalty, stopped
            )

    def _state_after(self, ids: list[int]) -> Any:
        """The state after what some prompts share, which begins with the kept prefix; None after nothing."""
        kept = len(self._sharing.prefix)
        state = self._sharing.prefix_state()
        if len(ids) == kept:
            return state
        with torch.inference_mode():
            copied = None if state is None else repeated(state, 1)
            return self._sharing.run([ids[kept:]], copied, 1)[1]

    def _decoded(
        self,
        rows: list[_Row],
        logits: torch.Tensor,
        states: RowStates,
        started: float,
        max_new_tokens: int,
        repetition_penalty: float,
        stopped: Callable[[], AbstractContextManager[None]],
    ) -> Iterator[Result]:
        """Results of a batch, each as soon as it has ended; logits are those after the last tokens of all rows."""
        count = len(rows)
        places = list(range(count))
        """Of each row that goes on, its place in the batch."""
        while True:
            best = self._best_tokens(rows, logits[places], repetition_penalty)
            alive: list[int] = []
            for k, (row, (token, finite)) in enumerate(zip(rows, best, strict=True)):
                generation = row.generation
                if row.waiting:
                    alive.append(k)
                elif not finite:
                    yield generation.key, NON_FINITE
                else:
                    generation.new.append(token)
                    if not self._has_ended(generation, max_new_tokens):
                        alive.append(k)
                        continue
                    self._counters.naive_tokens += len(generation.new)
                    seconds = (time.perf_counter() - started) / count
                    tokens, new = len(generation.prompt), generation.new
                    output = generated_output(self._tokenizer, new, self._eos, generation.stops, tokens, seconds)
                    yield generation.key, output
            rows, places = [rows[k] for k in alive], [places[k] for k in alive]
            if not rows:
                return
            with stopped(), self._counters.timed("decode"):
                if len(rows) <= COMPACTION_THRESHOLD * len(states.lengths):
                    with torch.inference_mode():
                        states.keep(places)
                    places = list(range(len(rows)))
                tokens_in = [0] * len(states.lengths)  # Rows that have ended go on with any token.
                for place, row in zip(places, rows, strict=True):
                    tokens_in[place] = row.waiting.pop() if row.waiting else row.generation.new[-1]
                logits = self._sharing.step(tokens_in, states)

    def _has_ended(self, generation: Generation, max_new_tokens: int) -> bool:
        """Whether the last token of a generation ends it."""
        new = generation.new
        ended = len(new) == max_new_tokens or new[-1] in self._eos
        return ended or at_stop(self._tokenizer, new, generation.stops)

    def _best_tokens(
        self, rows: Sequence[_Row], logits: torch.Tensor, repetition_penalty: float
    ) -> list[tuple[int, bool]]:
        """Of each row the most likely next token, and whether its logits are finite."""
        with torch.inference_mode():
            scores = logits.float()
            finite = torch.isfinite(scores.max(dim=-1).values).tolist()
            if repetition_penalty != 1:
                seen = [tokens for row in rows for tokens in row.generation.seen_tokens()]
                scores = SeenTokens(repetition_penalty, seen, scores.device).penalize(scores.clone(), 0)
            return list(zip(scores.argmax(-1).tolist(), finite, strict=True))


def units(
    prompts: Mapping[int, Sequence[int]],
    prefix_length: int,
    max_fed: int,
    max_rows: Callable[[int], int],
    *,
    group: bool,
) -> list[Unit]:
    """Prompts that share tokens, as they run from one state.

    Args:
        prompts: number of a prompt → its token ids.
        prefix_length: tokens of the prefix that all share, the state after which is kept; 0 for none.
        max_fed: tokens of a prompt that may go in one by one.
        max_rows: tokens that the longest prompt has left after the shared ones → how many run in one pass.
        group: whether what only some of the prompts share runs once too.

    Returns:
        The longest prompts first, so that memory runs out at once if ever; those with the same beginning follow each
        other. Without prompts that share nothing.
    """
    families = _families(prompts, prefix_length) if group else [(prefix_length, list(prompts))]
    out: list[Unit] = []
    for start, keys in sorted(families, key=lambda family: -max(len(prompts[i]) for i in family[1])):
        if not start:
            continue
        left = sorted(keys, key=lambda i: -len(prompts[i]))
        while left:
            longest = len(prompts[left[0]])
            count = max(1, min(len(left), max_rows(longest - start)))
            near = [i for i in left[:count] if longest - len(prompts[i]) <= max_fed]
            out.append(Unit(start, near))
            del left[: len(near)]
    return out


def _families(prompts: Mapping[int, Sequence[int]], prefix_length: int) -> list[tuple[int, list[int]]]:
    """Tokens that prompts share, and the numbers of these prompts; those that share the prefix alone are together."""
    order = sorted(prompts, key=lambda i: list(prompts[i]))
    # At least one token of each is left, after which its first new one is predicted.
    shared = [min(common_prefix_length(prompts[i], prompts[k]), len(prompts[i]) - 1) for i, k in pairwise(order)]
    saved = [max(0, n - prefix_length) for n in shared]
    families: list[tuple[int, list[int]]] = []
    alone: list[int] = []
    family: list[int] = []
    start = 0
    for k, i in enumerate(order):
        family.append(i)
        start = min(start, shared[k - 1]) if len(family) > 1 else len(prompts[i])
        # Prompts that share much more with others than with each other are no family.
        next_to = saved[max(0, k - 1) : k + 2]
        if k < len(saved) and saved[k] >= max(MIN_SHARED_TOKENS, max(next_to) / 2):
            continue
        if len(family) > 1:
            families.append((start, family))
        else:
            alone += family
        family = []
    return [*families, (prefix_length, alone)] if alone else families


def batches(parts: Sequence[Unit], max_rows: Callable[[Unit], int]) -> Iterator[list[Unit]]:
    """Units that are generated together.

    Args:
        parts: of `units`.
        max_rows: the longest of a batch → how many rows it may have.
    """
    batch: list[Unit] = []
    rows = 0
    for unit in parts:
        if batch and rows + len(unit.keys) > max_rows(batch[0]):
            yield batch
            batch, rows = [], 0
        batch.append(unit)
        rows += len(unit.keys)
    if batch:
        yield batch
