"""Prompts through a packed model: every distinct token is read once, the vocabulary is scored only where it is needed.

The beginning that all prompts of a call share (instruction and examples) is read once and kept for the next call. What
follows is grouped so that questions about one paragraph, and the answers of one question, lie in one trie.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeVar

import torch

from jglue_app.backends.hf.ablation import ALL, Tricks
from jglue_app.backends.hf.counters import Work
from jglue_app.backends.hf.engine.kv_cache import KeysValues, Step, Texts
from jglue_app.backends.hf.engine.packed_model import LEAST_PIECE, PackedModel, Stopped
from jglue_app.backends.hf.engine.padded_engine import (
    EMPTY_ANSWER,
    EMPTY_PROMPT,
    NO_CHOICES,
    NON_FINITE,
    OUT_OF_MEMORY,
    Result,
    alike,
    at_stop,
    output_of,
    refuse_unless_memory,
    too_long,
)
from jglue_app.backends.hf.engine.repetition_penalty import Repeated
from jglue_app.backends.hf.engine.trie import Trie, common, grow, side_by_side
from jglue_app.backends.hf.memory import Memory
from jglue_app.backends.hf.tokenization.encoding import Encoder
from jglue_app.types import Output, Prompt, RunError

TOKENS_PER_PASS = {"cpu": 1_024, "other": 16_384}
"""Tokens read at once, if memory allows: enough to keep the processor busy, few enough to stop within seconds."""
ROWS = {"cpu": 128, "other": 256}
"""Texts written at the same time."""
PLACES = {"cpu": 32_768, "other": 131_072}
"""Tokens whose keys and values are kept for the texts that are being written, if memory allows."""
WORTH_SHARING = 16
"""Tokens that two groups must have in common to be read as one; fewer cost more in attention than they save."""
SEGMENT_TOKENS = 1_024
"""Tokens of a group that no further prompt joins: attention grows with their square."""
KEPT_SLACK = 32
"""The kept beginning, or a part of it, is used again unless so many more tokens are shared now."""

COMPACT = 0.5
"""Keys and values of texts that have ended are dropped when no more than this part goes on: it costs a copy."""
FREE_TOKENS = {"cpu": 48, "other": 256}
"""Tokens that are read at once for little more than the time of one: as many are guessed as there is room for."""
MOST_GUESSES = 8
"""Tokens guessed of one text at a time."""

T = TypeVar("T")


@dataclass(slots=True)
class _Job:
    """Sequences to be read together, of one or more prompts."""

    keys: list[int]
    """Which prompts."""
    sequences: list[Sequence[int]]
    """What is read, without the common beginning."""
    firsts: list[int]
    """Where the sequences of each prompt begin in `sequences`."""
    shares: bool = True
    trie: Trie | None = None

    def grown(self) -> Trie:
        if self.trie is None:
            self.trie = grow(self.sequences) if self.shares else side_by_side(self.sequences)
        return self.trie


@dataclass(slots=True)
class _Row:
    """A generation that is going on."""

    key: int
    prompt: list[int]
    stops: tuple[str, ...]
    new: list[int] = field(default_factory=list)
    place: int = 0
    """Among the texts that are being written."""
    trust: int = 2
    """Tokens to guess: more after right guesses, fewer after wrong ones."""
    _follows: dict[tuple[int, int], int] = field(default_factory=dict)
    """Two tokens of the prompt → the place after them, where they stand last."""
    _distinct: torch.Tensor | None = None
    """The tokens of the prompt, each once."""

    def guess(self, most: int, max_new_tokens: int) -> list[int]:
        """What may come next: what follows the last two tokens in the prompt."""
        most = min(most, self.trust, max_new_tokens - len(self.new) - 1)
        if most < 1:
            return []
        if not self._follows:
            self._follows = {pair: k + 2 for k, pair in enumerate(pairwise(self.prompt))}
        last = (self.new[-2], self.new[-1]) if len(self.new) > 1 else (self.prompt[-1], self.new[-1])
        place = self._follows.get(last)
        return [] if place is None else self.prompt[place : place + most]

    def repeated(self, guess: list[int]) -> list[torch.Tensor]:
        """The tokens that stand before the next one, and before the one after each of the guessed tokens."""
        if self._distinct is None:
            self._distinct = torch.tensor(sorted(set(self.prompt)))
        new = torch.tensor([*self.new, *guess], dtype=torch.long)
        return [torch.cat([self._distinct, new[: len(self.new) + k]]) for k in range(len(guess) + 1)]


class Engine:
    """Runs prompts through one packed model.

    Args:
        model: the packed model.
        tokenizer: its tokenizer.
        eos: ids that end a generation.
        context_length: most tokens of prompt and answer together; None for no limit.
        memory: what it may work in.
        tricks: what is left out, to measure it.
        most_tokens: tokens of the longest prompt that is read; None for no limit but the model's.
        row_limit: tokens of the longest row that is read at once; None for no limit but memory.
    """

    def __init__(
        self,
        model: PackedModel,
        tokenizer: Any,
        eos: list[int],
        context_length: int | None,
        memory: Memory,
        tricks: Tricks = ALL,
        *,
        most_tokens: int | None = None,
        row_limit: int | None = None,
    ) -> None:
        self._model: Any = model
        self._tokenizer = tokenizer
        self._eos = set(eos)
        self.context_length = context_length
        self._encoder = Encoder(tokenizer)
        self.bos = self._encoder.bos
        kind = "cpu" if model.device.type == "cpu" else "other"
        self._memory, self._most_tokens = memory, most_tokens
        per_pass = TOKENS_PER_PASS[kind] if row_limit is None else min(row_limit, TOKENS_PER_PASS[kind])
        self._tokens, self._places = memory.tokens(per_pass), memory.places(PLACES[kind])
        model.piece, model.mask_bytes = self._tokens, memory.budget // 4
        self._rows = ROWS[kind]
        self._free = FREE_TOKENS[kind] if tricks.guesses else 0
        self._shares_beginning, self._shares = tricks.beginning, tricks.sharing
        self._kept: tuple[list[int], KeysValues] = ([], {})
        self.work: Work = model.work

    def close(self) -> None:
        """Drop the model and what is kept of it; the model has its own attention again."""
        self._kept = ([], {})
        if self._model is not None:
            self._model.restore()
        self._model = None

    # --- log-likelihood ---

    def choose(self, prompts: Sequence[Prompt], should_stop: Callable[[], bool]) -> Iterator[Result]:
        """Summed log-probability of each answer's tokens; see `types.Backend`."""
        asked: dict[int, tuple[list[list[int]], list[list[int]]]] = {}
        refused: dict[int, Output | RunError] = {}
        with self.work.part("tokenize"):
            encoded = [[self._encoder.encode_answer(p, answer) for answer in p.answers] for p in prompts]
        for i, pairs in enumerate(encoded):
            contexts, answers = [c for c, _ in pairs], [a for _, a in pairs]
            longest = max((len(c) for c in contexts), default=0)
            if not pairs:
                refused[i] = NO_CHOICES
            elif self._overflows(max(len(c) + len(a) for c, a in pairs)):
                refused[i] = Output(None, "overflow", longest, 0, 0.0)
            elif self._most_tokens is not None and longest > self._most_tokens:
                refused[i] = too_long(longest, self._most_tokens)
            elif not all(contexts):
                refused[i] = EMPTY_PROMPT
            elif not all(answers):
                refused[i] = EMPTY_ANSWER
            else:
                asked[i] = contexts, answers
                self.work.naive += sum(len(c) + len(a) for c, a in pairs)
        if not self._ready_for(max((len(c) + len(a) for i in asked for c, a in encoded[i]), default=0), should_stop):
            return
        yield from refused.items()
        same = alike({i: (tuple(map(tuple, c)), tuple(map(tuple, a))) for i, (c, a) in asked.items()})
        if not same:
            return
        length, before = self._beginning([c for i in same for c in asked[i][0]], should_stop)
        jobs = self._jobs({i: [[*c, *a[:-1]][length:] for c, a in zip(*asked[i], strict=True)] for i in same})

        def run(batch: Sequence[_Job]) -> list[tuple[int, Output | RunError]]:
            started = time.perf_counter()
            scores = self._score(batch, asked, before, length, should_stop)
            seconds = (time.perf_counter() - started) / len(scores)
            out: list[tuple[int, Output | RunError]] = []
            for i, values in scores.items():
                longest = max(map(len, asked[i][0]))
                good = all(v == v and abs(v) != float("inf") for v in values)
                out.append((i, Output(None, "scored", longest, 0, seconds, tuple(values)) if good else NON_FINITE))
            return out

        def cut(jobs: Sequence[_Job]) -> int:
            return len(next(iter(self._passes(jobs))))

        for i, result in self._in_batches(jobs, cut, run, should_stop):
            for k in same[i]:
                yield k, result

    def _score(
        self,
        batch: Sequence[_Job],
        asked: dict[int, tuple[list[list[int]], list[list[int]]]],
        before: KeysValues | None,
        length: int,
        should_stop: Callable[[], bool],
    ) -> dict[int, list[float]]:
        tries = [job.grown() for job in batch]
        states, starts, _ = self._model.read(tries, before, length, should_stop=should_stop)
        rows: dict[int, int] = {}
        at: list[int] = []
        targets: list[int] = []
        owners: list[tuple[int, int]] = []
        for job, trie, start in zip(batch, tries, starts, strict=True):
            for i, first in zip(job.keys, job.firsts, strict=True):
                for k, (context, answer) in enumerate(zip(*asked[i], strict=True)):
                    path = trie.paths[first + k]
                    for j, target in enumerate(answer):
                        node = start + path[len(context) - length - 1 + j]
                        at.append(rows.setdefault(node, len(rows)))
                        targets.append(target)
                        owners.append((i, k))
        values = self._model.logprobs(states[list(rows)], at, targets).tolist()
        scores = {i: [0.0] * len(asked[i][1]) for job in batch for i in job.keys}
        for (i, k), value in zip(owners, values, strict=True):
            scores[i][k] += value
        return scores

    # --- generation ---

    def generate(
        self,
        prompts: Sequence[Prompt],
        max_new_tokens: int,
        should_stop: Callable[[], bool],
        repetition_penalty: float = 1.0,
    ) -> Iterator[Result]:
        """Greedy continuations; see `types.Backend`."""
        asked: dict[int, list[int]] = {}
        refused: dict[int, Output | RunError] = {}
        with self.work.part("tokenize"):
            encoded = [self._encoder.encode(p.text, has_special=p.messages is not None) for p in prompts]
        for i, ids in enumerate(encoded):
            if self._overflows(len(ids) + max_new_tokens):
                refused[i] = Output("", "overflow", len(ids), 0, 0.0)
            elif self._most_tokens is not None and len(ids) > self._most_tokens:
                refused[i] = too_long(len(ids), self._most_tokens)
            elif not ids:
                refused[i] = EMPTY_PROMPT
            else:
                asked[i] = ids
                self.work.naive += len(ids)
        if not self._ready_for(max(map(len, asked.values()), default=0), should_stop):
            return
        yield from refused.items()
        same = alike({i: (tuple(ids), prompts[i].stop) for i, ids in asked.items()})
        if not same:
            return
        length, before = self._beginning([asked[i] for i in same], should_stop)
        jobs = self._jobs({i: [asked[i][length:]] for i in same})

        def run(batch: Sequence[_Job]) -> Iterator[tuple[int, Output | RunError]]:
            rows = [_Row(i, asked[i], prompts[i].stop) for job in batch for i in job.keys]
            yield from self._continue(batch, rows, before, length, max_new_tokens, should_stop, repetition_penalty)

        def cut(jobs: Sequence[_Job]) -> int:
            """How many of the jobs go together: as many as there are rows, and room for their keys and values."""
            rows, longest = 0, 0
            for count, job in enumerate(jobs):
                rows += len(job.keys)
                longest = max(longest, len(job.grown().tokens))
                if count and (rows > self._rows or (count + 1) * longest + rows * max_new_tokens > self._places):
                    return count
            return len(jobs)

        for i, result in self._in_batches(jobs, cut, run, should_stop):
            for k in same[i]:
                yield k, result

    def _continue(
        self,
        batch: Sequence[_Job],
        rows: list[_Row],
        before: KeysValues | None,
        length: int,
        max_new_tokens: int,
        should_stop: Callable[[], bool],
        repetition_penalty: float,
    ) -> Iterator[Result]:
        """Read a batch and write until all its rows have ended; a row that has ended is given out at once."""
        started, count = time.perf_counter(), len(rows)
        prefilled = self._prefill(batch, before, length, max_new_tokens, should_stop)
        if prefilled is None:
            return
        states, texts = prefilled
        for place, row in enumerate(rows):
            row.place = place
        guesses: list[list[int]] = [[] for _ in rows]
        while True:
            repeated = None
            if repetition_penalty != 1:
                before_each = [ids for row, guess in zip(rows, guesses, strict=True) for ids in row.repeated(guess)]
                repeated = Repeated(repetition_penalty, before_each, states.device)
            best, finite = (found.tolist() for found in self._model.best(states, repeated))
            alive: list[_Row] = []
            first = 0
            for row, guess in zip(rows, guesses, strict=True):
                here = slice(first, first + len(guess) + 1)
                first = here.stop
                ended = self._take(row, guess, best[here], finite[here], max_new_tokens)
                if ended is None:
                    yield row.key, NON_FINITE
                elif ended:
                    self.work.naive += len(row.new)
                    seconds = (time.perf_counter() - started) / count
                    yield (
                        row.key,
                        output_of(self._tokenizer, row.new, self._eos, row.stops, len(row.prompt), seconds),
                    )
                else:
                    alive.append(row)
            if not alive or should_stop():
                return
            rows = alive
            longest = max(len(row.prompt) + len(row.new) for row in rows) + MOST_GUESSES
            switch = self._model.next_switch
            if switch is not None and longest > switch and not self._ready_for(longest, should_stop):
                return
            if len(rows) <= COMPACT * len(texts.lengths):
                texts = texts.only([row.place for row in rows])
                for place, row in enumerate(rows):
                    row.place = place
            guesses = [row.guess(self._most_guesses(len(rows)), max_new_tokens) for row in rows]
            reads = [(row, k) for row, guess in zip(rows, guesses, strict=True) for k in range(len(guess) + 1)]
            step = Step(texts, [row.place for row, _ in reads], [len(row.new) - 1 + k for row, k in reads])
            tokens = [token for row, guess in zip(rows, guesses, strict=True) for token in (row.new[-1], *guess)]
            states = self._model.extend(tokens, step)

    def _take(
        self, row: _Row, guess: list[int], best: list[int], finite: list[bool], max_new_tokens: int
    ) -> bool | None:
        """Add the best token, and further ones for as long as the guesses were right.

        Returns:
            Whether the text has ended; None if its scores are not finite.
        """
        right, ended = 0, False
        for k, token in enumerate(best):
            if not finite[k]:
                return None
            row.new.append(token)
            ended = len(row.new) == max_new_tokens or token in self._eos or at_stop(self._tokenizer, row.new, row.stops)
            if ended or k == len(guess) or guess[k] != token:
                break
            right += 1
        refused = len(guess) - right
        self.work.refused += refused
        self.work.distinct -= refused
        self.work.rows -= refused
        if guess:
            row.trust = min(MOST_GUESSES, 2 * row.trust) if right == len(guess) else max(1, right)
        return ended

    def _most_guesses(self, rows: int) -> int:
        """How many tokens may be guessed of every row: reading a few more costs next to nothing."""
        return max(0, self._free // rows - 1)

    def _prefill(
        self,
        batch: Sequence[_Job],
        before: KeysValues | None,
        length: int,
        max_new_tokens: int,
        should_stop: Callable[[], bool],
    ) -> tuple[torch.Tensor, Texts] | None:
        """The last states of all prompts of a batch, and their keys and values with room for what will be written.

        None when somebody asked to stop between two passes.
        """
        texts = Texts.of([job.grown() for job in batch], before, length, self._model.device)
        last: list[torch.Tensor] = []
        first = 0
        for jobs in self._passes(batch):
            if last and should_stop():
                return None
            tries = [job.grown() for job in jobs]
            states, starts, found = self._model.read(tries, before, length, keep=True, should_stop=should_stop)
            ends = [start + path[-1] for trie, start in zip(tries, starts, strict=True) for path in trie.paths]
            last.append(states[ends])
            texts.put(first, [len(trie.tokens) for trie in tries], found, max_new_tokens)
            first += len(tries)
        return torch.cat(last), texts

    # --- sharing and batches ---

    def _ready_for(self, length: int, should_stop: Callable[[], bool]) -> bool:
        """Whether sequences of so many tokens may be read; False when somebody asked to stop before that was known.

        Raises:
            Unsupported, NotCausalError: they may not; see `PackedModel.ready_for`.
        """
        try:
            self._model.ready_for(length, should_stop)
        except Stopped:
            return False
        return True

    def _overflows(self, tokens: int) -> bool:
        return self.context_length is not None and tokens > self.context_length

    def _beginning(
        self, sequences: Sequence[list[int]], should_stop: Callable[[], bool]
    ) -> tuple[int, KeysValues | None]:
        """How many tokens all sequences begin with (of each at least one is left), and their keys and values."""
        if not self._shares_beginning:
            return 0, None
        first, last = min(sequences), max(sequences)
        length = min(common(first, last), min(map(len, sequences)) - 1)
        kept, found = self._kept
        usable = min(common(kept, first), length)
        if usable >= WORTH_SHARING and length - usable < KEPT_SLACK:
            return usable, {layer: (k[:, :usable], v[:, :usable]) for layer, (k, v) in found.items()}
        if length < WORTH_SHARING or len(sequences) < 2:
            return 0, None
        self._kept = ([], {})
        try:
            _, _, found = self._model.read([grow([first[:length]])], keep=True, should_stop=should_stop)
        except Stopped:
            return 0, None
        except RuntimeError as e:
            refuse_unless_memory(e)
            return 0, None
        self._kept = (first[:length], found)
        return length, found

    def _jobs(self, sequences: dict[int, list[list[int]]]) -> list[_Job]:
        """Prompts that share enough in one job, the largest jobs first, so that memory runs out at once if ever."""
        jobs: list[_Job] = []
        size = 0
        for i in sorted(sequences, key=lambda i: sequences[i][0]):
            own = sequences[i]
            new = sum(map(len, own)) - (len(own) - 1) * min(common(own[0], s) for s in own)
            shared = common(jobs[-1].sequences[-1], own[0]) if jobs else 0
            if self._shares and jobs and shared >= WORTH_SHARING and size + new - shared <= SEGMENT_TOKENS:
                job = jobs[-1]
                job.firsts.append(len(job.sequences))
                job.keys.append(i)
                job.sequences += own
                size += new - shared
            else:
                jobs.append(_Job([i], list(own), [0], self._shares))
                size = new
        return sorted(jobs, key=lambda job: -len(job.grown().tokens))

    def _passes(self, jobs: Sequence[_Job]) -> Iterator[list[_Job]]:
        """Jobs in groups that the model reads at once: of so many tokens, or of one job."""
        group: list[_Job] = []
        tokens = 0
        for job in jobs:
            size = len(job.grown().tokens)
            if group and tokens + size > self._tokens:
                yield group
                group, tokens = [], 0
            group.append(job)
            tokens += size
        if group:
            yield group

    def _too_large(self, job: _Job) -> bool:
        """Whether the keys and values of a job, which are copied once, would not fit into memory."""
        return not self._memory.holds(2 * self._memory.kept * len(job.grown().tokens))

    def _in_batches(
        self,
        jobs: list[_Job],
        cut: Callable[[Sequence[_Job]], int],
        run: Callable[[Sequence[_Job]], Any],
        should_stop: Callable[[], bool],
    ) -> Iterator[tuple[int, Output | RunError]]:
        """Run as many jobs at a time as `cut` says; halve everything when memory runs out."""
        while jobs and not should_stop():
            count = cut(jobs)
            batch = jobs[:count]
            left = {i for job in batch for i in job.keys}
            if count == 1 and self._too_large(batch[0]):
                if len(left) > 1:
                    jobs = [_only(batch[0], {i}) for i in left] + jobs[1:]
                else:
                    yield from ((i, OUT_OF_MEMORY) for i in left)
                    jobs = jobs[1:]
                continue
            try:
                for i, result in run(batch):
                    left.discard(i)
                    yield i, result
            except Stopped:
                return
            except RuntimeError as e:
                refuse_unless_memory(e)
                if len(left) == 1 and self._model.piece > LEAST_PIECE:
                    # A prompt alone can still be read in smaller pieces.
                    self._tokens = self._model.piece = max(LEAST_PIECE, self._model.piece // 2)
                    continue
                if len(left) > 1:
                    self._tokens = max(1, min(self._tokens, sum(len(job.grown().tokens) for job in batch)) // 2)
                    self._model.piece = min(self._model.piece, max(LEAST_PIECE, self._tokens))
                    self._rows = max(1, min(self._rows, len(left)) // 2)
                    # A single job has nothing to be halved but what its prompts share.
                    again = [_only(job, left) for job in batch] if count > 1 else [_only(batch[0], {i}) for i in left]
                    jobs = [job for job in again if job.keys] + jobs[count:]
                    continue
                yield from ((i, OUT_OF_MEMORY) for i in sorted(left))
            jobs = jobs[count:]


def _only(job: _Job, wanted: set[int]) -> _Job:
    """Some prompts of a job."""
    kept = _Job([], [], [], job.shares)
    for i, first, end in zip(job.keys, job.firsts, [*job.firsts[1:], len(job.sequences)], strict=True):
        if i in wanted:
            kept.keys.append(i)
            kept.firsts.append(len(kept.sequences))
            kept.sequences += job.sequences[first:end]
    return kept
