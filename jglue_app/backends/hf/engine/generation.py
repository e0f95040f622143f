"""The state of one sequence that is being generated."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from jglue_app.backends.hf.engine.speculative import PromptLookup


@dataclass(slots=True)
class Generation:
    """One sequence that is being generated."""

    key: int
    """Number of the prompt."""
    prompt: list[int]
    stops: tuple[str, ...]
    new: list[int] = field(default_factory=list)
    """Tokens generated so far."""
    draft: list[int] = field(default_factory=list)
    """Draft tokens of the current step."""
    cache_row: int = 0
    lookup: PromptLookup = field(init=False)
    _prompt_tokens: torch.Tensor | None = field(default=None, init=False)
    """The distinct tokens of the prompt."""

    def __post_init__(self) -> None:
        self.lookup = PromptLookup(self.prompt)

    def propose_draft(self, limit: int, max_new_tokens: int) -> list[int]:
        """Draft tokens, so few that one more token can follow them."""
        return self.lookup.propose(self.new, min(limit, max_new_tokens - len(self.new) - 1))

    def seen_tokens(self) -> list[torch.Tensor]:
        """The tokens before the next one, and before the one after each draft token."""
        if self._prompt_tokens is None:
            self._prompt_tokens = torch.tensor(sorted(set(self.prompt)))
        new = torch.tensor([*self.new, *self.draft], dtype=torch.long)
        return [torch.cat([self._prompt_tokens, new[: len(self.new) + k]]) for k in range(len(self.draft) + 1)]
