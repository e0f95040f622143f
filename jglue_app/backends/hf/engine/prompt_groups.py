"""Prompts that share tokens, grouped so that each group is one trie. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from jglue_app.backends.hf.engine.requests import MIN_SHARED_TOKENS
from jglue_app.backends.hf.engine.trie import Trie, build_trie, build_unshared, common_prefix_length

MAX_GROUP_TOKENS = 1_024
"""Tokens of a group that no further prompt joins: the cost of attention grows with their square."""


@dataclass(slots=True)
class PromptGroup:
    """Sequences of one or more prompts, which run together."""

    keys: list[int]
    """Numbers of the prompts."""
    sequences: list[Sequence[int]]
    """Token ids after the prefix that all prompts share."""
    firsts: list[int]
    """Index in `sequences` of the first sequence of each prompt."""
    share: bool = True
    """Whether tokens that they have in common run once."""
    _trie: Trie | None = field(default=None, init=False)

    @property
    def trie(self) -> Trie:
        """The trie of all sequences, built when it is first needed."""
        if self._trie is None:
            self._trie = build_trie(self.sequences) if self.share else build_unshared(self.sequences)
        return self._trie

    @property
    def tokens(self) -> int:
        """Tokens of the trie."""
        return len(self.trie.tokens)

    def subset(self, keys: set[int]) -> PromptGroup:
        """The same with some of the prompts only."""
        group = PromptGroup([], [], [], self.share)
        for i, first, end in zip(self.keys, self.firsts, [*self.firsts[1:], len(self.sequences)], strict=True):
            if i in keys:
                group.keys.append(i)
                group.firsts.append(len(group.sequences))
                group.sequences += self.sequences[first:end]
        return group


def group_prompts(sequences: Mapping[int, list[list[int]]], *, share: bool) -> list[PromptGroup]:
    """Put prompts that share enough tokens into one group.

    Args:
        sequences: number of a prompt → its sequences, each without the prefix that all prompts share.
        share: whether prompts share tokens at all; else every prompt is a group.

    Returns:
        The largest groups first, so that memory runs out at once if ever.
    """
    groups: list[PromptGroup] = []
    tokens = 0
    for i in sorted(sequences, key=lambda i: sequences[i][0]):
        added = sequences[i]
        first = added[0]
        within = min(common_prefix_length(first, sequence) for sequence in added)
        new_tokens = sum(map(len, added)) - (len(added) - 1) * within
        shared = common_prefix_length(groups[-1].sequences[-1], first) if groups else 0
        fits = tokens + new_tokens - shared <= MAX_GROUP_TOKENS
        if share and groups and shared >= MIN_SHARED_TOKENS and fits:
            group = groups[-1]
            group.firsts.append(len(group.sequences))
            group.keys.append(i)
            group.sequences += added
            tokens += new_tokens - shared
        else:
            groups.append(PromptGroup([i], list(added), [0], share))
            tokens = new_tokens
    return sorted(groups, key=lambda group: -group.tokens)


def forward_passes(groups: Sequence[PromptGroup], max_tokens: int) -> Iterator[list[PromptGroup]]:
    """Groups that run in one forward pass: of at most so many tokens, or a single group."""
    batch: list[PromptGroup] = []
    tokens = 0
    for group in groups:
        if batch and tokens + group.tokens > max_tokens:
            yield batch
            batch, tokens = [], 0
        batch.append(group)
        tokens += group.tokens
    if batch:
        yield batch
