"""Run a model of two-byte weights in float32 for a moment."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from jglue_app.backends.hf.engine.linear import PackedLinear, pack
from jglue_app.backends.hf.memory import free_bytes

Replacement = tuple[dict[str, Any], str, Any, Any]
"""A table of a module, a name in it, its tensor, and the same tensor in float32; or a dtype and float32."""
COMPUTE_DTYPE = "compute_dtype"
"""Attribute of 4-bit layers of bitsandbytes: what their input, and the weight when it is expanded, are converted to."""


def expand_4bit_exactly(model: Any) -> None:
    """Have 4-bit layers of bitsandbytes compute in the dtype that they are given, on a CPU too.

    Where a CPU multiplies bfloat16, they would round their input to it, whatever its dtype, and a way of running the
    model could not be told from rounding.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


class Float32Weights:
    """A context manager in which a model of bfloat16 or float16 weights computes in float32.

    Where memory allows, all weights are converted at once and kept until `clear`; else those of one module at a time,
    while it runs. The output of an embedding is converted instead of its weight, of which few rows are needed.
    """

    def __init__(self, model: Any) -> None:
        self.model: Any = model
        self._converted: dict[nn.Module, list[Replacement]] = {}
        self._replaced: dict[nn.Module, list[Replacement]] = {}
        self._hooks: list[Any] = []
        self._active: dict[nn.Module, list[Replacement]] = {}

    def clear(self) -> None:
        """Drop the converted weights."""
        self._converted = {}

    def __enter__(self) -> None:
        modules = [module for module in self.model.modules() if not isinstance(module, nn.Embedding)]
        # What has other weights in float32 for the moment, as the head may have, is not converted.
        self._replaced = {
            module: self._converted[module] for module in modules if module in self._converted and _is_narrow(module)
        }
        rest = [module for module in modules if module not in self._converted and _is_narrow(module)]
        needed = 2 * sum(t.numel() * t.itemsize for module in rest for _, _, t in _two_byte_tensors(module))
        if needed < free_bytes(str(self.model.device)) // 3:
            self._converted |= {module: _replacements(module) for module in rest}
            self._replaced |= {module: self._converted[module] for module in rest}
        else:
            self._hooks = [module.register_forward_pre_hook(self._widen) for module in rest]
            self._hooks += [module.register_forward_hook(self._restore) for module in rest]
        for replacements in self._replaced.values():
            for table, name, _, wide in replacements:
                table[name] = wide
        embeddings = (module for module in self.model.modules() if isinstance(module, nn.Embedding))
        self._hooks += [module.register_forward_hook(_float32_output) for module in embeddings]

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        for replacements in self._replaced.values():
            for table, name, original, _ in reversed(replacements):
                table[name] = original
        self._replaced = {}
        for module in list(self._active):
            self._restore(module)

    def _widen(self, module: nn.Module, *_: Any) -> None:
        replacements = _replacements(module)
        for table, name, _, wide in replacements:
            table[name] = wide
        if replacements:
            self._active.setdefault(module, []).extend(replacements)

    def _restore(self, module: nn.Module, *_: Any) -> None:
        for table, name, original, _ in reversed(self._active.pop(module, [])):
            table[name] = original


def _float32_output(module: nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
    return output.float() if output.dtype.itemsize == 2 else output


def _two_byte_tensors(module: nn.Module) -> list[tuple[dict[str, Any], str, torch.Tensor]]:
    """The two-byte weights of a module, without those of modules in it."""
    tables: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
    entries = [(table, name, tensor) for table in tables for name, tensor in table.items()]
    if isinstance(module, PackedLinear):
        entries += [(module.__dict__, name, module.__dict__[name]) for name in ("_weight", "_bias")]
    return [
        (table, name, tensor)
        for table, name, tensor in entries
        if tensor is not None and tensor.is_floating_point() and tensor.dtype.itemsize == 2
    ]


def _is_narrow(module: nn.Module) -> bool:
    """Whether anything of a module itself computes in two bytes."""
    dtype = module.__dict__.get(COMPUTE_DTYPE)
    return bool(_two_byte_tensors(module)) or (isinstance(dtype, torch.dtype) and dtype.itemsize == 2)


def _replacements(module: nn.Module) -> list[Replacement]:
    out: list[Replacement] = []
    for table, name, tensor in _two_byte_tensors(module):
        wide = (tensor.to_dense() if tensor.is_mkldnn else tensor).detach().float()
        if tensor.is_mkldnn:
            wide = pack(wide)
        elif isinstance(tensor, nn.Parameter):
            wide = nn.Parameter(wide, requires_grad=False)
        out.append((table, name, tensor, wide))
    dtype = module.__dict__.get(COMPUTE_DTYPE)
    if isinstance(dtype, torch.dtype) and dtype.itemsize == 2:
        out.append((module.__dict__, COMPUTE_DTYPE, dtype, torch.float32))
    return out
