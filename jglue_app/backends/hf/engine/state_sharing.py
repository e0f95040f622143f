"""Copies of a state: what comes before is processed once, whatever a model keeps of it.

A recurrent model keeps a state of fixed size, which cannot be cut or moved as keys and values can, and which padding on
the left would enter. So the cache is taken as a whole, as the model's own code made it: after the prefix that all
prompts share it is copied for every prompt, and after a question for every answer. Answers are padded on the right,
where no token that is scored follows. What continues a prompt is not padded at all: see `state_generation`.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from jglue_app.backends.hf.counters import Counters
from jglue_app.backends.hf.engine.cache_rows import byte_size, can_merge, keeps_tokens, merged, repeated, selected
from jglue_app.backends.hf.engine.equivalence import ProbeSequences, ReferenceModel, StopRequested, Unsupported
from jglue_app.backends.hf.engine.requests import AnswerIds, shared_prefix
from jglue_app.backends.hf.engine.trie import common_prefix_length
from jglue_app.messages import Message

_CACHE_NAMES = ("cache", "past_key_values", "cache_params", "state")
"""Of the argument that takes what a model keeps of earlier tokens, and of the same in its output; by the version of
transformers and the architecture."""
RIGHT_PADDING = 0
VERIFIED_STEPS = 3
"""Tokens of each sequence that a comparison processes one by one."""

Rows = Literal["any", "equal", "single"]
"""Sequences that are continued together: of any length, of equal length, or none."""


@dataclass(slots=True)
class RowStates:
    """Sequences of different lengths that are continued together, by one token at a time."""

    cache: Any
    lengths: list[int]
    """Tokens of each sequence."""
    width: int
    """Columns of keys and values: tokens of the longest sequence when they were put together, and those since."""

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but some."""
        self.cache = selected(self.cache, rows)
        self.lengths = [self.lengths[row] for row in rows]


