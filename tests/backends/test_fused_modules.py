"""Norms and feed-forward layers in fewer passes: the module's own results, and only where it gave them."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from jglue_app.backends.hf.engine.fused_modules import fuse_modules
from jglue_app.backends.hf.engine.linear import PackedLinear, can_pack
from jglue_app.backends.hf.engine.packed_attention import ForwardContext, forward_context

pytestmark = pytest.mark.skipif(not can_pack(torch.zeros(1)), reason="this torch has no oneDNN")
X = torch.randn(1, 7, 24, generator=torch.Generator().manual_seed(0)) * torch.logspace(-3, 2, 7)[:, None]


class GatedLayer(nn.Module):
    """A feed-forward layer as most architectures have it."""

    def __init__(self, act_fn: Callable[[torch.Tensor], torch.Tensor], *, bias: bool = False) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.gate_proj = PackedLinear(nn.Linear(24, 40, bias=bias))
        self.up_proj = PackedLinear(nn.Linear(24, 40, bias=bias))
        self.down_proj = PackedLinear(nn.Linear(40, 24, bias=bias))
        self.act_fn = act_fn

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))
        return out


class OtherLayer(GatedLayer):
    """The same parts, put together otherwise."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.down_proj(self.gate_proj(x) * self.act_fn(self.up_proj(x)))
        return out


class ClampedLayer(GatedLayer):
    """One that differs for large numbers alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.down_proj(self.act_fn(self.gate_proj(x)).clamp(max=1e4) * self.up_proj(x))
        return out


class OtherRMSNorm(LlamaRMSNorm):  # type: ignore[misc]  # Any to mypy.
    """Not what its name says."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = super().forward(x) + 0.01
        return out


@torch.inference_mode()
def in_pass(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with forward_context(ForwardContext()):
        out: torch.Tensor = module(x)
    return out


def fused(module: nn.Module) -> bool:
    """Whether the class of a module in a model was exchanged."""
    before = type(module)
    fuse_modules(nn.ModuleList([module]))
    return type(module) is not before


@pytest.mark.parametrize("norm", [Gemma3RMSNorm, LlamaRMSNorm])
@pytest.mark.parametrize("size", [1.0, 100.0])
@torch.inference_mode()
def test_a_norm_is_the_root_mean_square_one(norm: type[nn.Module], size: float) -> None:
    module = norm(24, eps=1e-3)
    module.weight = nn.Parameter(size * torch.rand(24), requires_grad=False)
    scale = module.weight.double() + (1 if norm is Gemma3RMSNorm else 0)
    expected = X.double() / (X.double().square().mean(-1, keepdim=True) + 1e-3).sqrt() * scale
    assert fused(module)
    assert torch.allclose(in_pass(module, X).double(), expected, rtol=1e-5)
    assert in_pass(module, X.bfloat16()).dtype == torch.bfloat16
    assert torch.allclose(in_pass(module, X.bfloat16()).double(), expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    "act_fn",
    [nn.functional.silu, nn.GELU(), nn.GELU(approximate="tanh"), nn.functional.relu],
    ids=["silu", "gelu", "gelu-tanh", "relu"],
)
@pytest.mark.parametrize("bias", [False, True])
@torch.inference_mode()
def test_a_feed_forward_layer_gives_its_own_results(act_fn: Callable[[torch.Tensor], torch.Tensor], bias: bool) -> None:
    module = GatedLayer(act_fn, bias=bias)
    expected = module(X)
    assert fused(module)
    assert torch.allclose(in_pass(module, X), expected, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_outside_of_a_packed_pass_a_module_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    module = GatedLayer(nn.functional.silu)
    assert fused(module)
    calls: list[torch.Tensor] = []

    def own(self: GatedLayer, x: torch.Tensor) -> torch.Tensor:
        calls.append(x)
        return x

    monkeypatch.setattr(GatedLayer, "forward", own)
    assert in_pass(module, X) is not X and not calls
    assert module(X) is X and len(calls) == 1


@pytest.mark.parametrize(
    "module",
    [
        GatedLayer(nn.functional.mish),
        GatedLayer(nn.functional.relu6),
        GatedLayer(nn.PReLU(40).bfloat16()),
        OtherLayer(nn.functional.silu),
        ClampedLayer(nn.functional.silu),
        OtherRMSNorm(24),
        nn.LayerNorm(24),
    ],
    ids=lambda module: type(module).__name__,
)
def test_what_is_computed_otherwise_stays_as_it_is(module: nn.Module) -> None:
    assert not fused(module)


@torch.inference_mode()
def test_a_copy_and_exchanged_parts_run_with_their_own_weights() -> None:
    """As adapters copy norms, and put their own layers in the place of others."""
    norm = LlamaRMSNorm(24)
    assert fused(norm) and not fused(norm), "once, as a model with an adapter shares them"
    in_pass(norm, X)
    other = copy.deepcopy(norm)
    other.load_state_dict({"weight": torch.full((24,), 3.0)})
    assert torch.allclose(in_pass(other, X), 3 * in_pass(norm, X), rtol=1e-5)
    layer = GatedLayer(nn.functional.silu)
    assert fused(layer)
    plain = nn.Linear(24, 40)
    layer.up_proj = plain  # type: ignore[assignment]  # Not the class that it had.
    expected = layer.down_proj(nn.functional.silu(layer.gate_proj(X)) * plain(X))
    assert torch.allclose(in_pass(layer, X), expected, rtol=1e-4, atol=1e-5)
