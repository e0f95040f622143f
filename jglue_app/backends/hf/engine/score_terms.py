"""Attention whose scores are more than scaled products of queries and keys.

ALiBi (Press et al., 2022) adds a bias that falls with the distance of a key; Gemma 2 caps scores; GPT-OSS has a sink in
every head, which takes a part of the weights. torch's own attention has no place for the last two, and for the first it
would need a mask of every head.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

MAX_SCORES = 2**22
"""Scores that are kept at once."""


class ScoreTerms(NamedTuple):
    """What one layer adds to the products; nothing by default."""

    key_bias: torch.Tensor | None = None
    """Added to the score of a key at a position, (query heads, positions), float32. As a softmax does not change with
    what is added to all its scores, it stands for a bias that depends on the distance of the query."""
    softcap: float | None = None
    """Scores become this times the hyperbolic tangent of scores divided by this."""
    sinks: torch.Tensor | None = None
    """Score of a key without a value, (query heads,)."""


NO_TERMS = ScoreTerms()


def weights(
    scores: torch.Tensor,
    hidden: torch.Tensor,
    softcap: float | None,
    bias: torch.Tensor | None,
    sinks: torch.Tensor | None,
) -> torch.Tensor:
    """The weights of the keys, as the scores (…, keys).

    Args:
        scores: scaled products in float32; overwritten.
        hidden: which keys are not attended to; it and the others can be broadcast to the scores.
        softcap: see `ScoreTerms`.
        bias: added to the scores.
        sinks: score of the sink of each query; its last dimension is 1.
    """
    if softcap is not None:
        scores.div_(softcap).tanh_().mul_(softcap)
    if bias is not None:
        scores.add_(bias)
    scores.masked_fill_(hidden, float("-inf"))
    if sinks is None:
        return scores.softmax(-1)
    # With e^lse as the sum over the keys, the part that is not the sink's is e^lse / (e^lse + e^sink).
    rest = (scores.logsumexp(-1, keepdim=True) - sinks.float()).sigmoid_()
    return scores.softmax(-1).mul_(rest)


def attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    visible: torch.Tensor,
    positions: torch.Tensor,
    scaling: float | None,
    terms: ScoreTerms,
) -> torch.Tensor:
    """Attention of some queries to keys, the last of which are at the same tokens as the queries.

    Args:
        q: (query heads, queries, width).
        k, v: (key heads, keys, width).
        visible: which keys each query attends to, (queries, keys).
        positions: of the keys, (keys,).
        scaling: factor of the products; None for width^-½.
        terms: what is added to them.

    Returns:
        (query heads, queries, width of a value).
    """
    heads, queries, width = q.shape
    kv_heads, keys, _ = k.shape
    groups = heads // kv_heads
    scale = width**-0.5 if scaling is None else scaling
    key_bias = None if terms.key_bias is None else terms.key_bias[:, positions]
    sinks = None if terms.sinks is None else terms.sinks.view(kv_heads, groups, 1, 1)
    hidden = ~visible
    transposed = k.transpose(1, 2)
    out = v.new_empty(heads, queries, v.shape[-1])
    rows = max(1, MAX_SCORES // (heads * keys))
    for start in range(0, queries, rows):
        end = min(start + rows, queries)
        block = q[:, start:end].reshape(kv_heads, groups * (end - start), width)
        scores = (block @ transposed).float().mul_(scale).view(kv_heads, groups, end - start, keys)
        bias = None
        if key_bias is not None:
            # Relative to the last query, so that the scores that matter are not rounded to those of far positions.
            last = keys - queries + end - 1
            bias = (key_bias - key_bias[:, last : last + 1]).view(kv_heads, groups, 1, keys)
        parts = weights(scores, hidden[start:end], terms.softcap, bias, sinks).to(v.dtype)
        summed = parts.view(kv_heads, groups * (end - start), keys) @ v
        out[:, start:end] = summed.view(heads, end - start, v.shape[-1])
    return out
