"""Attention of architectures that compute it in a module of their own, and not through transformers' interface.

While a packed pass runs, a method of each such module is exchanged for one that makes queries, keys and values as the
model's code does and leaves the attention to `packed_attention`. Outside of it the model is as it was. Whether the
results are those of the model itself is verified as of every model; an architecture whose code has changed fails that.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from jglue_app.backends.hf.engine import packed_attention
from jglue_app.backends.hf.engine.equivalence import Unsupported
from jglue_app.backends.hf.engine.score_terms import NO_TERMS, ScoreTerms
from jglue_app.messages import Message

BIAS_STEP = 512
"""Positions by which a table of biases grows."""

Method = Callable[..., Any]
"""Takes the module, the number of its layer, the bias of the keys, and what the model passes."""


@dataclass(frozen=True, slots=True)
class _Exchange:
    """What stands for a method of an attention module."""

    name: str
    """Of the method."""
    method: Method
    key_bias: Callable[[Any, int, torch.device], torch.Tensor | None] | None = None
    """Of a module, for so many positions: see `ScoreTerms.key_bias`. None of architectures that have none."""
    needs_mask: bool = False
    """Whether the model's code fails without a mask, though nothing reads it."""


class AttentionModules:
    """The attention modules of a model whose attention is not in transformers' interface.

    Args:
        model: of transformers.

    Raises:
        Unsupported: it has none that can be exchanged.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._modules = [(m, _EXCHANGES[name]) for m in model.modules() if (name := _class_name(m)) in _EXCHANGES]
        if not self._modules:
            raise Unsupported(Message("its attention cannot be exchanged"))
        self._needs_mask = any(exchange.needs_mask for _, exchange in self._modules)
        self._bias: torch.Tensor | None = None
        self._bias_length = 0

    def exchanged(self, length: int) -> AbstractContextManager[None]:
        """Run passes over tokens at positions below a length with packed attention."""
        if self._bias_length < length:
            module, exchange = self._modules[0]
            bias_length = -(-length // BIAS_STEP) * BIAS_STEP
            if exchange.key_bias is not None:
                self._bias = exchange.key_bias(module, bias_length, self._model.device)
            self._bias_length = bias_length
        return self._exchanged()

    @contextmanager
    def _exchanged(self) -> Iterator[None]:
        config, attention = self._model.config, self._model.config._attn_implementation
        before = [(module, exchange.name, module.__dict__.get(exchange.name)) for module, exchange in self._modules]
        try:
            for layer, (module, exchange) in enumerate(self._modules):
                setattr(module, exchange.name, partial(exchange.method, module, layer, self._bias))
            if not self._needs_mask:  # A mask over all pairs of tokens in the row is not made for this name.
                config._attn_implementation = packed_attention.NAME
            yield
        finally:
            config._attn_implementation = attention
            for module, name, own in before:
                delattr(module, name)
                if own is not None:
                    setattr(module, name, own)


def _attend(
    layer: int,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float,
    terms: ScoreTerms = NO_TERMS,
    window: int = 0,
) -> torch.Tensor:
    """Packed attention, (1, tokens, heads, width) each → (1, tokens, heads × width)."""
    queries, keys, values = (x.transpose(1, 2) for x in (query, key, value))
    return packed_attention.attend(layer, queries, keys, values, scaling, window, terms).flatten(2)


# --- Bloom, MPT, Falcon ---


def _bloom(
    module: Any,
    layer: int,
    key_bias: torch.Tensor,
    hidden_states: torch.Tensor,
    residual: torch.Tensor,
    *_: Any,
    **__: Any,
) -> tuple[torch.Tensor, None]:
    fused = module.query_key_value(hidden_states).unflatten(-1, (module.num_heads, 3, module.head_dim))
    query, key, value = fused.unbind(-2)
    out = _attend(layer, query, key, value, module.inv_norm_factor, ScoreTerms(key_bias))
    return module.dense(out) + residual, None


def _bloom_bias(module: Any, length: int, device: torch.device) -> torch.Tensor:
    mask = torch.ones(1, length, dtype=torch.long, device=device)
    bias: torch.Tensor = _source(module).build_alibi_tensor(mask, module.num_heads, torch.float32)
    return bias[:, 0]


def _mpt(
    module: Any, layer: int, key_bias: torch.Tensor, hidden_states: torch.Tensor, *_: Any, **__: Any
) -> tuple[torch.Tensor, None]:
    fused = module.Wqkv(hidden_states)
    if module.clip_qkv:
        fused = fused.clamp(min=-module.clip_qkv, max=module.clip_qkv)
    query, key, value = fused.unflatten(-1, (3, module.n_heads, module.head_dim)).unbind(-3)
    out = _attend(layer, query, key, value, module.softmax_scale, ScoreTerms(key_bias))
    return module.out_proj(out), None


def _mpt_bias(module: Any, length: int, device: torch.device) -> torch.Tensor:
    bias: torch.Tensor = _source(module).build_mpt_alibi_tensor(module.n_heads, length, device=device)
    return bias[:, 0].float()


def _falcon(
    module: Any,
    layer: int,
    key_bias: torch.Tensor | None,
    hidden_states: torch.Tensor,
    *_: Any,
    position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
    **__: Any,
) -> tuple[torch.Tensor, None]:
    shares_keys = module.new_decoder_architecture or module.multi_query
    kv_heads = module.num_kv_heads if shares_keys else module.num_heads
    # The queries of every key head are followed by its key and its value.
    groups = module.num_heads // kv_heads
    fused = module.query_key_value(hidden_states).unflatten(-1, (kv_heads, groups + 2, module.head_dim))
    query, key, value = fused[..., :-2, :].flatten(2, 3), fused[..., -2, :], fused[..., -1, :]
    if key_bias is None:
        cos, sin = position_embeddings or (None, None)
        query, key = _source(module).apply_rotary_pos_emb(query, key, cos, sin, unsqueeze_dim=2)
    terms = NO_TERMS if key_bias is None else ScoreTerms(key_bias)
    return module.dense(_attend(layer, query, key, value, module.inv_norm_factor, terms)), None


def _falcon_bias(module: Any, length: int, device: torch.device) -> torch.Tensor | None:
    if not module.config.alibi:
        return None
    # Falcon rounds its biases to bfloat16 whatever the dtype of the model, and scales them with the products.
    factor: float = module.inv_norm_factor
    return _bloom_bias(module, length, device) * factor


# --- without a bias ---


def _gpt_neo(
    module: Any, layer: int, _: None, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *__: Any
) -> tuple[torch.Tensor, None]:
    window = module.config.window_size if module.attention_type == "local" else 0
    return packed_attention.attend(layer, query, key, value, 1.0, window).transpose(1, 2), None


def _gpt_neox_japanese(
    module: Any, layer: int, _: None, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *__: Any
) -> tuple[torch.Tensor, None]:
    return packed_attention.attend(layer, query, key, value, 1 / module.norm_factor, 0).transpose(1, 2), None


def _openai_gpt(
    module: Any, layer: int, _: None, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *__: Any
) -> list[torch.Tensor]:
    scaling = value.shape[-1] ** -0.5 if module.scale else 1.0
    return [packed_attention.attend(layer, query, key.transpose(2, 3), value, scaling, 0).transpose(1, 2)]


def _xglm(
    module: Any, layer: int, _: None, hidden_states: torch.Tensor, *__: Any, **___: Any
) -> tuple[torch.Tensor, None]:
    parts = [projection(hidden_states) for projection in (module.q_proj, module.k_proj, module.v_proj)]
    query, key, value = (part.unflatten(-1, (module.num_heads, module.head_dim)) for part in parts)
    return module.out_proj(_attend(layer, query, key, value, module.scaling)), None


def _source(module: Any) -> Any:
    """The Python module in which the class of an attention module is defined."""
    return sys.modules[type(module).__module__]


def _class_name(module: Any) -> str:
    """The name of a module's class after that of the file that defines it."""
    return f"{type(module).__module__.rpartition('.')[2]}.{type(module).__name__}"


_EXCHANGES = {
    "modeling_bloom.BloomAttention": _Exchange("forward", _bloom, _bloom_bias),
    "modeling_mpt.MptAttention": _Exchange("forward", _mpt, _mpt_bias, needs_mask=True),
    "modeling_falcon.FalconAttention": _Exchange("forward", _falcon, _falcon_bias),
    "modeling_gpt_neo.GPTNeoSelfAttention": _Exchange("_attn", _gpt_neo),
    "modeling_gpt_neox_japanese.GPTNeoXJapaneseAttention": _Exchange("_attn", _gpt_neox_japanese),
    "modeling_openai.Attention": _Exchange("_attn", _openai_gpt),
    "modeling_xglm.XGLMAttention": _Exchange("forward", _xglm),
}
"""Name of an attention module, see `_class_name` → what stands for a method of it."""
