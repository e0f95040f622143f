"""Decoder layers of some architectures in fewer operations, on a CPU.

Between its products a layer of transformers takes some fifty operations, each of which reads and writes the states of
all tokens; for the few tokens of a decode step, starting them takes longer than they do. Here norms and residual sums
are made in float32 at once, and rotary positions in place. As in `fused_modules`, a layer runs so only within a packed
pass, only if the source of its code is one that is known, and only if it gave its own results when it was tried.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from jglue_app.backends.hf.engine import packed_attention
from jglue_app.backends.hf.engine.fused_modules import TOLERANCE, TRIAL_ROWS, FusedNorm
from jglue_app.backends.hf.engine.packed_attention import (
    ForwardContext,
    Segment,
    attend,
    forward_context,
    in_packed_pass,
)
from jglue_app.backends.hf.engine.trie import build_trie
from jglue_app.backends.hf.memory import is_out_of_memory

Norms = tuple[str, str, str, str]
"""Names of a layer's norms before and after attention, and before and after the feed-forward layer; empty: none."""

_ATTENTION = "hidden_states, _ = self.self_attn("
_LAYERS: dict[str, Norms] = {
    "residual = hidden_states; hidden_states = self.input_layernorm(hidden_states); attention; "
    "hidden_states = residual + hidden_states; residual = hidden_states; "
    "hidden_states = self.post_attention_layernorm(hidden_states); hidden_states = self.mlp(hidden_states); "
    "hidden_states = residual + hidden_states; return hidden_states": (
        "input_layernorm",
        "",
        "post_attention_layernorm",
        "",
    ),
    "residual = hidden_states; hidden_states = self.input_layernorm(hidden_states); attention; "
    "hidden_states = self.post_attention_layernorm(hidden_states); hidden_states = residual + hidden_states; "
    "residual = hidden_states; hidden_states = self.pre_feedforward_layernorm(hidden_states); "
    "hidden_states = self.mlp(hidden_states); hidden_states = self.post_feedforward_layernorm(hidden_states); "
    "hidden_states = residual + hidden_states; return hidden_states": (
        "input_layernorm",
        "post_attention_layernorm",
        "pre_feedforward_layernorm",
        "post_feedforward_layernorm",
    ),
}
"""Source of a layer's forward pass, with `attention` for the call of that → its norms."""

_SHAPE = "input_shape = hidden_states.shape[:-1]; hidden_shape = (*input_shape, -1, self.head_dim); "
_PLAIN = (
    "query_states = self.q_proj(hidden_states).view(hidden_shape).transpose(1, 2); "
    "key_states = self.k_proj(hidden_states).view(hidden_shape).transpose(1, 2); "
)
_VALUES = "value_states = self.v_proj(hidden_states).view(hidden_shape).transpose(1, 2); "
_PROJECTIONS = {
    _SHAPE + _PLAIN + _VALUES: False,
    _SHAPE
    + _PLAIN
    + _VALUES
    + "query_states = self.q_norm(query_states); key_states = self.k_norm(key_states); ": True,
    _SHAPE
    + "query_states = self.q_norm(self.q_proj(hidden_states).view(hidden_shape)).transpose(1, 2); "
    + "key_states = self.k_norm(self.k_proj(hidden_states).view(hidden_shape)).transpose(1, 2); "
    + _VALUES: True,
}
"""How an attention module makes queries, keys and values → whether it has norms of queries and keys."""
_REST = (
    "cos, sin = position_embeddings; "
    "query_states, key_states = apply_rotary_pos_emb(query_states, key_states, cos, sin); cache; "
    "attention_interface: Callable = ALL_ATTENTION_FUNCTIONS.get_interface("
    "self.config._attn_implementation, eager_attention_forward); "
    "attn_output, attn_weights = attention_interface(self, query_states, key_states, value_states, attention_mask, "
    "dropout, scaling=self.scaling, {window}**kwargs); "
    "attn_output = attn_output.reshape(*input_shape, -1).contiguous(); attn_output = self.o_proj(attn_output); "
    "return (attn_output, attn_weights)"
)
"""What follows, with `cache` for storing keys and values, which a packed pass does not do, and `dropout`."""
_WINDOWS: dict[str, Callable[[Any], int | None]] = {
    "": lambda _: None,
    "sliding_window=self.sliding_window, ": lambda module: module.sliding_window,
    "sliding_window=getattr(self.config, 'sliding_window', None), ": lambda module: getattr(
        module.config, "sliding_window", None
    ),
}
"""How a sliding window is passed → the window of a module."""
_ROTARY = (
    "cos = cos.unsqueeze(unsqueeze_dim); sin = sin.unsqueeze(unsqueeze_dim); "
    "q_embed = q * cos + rotate_half(q) * sin; k_embed = k * cos + rotate_half(k) * sin; return (q_embed, k_embed)"
)
_ROTATE = "x1 = x[..., :x.shape[-1] // 2]; x2 = x[..., x.shape[-1] // 2:]; return torch.cat((-x2, x1), dim=-1)"


