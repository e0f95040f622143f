"""Score a part of a large vocabulary while ways of running a model are compared.

Of a small model with a large vocabulary the head takes most of a short forward pass, and its logits most of the memory.
The ways that are compared differ before the head: whether hidden states are the same is seen in the log-probabilities
over a part of the vocabulary as well as over all of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from jglue_app.backends.hf.engine.linear import READ_ELSEWHERE

PART = 16_384
"""Tokens of the part, at least; a vocabulary of less than twice as many is scored as a whole."""


class VocabularyPart:
    """Every n-th token of a model's vocabulary.

    Args:
        model: a transformers model.
    """

    def __init__(self, model: Any) -> None:
        head = model.get_output_embeddings()
        self._head: nn.Linear | None = None
        self.step = 1
        """Which tokens: those whose ids are multiples of it."""
        # Elsewhere than on a CPU the head costs little. Where it is no plain layer, or code of the model reads its
        # weight, the model itself could not be run with a part of it.
        if type(head) is nn.Linear and READ_ELSEWHERE not in head.__dict__ and head.weight.device.type == "cpu":
            self.step = max(1, len(head.weight) // PART)
            self._head = head if self.step > 1 and head.weight.is_floating_point() else None
        self._kept: dict[torch.dtype, tuple[torch.Tensor, torch.Tensor | None]] = {}

    @property
    def exists(self) -> bool:
        """Whether the vocabulary is that large, and the model can be run so."""
        return self._head is not None

    def clear(self) -> None:
        """Drop the weights that are kept."""
        self._kept.clear()

    def close(self) -> None:
        """Drop the layer."""
        self.clear()
        self._head = None

    def weights(self, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The weight (tokens, width) and the bias (tokens,) of the part, in a dtype."""
        assert self._head is not None
        if dtype not in self._kept:
            weight, bias = self._head.weight.detach(), self._head.bias
            part = weight[:: self.step].to(dtype).contiguous()
            self._kept[dtype] = part, None if bias is None else bias.detach()[:: self.step].to(dtype)
        return self._kept[dtype]

    @contextmanager
    def replace_head(self, dtype: torch.dtype) -> Iterator[None]:
        """Meanwhile the model scores the part alone, with weights of this dtype."""
        if self._head is None:
            yield
            return
        table = self._head._parameters
        before = dict(table)
        weight, bias = self.weights(dtype)
        try:
            table["weight"] = nn.Parameter(weight, requires_grad=False)
            table["bias"] = None if bias is None else nn.Parameter(bias, requires_grad=False)
            yield
        finally:
            table.update(before)
