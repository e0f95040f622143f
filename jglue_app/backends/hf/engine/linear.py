"""Linear layers on a CPU: weights reordered once for oneDNN, instead of at every product.

The two operators are those that torch's own compiler uses for frozen weights; where this build of torch lacks them, or
the processor does not support the dtype, layers stay as they are.

Layers are not multiplied in 8-bit integers. With a scale for each token and each output, rounded as the model runs,
that was 0.97 to 1.11 times as fast as bfloat16 (Gemma 3 270M, two cores with VNNI), and moved log-probabilities of
answers by up to 1.8, where bfloat16 moves them by up to 0.28; with rotated activations by 0.8, no faster than bfloat16.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from jglue_app.backends.hf.engine.mapped_files import MappedFiles

_DTYPES = (torch.float32, torch.bfloat16)

Product = Callable[..., torch.Tensor]
"""x (…, in), weight (out, in), and perhaps a bias (out,) → (…, out)."""


_last_read: dict[int, torch.Tensor] | None = None
"""The packed weight that was read last, by its identity → its copy; None while none is kept."""


@contextmanager
def keep_last_read() -> Iterator[None]:
    """Meanwhile copy a packed weight once where its layer is read many times in a row, as when adapters are applied."""
    global _last_read
    _last_read = {}
    try:
        yield
    finally:
        _last_read = None


class PackedLinear(nn.Linear):
    """A linear layer for inference, with its weight in the layout of oneDNN.

    It is one of torch's linear layers by its class alone, so that adapters can be applied to it; it has no parameters.

    Args:
        layer: what it replaces; its weight is not kept.
    """

    def __init__(self, layer: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self._weight = pack(layer.weight.detach())
        self._bias = None if layer.bias is None else layer.bias.detach()

    @property
    def weight(self) -> torch.Tensor:  # type: ignore[override]  # It cannot be set.
        """The weight (out, in) in its usual order: a copy, for code that reads it or asks for its dtype."""
        if not self._weight.is_mkldnn:
            return self._weight
        if _last_read is None:
            return self._weight.to_dense()
        if id(self._weight) not in _last_read:
            _last_read.clear()
            _last_read[id(self._weight)] = self._weight.to_dense()
        return _last_read[id(self._weight)]

    @property
    def packed_weight(self) -> torch.Tensor:
        """The weight (out, in) as it is stored, for `multiply`."""
        return self._weight

    @property
    def weight_dtype(self) -> torch.dtype:
        """Of the weight, without the copy that `weight` is."""
        return self._weight.dtype

    @property
    def bias(self) -> torch.Tensor | None:  # type: ignore[override]  # As above.
        """The bias (out,), if there is one."""
        return self._bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, in) → (…, out)."""
        return multiply(x, self._weight, self._bias)

    def unpacked(self) -> nn.Linear:
        """The layer that it replaced, with a copy of the weight."""
        sizes = self.in_features, self.out_features
        layer = nn.Linear(*sizes, bias=self._bias is not None, device="meta", dtype=self._weight.dtype)
        layer.weight = nn.Parameter(self.weight, requires_grad=False)
        if self._bias is not None:
            layer.bias = nn.Parameter(self._bias, requires_grad=False)
        return layer.train(self.training)


class _WatchedLinear(nn.Linear):
    """A linear layer that notes when code other than its own reads its weight."""

    def __getattr__(self, name: str) -> Any:
        if name in ("weight", "bias") and not self.__dict__.get("_runs", False):
            self.__dict__["_read"] = True
        return super().__getattr__(name)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.__dict__["_runs"] = True
        try:
            return super().forward(x)
        finally:
            self.__dict__["_runs"] = False


READ_ELSEWHERE = "weight_is_read_elsewhere"
"""Attribute of a layer whose weight other modules read, or change."""


@contextmanager
def watch_reads(model: Any) -> Iterator[None]:
    """While the model runs, note at each linear layer whether other modules read its weight, or change it.

    Such layers get the attribute `READ_ELSEWHERE`, and `pack_layers` does not replace them.
    """
    watched = [module for module in model.modules() if type(module) is nn.Linear]
    for module in watched:
        module.__class__ = _WatchedLinear
    try:
        yield
    finally:
        for module in watched:
            if module.__dict__.pop("_read", False):
                module.__dict__[READ_ELSEWHERE] = True
            module.__dict__.pop("_runs", None)
            module.__class__ = nn.Linear


def pack_layers(model: Any) -> None:
    """Replace the plain linear layers of a transformers model on a CPU.

    Not replaced are the head, whose weight is also read token by token, layers that share their weight with another,
    and layers whose weight other modules read; see `watch_reads`.
    """
    head = model.get_output_embeddings()
    files = MappedFiles()
    uses: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    places = Counter(parameter.data_ptr() for parameter in model.parameters() if parameter.layout == torch.strided)
    # By their names: a list of the layers would keep them all until the last of them is packed.
    for name in [name for name, module in model.named_modules() if type(module) is nn.Linear]:
        module = model.get_submodule(name)
        if (
            module is not head
            and READ_ELSEWHERE not in module.__dict__
            and uses[id(module.weight)] == 1
            and can_pack(module.weight)
        ):
            model.set_submodule(name, PackedLinear(module))
            if places[module.weight.data_ptr()] == 1:
                files.release(module.weight.detach())


def can_pack(weight: torch.Tensor) -> bool:
    """Whether oneDNN can multiply with this weight."""
    return weight.device.type == "cpu" and weight.dtype in _DTYPES and _is_supported(weight.dtype)


def pack(weight: torch.Tensor) -> torch.Tensor:
    """A weight (out, in) in the layout of oneDNN; for `multiply` alone."""
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, None)
    return packed


def multiply(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    activation: str = "none",
    algorithm: str = "",
) -> torch.Tensor:
    """x (…, in) times a weight (out, in), packed or not; (…, out). Only where `can_pack`.

    Args:
        x, weight, bias: the operands.
        activation: by its name in oneDNN, applied to the products before they are rounded and stored.
        algorithm: of the activation; of `gelu`, `tanh` or `none`.
    """
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation, [], algorithm)
    return product


def multiply_by(
    x: torch.Tensor, other: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """The same, and each number times that of another tensor (…, out)."""
    product: torch.Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, other, weight, bias, "mul")
    return product


def product_of(weight: torch.Tensor) -> Product:
    """The fastest product with slices of a weight that is not packed."""
    return multiply if can_pack(weight) else functional.linear


_supported: dict[torch.dtype, bool] = {}


def _is_supported(dtype: torch.dtype) -> bool:
    """Whether the operators give the right result; tried once per dtype."""
    if dtype not in _supported:
        x, weight = torch.linspace(-1, 1, 24).view(3, 8).to(dtype), torch.linspace(-1, 1, 40).view(5, 8).to(dtype)
        try:
            with torch.inference_mode():
                got, expected = multiply(x, pack(weight)), functional.linear(x, weight)
            _supported[dtype] = torch.allclose(
                got.float(), expected.float(), atol=1e-5 if dtype == torch.float32 else 0.1
            )
        except (AttributeError, RuntimeError):
            _supported[dtype] = False
    return _supported[dtype]
