"""The vocabulary head: blocks and screening change nothing in what comes out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from jglue_app.backends.hf.engine import lm_head as head_module
from jglue_app.backends.hf.engine.lm_head import GROUP, VOCABULARY_BLOCK, LMHead, _BFloat16Screen

WORDS = VOCABULARY_BLOCK + 3 * GROUP + 5


def layer(width: int = 24, *, bias: bool = False, dtype: torch.dtype = torch.float32) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(width, WORDS, bias=bias).to(dtype)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("screen", [False, True])
@torch.inference_mode()
def test_the_best_word_is_that_of_all_scores(bias: bool, screen: bool) -> None:
    head = layer(bias=bias)
    states = torch.randn(50, 24) * torch.logspace(-3, 3, 50)[:, None]
    words, finite = LMHead(head, screen).argmax(states)
    assert words.tolist() == head(states).argmax(-1).tolist()
    assert finite.all()


@torch.inference_mode()
def test_screening_looks_at_few_words_and_never_misses_one_that_is_barely_better() -> None:
    head = layer()
    states = torch.randn(40, 24)
    best = head(states).argmax(-1)
    for number, word in enumerate(best.tolist()):  # A twin that is better by less than bfloat16 can tell.
        twin = (word + 977 * (number + 1)) % WORDS
        head.weight[twin] = head.weight[word] + 1e-5 * states[number].sign()
    exact = head(states)
    assert LMHead(head, True).argmax(states)[0].tolist() == exact.argmax(-1).tolist()
    rows, words, is_settled = _BFloat16Screen(head.weight).candidates(states)
    assert bool(is_settled.all())
    pairs = set(zip(rows.tolist(), words.tolist(), strict=True))
    assert {(k, word) for k, word in enumerate(exact.argmax(-1).tolist())} <= pairs
    assert len(pairs) < 0.05 * exact.numel()


@pytest.mark.parametrize("screen", [False, True])
@torch.inference_mode()
def test_of_equal_words_the_first_is_best(screen: bool) -> None:
    head = layer()
    states = torch.randn(8, 24)
    best = head(states).argmax(-1).tolist()
    for word in best:
        head.weight[WORDS - 1 - word] = head.weight[word]
    assert LMHead(head, screen).argmax(states)[0].tolist() == [min(word, WORDS - 1 - word) for word in best]


@torch.inference_mode()
def test_where_screening_leaves_too_many_all_words_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_module, "MAX_CANDIDATES", 10)
    head = layer()
    head.weight[:] = head.weight[0] * (1 + 1e-5 * torch.randperm(WORDS)[:, None])
    states = torch.randn(4, 24)
    assert not _BFloat16Screen(head.weight).candidates(states)[2].any()
    assert LMHead(head, True).argmax(states)[0].tolist() == head(states).argmax(-1).tolist()


@pytest.mark.parametrize("screen", [False, True])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@torch.inference_mode()
def test_a_state_or_weight_that_is_not_finite_is_told(screen: bool, value: float) -> None:
    states = torch.randn(3, 24)
    states[1] = value
    assert LMHead(layer(), screen).argmax(states)[1].tolist() == [True, False, True]
    broken = layer()
    broken.weight[7] = value
    assert not LMHead(broken, screen).argmax(torch.rand(3, 24))[1].any()


@pytest.mark.parametrize("bias", [False, True])
@torch.inference_mode()
def test_logprobs_are_those_of_all_scores(bias: bool) -> None:
    head = layer(bias=bias)
    states = torch.randn(5, 24)
    rows, words = [0, 0, 3, 4, 2], [0, WORDS - 1, 17, VOCABULARY_BLOCK, 5]
    expected = head(states).log_softmax(-1)[rows, words]
    assert torch.allclose(LMHead(head).logprobs(states, rows, words), expected, atol=1e-5)


@torch.inference_mode()
def test_the_best_token_of_a_head_in_bfloat16_is_that_by_sums_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_module, "MAX_CANDIDATES", 10)
    head = layer(dtype=torch.bfloat16)
    states = torch.randn(300, 24).bfloat16()
    expected = (states.float() @ head.weight.float().t()).argmax(-1).tolist()
    assert head(states).argmax(-1).tolist() != expected, "rounded, some of them are equal"
    assert LMHead(head, False).argmax(states)[0].tolist() == expected
    screened = LMHead(head, True)
    assert screened.argmax(states)[0].tolist() == expected
    # A row without a clear best token, and one that is not finite, change nothing for the others.
    beside = torch.cat([states, torch.zeros(1, 24).bfloat16(), torch.full((1, 24), torch.inf).bfloat16()])
    tokens, finite = screened.argmax(beside)
    assert tokens[:-2].tolist() == expected and finite.tolist() == [True] * 301 + [False]
