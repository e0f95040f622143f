"""Run a model of two-byte weights in float32 for a moment."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from jglue_app.backends.hf.engine.linear import PackedLinear, pack
from jglue_app.backends.hf.memory import free_bytes

Replacement = tuple[dict[str, Any], str, Any, Any]
"""A table of a module, a name in it, its tensor, and the same tensor in float32; or a dtype and float32."""
COMPUTE_DTYPE = "compute_dtype"
"""Attribute of 4-bit layers of bitsandbytes: what their input, and the weight when it is expanded, are converted to."""

KEPT_BYTES = 64 * 2**20
"""Of weights in float32 that are kept on a CPU for one comparison after another."""


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

    The weights of one layer at a time are converted, while it runs: a second copy of all of them, of twice the size,
    would be most of the memory that a model needs. Where that copy is small, or memory is a GPU's and there is enough,
    they are converted at once and kept until `clear`. The output of an embedding is converted instead of its weight, of
    which few rows are needed.
    """

    def __init__(self, model: Any) -> None:
        self.model: Any = model
        self._at_once = False
        self._converted: dict[nn.Module, list[Replacement]] = {}
        self._replaced: dict[nn.Module, list[Replacement]] = {}
        self._hooks: list[Any] = []
        self._active: dict[nn.Module, list[Replacement]] = {}

    def clear(self) -> None:
        """Drop the converted weights."""
        self._converted = {}

    def convert_at_once(self) -> bool:
        """From now on convert all weights at once where memory allows: for models that read a layer's weights while the
        layer does not run.

        Returns:
            Whether that makes a difference.
        """
        needed = _float32_bytes(module for module in self._modules() if _is_narrow(module))
        before, self._at_once = self._most_kept(), True
        return before <= needed < self._most_kept()

    def _modules(self) -> list[nn.Module]:
        return [module for module in self.model.modules() if not isinstance(module, nn.Embedding)]

    def _most_kept(self) -> int:
        """Bytes of weights in float32 that are kept at most."""
        free = free_bytes(str(self.model.device)) // 3
        return free if self._at_once or self.model.device.type != "cpu" else min(free, KEPT_BYTES)

    def __enter__(self) -> None:
        modules = self._modules()
        # What has other weights in float32 for the moment, as the head may have, is not converted.
        self._replaced = {
            module: self._converted[module] for module in modules if module in self._converted and _is_narrow(module)
        }
        rest = [module for module in modules if module not in self._converted and _is_narrow(module)]
        if _float32_bytes(rest) < self._most_kept():
            self._converted |= {module: _replacements(module, keep=True) for module in rest}
            self._replaced |= {module: self._converted[module] for module in rest}
        else:
            for unit, parts in self._units(rest).items():
                widen = functools.partial(self._widen, parts)
                self._hooks += [unit.register_forward_pre_hook(widen), unit.register_forward_hook(self._restore)]
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
        for unit in list(self._active):
            self._restore(unit)

    def _units(self, modules: Sequence[nn.Module]) -> dict[nn.Module, list[nn.Module]]:
        """What is converted together, by the module that it belongs to: a layer, where memory allows, as its modules
        read one another's weights; a module alone elsewhere."""
        free = free_bytes(str(self.model.device)) // 3
        left, units = dict.fromkeys(modules), {}
        for layer in _layers(self.model):
            parts = [module for module in layer.modules() if module in left]
            if parts and _float32_bytes(parts) < free:
                units[layer] = parts
        grouped = {part for parts in units.values() for part in parts}
        return units | {module: [module] for module in left if module not in grouped}

    def _widen(self, parts: Sequence[nn.Module], unit: nn.Module, *_: Any) -> None:
        if unit in self._active:
            return
        replacements = [replacement for part in parts for replacement in _replacements(part, keep=False)]
        for table, name, _original, wide in replacements:
            table[name] = wide
        self._active[unit] = replacements

    def _restore(self, unit: nn.Module, *_: Any) -> None:
        for table, name, original, _wide in reversed(self._active.pop(unit, [])):
            table[name] = original


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """The outermost layers of a model: the entries of its lists of modules. A list in a list never runs itself."""
    for child in module.children():
        if isinstance(module, nn.ModuleList) and not isinstance(child, nn.ModuleList):
            yield child
        else:
            yield from _layers(child)


def _float32_bytes(modules: Iterable[nn.Module]) -> int:
    """Bytes of the two-byte weights of modules once they are in float32."""
    return 2 * sum(tensor.numel() * tensor.itemsize for module in modules for _, _, tensor in _two_byte_tensors(module))


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


def _replacements(module: nn.Module, *, keep: bool) -> list[Replacement]:
    """The weights of a module itself in float32; in the layout of oneDNN, which takes time, if they are kept."""
    out: list[Replacement] = []
    for table, name, tensor in _two_byte_tensors(module):
        wide = tensor.to_dense(torch.float32) if tensor.is_mkldnn else tensor.detach().float()
        if tensor.is_mkldnn:
            wide = pack(wide) if keep else wide
        elif isinstance(tensor, nn.Parameter):
            wide = nn.Parameter(wide, requires_grad=False)
        out.append((table, name, tensor, wide))
    dtype = module.__dict__.get(COMPUTE_DTYPE)
    if isinstance(dtype, torch.dtype) and dtype.itemsize == 2:
        out.append((module.__dict__, COMPUTE_DTYPE, dtype, torch.float32))
    return out
