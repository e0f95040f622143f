"""Attention of a batch of short tries by plain matrix products, on a CPU.

torch's attention kernel for CPUs is made for long sequences: over tries of some fifty tokens, most of its time goes
into starting. The products with the prefix, the largest ones, are oneDNN's, which multiplies bfloat16 and float32 at
the processor's full rate on all makes.
"""

from __future__ import annotations

import math

import torch

from jglue_app.backends.hf.engine.linear import multiply

MAX_SCORE_BYTES = 64 * 2**20
"""Of the scores of a batch, which are stored in full, and again as weights."""


def score_bytes(queries: int, keys: int, prefix_length: int, itemsize: int) -> int:
    """Bytes of the scores of a batch.

    Args:
        queries: of all heads of all tries, with padding.
        keys: of a trie, with padding.
        prefix_length: keys of the prefix.
        itemsize: bytes of a number.
    """
    return queries * (keys + prefix_length) * itemsize


def product_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor,
    prefix_kv: tuple[torch.Tensor, torch.Tensor] | None,
    prefix_mask: torch.Tensor | None,
    scale: float,
) -> torch.Tensor:
    """Attention to the keys of the own trie and of a prefix, with one softmax over both.

    Args:
        query: (tries, heads, queries, width).
        key, value: (tries, heads, keys, width).
        mask: added to the scores of the own keys, (tries, 1, queries, keys).
        prefix_kv: keys and values of the prefix, (heads, keys, width) each; None without one.
        prefix_mask: added to the scores of the prefix, (tries, 1, queries, keys); None if all is seen.
        scale: factor of the scores.

    Returns:
        (tries, heads, queries, width).
    """
    tries, heads, queries, width = query.shape
    # The scores are scaled before they are rounded, and the factor itself adds no rounding.
    is_exact = query.dtype == torch.float32 or math.frexp(scale)[0] == 0.5
    if is_exact:
        query, scale = query * scale, 1.0
    own = query.flatten(0, 1) @ key.flatten(0, 1).transpose(1, 2)
    own = own.view(tries, heads, queries, -1)
    if scale != 1:
        own = own.mul_(scale)
    own = own.add_(mask)
    if prefix_kv is None:
        return (own.softmax(-1).flatten(0, 1) @ value.flatten(0, 1)).view(tries, heads, queries, -1)
    keys, values = prefix_kv
    length = keys.shape[1]
    weights = own.new_empty(tries, heads, queries, length + own.shape[-1])
    for head in range(heads):
        scores = multiply(query[:, head].reshape(-1, width), keys[head].contiguous()).view(tries, queries, length)
        weights[:, head, :, :length] = scores if scale == 1 else scores.mul_(scale)
    if prefix_mask is not None:
        weights[..., :length] += prefix_mask
    weights[..., length:] = own
    weights = weights.softmax(-1)
    out = weights.new_empty(tries, heads, queries, value.shape[-1])
    for head in range(heads):
        prefix_weights = weights[:, head, :, :length].reshape(-1, length)
        out[:, head] = multiply(prefix_weights, values[head].t().contiguous()).view(tries, queries, -1)
    out += (weights[..., length:].flatten(0, 1) @ value.flatten(0, 1)).view(out.shape)
    return out
