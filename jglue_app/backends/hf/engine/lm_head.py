"""The language-model head: the vocabulary is scored only at the positions that need it, block by block.

For greedy decoding on a CPU the vocabulary is screened in bfloat16 first, of a model in float32 if the processor
multiplies bfloat16 faster: a bound on the rounding errors tells which tokens can be the best, and only these are scored
in float32.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from torch.utils.weak import WeakIdKeyDictionary

from jglue_app.backends.hf.engine.linear import can_pack, multiply, pack, product_of
from jglue_app.backends.hf.engine.repetition_penalty import SeenTokens
from jglue_app.backends.hf.memory import free_bytes

VOCABULARY_BLOCK = 4_096
"""Tokens of the vocabulary that are scored at a time."""
GROUP = 32
"""Tokens of the vocabulary of which the screen keeps the maximum alone; they are far from each other, as a maximum over
neighbours is slow."""
MAX_CANDIDATES = 256
"""Groups per position that are scored again; a position with more is scored in full."""
CANDIDATE_BYTES = 2**24
"""Of the weights of tokens that are scored again at a time."""


@dataclass(frozen=True, slots=True)
class LogitTransform:
    """What a model does with the products of its head: a factor, then a soft cap, cap · tanh(logit / cap)."""

    factor: float = 1.0
    cap: float | None = None

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """The model's logits, of any shape; float32 in, float32 out."""
        if self.factor != 1.0:
            logits = logits * self.factor
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)


