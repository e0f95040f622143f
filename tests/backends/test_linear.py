"""Linear layers on a CPU: another layout, the same results."""

from __future__ import annotations

import weakref
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from jglue_app.backends.hf.engine import linear
from jglue_app.backends.hf.engine.linear import PackedLinear, can_pack, multiply, pack, pack_layers, product_of


class Model(nn.Module):
    """Two layers of its own, two that share a weight, and a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(16, 40), nn.Linear(40, 16, bias=False)
        self.one, self.other = nn.Linear(16, 16), nn.Linear(16, 16)
        self.other.weight = self.one.weight
        self.head = nn.Linear(16, 70, bias=False)

    def get_output_embeddings(self) -> nn.Linear:
        return self.head

    def forward(self, x: torch.Tensor) -> Any:
        return self.head(self.other(self.one(self.second(self.first(x).tanh()))))


@torch.inference_mode()
def test_a_packed_model_answers_as_before() -> None:
    model, x = Model(), torch.randn(2, 7, 16)
    expected = model(x)
    pack_layers(model)
    assert torch.allclose(model(x), expected, atol=1e-5)
    packed = {name for name, module in model.named_modules() if isinstance(module, PackedLinear)}
    assert packed == {"first", "second"}, "neither the head nor what is shared"


def test_a_layer_goes_as_soon_as_it_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model()
    weights = [weakref.ref(model.first.weight), weakref.ref(model.second.weight)]
    left: list[int] = []

    def noted(weight: torch.Tensor) -> torch.Tensor:
        left.append(sum(each() is not None for each in weights))
        return pack(weight)

    can_pack(model.first.weight)  # Tries the operators, once.
    monkeypatch.setattr(linear, "pack", noted)
    pack_layers(model)
    assert left == [2, 1]


@pytest.mark.parametrize(("dtype", "off"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05)])
@torch.inference_mode()
def test_products_are_those_of_torch(dtype: torch.dtype, off: float) -> None:
    x, weight, bias = (torch.randn(*shape).to(dtype) for shape in ((5, 24), (33, 24), (33,)))
    if dtype == torch.bfloat16 and not can_pack(weight):
        assert product_of(weight) is functional.linear
        pytest.skip("this processor lacks oneDNN's bfloat16")
    expected = functional.linear(x, weight, bias).float()
    for one in (weight, pack(weight)):
        assert torch.allclose(multiply(x, one, bias).float(), expected, atol=off)
    assert product_of(weight) is multiply


def test_float16_and_builds_without_the_operators_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not can_pack(torch.zeros(4, 4, dtype=torch.float16))
    monkeypatch.setattr(linear, "_supported", {})
    monkeypatch.setattr(linear, "pack", lambda weight: weight)
    monkeypatch.setattr(linear, "torch", SimpleNamespace(**{**vars(torch), "ops": SimpleNamespace()}))
    assert not can_pack(torch.zeros(4, 4))
    assert product_of(torch.zeros(4, 4)) is functional.linear
    model = Model()
    pack_layers(model)
    assert not any(isinstance(module, PackedLinear) for module in model.modules())


def test_an_operator_that_gives_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "_supported", {})
    monkeypatch.setattr(linear, "multiply", lambda x, weight: functional.linear(x, torch.zeros(5, 8)))
    assert not can_pack(torch.zeros(4, 4))
