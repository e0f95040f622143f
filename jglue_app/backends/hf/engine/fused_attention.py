"""Attention by the kernels behind torch's `scaled_dot_product_attention`, with the log-sum-exp of the scores.

torch returns the log-sum-exp to its own backward pass alone; the operators below it are the same in all versions that
`requirements.txt` allows.
"""

from __future__ import annotations

import torch

FUSED_DEVICES = ("cuda", "cpu")
"""Kinds of devices with such kernels."""
MAX_WIDTH = 256
"""Of a head, in the kernels of GPUs."""


def has_fused_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> bool:
    """Whether `fused_attention` takes such tensors: its kernels need equal widths, multiples of 8 on a GPU."""
    width = query.shape[-1]
    if query.device.type not in FUSED_DEVICES or not width == key.shape[-1] == value.shape[-1]:
        return False
    return query.device.type == "cpu" or (width % 8 == 0 and width <= MAX_WIDTH)


def fused_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention, and the log-sum-exp of each query's scores.

    Args:
        query, key, value: (batch, heads, tokens, width) each, of equally many heads.
        mask: added to the scores, (batch or 1, 1, queries, keys), in the dtype of the query; on a GPU its rows begin at
            multiples of 16 numbers.
        scale: factor of the scores.

    Returns:
        (batch, heads, queries, width), and (batch, heads, queries) in float32.
    """
    ops = torch.ops.aten
    if query.device.type == "cpu":
        out, logsum = ops._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, 0.0, False, attn_mask=mask, scale=scale
        )
        return out, logsum
    if mask is None and query.dtype.itemsize == 2:
        out, logsum, *_ = ops._scaled_dot_product_flash_attention(query, key, value, 0.0, False, False, scale=scale)
        return out, logsum
    if mask is not None:
        mask = mask.expand(query.shape[0], query.shape[1], -1, -1)
    out, logsum, *_ = ops._scaled_dot_product_efficient_attention(
        query, key, value, mask, True, 0.0, False, scale=scale
    )
    return out, logsum[..., : query.shape[2]]  # Padded to a multiple of 32.
