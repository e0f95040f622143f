"""A trie of token ids: which tokens several sequences share, in the order in which a model can read them. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trie:
    """Nodes in depth-first order: the ancestors of a node come before it, its descendants right after it."""

    tokens: list[int]
    depths: list[int]
    """Tokens before the node in its branch."""
    ends: list[int]
    """One past the last descendant of each node."""
    paths: list[list[int]]
    """For every sequence, the nodes of its tokens."""


def build_trie(sequences: Sequence[Sequence[int]]) -> Trie:
    """A trie in which a common prefix occurs once. Sequences may be empty or equal to one another."""
    tokens: list[int] = []
    depths: list[int] = []
    parents: list[int] = []
    paths: list[list[int]] = [[] for _ in sequences]
    previous: Sequence[int] = ()
    path: list[int] = []
    for i in sorted(range(len(sequences)), key=lambda i: list(sequences[i])):
        sequence = sequences[i]
        shared = common_prefix_length(previous, sequence)
        path = path[:shared]
        for depth in range(shared, len(sequence)):
            parents.append(path[-1] if path else -1)
            tokens.append(sequence[depth])
            depths.append(depth)
            path.append(len(tokens) - 1)
        paths[i], previous = path, sequence
    ends = list(range(1, len(tokens) + 1))
    for node in range(len(tokens) - 1, -1, -1):
        if parents[node] >= 0:
            ends[parents[node]] = max(ends[parents[node]], ends[node])
    return Trie(tokens, depths, ends, paths)


def build_unshared(sequences: Sequence[Sequence[int]]) -> Trie:
    """The same layout without sharing: every sequence is a branch of its own."""
    trie = Trie([], [], [], [])
    for sequence in sequences:
        start, end = len(trie.tokens), len(trie.tokens) + len(sequence)
        trie.tokens.extend(sequence)
        trie.depths.extend(range(len(sequence)))
        trie.ends.extend([end] * len(sequence))
        trie.paths.append(list(range(start, end)))
    return trie


def common_prefix_length(a: Sequence[int], b: Sequence[int]) -> int:
    """How many leading tokens two sequences have in common."""
    n = min(len(a), len(b))
    if a[:n] == b[:n]:
        return n
    low, high = 0, n
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if a[:middle] == b[:middle] else (low, middle)
    return low
