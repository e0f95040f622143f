"""The settings of a GGUF file, in the configuration that transformers makes of it.

transformers takes a few settings of each architecture and leaves its own defaults in the place of all others: a
Starcoder2 gets other positions, a Falcon another epsilon. Here every setting is put into the configuration or compared
with it, for architectures whose converted models were compared with their originals; what is not known is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jglue_app.backends.hf.checkpoint.gguf_header import Header, number_list
from jglue_app.backends.hf.checkpoint.gguf_unread import unread
from jglue_app.errors import ModelError

ARCHITECTURES = frozenset(
    (
        *("llama", "qwen2", "qwen3", "qwen2moe", "qwen3moe", "phi3", "gemma2", "gemma3", "gpt2", "bloom", "falcon"),
        *("stablelm", "starcoder2", "mamba", "nemotron", "lfm2", "qwen35", "qwen35moe"),
    )
)
"""Those that are read."""
_EPSILONS = ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps")
_PLACES: Mapping[str, tuple[str, ...]] = {
    "vocab_size": ("vocab_size",),
    "context_length": ("max_position_embeddings",),
    "embedding_length": ("hidden_size",),
    "block_count": ("num_hidden_layers",),
    "feed_forward_length": ("intermediate_size", "n_inner", "ffn_hidden_size"),
    "attention.head_count": ("num_attention_heads",),
    "attention.head_count_kv": ("num_key_value_heads",),
    "attention.layer_norm_epsilon": _EPSILONS,
    "attention.layer_norm_rms_epsilon": _EPSILONS,
    "expert_count": ("num_experts",),
    "expert_used_count": ("num_experts_per_tok",),
    "expert_feed_forward_length": ("moe_intermediate_size",),
    "expert_shared_feed_forward_length": ("shared_expert_intermediate_size",),
    "expert_weights_norm": ("norm_topk_prob",),
    "use_parallel_residual": ("use_parallel_residual",),
    "ssm.conv_kernel": ("conv_kernel",),
    "ssm.inner_size": ("intermediate_size",),
    "ssm.state_size": ("state_size",),
    "ssm.time_step_rank": ("time_step_rank",),
    "shortconv.l_cache": ("conv_L_cache",),
}
"""Setting → names that it may have in a configuration."""
_IN_SHAPES = ("context_length", "feed_forward_length")
"""Settings that may have no place: where they matter, the weights have other sizes."""
_ONLY: Mapping[str, tuple[float, ...]] = {
    "attention.causal": (True,),
    "expert_gating_func": (1,),
    "expert_weights_scale": (1.0,),
    "rope.scaling.attn_factor": (1.0,),
    "rope.scaling.yarn_attn_factor": (1.0,),
    "rope.scaling.yarn_ext_factor": (1.0, -1.0),
    "rope.scaling.yarn_beta_fast": (32.0,),
    "rope.scaling.yarn_beta_slow": (1.0,),
}
"""Settings with the values by which the models are built in any case."""
_ELSEWHERE = frozenset(
    (
        *("attention.scale", "logit_scale", "embedding_scale", "residual_scale", "attention.clamp_kqv"),
        *("attn_logit_softcapping", "final_logit_softcapping", "attention.sliding_window", "rope.dimension_count"),
        *("rope.freq_base", "rope.freq_base_swa", "rope.scale_linear", "rope.scaling.type", "rope.scaling.factor"),
        *("rope.scaling.original_context_length", "rope.scaling.finetuned", "tensor_data_layout"),
        *("attention.key_length", "attention.value_length", "pooling_type"),
    )
)
"""Settings that are compared, put right or refused by other rules, here or with positions and kinds of files."""
_QWEN35 = frozenset(
    (
        *("block_count", "nextn_predict_layers", "full_attention_interval", "rope.dimension_sections"),
        *("ssm.conv_kernel", "ssm.state_size", "ssm.group_count", "ssm.time_step_rank", "ssm.inner_size"),
    )
)
_BY_TRANSFORMERS: Mapping[str, frozenset[str]] = {
    "lfm2": frozenset(("attention.head_count_kv",)),
    "qwen35": _QWEN35,
    "qwen35moe": _QWEN35,
}
"""Architecture → settings that transformers reads in a way of its own."""
_PATTERN = "attention.sliding_window_pattern"
_PARTLY_ROTARY = ("stablelm", "nemotron", "phi3")
"""Architectures of which a share of each head has positions."""


def reject_unknown_architecture(file: str, header: Header) -> None:
    """Raise ModelError if no model of a file's architecture has been compared with its original; a file that names
    none is damaged, which is reported when it is read."""
    if header.architecture and header.architecture not in ARCHITECTURES:
        raise ModelError(
            "{file} is of the architecture {architecture}, whose GGUF files are not read here: what transformers makes "
            "of them may be another model. Use a safetensors repository of this model.",
            file=file,
            architecture=header.architecture,
        )


def take_settings(path: Path, header: Header, config: Any) -> None:
    """Put what a file says into the configuration that transformers has made of it.

    Args:
        path: the file.
        header: of the file.
        config: changed.

    Raises:
        ModelError: the file says something that has no place there, or that the model cannot do.
    """
    # Of some architectures transformers takes both to be one, though the file holds two.
    config.tie_word_embeddings = "output.weight" not in header.tensors
    # A file named mistral gets the window of the first Mistral, whatever it says.
    if getattr(config, "model_type", "") == "mistral" and header.own("attention.sliding_window") is None:
        config.sliding_window = None
    default = type(config)()
    by_transformers = _BY_TRANSFORMERS.get(header.architecture, frozenset())
    for key, value in _own(header):
        if key in by_transformers:
            continue
        if key in _PLACES:
            places = [name for name in _PLACES[key] if hasattr(default, name)]
            for name in places:
                _put(path.name, header, config, name, key, value)
            if not places and key not in _IN_SHAPES and not _is_meant(header, key, value):
                raise unread(path.name, header, key, value)
        elif key in _ONLY:
            if value not in _ONLY[key] and (value or key == "attention.causal"):
                raise unread(path.name, header, key, value)
        elif key == _PATTERN:
            _compare_pattern(path.name, header, config, key, [int(value)])
        elif key not in _ELSEWHERE and value:
            raise unread(path.name, header, key, value)
    for key in _own_lists(header):
        if key == _PATTERN:
            _compare_pattern(path.name, header, config, key, number_list(path, header, f"{header.architecture}.{key}"))
        elif key not in ("feed_forward_length", *by_transformers):
            raise unread(path.name, header, key, "[…]")
    _take_heads(path.name, header, config, default)
    _take_positions(path.name, header, config)


def _own(header: Header) -> Iterator[tuple[str, Any]]:
    """The settings of the architecture."""
    prefix = f"{header.architecture}."
    return ((key.removeprefix(prefix), value) for key, value in header.settings.items() if key.startswith(prefix))


def _own_lists(header: Header) -> Iterator[str]:
    prefix = f"{header.architecture}."
    return (key.removeprefix(prefix) for key in header.lists if key.startswith(prefix))


def _is_meant(header: Header, key: str, value: Any) -> bool:
    """Whether a setting without a place says what the architecture does in any case."""
    if key == "attention.head_count_kv":  # Falcon's weights have another order with more than one.
        return bool(value == (1 if header.architecture == "falcon" else header.own("attention.head_count")))
    return not value


def _put(file: str, header: Header, config: Any, name: str, key: str, value: Any) -> None:
    """Set a value of the configuration, unless it is there."""
    found = getattr(config, name, None)
    is_same = found == value or (isinstance(found, int | float) and math.isclose(found, value, rel_tol=1e-6))
    if is_same or (header.architecture == "mamba" and not value):  # It has no heads and no other layers.
        return
    if not isinstance(value, int | float):
        raise unread(file, header, key, value)
    try:
        setattr(config, name, value)
    except AttributeError as e:  # It follows from others.
        raise unread(file, header, key, value) from e


def _take_heads(file: str, header: Header, config: Any, default: Any) -> None:
    """Widths of heads; heads of keys where the file says none."""
    heads, width = header.own("attention.head_count"), header.own("attention.key_length")
    if not isinstance(heads, int) or not heads:
        return
    kv = "attention.head_count_kv"
    says_kv = header.own(kv) is not None or f"{header.architecture}.{kv}" in header.lists
    if not says_kv and hasattr(default, "num_key_value_heads"):
        config.num_key_value_heads = heads
    usual = config.hidden_size // heads
    if (values := header.own("attention.value_length")) not in (None, width or usual):
        raise unread(file, header, "attention.value_length", values)
    if width is None and header.architecture == "llama" and header.own("rope.dimension_count"):
        return  # From which transformers takes it.
    width = width or usual
    if hasattr(default, "query_pre_attn_scalar"):  # No setting tells it; those of 27B are put right later.
        config.query_pre_attn_scalar = width
    if width != (getattr(config, "head_dim", None) or usual):
        _put(file, header, config, "head_dim", "attention.key_length", width)


def _take_positions(file: str, header: Header, config: Any) -> None:
    """Base of the rotary frequencies, and the share of a head that has positions."""
    rope = getattr(config, "rope_parameters", None) or {}
    rotary, heads = header.own("rope.dimension_count"), header.own("attention.head_count")
    if header.architecture in _PARTLY_ROTARY and isinstance(rotary, int) and isinstance(heads, int) and heads:
        rope["partial_rotary_factor"] = rotary / (getattr(config, "head_dim", None) or config.hidden_size // heads)
    for key, kind in (("rope.freq_base", "full_attention"), ("rope.freq_base_swa", "sliding_attention")):
        if not (base := header.own(key)):
            continue
        part = rope.get(kind) if kind in rope else rope if kind == "full_attention" else None
        if not part:
            raise unread(file, header, key, base)
        if not math.isclose(part["rope_theta"], float(base), rel_tol=1e-6):
            part["rope_theta"] = base


def _compare_pattern(file: str, header: Header, config: Any, key: str, pattern: list[float]) -> None:
    """Raise ModelError if other layers have a window than those that the configuration gives one."""
    kinds = getattr(config, "layer_types", None) or []
    if len(pattern) == 1:  # Every so many layers one sees everything.
        pattern = [(k + 1) % int(pattern[0] or 1) != 0 for k in range(len(kinds))]
    if [bool(value) for value in pattern] != [kind == "sliding_attention" for kind in kinds]:
        raise unread(file, header, key, "[…]")
