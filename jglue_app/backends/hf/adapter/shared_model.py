"""A second tree of a model's modules on the same weights.

An adapter exchanges modules of the copy, and the model itself stays as it is: its results are the same bit for bit,
nothing has to be switched on or off, and both can run in turn, in the middle of a batch too.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def share_weights(model: Any) -> Any:
    """A copy of a model whose parameters, buffers and other tensors are those of the model."""
    memo: dict[int, Any] = {id(tensor): tensor for module in model.modules() for tensor in _tensors(module)}
    return copy.deepcopy(model, memo)


@contextmanager
def keep_flags(model: Any) -> Iterator[None]:
    """Undo what is done to the flags of a model's parameters meanwhile.

    peft freezes the weights of a base model. torch chooses another kernel by that flag in places, with another rounding
    in the last digit.
    """
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        yield
    finally:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


def _tensors(module: nn.Module) -> Iterator[torch.Tensor]:
    """The tensors of a module, without those of modules in it; of a quantized layer those of its state too."""
    for value in (*module._parameters.values(), *module._buffers.values(), *module.__dict__.values()):
        if isinstance(value, torch.Tensor):
            yield value
        elif not isinstance(value, nn.Module | dict) and hasattr(value, "__dict__"):
            yield from (part for part in vars(value).values() if isinstance(part, torch.Tensor))
