"""Tries of token ids: what is shared stands once, in an order in which ancestors come first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jglue_app.backends.hf.engine.trie import build_trie, common_prefix_length

SEQUENCES = st.lists(st.lists(st.integers(0, 3), max_size=8), max_size=8)


@given(SEQUENCES)
def test_every_sequence_can_be_read_off_its_path(sequences: list[list[int]]) -> None:
    trie = build_trie(sequences)
    for sequence, path in zip(sequences, trie.paths, strict=True):
        assert [trie.tokens[node] for node in path] == sequence
        assert [trie.depths[node] for node in path] == list(range(len(sequence)))


@given(SEQUENCES)
def test_no_beginning_stands_twice(sequences: list[list[int]]) -> None:
    beginnings = {tuple(s[:n]) for s in sequences for n in range(1, len(s) + 1)}
    assert len(build_trie(sequences).tokens) == len(beginnings)


@given(SEQUENCES)
def test_a_node_is_followed_by_its_descendants_alone(sequences: list[list[int]]) -> None:
    trie = build_trie(sequences)
    ancestors: list[set[int]] = [set() for _ in trie.tokens]
    for path in trie.paths:
        for place, node in enumerate(path):
            ancestors[node] = set(path[:place])
    for node, end in enumerate(trie.ends):
        assert {d for d in range(len(trie.tokens)) if node in ancestors[d]} == set(range(node + 1, end))


@given(st.lists(st.integers(0, 1), max_size=20), st.lists(st.integers(0, 1), max_size=20))
def test_the_common_beginning_is_the_longest(a: list[int], b: list[int]) -> None:
    n = common_prefix_length(a, b)
    assert a[:n] == b[:n]
    assert n == min(len(a), len(b)) or a[n] != b[n]
