"""Attention over tokens of several sequences in one row: each token attends to its own branch alone.

Registered with transformers' attention interface, so it runs inside unmodified model code. What a forward pass needs
beside queries, keys and values is passed to it in a context variable.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn import functional
from transformers.masking_utils import AttentionMaskInterface
from transformers.modeling_utils import AttentionInterface

from jglue_app.backends.hf.engine.batched_attention import BatchedTries
from jglue_app.backends.hf.engine.decode_step import DecodeStep
from jglue_app.backends.hf.engine.equivalence import Unsupported
from jglue_app.backends.hf.engine.kv_cache import LayerKV
from jglue_app.backends.hf.engine.score_terms import NO_TERMS, ScoreTerms
from jglue_app.backends.hf.engine.score_terms import attention as attention_with_terms
from jglue_app.backends.hf.engine.trie import Trie
from jglue_app.messages import Message

NAME = "jglue_packed"
"""Of this attention in transformers' interface."""


@dataclass(slots=True)
class Segment:
    """A trie in the row of a forward pass, or a chunk of it whose earlier tokens have been processed."""

    trie: Trie
    start: int = 0
    """Where its tokens begin in the row."""
    first: int = 0
    """The first token of the chunk; keys and values of those before it are in the prefix."""
    end: int | None = None
    """One past the last token of the chunk; None for the whole trie."""
    _masks: dict[tuple[int, torch.device], torch.Tensor] = field(default_factory=dict)
    _positions: dict[torch.device, torch.Tensor] = field(default_factory=dict)

    @property
    def last(self) -> int:
        """One past the last token of the chunk."""
        return len(self.trie.tokens) if self.end is None else self.end

    def mask(self, prefix_length: int, window: int, device: torch.device) -> torch.Tensor:
        """Which keys each token attends to: the prefix and its ancestors, within a sliding window if there is one.

        Args:
            prefix_length: tokens of the prefix that all tries share.
            window: tokens of a sliding window; 0 for none.
            device: where the mask is needed.

        Returns:
            (tokens of the chunk, prefix + tokens of the trie up to the chunk's last), boolean.
        """
        if (window, device) not in self._masks:
            ends = torch.tensor(self.trie.ends[: self.last], device=device)
            keys = torch.arange(self.last, device=device)
            queries = keys[self.first :]
            ancestors = (keys[None, :] <= queries[:, None]) & (queries[:, None] < ends[None, :])
            prefix = torch.ones(len(queries), prefix_length, dtype=torch.bool, device=device)
            visible = torch.cat([prefix, ancestors], dim=1)
            if window:
                positions = self.positions(prefix_length, device)
                visible &= positions[prefix_length + self.first :, None] - positions[None, :] < window
            self._masks[window, device] = visible
        return self._masks[window, device]

    def positions(self, prefix_length: int, device: torch.device) -> torch.Tensor:
        """Positions of the keys in their sequences, (prefix + tokens of the trie up to the chunk's last,)."""
        if device not in self._positions:
            depths = torch.tensor(self.trie.depths[: self.last], device=device)
            self._positions[device] = torch.cat([torch.arange(prefix_length, device=device), depths + prefix_length])
        return self._positions[device]


@dataclass(slots=True)
class ForwardContext:
    """What the attention layers of one forward pass need to know."""

    segments: Sequence[Segment] = ()
    prefix_kv: LayerKV | None = None
    """Keys and values of the shared prefix, and of earlier chunks of the trie."""
    prefix_length: int = 0
    """Tokens of the shared prefix, without chunks of the trie."""
    new_kv: LayerKV | None = None
    """Where to put the keys and values of this pass; None to drop them."""
    batched: BatchedTries | None = None
    """The segments in padded batches; None to run one after another."""
    decode_step: DecodeStep | None = None
    """Set while tokens are generated; the other fields are not used then."""


_context: ContextVar[ForwardContext] = ContextVar("forward_context")


@contextmanager
def forward_context(context: ForwardContext) -> Iterator[None]:
    """Run a forward pass with this context."""
    token = _context.set(context)
    try:
        yield
    finally:
        _context.reset(token)


def in_packed_pass() -> bool:
    """Whether a forward pass with a `ForwardContext` is running."""
    return _context.get(None) is not None


