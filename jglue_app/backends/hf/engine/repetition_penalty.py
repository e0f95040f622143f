"""Repetition penalty: the scores of tokens that stand in the prompt or in the text so far are lowered.

Source: Keskar et al., CTRL (2019), section 4.1, in the form of transformers' `RepetitionPenaltyLogitsProcessor`: a
score below 0 is multiplied by the penalty, any other is divided by it, once however often the token stands there. The
prompt counts, with what the tokenizer puts before it. Padding does not: a text is the same in a batch as alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import LogitsProcessor


def penalized(scores: torch.Tensor, penalty: float) -> torch.Tensor:
    """Scores of tokens that would be repeated, of any shape."""
    return torch.where(scores < 0, scores * penalty, scores / penalty)


class Repeated:
    """Which tokens would be repeated after each of several states.

    Args:
        penalty: above 1 repetitions are less likely, below 1 more likely.
        tokens: of each state, ids in any order; an id may stand more than once.
        device: where the states are.
    """

    def __init__(self, penalty: float, tokens: Sequence[torch.Tensor], device: torch.device) -> None:
        self._penalty = penalty
        counts = torch.tensor([len(ids) for ids in tokens])
        rows = torch.arange(len(tokens)).repeat_interleave(counts).to(device)
        # Ascending, so that those of a block of the vocabulary stand together.
        self._words, order = torch.cat(list(tokens)).to(device).sort()
        self._rows = rows[order]

    def apply(self, scores: torch.Tensor, start: int) -> torch.Tensor:
        """Scores (states, words) of the words from `start` on, changed in place. Ids without a score do not count."""
        ends = torch.tensor([start, start + scores.shape[-1]], device=self._words.device)
        first, last = torch.searchsorted(self._words, ends).tolist()
        rows, words = self._rows[first:last], self._words[first:last] - start
        scores[rows, words] = penalized(scores[rows, words], self._penalty)
        return scores


class PenalizeRepetition(LogitsProcessor):  # type: ignore[misc]  # transformers is read without its types.
    """The same in transformers' own generation, for batches that are padded on the left.

    Args:
        penalty: as in `Repeated`.
        mask: 1 for the tokens of a prompt, 0 for padding, (rows, width).
    """

    def __init__(self, penalty: float, mask: torch.Tensor) -> None:
        self._penalty = penalty
        self._mask = mask.bool()

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores (rows, words) after prompts and what was written below them, (rows, width + new)."""
        counts = input_ids < scores.shape[-1]
        width = self._mask.shape[1]
        counts[:, :width] &= self._mask
        rows, places = counts.nonzero(as_tuple=True)
        words = input_ids[rows, places]
        changed = scores.clone()
        changed[rows, words] = penalized(scores[rows, words], self._penalty)
        return changed