class LMHead:
    """The last layer of a model.

    Args:
        layer: its output embeddings: a weight (vocabulary, width), and a bias or None.
        screen: whether to screen in bfloat16; None to do so where it is faster.
    """

    transform = LogitTransform()
    """Applied to every logit."""

    def __init__(self, layer: Any, screen: bool | None = None) -> None:
        self._weight: torch.Tensor = layer.weight
        self._bias: torch.Tensor | None = layer.bias
        self._product = product_of(self._weight)
        self._screens = self._bias is None and _can_screen(self._weight, screen)
        # The rule by which the screen finds the best token, whether it runs or not. What is scored in full because a
        # repetition penalty or a cap comes after the sums has the model's own sums in bfloat16.
        is_bfloat16 = self._weight.dtype == torch.bfloat16 and self._weight.device.type == "cpu"
        self._sums_in_float32 = is_bfloat16 and self._bias is None
        self._screen: _BFloat16Screen | None = None

    def logits(self, states: torch.Tensor) -> Iterator[torch.Tensor]:
        """Logits of the vocabulary after every hidden state, block by block, each (states, block) in float32."""
        for start in range(0, self._weight.shape[0], VOCABULARY_BLOCK):
            block = slice(start, start + VOCABULARY_BLOCK)
            weight, bias = self._weight[block], None if self._bias is None else self._bias[block]
            if states.dtype != weight.dtype:  # While a comparison, or a closer look, is made in float32.
                logits = functional.linear(states, weight.to(states.dtype), None if bias is None else bias.to(states))
            else:
                logits = self._product(states, weight, bias)
            yield self.transform.apply(logits.float())

    def logits_over(self, states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """Logits over some tokens, (states, tokens) in float32.

        Args:
            states: hidden states, (states, width).
            weight, bias: of these tokens, (tokens, width) and (tokens,), in the dtype of the states.
        """
        return self.transform.apply(functional.linear(states, weight, bias).float())

    def logprobs(self, states: torch.Tensor, rows: Sequence[int], targets: Sequence[int]) -> torch.Tensor:
        """Log-probability of each target token after the state of its row, float32; not finite where a logit is not."""
        total: torch.Tensor | None = None
        for logits in self.logits(states):
            block_total = logits.logsumexp(-1)
            total = block_total if total is None else torch.logaddexp(total, block_total)
        assert total is not None
        row_index = torch.tensor(rows, device=states.device)
        return self._logits_at(states, row_index, torch.tensor(targets, device=states.device)) - total[row_index]

    def argmax(self, states: torch.Tensor, seen: SeenTokens | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """The most likely next token after every state, the first of equals, and whether no logit is NaN or +∞.

        Args:
            states: hidden states, (states, width).
            seen: tokens under a repetition penalty; the vocabulary is then scored in full, and the most likely token
                is that under the penalty.
        """
        if seen is not None:
            return self._argmax_in_full(states, seen)
        # Under a cap, logits that differ may become equal, and the first of them is the best.
        if self.transform.cap is not None or self.transform.factor <= 0:
            return self._argmax_in_full(states)
        if self._screen is None and self._screens:
            if self._weight not in _screens:
                _screens[self._weight] = _BFloat16Screen(self._weight)
            self._screen = _screens[self._weight]
        if self._screen is None:
            return self._argmax_in_full(states.float() if self._sums_in_float32 else states)
        rows, tokens, is_settled = self._screen.candidates(states)
        logits = self._logits_at(states, rows, tokens)
        best = torch.full((len(states),), float("-inf"), device=states.device).scatter_reduce(0, rows, logits, "amax")
        is_best = logits == best[rows]
        index = torch.full((len(states),), self._weight.shape[0], device=states.device)
        index = index.scatter_reduce(0, rows[is_best], tokens[is_best], "amin")
        finite = torch.ones(len(states), dtype=torch.bool, device=states.device)
        if not bool(is_settled.all()):
            # By float32 sums like the others: what a row's best token is does not depend on the rows beside it.
            index[~is_settled], finite[~is_settled] = self._argmax_in_full(states[~is_settled].float())
        return index, finite

    def _argmax_in_full(
        self, states: torch.Tensor, seen: SeenTokens | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        best: torch.Tensor | None = None
        index = torch.zeros(len(states), dtype=torch.long, device=states.device)
        finite = torch.ones(len(states), dtype=torch.bool, device=states.device)
        start = 0
        for logits in self.logits(states):
            block_best, offset = logits.max(-1)  # NaN where there is one.
            finite &= torch.isfinite(block_best)
            if seen is not None:
                block_best, offset = seen.penalize(logits, start).max(-1)
            better = torch.ones_like(finite) if best is None else block_best > best
            index = torch.where(better, offset + start, index)
            best = block_best if best is None else torch.where(better, block_best, best)
            start += logits.shape[-1]
        return index, finite

    def _logits_at(self, states: torch.Tensor, rows: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Logits of some tokens, each after the state of its row, float32."""
        size = max(1, CANDIDATE_BYTES // (4 * states.shape[1]))
        parts = zip(torch.split(rows, size), torch.split(tokens, size), strict=True)
        logits = torch.cat([(states[row].float() * self._weight[token].float()).sum(-1) for row, token in parts])
        return self.transform.apply(logits if self._bias is None else logits + self._bias[tokens].float())


class _BFloat16Screen:
    """The weight of the head in bfloat16, and a bound on the errors of its logits."""

    def __init__(self, weight: torch.Tensor) -> None:
        self._blocks: list[torch.Tensor] = []
        self._max_norm = self._max_rounding = 0.0
        product = product_of(weight[:0].bfloat16())
        # Reordered weights are a second copy.
        reorders = product is multiply and 4 * weight.numel() < free_bytes(str(weight.device))
        for start in range(0, len(weight), VOCABULARY_BLOCK):
            block = weight[start : start + VOCABULARY_BLOCK]
            rounded = block.bfloat16()
            self._blocks.append(pack(rounded) if reorders else rounded)
            self._max_norm = max(self._max_norm, float(rounded.float().norm(dim=-1).max()))
            self._max_rounding = max(self._max_rounding, float((block - rounded.float()).norm(dim=-1).max()))
        self._product = product
        self._members = _members(len(weight)).to(weight.device)

    def candidates(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """All tokens that may be the best of their row, and others of their groups.

        Returns:
            Their rows, the tokens, and for each row whether it is among them: not if a logit is not finite, or if there
            are too many to be of use.

        Of a logit w·x, with w' and x' rounded: |w·x − w'·x'| ≤ ‖w−w'‖‖x‖ + ‖w'‖‖x−x'‖ (Cauchy–Schwarz), and the sum
        in float32 adds at most width·2⁻²⁴‖w'‖‖x'‖. The logit itself is rounded to bfloat16, by 2⁻⁸ of it at most.
        """
        rounded = states.bfloat16()
        norm, rounding = states.norm(dim=-1), (states - rounded.float()).norm(dim=-1)
        error = 1.01 * (self._max_rounding * norm + self._max_norm * (rounding + states.shape[1] * 2.0**-23 * norm))
        group_maxima: list[torch.Tensor] = []
        for block in self._blocks:
            # Only the maxima are kept: the scores of the next block take the same memory, which is in the cache.
            logits = self._product(rounded, block, None)
            padding = -logits.shape[1] % GROUP
            if padding:
                logits = functional.pad(logits, (0, padding), value=float("-inf"))
            group_maxima.append(logits.view(len(states), GROUP, -1).amax(1))
        maxima = torch.cat(group_maxima, dim=1).float()
        best = maxima.max(-1).values
        threshold = best - 2.0**-8 * best.abs() - 2 * error
        threshold = threshold / torch.where(threshold > 0, 1 + 2.0**-8, 1 - 2.0**-8)
        near = maxima >= threshold[:, None]
        is_settled = torch.isfinite(best) & torch.isfinite(threshold) & (near.sum(-1) <= MAX_CANDIDATES)
        rows, groups = (near & is_settled[:, None]).nonzero(as_tuple=True)
        return rows.repeat_interleave(GROUP), self._members[groups].flatten(), is_settled


def _members(vocabulary: int) -> torch.Tensor:
    """The tokens of each group, (groups, GROUP); one that would be beyond a block is the first of its group again."""
    groups: list[torch.Tensor] = []
    for start in range(0, vocabulary, VOCABULARY_BLOCK):
        size = min(VOCABULARY_BLOCK, vocabulary - start)
        per_block = -(-size // GROUP)
        tokens = torch.arange(per_block * GROUP).view(GROUP, per_block).t()
        groups.append(torch.where(tokens < size, tokens, tokens[:, :1]) + start)
    return torch.cat(groups)


_screens: MutableMapping[torch.Tensor, _BFloat16Screen] = WeakIdKeyDictionary()
"""Weight → its screen, which a model and the same with an adapter share."""


def _can_screen(weight: torch.Tensor, wanted: bool | None) -> bool:
    """Whether the vocabulary is screened; of a weight in bfloat16 a copy in the layout of oneDNN is made for that."""
    if weight.dtype == torch.bfloat16:
        return wanted is not False and can_pack(weight)
    return weight.dtype == torch.float32 and (_bfloat16_is_faster(weight) if wanted is None else wanted)


def _bfloat16_is_faster(weight: torch.Tensor) -> bool:
    """Measured with a part of the weight: not every processor has instructions for bfloat16."""
    if weight.device.type != "cpu":
        return False
    block = weight[:VOCABULARY_BLOCK]
    states = block[:64]
    narrow_states, narrow_block = states.bfloat16(), block.bfloat16()

    def best_time(a: torch.Tensor, b: torch.Tensor) -> float:
        times: list[float] = []
        for _ in range(4):
            started = time.perf_counter()
            functional.linear(a, b)
            times.append(time.perf_counter() - started)
        return min(times)

    return best_time(narrow_states, narrow_block) < 0.7 * best_time(states, block)