def packed_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | int | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of transformers' interface: (1, heads, tokens, width) → (1, tokens, heads, width).

    Instead of a mask it takes what `window_of_mask` returns.
    """
    if unknown := [name for name in ("position_bias", "alibi") if kwargs.get(name) is not None]:
        raise Unsupported(str(unknown))
    terms = NO_TERMS if softcap is None and s_aux is None else ScoreTerms(softcap=softcap, sinks=s_aux)
    # Some architectures have the window of a layer nowhere but in its mask.
    window = attention_mask if isinstance(attention_mask, int) else sliding_window or 0
    return attend(module.layer_idx, query, key, value, scaling, window, terms), None


class MaskWindow(int):
    """Tokens of a sliding window, where a model has a mask: one of some of the rows, as Gemma 4 takes, is itself."""

    def __getitem__(self, _: Any) -> MaskWindow:
        return self


def window_of_mask(*_: Any, config: Any = None, local_size: int | None = None, **__: Any) -> MaskWindow | None:
    """What stands for the mask of some layers: tokens of its sliding window; None for any other mask.

    Args:
        config: of the model.
        local_size: tokens of a window, or of a chunk; None for a mask that has neither.
    """
    if local_size is None or local_size != getattr(config, "sliding_window", None):
        return None
    return MaskWindow(local_size)


def attend(
    layer: int,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float | None,
    window: int,
    terms: ScoreTerms = NO_TERMS,
) -> torch.Tensor:
    """Attention of one layer in the present pass.

    Args:
        layer: its number.
        query, key, value: (1, heads, tokens, width).
        scaling: factor of the products; None for width^-½.
        window: tokens of a sliding window; 0 for none.
        terms: what is added to the products.

    Returns:
        (1, tokens, heads, width).
    """
    context = _context.get()
    if context.decode_step is not None:
        return context.decode_step.attention(layer, query[0], key[0], value[0], scaling, window, terms)[None]
    q, k, v = query[0], key[0], value[0]
    if context.new_kv is not None:
        if layer in context.new_kv:  # Keys and values are stored by the layer's number.
            raise Unsupported(Message("a layer runs more than once"))
        context.new_kv[layer] = (k, v)

    def one_by_one() -> torch.Tensor:
        return _segment_attention(context, layer, q, k, v, scaling, window, terms)

    if context.batched is None or terms is not NO_TERMS:
        return one_by_one()[None]
    prefix_kv = None if context.prefix_kv is None else context.prefix_kv[layer]
    return context.batched.attention(q, k, v, prefix_kv, scaling, window, one_by_one)[None]


def _segment_attention(
    context: ForwardContext,
    layer: int,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scaling: float | None,
    window: int,
    terms: ScoreTerms,
) -> torch.Tensor:
    """Attention of one segment after another, (tokens, heads, width)."""
    out = torch.empty(q.shape[1], q.shape[0], v.shape[-1], dtype=v.dtype, device=v.device)
    for segment in context.segments:
        here = slice(segment.start, segment.start + segment.last - segment.first)
        keys, values = k[:, here], v[:, here]
        if context.prefix_kv is not None:
            prefix_keys, prefix_values = context.prefix_kv[layer]
            keys, values = torch.cat([prefix_keys, keys], dim=1), torch.cat([prefix_values, values], dim=1)
        mask = segment.mask(context.prefix_length, window, q.device)
        if terms is NO_TERMS:
            attended = _grouped_query_attention(q[:, here], keys, values, mask, scaling)
        else:
            positions = segment.positions(context.prefix_length, q.device)
            attended = attention_with_terms(q[:, here], keys, values, mask, positions, scaling, terms)
        out[here] = attended.transpose(0, 1)
    return out


def _grouped_query_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor, scaling: float | None
) -> torch.Tensor:
    """Attention, (heads, tokens, width) each. Query heads that share a key head are stacked; keys are not copied."""
    heads, n, width = q.shape
    groups = heads // k.shape[0]
    if groups > 1:
        q, mask = q.reshape(k.shape[0], groups * n, width), mask.repeat(groups, 1)
    out = functional.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=mask, scale=scaling)[0]
    return out.reshape(heads, n, v.shape[-1])


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, window_of_mask)
