"""The language-model head: the vocabulary is scored only at the positions that need it, block by block.

For greedy decoding on a CPU the vocabulary is screened in fewer bits first, where the processor multiplies these
faster: see `vocabulary_screens`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from jglue_app.backends.hf.engine.linear import product_of
from jglue_app.backends.hf.engine.repetition_penalty import SeenTokens
from jglue_app.backends.hf.engine.vocabulary_screens import screen_of

VOCABULARY_BLOCK = 4_096
"""Tokens of the vocabulary that are scored at a time."""
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
        screen: whether to screen the vocabulary in fewer bits; None to do so where it is faster.
    """

    transform = LogitTransform()
    """Applied to every logit."""

    def __init__(self, layer: Any, screen: bool | None = None) -> None:
        self._weight: torch.Tensor = layer.weight
        self._bias: torch.Tensor | None = layer.bias
        self._product = product_of(self._weight)
        self._screen = screen_of(self._weight, screen) if self._bias is None else None
        # The rule by which the screen finds the best token, whether it runs or not. What is scored in full because a
        # repetition penalty or a cap comes after the sums has the model's own sums in bfloat16.
        is_bfloat16 = self._weight.dtype == torch.bfloat16 and self._weight.device.type == "cpu"
        self._sums_in_float32 = is_bfloat16 and self._bias is None

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
        if self._screen is None:
            return self._argmax_in_full(states.float() if self._sums_in_float32 else states)

        def products(rows: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
            return self._products_at(states, rows, tokens)

        rows, tokens, is_settled = self._screen.candidates(self._weight, states, products)
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

    def _products_at(self, states: torch.Tensor, rows: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Products of some tokens, each with the state of its row, float32."""
        size = max(1, CANDIDATE_BYTES // (4 * states.shape[1]))
        parts = zip(torch.split(rows, size), torch.split(tokens, size), strict=True)
        return torch.cat([(states[row].float() * self._weight[token].float()).sum(-1) for row, token in parts])

    def _logits_at(self, states: torch.Tensor, rows: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Their logits, float32."""
        products = self._products_at(states, rows, tokens)
        return self.transform.apply(products if self._bias is None else products + self._bias[tokens].float())
