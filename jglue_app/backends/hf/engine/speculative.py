"""Speculative decoding with draft tokens from the prompt (prompt-lookup decoding; Saxena, 2023).

What follows the last two tokens where they occur in the prompt is proposed as the continuation. One forward pass
verifies several draft tokens; those that greedy decoding would have chosen are accepted, so the text is unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

STEP_TOKENS = {"cpu": 48, "other": 256}
"""Tokens of one decode step that take little more time than a single one."""
MAX_DRAFT_TOKENS = 8
"""Draft tokens of one sequence at a time."""


def max_draft_tokens(step_tokens: int, sequences: int) -> int:
    """How many draft tokens each of several sequences may have in one decode step."""
    return max(0, step_tokens // sequences - 1)


class PromptLookup:
    """Proposes draft tokens for one sequence.

    Args:
        prompt: its token ids.
    """

    def __init__(self, prompt: Sequence[int]) -> None:
        self._prompt = prompt
        self._bigrams: dict[tuple[int, int], int] = {}
        self.draft_length = 2
        """Tokens to propose: more after drafts that were accepted, fewer after rejected ones."""

    def propose(self, new: Sequence[int], limit: int) -> list[int]:
        """Draft tokens that may follow the tokens generated so far, of which there is at least one."""
        limit = min(limit, self.draft_length)
        if limit < 1:
            return []
        if not self._bigrams:
            # Of equal pairs the last one counts.
            self._bigrams = {pair: k + 2 for k, pair in enumerate(pairwise(self._prompt))}
        last = (new[-2], new[-1]) if len(new) > 1 else (self._prompt[-1], new[-1])
        start = self._bigrams.get(last)
        return [] if start is None else list(self._prompt[start : start + limit])

    def update(self, proposed: int, accepted: int) -> None:
        """Adapt the draft length to how many of the proposed tokens were accepted."""
        if proposed:
            self.draft_length = (
                min(MAX_DRAFT_TOKENS, 2 * self.draft_length) if accepted == proposed else max(1, accepted)
            )
