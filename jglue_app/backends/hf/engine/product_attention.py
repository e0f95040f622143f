"""Attention of a batch of short tries by plain matrix products, on a CPU.

torch's attention kernel for CPUs is made for long sequences: over tries of some fifty tokens, most of its time goes
into starting. The products with the prefix, the largest ones, are oneDNN's, which multiplies at the processor's full
rate on all makes. As in torch's kernel, scores are float32 whatever the dtype of the model.
"""

from __future__ import annotations

import torch

from jglue_app.backends.hf.engine.linear import multiply

MAX_SCORE_BYTES = 64 * 2**20
"""Of the scores of a batch, which are stored in full; their softmax takes as much again, and copies of parts of it."""

MIN_SEPARATE = 2**15
"""Scores of a head from which each product of a batch in float32 is one of oneDNN, which is then faster than torch's
product of a batch."""


def score_bytes(queries: int, keys: int, prefix_length: int) -> int:
    """Bytes of the scores of a batch.

    Args:
        queries: of all heads of all tries, with padding.
        keys: of a trie, with padding.
        prefix_length: keys of the prefix.
    """
    return queries * (keys + prefix_length) * torch.float32.itemsize


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
        mask: added to the scores of the own keys, (tries, 1, queries, keys), float32.
        prefix_kv: keys and values of the prefix, (heads, keys, width) each; None without one.
        prefix_mask: added to the scores of the prefix, (tries, 1, queries, keys); None if all is seen.
        scale: factor of the scores.

    Returns:
        (tries, heads, queries, width).
    """
    tries, heads, queries, width = query.shape
    scaled = query.float() * scale
    own = _products(scaled.flatten(0, 1), key.flatten(0, 1).float()).view(tries, heads, queries, -1)
    own = own.add_(mask)
    if prefix_kv is None:
        weights = own.softmax(-1).to(value.dtype)
        return _products(weights.flatten(0, 1), value.flatten(0, 1).transpose(1, 2)).view(tries, heads, queries, -1)
    keys, values = prefix_kv
    length = keys.shape[1]
    scores = own.new_empty(tries, heads, queries, length + own.shape[-1])
    for head in range(heads):
        of_prefix = multiply(scaled[:, head].reshape(-1, width), keys[head].float())
        scores[:, head, :, :length] = of_prefix.view(tries, queries, length)
    if prefix_mask is not None:
        scores[..., :length] += prefix_mask
    scores[..., length:] = own
    weights = scores.softmax(-1).to(value.dtype)
    out = value.new_empty(tries, heads, queries, value.shape[-1])
    for head in range(heads):
        prefix_weights = weights[:, head, :, :length].reshape(-1, length)
        out[:, head] = multiply(prefix_weights, values[head].t().contiguous()).view(tries, queries, -1)
    out += _products(weights[..., length:].flatten(0, 1), value.flatten(0, 1).transpose(1, 2)).view(out.shape)
    return out


def _products(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """x (batch, m, k) times the transposed y (batch, n, k), each; (batch, m, n)."""
    if x.dtype != torch.float32 or x.shape[1] * max(x.shape[2], y.shape[1]) < MIN_SEPARATE:
        return x @ y.transpose(1, 2)
    pairs = zip(x.contiguous().unbind(), y.contiguous().unbind(), strict=True)
    return torch.stack([multiply(each, other) for each, other in pairs])
