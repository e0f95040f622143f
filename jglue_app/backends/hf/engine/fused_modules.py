"""Norms and feed-forward layers of a transformers model in fewer passes over memory, on a CPU.

What a gated feed-forward layer does between its products (activation, product with the other half) becomes part of the
products, as oneDNN can do that before it stores them; a root mean square norm takes three passes instead of seven. A
module runs so only within a packed forward pass, and only if it gave its own results when it was tried; the model's own
forward pass, with which the packed one is compared, is not changed.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from jglue_app.backends.hf.engine.linear import PackedLinear, can_pack, multiply, multiply_by
from jglue_app.backends.hf.engine.packed_attention import in_packed_pass
from jglue_app.backends.hf.memory import is_out_of_memory

TRIAL_ROWS = 5
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2.0**-6}
"""Largest difference from a module's own results, as a share of their size: two roundings of the dtype, about."""

_ACTIVATIONS: tuple[tuple[str, str, Callable[[torch.Tensor], torch.Tensor]], ...] = (
    ("swish", "", functional.silu),
    ("gelu", "tanh", lambda x: functional.gelu(x, approximate="tanh")),
    ("gelu", "none", functional.gelu),
    ("relu", "", functional.relu),
)
"""Activations that oneDNN applies to products: its name, its algorithm, the same in torch."""


def fuse_modules(model: Any) -> None:
    """Let the norms and feed-forward layers of a model on a CPU run in fewer passes, where they give the same results.

    Args:
        model: of transformers, after `linear.pack_layers`.
    """
    classes: dict[tuple[type, type], type] = {}
    for module in list(model.modules()):
        kind = _kind(module)
        if kind is None:
            continue
        own_class = type(module)
        key = (kind, own_class)
        classes.setdefault(key, type(own_class.__name__, key, {}))
        # The class is exchanged, as adapters copy modules: a copy runs with its own weights then.
        module.__class__ = classes[key]
        try:
            is_fused = module.fuse()
        except Exception as e:  # Of a module that is not what it seems: of any kind.
            module.__class__ = own_class
            if is_out_of_memory(e):
                raise
            continue
        if not is_fused:
            module.__class__ = own_class


def _kind(module: Any) -> type[FusedNorm] | type[_FusedGate] | None:
    # A model and the same with an adapter share modules, which are exchanged already then.
    if isinstance(module, FusedNorm | _FusedGate) or module._forward_hooks or module._forward_pre_hooks:
        return None
    weight = module._parameters.get("weight")
    if "RMSNorm" in type(module).__name__ and weight is not None and weight.dim() == 1 and can_pack(weight):
        return FusedNorm
    parts = [module._modules.get(name) for name in ("gate_proj", "up_proj", "down_proj")]
    if all(type(part) is PackedLinear for part in parts) and _is_gated(type(module).forward):
        return _FusedGate
    return None


@functools.lru_cache(maxsize=256)
def _is_gated(forward: Any) -> bool:
    """Whether the source of a forward pass is that of a gated one, and nothing else: a clamp of large numbers,
    as some architectures have, would not show in a trial."""
    try:
        (function,) = ast.parse(textwrap.dedent(inspect.getsource(forward))).body
    except (AttributeError, OSError, SyntaxError, TypeError, ValueError):
        return False
    if not isinstance(function, ast.FunctionDef) or len(function.args.args) != 2:
        return False
    x = function.args.args[1].arg
    product = f"self.down_proj(self.act_fn(self.gate_proj({x})) * self.up_proj({x}))"
    match function.body:
        case [ast.Return(value=ast.expr() as value)]:
            return ast.unparse(value) == product
        case [
            ast.Assign(targets=[ast.Name(id=name)], value=value) | ast.AnnAssign(target=ast.Name(id=name), value=value),
            ast.Return(value=ast.Name(id=returned)),
        ]:
            return value is not None and ast.unparse(value) == product and name == returned
    return False


class FusedNorm(nn.Module):
    """x / √(mean(x²) + ε) times a weight, or times one more than that weight."""

    weight: torch.Tensor

    def fuse(self) -> bool:
        """Find the ε and the weight; False if the module does something else."""
        width, dtype = self.weight.shape[0], self.weight.dtype
        for epsilon in {getattr(self, name, None) for name in ("eps", "variance_epsilon", "epsilon")}:
            for offset in (0.0, 1.0):
                self.__dict__["_fused"] = (epsilon, offset)
                # In float32 too, as rounding hides the difference between a weight of 100 and one of 101.
                if isinstance(epsilon, float) and all(
                    _is_equal(self, width, each, _norm) for each in {torch.float32, dtype}
                ):
                    return True
        return False

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """(…, width) → (…, width)."""
        if args or kwargs or not in_packed_pass() or x.dtype not in TOLERANCE:
            out: torch.Tensor = super().forward(x, *args, **kwargs)
            return out
        return _norm(self, x)


def _norm(module: Any, x: torch.Tensor) -> torch.Tensor:
    epsilon, offset = module.__dict__["_fused"]
    # Not kept from call to call: adapters load other weights into the same tensor.
    scale = module.weight.float() + offset if offset else module.weight.float()
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    factor = norm.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
    out: torch.Tensor = (x * factor).mul_(scale).to(x.dtype)
    return out


class _FusedGate(nn.Module):
    """activation(x·gate) ∘ (x·up) · down."""

    act_fn: Callable[[torch.Tensor], torch.Tensor]

    def fuse(self) -> bool:
        """Find the activation; False if the module does something else."""
        gate: Any = self.gate_proj
        for name, algorithm, activation in _ACTIVATIONS:
            probe = torch.linspace(-40, 40, 641)
            if not torch.allclose(self.act_fn(probe), activation(probe), rtol=1e-6, atol=1e-6):
                continue
            self.__dict__["_fused"] = (name, algorithm)
            if _is_equal(self, gate.in_features, gate.weight_dtype, _gated):
                return True
        return False

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """(…, width) → (…, width)."""
        if not args and not kwargs and in_packed_pass():
            # An adapter puts its own layers in the place of these.
            parts = (self.gate_proj, self.up_proj, self.down_proj)
            if all(type(part) is PackedLinear and part.weight_dtype == x.dtype for part in parts):
                return _gated(self, x)
        return super().forward(x, *args, **kwargs)


def _gated(module: Any, x: torch.Tensor) -> torch.Tensor:
    name, algorithm = module.__dict__["_fused"]
    gate: PackedLinear = module.gate_proj
    up: PackedLinear = module.up_proj
    gated = multiply(x, gate.packed_weight, gate.bias, name, algorithm)
    out: torch.Tensor = module.down_proj(multiply_by(x, gated, up.packed_weight, up.bias))
    return out


def _is_equal(module: Any, width: int, dtype: torch.dtype, fused: Callable[[Any, torch.Tensor], torch.Tensor]) -> bool:
    """Whether a module gives its own results when it is fused, for rows of very different sizes."""
    generator = torch.Generator().manual_seed(0)
    sizes = torch.logspace(-4, 1, TRIAL_ROWS)[:, None]
    rows = (torch.randn(TRIAL_ROWS, width, generator=generator) * sizes).to(dtype)[None]
    with torch.inference_mode():
        expected, got = module(rows), fused(module, rows)
    if not isinstance(expected, torch.Tensor) or expected.shape != got.shape or expected.dtype != got.dtype:
        return False
    size = expected.float().norm(dim=-1)
    return bool(((got.float() - expected.float()).norm(dim=-1) <= TOLERANCE[dtype] * size + 1e-12).all())
