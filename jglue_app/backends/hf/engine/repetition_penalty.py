"""Repetition penalty: the logits of tokens that occur in the prompt or in the text so far are lowered.

Source: Keskar et al., CTRL (2019), section 4.1, in the form of transformers' `RepetitionPenaltyLogitsProcessor`: a
logit below 0 is multiplied by the penalty, any other is divided by it, once however often the token occurs. The prompt
counts, with the special tokens before it. Padding does not: a text is the same in a batch as alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import LogitsProcessor


def penalize(logits: torch.Tensor, penalty: float) -> torch.Tensor:
    """The logits of tokens that would be repeated, of any shape, under a penalty."""
    return torch.where(logits < 0, logits * penalty, logits / penalty)


class SeenTokens:
    """Which tokens would be repeated after each of several hidden states.

    Args:
        penalty: above 1 repetitions are less likely, below 1 more likely.
        tokens: of each state, ids in any order; an id may occur more than once.
        device: where the states are.
    """

    def __init__(self, penalty: float, tokens: Sequence[torch.Tensor], device: torch.device) -> None:
        self._penalty = penalty
        counts = torch.tensor([len(ids) for ids in tokens])
        rows = torch.arange(len(tokens)).repeat_interleave(counts).to(device)
        # Ascending, so that those of a block of the vocabulary are next to each other.
        self._tokens, order = torch.cat(list(tokens)).to(device).sort()
        self._rows = rows[order]

    def penalize(self, logits: torch.Tensor, start: int) -> torch.Tensor:
        """Penalize one block of the vocabulary in place.

        Args:
            logits: (states, block); ids beyond the vocabulary do not count.
            start: id of the first token of the block.
        """
        bounds = torch.tensor([start, start + logits.shape[-1]], device=self._tokens.device)
        first, last = torch.searchsorted(self._tokens, bounds).tolist()
        rows, columns = self._rows[first:last], self._tokens[first:last] - start
        logits[rows, columns] = penalize(logits[rows, columns], self._penalty)
        return logits


class RepetitionPenalty(LogitsProcessor):  # type: ignore[misc]  # transformers is read without its types.
    """The same in transformers' own generation, for batches that are padded on the left.

    Args:
        penalty: as in `SeenTokens`.
        mask: 1 for the tokens of a prompt, 0 for padding, (rows, width).
    """

    def __init__(self, penalty: float, mask: torch.Tensor) -> None:
        self._penalty = penalty
        self._mask = mask.bool()

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Logits (rows, vocabulary) after the prompts and the tokens generated so far, (rows, width + new)."""
        counts = input_ids < scores.shape[-1]
        width = self._mask.shape[1]
        counts[:, :width] &= self._mask
        rows, columns = counts.nonzero(as_tuple=True)
        tokens = input_ids[rows, columns]
        penalized = scores.clone()
        penalized[rows, tokens] = penalize(scores[rows, tokens], self._penalty)
        return penalized