class StateSharing:
    """Continues sequences from copies of a model's cache.

    Args:
        model: a transformers model in evaluation mode.
        reference: the same model's own forward pass.
        counters: of what is processed.

    Raises:
        Unsupported: the model has no cache that can be given to it.
    """

    def __init__(self, model: Any, reference: ReferenceModel, counters: Counters) -> None:
        self._model, self._reference, self._counters = model, reference, counters
        parameters = inspect.signature(model.forward).parameters
        argument = next((name for name in _CACHE_NAMES if name in parameters), None)
        if argument is None:
            raise Unsupported(Message("its cache cannot be copied"))
        self._argument = argument
        self._takes_logits_to_keep = "logits_to_keep" in parameters
        self._takes_position_ids = "position_ids" in parameters
        self.rows: Rows = "single"
        """Which sequences can be continued together, token by token."""
        self.state_bytes = 0
        """Bytes that the state of a short sequence takes."""
        self._prefix: tuple[list[int], Any] = ([], None)

    def close(self) -> None:
        """Drop the model and what is kept of the prefix."""
        self.drop_prefix()
        self._model = None

    def drop_prefix(self) -> None:
        """Drop what is kept of the prefix."""
        self._prefix = ([], None)

    @property
    def prefix(self) -> list[int]:
        """Token ids of the prefix the state after which is kept."""
        return self._prefix[0]

    def prefix_state(self) -> Any:
        """The state after the kept prefix; None without one. It may not be changed."""
        return self._prefix[1]

    def verify(self, length: int) -> None:
        """Raise Unsupported if sequences of a number of tokens get other log-probabilities from copies than alone.

        Which of them can be continued together is found out.
        """
        probe = self._reference.probe_sequences(length)
        first, second = probe.branches[:2]
        shared = common_prefix_length(first, second)
        rest = [branch[shared:] for branch in (first, second)]
        # Of different lengths, so that one is padded.
        rest[1] = rest[1][: max(1, len(rest[1]) - 2)]
        with self._counters.uncounted(), self._reference.arithmetic():
            _, state = self.run([probe.prefix], None, 1)
            self.state_bytes = byte_size(state)
            logits, state = self.run([first[:shared]], repeated(state, 1), shared)
            tails, _ = self.run(rest, repeated(state, len(rest)), max(map(len, rest)))
        for k, tail in enumerate(rest):
            got = torch.cat([logits[0], tails[k, : len(tail)]]).float().log_softmax(-1)
            ids = [*probe.prefix, *first[:shared], *tail]
            self._reference.compare(got, self._reference.logprobs(ids, shared + len(tail)))
        self.rows = self._rows(probe)

    def _rows(self, probe: ProbeSequences) -> Rows:
        """Which sequences can be continued together, token by token; raises Unsupported where not even one can be."""
        tried: tuple[Rows, ...] = ("any", "equal")
        for rows in tried:
            try:
                self._verify_steps(probe, rows)
            except StopRequested:
                raise
            except Exception:  # Other architectures keep something else, and may fail in any way.
                continue
            return rows
        self._verify_steps(probe, "single")
        return "single"

    def _verify_steps(self, probe: ProbeSequences, rows: Rows) -> None:
        """Raise Unsupported if the last tokens of sequences, one by one, get other log-probabilities than alone."""
        shared = common_prefix_length(*probe.branches[:2])
        branches = probe.branches[: {"any": 3, "equal": 2, "single": 1}[rows]]
        if len(branches[0]) - shared <= VERIFIED_STEPS or len(branches[-1]) <= VERIFIED_STEPS:
            raise Unsupported(Message("its cache cannot be copied"))
        sequences = [probe.sequence(k) for k in range(len(branches))]
        begun = [branch[:-VERIFIED_STEPS] for branch in branches]
        got: list[list[torch.Tensor]] = []
        with self._counters.uncounted(), self._reference.arithmetic():
            _, prefix = self.run([probe.prefix], None, 1)
            _, state = self.run([begun[0][:shared]], repeated(prefix, 1), 1)
            length = len(probe.prefix)
            parts = [self.begin([rest[shared:] for rest in begun[:2]], state, length + shared)]
            if branches[2:]:
                parts.append(self.begin(begun[2:], prefix, length))
            got = [[row] for logits, _ in parts for row in logits]
            batch = self.together([states for _, states in parts])
            alive = list(range(len(branches)))
            for step in range(VERIFIED_STEPS):
                if step == VERIFIED_STEPS - 1 and len(alive) > 1:  # As if one of the sequences had ended.
                    alive = alive[:0:-1]
                    batch.keep(alive)
                logits = self.step([sequences[row][step - VERIFIED_STEPS] for row in alive], batch)
                for row, scores in zip(alive, logits, strict=True):
                    got[row].append(scores)
        for ids, scores in zip(sequences, got, strict=True):
            read = len(ids) - VERIFIED_STEPS - 1 + len(scores)
            logprobs = torch.stack(scores).float().log_softmax(-1)
            self._reference.compare(logprobs, self._reference.logprobs(ids[:read], len(scores)))

    def keep_prefix(self, contexts: Sequence[list[int]]) -> int:
        """Tokens of the prefix that all contexts share, the state after which is kept; runs it unless it is there."""
        ids, is_cached = shared_prefix(contexts, self._prefix[0])
        if is_cached and len(ids) == len(self._prefix[0]):
            return len(ids)
        self._prefix = ([], None)
        ids, _ = shared_prefix(contexts, [])
        if ids:
            with torch.inference_mode(), self._counters.timed("prefill"):
                _, state = self.run([ids], None, 1)
            self._prefix = (ids, state)
        return len(ids)

    def logprobs(self, pairs: Sequence[AnswerIds]) -> list[float]:
        """Summed log-probability of each answer of one prompt, which begins with the kept prefix.

        Args:
            pairs: token ids of the context with each answer.
        """
        start = len(self._prefix[0])
        sequences = [[*context, *answer[:-1]][start:] for context, answer in pairs]
        shared = min(common_prefix_length(sequences[0], sequence) for sequence in sequences)
        firsts = [len(context) - 1 - start for context, _ in pairs]
        tails = [list(tail) for tail in dict.fromkeys(tuple(s[shared:]) for s in sequences) if tail]
        with torch.inference_mode(), self._counters.timed("prefill"):
            state = None if self._prefix[1] is None else repeated(self._prefix[1], 1)
            wanted = max(1, shared - min(firsts))
            head, tail_logits = None, None
            if shared:
                head, state = self.run([sequences[0][:shared]], state, min(wanted, shared))
            if tails:
                tail_logits = self._tail_logits(tails, state)
            out: list[float] = []
            for (_, answer), sequence, first in zip(pairs, sequences, firsts, strict=True):
                rows: list[torch.Tensor] = []
                for position in range(first, first + len(answer)):
                    if position < shared:
                        assert head is not None
                        rows.append(head[0, position - shared])
                    else:
                        assert tail_logits is not None
                        rows.append(tail_logits[tails.index(sequence[shared:]), position - shared])
                logprobs = torch.stack(rows).float().log_softmax(-1)
                target = torch.tensor(answer, device=logprobs.device)
                out.append(float(logprobs.gather(1, target[:, None]).sum()))
        return out

    def _tail_logits(self, tails: Sequence[Sequence[int]], state: Any) -> torch.Tensor:
        """Logits after all tokens of each tail, (tails, tokens of the longest, vocabulary)."""
        width = max(map(len, tails))
        if self.rows == "single" and width == 1 and len(tails) > 1:  # Single tokens go in otherwise than longer rows.
            return torch.cat([self._tail_logits([tail], state) for tail in tails])
        return self.run(tails, None if state is None else repeated(state, len(tails)), width)[0]

    # --- sequences that are continued ---

    def begin(self, rows: Sequence[Sequence[int]], state: Any, length: int) -> tuple[torch.Tensor, RowStates]:
        """Continue one sequence in several ways.

        Args:
            rows: token ids of each, equally many.
            state: of the sequence; it is copied. None at the beginning of one.
            length: tokens of the sequence.

        Returns:
            Logits after the last token of each row, (rows, vocabulary), and the states after them.
        """
        with torch.inference_mode():
            copies = None if state is None else repeated(state, len(rows))
            logits, after = self.run(rows, copies, 1)
        length += len(rows[0])
        return logits[:, -1], RowStates(after, [length] * len(rows), length)

    def together(self, parts: Sequence[RowStates]) -> RowStates:
        """The rows of several batches in one; raises Unsupported where their caches do not allow it."""
        if len(parts) > 1 and not can_merge(parts[0].cache):
            raise Unsupported(Message("its cache cannot be copied"))
        with torch.inference_mode():
            cache = merged([part.cache for part in parts])
        return RowStates(cache, [n for part in parts for n in part.lengths], max(part.width for part in parts))

    def step(self, tokens: Sequence[int], batch: RowStates) -> torch.Tensor:
        """Process one more token of each row; logits after it, (rows, vocabulary)."""
        options: dict[str, Any] = {}
        device = self._model.device
        if min(batch.lengths) < batch.width and keeps_tokens(batch.cache):
            lengths = torch.tensor(batch.lengths, device=device)[:, None]
            columns = torch.arange(batch.width + 1, device=device)
            options["attention_mask"] = (columns >= batch.width - lengths).long()
            if self._takes_position_ids:
                options["position_ids"] = lengths
        with torch.inference_mode():
            logits, batch.cache = self.run([[token] for token in tokens], batch.cache, 1, **options)
        batch.lengths = [n + 1 for n in batch.lengths]
        batch.width += 1
        return logits[:, -1]

    def run(self, rows: Sequence[Sequence[int]], state: Any, last: int, **options: Any) -> tuple[torch.Tensor, Any]:
        """Continue rows from a state, which is changed.

        Args:
            rows: token ids of each; shorter ones are padded on the right.
            state: of so many rows; None at the beginning of a sequence.
            last: how many columns logits are wanted of, from the right.
            options: further arguments of the model.

        Returns:
            Logits (rows, last, vocabulary), and the state after the last column.
        """
        self._reference.restore_attention()
        width = max(map(len, rows))
        ids = [[*row, *[RIGHT_PADDING] * (width - len(row))] for row in rows]
        if self._takes_logits_to_keep:
            options["logits_to_keep"] = last
        if state is not None:
            options[self._argument] = state
        self._counters.forward_tokens += len(rows) * width
        self._counters.scored_positions += len(rows) * (last if self._takes_logits_to_keep else width)
        out = self._model(input_ids=torch.tensor(ids, device=self._model.device), use_cache=True, **options)
        after = next((found for name in _CACHE_NAMES if (found := getattr(out, name, None)) is not None), None)
        if after is None:
            raise Unsupported(Message("its cache cannot be copied"))
        return out.logits[:, -last:], after
