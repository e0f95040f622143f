"""Rows of what a model keeps of earlier tokens: copies, selections, and caches of several lengths in one batch.

A cache is one of transformers', or a list of tensors with a row each, as older recurrent models return. A state of
fixed size is a row whatever came before it. Keys and values of shorter sequences are moved to the right, behind columns
that a mask hides, as if the sequences had been padded on the left.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import cache_utils
from transformers.cache_utils import DynamicCache, DynamicLayer

from jglue_app.backends.hf.engine.equivalence import Unsupported
from jglue_app.messages import Message

_MERGEABLE_LAYERS = tuple(
    getattr(cache_utils, name, None)
    for name in ("DynamicLayer", "LinearAttentionLayer", "LinearAttentionAndFullAttentionLayer", "DummyLayer")
)
"""Of a cache whose rows can be put into one batch with those of a cache of another length: these classes, and not
those derived from them, some of which drop tokens."""


def repeated(state: Any, rows: int) -> Any:
    """A copy of the cache of one sequence, for so many rows."""
    if isinstance(state, torch.Tensor):
        return state.repeat_interleave(rows, dim=0)
    if isinstance(state, list | tuple):
        return type(state)(repeated(part, rows) for part in state)
    copied = copy.deepcopy(state)
    return copied if rows == 1 else selected(copied, [0] * rows)


def selected(state: Any, rows: Sequence[int]) -> Any:
    """Some rows of a cache, in this order; one of transformers' is changed."""
    if isinstance(state, torch.Tensor):
        return state.index_select(0, torch.tensor(rows, device=state.device))
    if isinstance(state, list | tuple):
        return type(state)(selected(part, rows) for part in state)
    indices = torch.tensor(rows, dtype=torch.long, device=_device(state))
    if "batch_select_indices" in vars(type(state)):  # A class that keeps more than its layers do.
        state.batch_select_indices(indices)
    else:
        state.reorder_cache(indices)
    return state


def merged(states: Sequence[Any]) -> Any:
    """The rows of several caches in one; the first is changed.

    Raises:
        Unsupported: they are not of a kind that is known to allow it.
    """
    first = states[0]
    if len(states) == 1:
        return first
    if isinstance(first, torch.Tensor):
        return torch.cat(list(states))
    if isinstance(first, list | tuple):
        return type(first)(merged(parts) for parts in zip(*states, strict=True))
    if not can_merge(first):
        raise Unsupported(Message("its cache cannot be copied"))
    for layer, *others in zip(*(state.layers for state in states), strict=True):
        for name in ("conv_states", "recurrent_states"):
            if hasattr(layer, name):
                setattr(layer, name, _joined([getattr(each, name) for each in (layer, *others)]))
        if isinstance(layer, DynamicLayer) and layer.is_initialized:
            width = max(each.keys.shape[-2] for each in (layer, *others))
            layer.keys = torch.cat([_moved(each.keys, width) for each in (layer, *others)])
            layer.values = torch.cat([_moved(each.values, width) for each in (layer, *others)])
    return first


def can_merge(state: Any) -> bool:
    """Whether the rows of such caches of several lengths can be put into one."""
    if isinstance(state, torch.Tensor):
        return True
    if isinstance(state, list | tuple):
        return all(map(can_merge, state))
    return type(state) is DynamicCache and all(type(layer) in _MERGEABLE_LAYERS for layer in state.layers)


def keeps_tokens(state: Any) -> bool:
    """Whether a cache has keys and values, of which padding must be hidden."""
    layers = getattr(state, "layers", ())
    return any(isinstance(getattr(layer, "keys", None), torch.Tensor) for layer in layers)


def byte_size(state: Any) -> int:
    """Bytes of all tensors of a cache."""
    return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(state))


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)
    elif hasattr(value, "layers"):
        for layer in value.layers:
            yield from _tensors(vars(layer))


def _joined(parts: Sequence[Any]) -> Any:
    """The rows of several states of one kind: tensors, several in a dictionary, or None."""
    if isinstance(parts[0], dict):
        return {key: _joined([part[key] for part in parts]) for key in parts[0]}
    return None if parts[0] is None else torch.cat(list(parts))


def _moved(tensor: torch.Tensor, width: int) -> torch.Tensor:
    """Keys or values (rows, heads, tokens, size) with columns of zeros on the left, `width` tokens in all."""
    return torch.nn.functional.pad(tensor, (0, 0, width - tensor.shape[-2], 0))


def _device(cache: Any) -> torch.device | None:
    """Where the tensors of a cache are; None if that cannot be seen."""
    return next((tensor.device for tensor in _tensors(cache)), None)
