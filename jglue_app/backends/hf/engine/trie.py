"""Which tokens several sequences share: a trie of token ids, in the order in which a model can read it. Pure."""

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


def grow(sequences: Sequence[Sequence[int]]) -> Trie:
    """A trie in which a common beginning of sequences stands once; a sequence may be empty, or stand twice."""
    tokens: list[int] = []
    depths: list[int] = []
    parents: list[int] = []
    paths: list[list[int]] = [[] for _ in sequences]
    before: Sequence[int] = ()
    path: list[int] = []
    for i in sorted(range(len(sequences)), key=lambda i: list(sequences[i])):
        sequence = sequences[i]
        shared = common(before, sequence)
        path = path[:shared]
        for depth in range(shared, len(sequence)):
            parents.append(path[-1] if path else -1)
            tokens.append(sequence[depth])
            depths.append(depth)
            path.append(len(tokens) - 1)
        paths[i], before = path, sequence
    ends = list(range(1, len(tokens) + 1))
    for node in range(len(tokens) - 1, -1, -1):
        if parents[node] >= 0:
            ends[parents[node]] = max(ends[parents[node]], ends[node])
    return Trie(tokens, depths, ends, paths)


def side_by_side(sequences: Sequence[Sequence[int]]) -> Trie:
    """The same without sharing: every sequence by itself."""
    grown = Trie([], [], [], [])
    for sequence in sequences:
        start, end = len(grown.tokens), len(grown.tokens) + len(sequence)
        grown.tokens.extend(sequence)
        grown.depths.extend(range(len(sequence)))
        grown.ends.extend([end] * len(sequence))
        grown.paths.append(list(range(start, end)))
    return grown


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two sequences have in common at their beginning."""
    n = min(len(a), len(b))
    if a[:n] == b[:n]:
        return n
    low, high = 0, n
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if a[:middle] == b[:middle] else (low, middle)
    return low
