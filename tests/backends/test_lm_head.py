"""The vocabulary head: blocks and screening change nothing in what comes out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from jglue_app.backends.hf.engine import vocabulary_screens
from jglue_app.backends.hf.engine.lm_head import VOCABULARY_BLOCK, LMHead
from jglue_app.backends.hf.engine.vocabulary_screens import (
    BFloat16Screen,
    Int8Screen,
    Products,
    VocabularyScreen,
    _Int8Weight,
    multiplies_int8,
    screen_of,
)

WORDS = VOCABULARY_BLOCK + 101


SCREENS = [BFloat16Screen, Int8Screen] if multiplies_int8() else [BFloat16Screen]


def products(head: nn.Linear, states: torch.Tensor) -> Products:
    return lambda rows, words: (states[rows] * head.weight[words]).sum(-1)


def screened(head: nn.Linear, kind: type[BFloat16Screen | Int8Screen]) -> LMHead:
    """A head that is screened in this way, whatever is fastest."""
    lm_head = LMHead(head, False)
    lm_head._screen = VocabularyScreen([kind])
    return lm_head


def kinds(weight: torch.Tensor) -> list[object]:
    """Screens that are used of a weight."""
    screen = screen_of(weight, True)
    assert screen is not None
    return [*screen._kinds]


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


@pytest.mark.parametrize("kind", SCREENS)
@pytest.mark.parametrize("width", [24, 96])
@torch.inference_mode()
def test_screening_looks_at_few_words_and_never_misses_one_that_is_barely_better(
    kind: type[BFloat16Screen | Int8Screen], width: int
) -> None:
    head = layer(width)
    head.weight[:, 3] *= 20  # One large coordinate, as many models have.
    states = torch.randn(40, width) * torch.logspace(-3, 3, 40)[:, None]
    states[::2, 5] *= 30
    best = head(states).argmax(-1)
    for number, word in enumerate(best.tolist()):  # A twin that is better by less than few bits can tell.
        twin = (word + 977 * (number + 1)) % WORDS
        head.weight[twin] = head.weight[word] + 1e-5 * states[number].sign()
    exact = head(states)
    assert screened(head, kind).argmax(states)[0].tolist() == exact.argmax(-1).tolist()
    rows, words, is_settled = kind(head.weight).candidates(states, products(head, states))
    assert bool(is_settled.all())
    pairs = set(zip(rows.tolist(), words.tolist(), strict=True))
    assert {(k, word) for k, word in enumerate(exact.argmax(-1).tolist())} <= pairs
    assert len(pairs) < (0.05 if kind is Int8Screen else 0.15) * exact.numel()


@pytest.mark.parametrize("kind", SCREENS)
@pytest.mark.parametrize(
    ("of_weight", "of_states"), [(1e-24, 1.0), (1e-24, 1e10), (1e-10, 1e-24), (1e-25, 1e-20), (1e-25, 1e-25)]
)
@torch.inference_mode()
def test_numbers_whose_squares_are_lost_are_bounded_all_the_same(
    kind: type[BFloat16Screen | Int8Screen], of_weight: float, of_states: float
) -> None:
    head = layer(64)
    count = 2 * VOCABULARY_BLOCK + 900
    weight = torch.randn(1, 64) + 0.01 * torch.randn(count, 64)
    weight[100:4_000] = weight[:3_900] + 1e-4 * torch.randn(3_900, 64)
    head.weight = nn.Parameter(weight * of_weight, requires_grad=False)
    states = torch.randn(64, 64) * of_states
    states[::5] = 0
    words, finite = screened(head, kind).argmax(states)
    logits = head(states)
    best, tolerance = logits.amax(-1), 1e-5 * logits.abs().amax(-1) + 1e-43
    assert finite.all() and int(words.max()) < count
    assert bool((logits.gather(1, words[:, None])[:, 0] >= best - tolerance).all())


@torch.inference_mode()
def test_a_screen_that_leaves_too_many_is_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary_screens, "MAX_CANDIDATES", 300)
    head, states = layer(64), torch.randn(vocabulary_screens.TRIED_STATES, 64)
    head.weight[:] = head.weight[0] * (1 + 3e-3 * torch.rand(WORDS)[:, None])
    made: list[str] = []

    def counted(kind: type[BFloat16Screen | Int8Screen]) -> Callable[[torch.Tensor], BFloat16Screen | Int8Screen]:
        def make(weight: torch.Tensor) -> BFloat16Screen | Int8Screen:
            made.append(kind.__name__)
            return kind(weight)

        return make

    lm_head = LMHead(head, False)
    lm_head._screen = VocabularyScreen([counted(Int8Screen), counted(BFloat16Screen)])
    for _ in range(3):
        assert lm_head.argmax(states)[0].tolist() == head(states).argmax(-1).tolist()
    assert made == ["Int8Screen", "BFloat16Screen"]


def test_products_that_are_not_exact_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    head, multiply = layer(64), _Int8Weight.multiply
    assert (Int8Screen in kinds(head.weight)) == multiplies_int8()

    def saturated(self: _Int8Weight, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return multiply(self, x, bias).clamp(max=2.0**15)

    monkeypatch.setattr(_Int8Weight, "multiply", saturated)
    assert not multiplies_int8.__wrapped__()
    monkeypatch.setattr(vocabulary_screens, "multiplies_int8", lambda: False)
    assert Int8Screen not in kinds(layer(64).weight)


@pytest.mark.parametrize("screen", [False, True])
@torch.inference_mode()
def test_of_equal_words_the_first_is_best(screen: bool) -> None:
    head = layer()
    states = torch.randn(8, 24)
    best = head(states).argmax(-1).tolist()
    for word in best:
        head.weight[WORDS - 1 - word] = head.weight[word]
    assert LMHead(head, screen).argmax(states)[0].tolist() == [min(word, WORDS - 1 - word) for word in best]


@pytest.mark.parametrize("kind", SCREENS)
@torch.inference_mode()
def test_where_screening_leaves_too_many_all_words_are_scored(
    kind: type[BFloat16Screen | Int8Screen], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vocabulary_screens, "MAX_CANDIDATES", 320)
    head = layer()
    head.weight[:] = head.weight[0] * (1 + 1e-5 * torch.randperm(WORDS)[:, None])
    states = torch.randn(4, 24)
    assert not kind(head.weight).candidates(states, products(head, states))[2].any()
    assert screened(head, kind).argmax(states)[0].tolist() == head(states).argmax(-1).tolist()


@pytest.mark.parametrize("kind", [None, *SCREENS])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@torch.inference_mode()
def test_a_state_or_weight_that_is_not_finite_is_told(
    kind: type[BFloat16Screen | Int8Screen] | None, value: float
) -> None:
    def head(layer: nn.Linear) -> LMHead:
        return LMHead(layer, False) if kind is None else screened(layer, kind)

    states = torch.randn(3, 24)
    states[1] = value
    assert head(layer()).argmax(states)[1].tolist() == [True, False, True]
    broken = layer()
    broken.weight[7] = value
    assert not head(broken).argmax(torch.rand(3, 24) - float(value < 0))[1].any()


@pytest.mark.parametrize("bias", [False, True])
@torch.inference_mode()
def test_logprobs_are_those_of_all_scores(bias: bool) -> None:
    head = layer(bias=bias)
    states = torch.randn(5, 24)
    rows, words = [0, 0, 3, 4, 2], [0, WORDS - 1, 17, VOCABULARY_BLOCK, 5]
    expected = head(states).log_softmax(-1)[rows, words]
    assert torch.allclose(LMHead(head).logprobs(states, rows, words), expected, atol=1e-5)


@pytest.mark.parametrize("kind", SCREENS)
@torch.inference_mode()
def test_the_best_token_of_a_head_in_bfloat16_is_that_by_sums_in_float32(
    kind: type[BFloat16Screen | Int8Screen], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vocabulary_screens, "MAX_CANDIDATES", 320)
    head = layer(dtype=torch.bfloat16)
    states = torch.randn(300, 24).bfloat16()
    expected = (states.float() @ head.weight.float().t()).argmax(-1).tolist()
    assert head(states).argmax(-1).tolist() != expected, "rounded, some of them are equal"
    assert LMHead(head, False).argmax(states)[0].tolist() == expected
    lm_head = screened(head, kind)
    assert lm_head.argmax(states)[0].tolist() == expected
    # A row without a clear best token, and one that is not finite, change nothing for the others.
    beside = torch.cat([states, torch.zeros(1, 24).bfloat16(), torch.full((1, 24), torch.inf).bfloat16()])
    tokens, finite = lm_head.argmax(beside)
    assert tokens[:-2].tolist() == expected and finite.tolist() == [True] * 301 + [False]
