"""Ranking from copies of a state: what comes before is processed once, whatever a model keeps of it.

A recurrent model keeps a state of fixed size, which cannot be cut or moved as keys and values can, and which padding on
the left would enter. So the cache is taken as a whole, as the model's own code made it: after the prefix that all
prompts share it is copied for every prompt, and after a question for every answer. Answers are padded on the right,
where no token that is scored follows.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any

import torch

from jglue_app.backends.hf.counters import Counters
from jglue_app.backends.hf.engine.equivalence import ReferenceModel, Unsupported
from jglue_app.backends.hf.engine.requests import AnswerIds, shared_prefix
from jglue_app.backends.hf.engine.trie import common_prefix_length
from jglue_app.messages import Message

_CACHE_NAMES = ("cache", "past_key_values", "cache_params", "state")
"""Of the argument that takes what a model keeps of earlier tokens, and of the same in its output; by the version of
transformers and the architecture."""
RIGHT_PADDING = 0


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
        self._prefix: tuple[list[int], Any] = ([], None)

    def close(self) -> None:
        """Drop the model and what is kept of the prefix."""
        self.drop_prefix()
        self._model = None

    def drop_prefix(self) -> None:
        """Drop what is kept of the prefix."""
        self._prefix = ([], None)

    def verify(self, length: int) -> None:
        """Raise Unsupported if sequences of a number of tokens get other log-probabilities from copies than alone."""
        probe = self._reference.probe_sequences(length)
        first, second = probe.branches[:2]
        shared = common_prefix_length(first, second)
        rest = [branch[shared:] for branch in (first, second)]
        # Of different lengths, so that one is padded.
        rest[1] = rest[1][: max(1, len(rest[1]) - 2)]
        with self._counters.uncounted(), self._reference.arithmetic():
            _, state = self._run([probe.prefix], None, 1)
            logits, state = self._run([first[:shared]], _copied(state, 1), shared)
            tails, _ = self._run(rest, _copied(state, len(rest)), max(map(len, rest)))
        for k, tail in enumerate(rest):
            got = torch.cat([logits[0], tails[k, : len(tail)]]).float().log_softmax(-1)
            ids = [*probe.prefix, *first[:shared], *tail]
            self._reference.compare(got, self._reference.logprobs(ids, shared + len(tail)))

    def keep_prefix(self, contexts: Sequence[list[int]]) -> int:
        """Tokens of the prefix that all contexts share, the state after which is kept; runs it unless it is there."""
        ids, is_cached = shared_prefix(contexts, self._prefix[0])
        if is_cached and len(ids) == len(self._prefix[0]):
            return len(ids)
        self._prefix = ([], None)
        ids, _ = shared_prefix(contexts, [])
        if ids:
            with torch.inference_mode(), self._counters.timed("prefill"):
                _, state = self._run([ids], None, 1)
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
            state = None if self._prefix[1] is None else _copied(self._prefix[1], 1)
            wanted = max(1, shared - min(firsts))
            head, tail_logits = None, None
            if shared:
                head, state = self._run([sequences[0][:shared]], state, min(wanted, shared))
            if tails:
                state = None if state is None else _copied(state, len(tails))
                tail_logits, _ = self._run(tails, state, max(map(len, tails)))
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

    def _run(self, rows: Sequence[Sequence[int]], state: Any, last: int) -> tuple[torch.Tensor, Any]:
        """Continue rows from a state, which is changed.

        Args:
            rows: token ids of each; shorter ones are padded on the right.
            state: of so many rows; None at the beginning of a sequence.
            last: how many columns logits are wanted of, from the right.

        Returns:
            Logits (rows, last, vocabulary), and the state after the last column.
        """
        self._reference.restore_attention()
        width = max(map(len, rows))
        ids = [[*row, *[RIGHT_PADDING] * (width - len(row))] for row in rows]
        options: dict[str, Any] = {"logits_to_keep": last} if self._takes_logits_to_keep else {}
        if state is not None:
            options[self._argument] = state
        self._counters.forward_tokens += len(rows) * width
        self._counters.scored_positions += len(rows) * (last if self._takes_logits_to_keep else width)
        out = self._model(input_ids=torch.tensor(ids, device=self._model.device), use_cache=True, **options)
        after = next((found for name in _CACHE_NAMES if (found := getattr(out, name, None)) is not None), None)
        if after is None:
            raise Unsupported(Message("its cache cannot be copied"))
        return out.logits[:, -last:], after


def _copied(state: Any, rows: int) -> Any:
    """A copy of the state of one sequence, for so many rows."""
    if isinstance(state, torch.Tensor):
        return state.repeat_interleave(rows, dim=0)
    if isinstance(state, list | tuple):
        return type(state)(_copied(part, rows) for part in state)
    copied = copy.deepcopy(state)
    if rows > 1:
        copied.reorder_cache(torch.zeros(rows, dtype=torch.long, device=_device(copied)))
    return copied


def _device(cache: Any) -> torch.device | None:
    """Where the tensors of a cache are; None if that cannot be seen."""
    for layer in getattr(cache, "layers", ()):
        keys = getattr(layer, "keys", None)
        if isinstance(keys, torch.Tensor):
            return keys.device
    return None
