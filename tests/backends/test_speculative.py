"""Draft tokens from the prompt: what is proposed, and how many."""

from __future__ import annotations

import pytest

from jglue_app.backends.hf.engine.speculative import MAX_DRAFT_TOKENS, STEP_TOKENS, PromptLookup, max_draft_tokens


def test_what_followed_the_last_two_tokens_in_the_prompt_is_proposed() -> None:
    lookup = PromptLookup([1, 2, 3, 4, 5, 1, 2, 6, 7, 8, 9])
    assert lookup.propose([1], 4) == [], "the prompt does not contain 9 1"
    assert lookup.propose([1, 2], 4) == [6, 7], "where it occurs last; two tokens at first"
    lookup.draft_length = 8
    assert lookup.propose([3, 1, 2], 4) == [6, 7, 8, 9]
    assert lookup.propose([7, 8], 4) == [9], "the prompt ends there"
    assert lookup.propose([1, 2], 0) == []


@pytest.mark.parametrize(
    ("length", "proposed", "accepted", "expected"),
    [(2, 2, 2, 4), (4, 4, 4, 8), (8, 8, 8, MAX_DRAFT_TOKENS), (8, 8, 3, 3), (8, 5, 0, 1), (4, 0, 0, 4)],
)
def test_the_draft_length_follows_what_was_accepted(length: int, proposed: int, accepted: int, expected: int) -> None:
    lookup = PromptLookup([1, 2])
    lookup.draft_length = length
    lookup.update(proposed, accepted)
    assert lookup.draft_length == expected


@pytest.mark.parametrize("tokens", STEP_TOKENS.values())
def test_drafts_are_as_long_as_costs_next_to_nothing(tokens: int) -> None:
    assert max_draft_tokens(tokens, 1) == tokens - 1
    assert max_draft_tokens(tokens, tokens // 2) == 1
    assert max_draft_tokens(tokens, tokens) == max_draft_tokens(tokens, 10 * tokens) == 0