def fuse_layers(model: Any) -> None:
    """Let the decoder layers of a model on a CPU run in fewer operations, where they give the same results.

    Args:
        model: of transformers, after `fused_modules.fuse_modules`.
    """
    classes: dict[type, type] = {}
    for layer in list(model.modules()):
        own_class, attention = type(layer), layer._modules.get("self_attn")
        # A model and the same with an adapter share layers, which are exchanged already then.
        if (
            attention is None
            or isinstance(layer, _FusedLayer)
            or attention._forward_hooks
            or attention._forward_pre_hooks
        ):
            continue
        norms, kind = _norms(own_class), _attention_kind(type(attention))
        if norms is None or kind is None:
            continue
        layer.__dict__["_fused"] = norms, type(attention), kind
        try:
            if not _is_equal(layer):
                continue
        except Exception as e:  # Of a layer that is not what it seems: of any kind.
            if is_out_of_memory(e):
                raise
            continue
        classes.setdefault(own_class, type(own_class.__name__, (_FusedLayer, own_class), {}))
        layer.__class__ = classes[own_class]


class _FusedLayer(nn.Module):
    """A decoder layer with norms, attention and a feed-forward layer."""

    self_attn: Any

    def forward(self, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """(1, tokens, width) → (1, tokens, width)."""
        positions, dtype = kwargs.get("position_embeddings"), hidden_states.dtype
        # An adapter may put a module of its own in the place of attention.
        is_own = type(self.self_attn) is self.__dict__["_fused"][1]
        if args or positions is None or not is_own or not in_packed_pass() or dtype not in TOLERANCE:
            return super().forward(hidden_states, *args, **kwargs)
        if any(x.dtype != dtype or x.shape[-1] != self.self_attn.head_dim for x in positions):
            return super().forward(hidden_states, *args, **kwargs)
        return _layer(self, hidden_states, positions, kwargs.get("attention_mask"))


def _layer(
    layer: Any, hidden: torch.Tensor, positions: tuple[torch.Tensor, torch.Tensor], mask: int | None = None
) -> torch.Tensor:
    (before, after, before_mlp, after_mlp), _, kind = layer.__dict__["_fused"]
    dtype, residual = hidden.dtype, hidden.float()
    out = _attention(layer.self_attn, _normed(getattr(layer, before), residual, dtype), positions, kind, mask)
    residual = residual + (_normed(getattr(layer, after), out) if after else out)
    out = layer.mlp(_normed(getattr(layer, before_mlp), residual, dtype))
    residual = residual + (_normed(getattr(layer, after_mlp), out) if after_mlp else out)
    return residual.to(dtype)


def _normed(norm: Any, x: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
    """What a norm returns, in a dtype; float32 by default."""
    if not isinstance(norm, FusedNorm):  # An adapter has put its own in its place.
        out: torch.Tensor = norm(x if dtype is None else x.to(dtype))
        return out if dtype is not None else out.float()
    epsilon, offset = norm.__dict__["_fused"]
    x = x.float()
    squares: torch.Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
    factor = squares.div_(x.shape[-1]).add_(epsilon).rsqrt_()
    weight = norm.weight.float()
    normed = (x * factor).mul_(weight + offset if offset else weight)
    return normed if dtype is None else normed.to(dtype)


def _attention(
    module: Any,
    x: torch.Tensor,
    positions: tuple[torch.Tensor, torch.Tensor],
    kind: tuple[bool, str],
    mask: int | None,
) -> torch.Tensor:
    """Attention of a packed pass, (1, tokens, width) → (1, tokens, width); for the mask see `window_of_mask`."""
    has_norms, passed = kind
    window = mask if isinstance(mask, int) else _WINDOWS[passed](module) or 0
    shape = (*x.shape[:-1], -1, module.head_dim)
    q, k, v = (projection(x).view(shape) for projection in (module.q_proj, module.k_proj, module.v_proj))
    if has_norms:
        q, k = _normed(module.q_norm, q, x.dtype), _normed(module.k_norm, k, x.dtype)
    cos, sin = positions[0][:, :, None], positions[1][:, :, None]
    q, k, v = _rotated(q, cos, sin).transpose(1, 2), _rotated(k, cos, sin).transpose(1, 2), v.transpose(1, 2)
    out = attend(module.layer_idx, q, k, v, module.scaling, window)
    projected: torch.Tensor = module.o_proj(out.reshape(*x.shape[:-1], -1))
    return projected


def _rotated(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions (Su et al., 2021) of queries or keys (1, tokens, heads, width): x·cos + (−x₂, x₁)·sin."""
    half = x.shape[-1] // 2
    out = x * cos
    out[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-1)
    out[..., half:].addcmul_(x[..., :half], sin[..., half:])
    return out


# --- which layers are known ---


@functools.lru_cache(maxsize=256)
def _statements(function: Any) -> tuple[str, ...]:
    """The source of a function's statements, without its docstring; empty if it is not known."""
    try:
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    except (AttributeError, OSError, SyntaxError, TypeError, ValueError):
        return ()
    if not isinstance(definition, ast.FunctionDef):
        return ()
    body = definition.body
    is_documented = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    return tuple(ast.unparse(statement) for statement in body[is_documented:])


def _norms(layer_class: Any) -> Norms | None:
    statements = ["attention" if s.startswith(_ATTENTION) else s for s in _statements(layer_class.forward)]
    return _LAYERS.get("; ".join(statements))


def _attention_kind(attention_class: Any) -> tuple[bool, str] | None:
    """Whether it has norms of queries and keys, and how a window is passed; None of a module that is not known."""
    source = sys.modules[attention_class.__module__]
    rotary = [_statements(getattr(source, name, None)) for name in ("apply_rotary_pos_emb", "rotate_half")]
    if ["; ".join(statements) for statements in rotary] != [_ROTARY, _ROTATE]:
        return None
    stores = re.compile(r"if (cache|past_key_values) is not None:")
    statements = ["cache" if stores.match(s) else s for s in _statements(attention_class.forward)]
    text = re.sub(r"dropout=[^,]* if [^,]* else [^,]*,", "dropout,", "; ".join(statements))
    for projections, has_norms in _PROJECTIONS.items():
        for window in _WINDOWS:
            if text == projections + _REST.format(window=window):
                return has_norms, window
    return None


def _is_equal(layer: Any) -> bool:
    """Whether a layer gives its own results when it is fused, for rows of different sizes."""
    norm = getattr(layer, layer.__dict__["_fused"][0][0])
    attention, dtype, width = layer.self_attn, norm.weight.dtype, norm.weight.shape[0]
    config = attention.config
    if dtype not in TOLERANCE or norm.weight.device.type != "cpu":
        return False
    generator = torch.Generator().manual_seed(0)
    sizes = torch.logspace(-1, 1, TRIAL_ROWS)[:, None]
    rows = (torch.randn(TRIAL_ROWS, width, generator=generator) * sizes).to(dtype)[None]
    angles = (torch.arange(TRIAL_ROWS)[:, None] * torch.logspace(0, -2, attention.head_dim // 2)).repeat(1, 2)[None]
    positions = angles.cos().to(dtype), angles.sin().to(dtype)
    implementation = config._attn_implementation
    config._attn_implementation = packed_attention.NAME
    try:
        with torch.inference_mode(), forward_context(ForwardContext([Segment(build_trie([list(range(TRIAL_ROWS))]))])):
            expected = layer(rows, position_embeddings=positions, attention_mask=None)
            got = _layer(layer, rows, positions)
    finally:
        config._attn_implementation = implementation
    if not isinstance(expected, torch.Tensor) or expected.shape != got.shape or expected.dtype != got.dtype:
        return False
    # What the layer adds to its states is compared, as those may be much larger.
    size = (expected - rows).float().norm(dim=-1) + 2.0**-8 * rows.float().norm(dim=-1)
    return bool(((got.float() - expected.float()).norm(dim=-1) <= 2 * TOLERANCE[dtype] * size).all())
