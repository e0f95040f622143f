"""What a GGUF file says of a model is in the converted one, whatever transformers takes from it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers
from tokenizers import pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    FalconConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Qwen2MoeConfig,
    Qwen3Config,
    Qwen3MoeConfig,
    StableLmConfig,
)

from jglue_app.backends.hf.checkpoint.gguf import convert_once
from jglue_app.backends.hf.checkpoint.gguf_header import read_header
from jglue_app.backends.hf.checkpoint.gguf_settings import reject_unknown_architecture, take_settings
from jglue_app.errors import ModelError

ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
TOKENS = [*ALPHABET, "<s>", "</s>", "Ġa"]
WIDTH, HEADS, LAYERS, CONTEXT = 32, 4, 2, 64
BASE, EPSILON = 50_000.0, 1e-3
SHARED = {
    "vocab_size": len(TOKENS),
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "max_position_embeddings": CONTEXT,
    "bos_token_id": 256,
    "eos_token_id": 257,
}
KEYS = {
    "context_length": CONTEXT,
    "embedding_length": WIDTH,
    "block_count": LAYERS,
    "feed_forward_length": 48,
    "attention.head_count": HEADS,
}
ROPE = {"rope_type": "default", "rope_theta": BASE}
NORM, RMS = "attention.layer_norm_epsilon", "attention.layer_norm_rms_epsilon"
KV, ROTARY = "attention.head_count_kv", "rope.freq_base"
EXPERTS = {"expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 24}

Tensors = Iterator[tuple[str, torch.Tensor]]
AsStored = Callable[[str, torch.Tensor], Tensors]


def as_it_is(name: str, weights: torch.Tensor) -> Tensors:
    yield name, weights


def turned(name: str, weights: torch.Tensor) -> Tensors:
    """GPT-2 has its matrices the other way round."""
    yield name, weights.T if re.search(r"(c_attn|c_proj|c_fc)\.weight", name) else weights


def of_experts(name: str, weights: torch.Tensor) -> Tensors:
    """Two matrices of each expert are one in transformers."""
    if name.endswith("gate_up_proj"):
        layer = name.split(".")[2]
        for part, half in zip(("gate", "up"), weights.chunk(2, dim=1), strict=True):
            yield f"blk.{layer}.ffn_{part}_exps.weight", half
    else:
        yield name, weights


ORIGINALS: dict[str, tuple[str, dict[str, Any], dict[str, Any], AsStored]] = {
    "starcoder2": (
        "Starcoder2",
        {"num_key_value_heads": 2, "intermediate_size": 48, "norm_epsilon": EPSILON, "rope_parameters": ROPE},
        {KV: 2, NORM: EPSILON, ROTARY: BASE},
        as_it_is,
    ),
    "stablelm": (
        "StableLm",
        {"num_key_value_heads": 2, "intermediate_size": 48, "layer_norm_eps": EPSILON, "tie_word_embeddings": False}
        | {"rope_parameters": ROPE | {"partial_rotary_factor": 0.5}},
        {KV: 2, NORM: EPSILON, ROTARY: BASE, "rope.dimension_count": 4, "use_parallel_residual": False},
        as_it_is,
    ),
    "falcon": (
        "Falcon",
        {"layer_norm_epsilon": EPSILON, "tie_word_embeddings": False},
        {KV: 1, NORM: EPSILON, "feed_forward_length": 128},
        as_it_is,
    ),
    "gpt2": ("GPT2", {"n_inner": 48, "layer_norm_epsilon": EPSILON}, {NORM: EPSILON}, turned),
    "qwen3moe": (
        "Qwen3Moe",
        {"num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 48, "moe_intermediate_size": 24}
        | {"num_experts": 4, "num_experts_per_tok": 2, "rms_norm_eps": EPSILON, "rope_parameters": ROPE},
        {KV: 2, RMS: EPSILON, ROTARY: BASE, "attention.key_length": 16, "attention.value_length": 16, **EXPERTS}
        | {"expert_weights_norm": False},
        of_experts,
    ),
    "qwen3": (
        "Qwen3",
        {"num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 48, "rms_norm_eps": EPSILON},
        {KV: 2, RMS: EPSILON, ROTARY: 10_000.0, "attention.key_length": 16, "attention.value_length": 16},
        as_it_is,
    ),
}
"""Architecture → name of its classes in transformers, settings there and in the file, and how weights are stored."""


def random_model(name: str, settings: dict[str, Any]) -> Any:
    config = getattr(transformers, f"{name}Config")(**SHARED | settings)
    model = AutoModelForCausalLM.from_config(config).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for weights in model.parameters():
            weights.normal_(0.3, 0.2)
    return model


def write_settings(writer: Any, settings: dict[str, Any]) -> None:
    """The settings of an architecture."""
    for key, value in settings.items():
        if isinstance(value, list):
            writer.add_array(f"{writer.arch}.{key}", value)
            continue
        add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
        add[type(value)](f"{writer.arch}.{key}", value)


def write_model(file: Path, architecture: str, model: Any, settings: dict[str, Any], stored: AsStored) -> Path:
    writer = gguf.GGUFWriter(file, architecture)
    write_settings(writer, settings)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([1] * 256 + [3, 3, 1])
    writer.add_token_merges(["Ġ a"])
    writer.add_bos_token_id(256)
    writer.add_eos_token_id(257)
    kind = next(kind for kind, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(kind, LAYERS)
    for name, weights in model.state_dict().items():
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        for part, numbers in stored(name, weights):
            place = part if part.startswith("blk.") else names.get_name(part, try_suffixes=(".weight", ".bias"))
            place += "" if place.endswith((".weight", ".bias")) else ".weight"
            writer.add_tensor(place, np.ascontiguousarray(numbers.numpy()))
    for write in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
        write()
    writer.close()
    return file


@pytest.mark.parametrize(
    "architecture",
    [name if name == "falcon" else pytest.param(name, marks=pytest.mark.slow) for name in ORIGINALS],
)
def test_a_converted_model_has_the_logits_of_its_original(architecture: str, tmp_path: Path) -> None:
    name, settings, keys, stored = ORIGINALS[architecture]
    original = random_model(name, settings)
    file = write_model(tmp_path / "m.gguf", architecture, original, KEYS | keys, stored)
    converted = AutoModelForCausalLM.from_pretrained(convert_once(file, tmp_path, lambda _: None)).eval()
    ids = torch.arange(CONTEXT)[None] * 5 % 256
    with torch.no_grad():
        assert torch.equal(converted(ids).logits, original(ids).logits)


@pytest.mark.parametrize(
    ("architecture", "settings", "said"),
    [
        ("falcon", {"feed_forward_length": 96}, r"blk\.0\.ffn_up\.weight: 128×32 in the file, 96×32 by"),
        pytest.param(
            "gpt2", {"context_length": 32}, r"wpe\.weight: 64×32 in the file, 32×32 by", marks=pytest.mark.slow
        ),
    ],
)
def test_weights_of_other_sizes_than_the_settings_say_are_refused(
    architecture: str, settings: dict[str, Any], said: str, tmp_path: Path
) -> None:
    name, own, keys, stored = ORIGINALS[architecture]
    file = write_model(tmp_path / "m.gguf", architecture, random_model(name, own), KEYS | keys | settings, stored)
    with pytest.raises(ModelError, match=rf"The weights of m\.gguf do not have the sizes.*{said} the settings"):
        convert_once(file, tmp_path, lambda _: None)


@pytest.mark.parametrize(
    ("architecture", "config", "settings", "expected"),
    [
        ("qwen3", Qwen3Config, {KV: 2, "attention.key_length": 16}, {"head_dim": 16, "num_key_value_heads": 2}),
        ("qwen3", Qwen3Config, {RMS: 0.25}, {"head_dim": 8, "num_key_value_heads": HEADS, "rms_norm_eps": 0.25}),
        ("falcon", FalconConfig, {KV: 1, NORM: 0.25}, {"layer_norm_epsilon": 0.25, "ffn_hidden_size": 48}),
        ("gpt2", GPT2Config, {NORM: 0.25}, {"n_positions": CONTEXT, "n_inner": 48, "layer_norm_epsilon": 0.25}),
        ("gemma2", Gemma2Config, {"attention.key_length": 64}, {"head_dim": 64, "query_pre_attn_scalar": 64}),
        (
            "qwen2moe",
            Qwen2MoeConfig,
            EXPERTS,
            {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24},
        ),
        (
            "stablelm",
            StableLmConfig,
            {ROTARY: BASE, "rope.dimension_count": 4},
            {"rope_parameters": ROPE | {"partial_rotary_factor": 0.5}},
        ),
    ],
)
def test_settings_are_put_into_the_configuration(
    architecture: str, config: Any, settings: dict[str, Any], expected: dict[str, Any], tmp_path: Path
) -> None:
    file = settings_of(tmp_path, architecture, settings)
    given = config(hidden_size=WIDTH, num_attention_heads=HEADS, num_hidden_layers=LAYERS)
    take_settings(file, read_header(file), given)
    assert {name: getattr(given, name) for name in expected} == expected


def settings_of(tmp_path: Path, architecture: str, settings: dict[str, Any]) -> Path:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", architecture)
    write_settings(writer, KEYS | settings)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return tmp_path / "m.gguf"


@pytest.mark.parametrize(
    ("architecture", "config", "settings", "said"),
    [
        ("falcon", FalconConfig, {KV: 2}, r"falcon\.attention\.head_count_kv = 2"),
        ("llama", LlamaConfig, {"expert_count": 8}, r"llama\.expert_count = 8"),
        ("llama", LlamaConfig, {"attention.temperature_scale": 0.5}, r"llama\.attention\.temperature_scale = 0\.5"),
        ("llama", LlamaConfig, {KV: [4, 2]}, r"llama\.attention\.head_count_kv = "),
        ("llama", LlamaConfig, {"attention.value_length": 16}, r"llama\.attention\.value_length = 16"),
        ("llama", LlamaConfig, {"rope.scaling.yarn_beta_fast": 16.0}, r"llama\.rope\.scaling\.yarn_beta_fast = 16"),
        ("qwen3moe", Qwen3MoeConfig, {"expert_weights_scale": 2.5}, r"qwen3moe\.expert_weights_scale = 2\.5"),
        ("qwen3moe", Qwen3MoeConfig, {"expert_gating_func": 2}, r"qwen3moe\.expert_gating_func = 2"),
        ("gemma3", Gemma3TextConfig, {"attention.sliding_window_pattern": 2}, r"gemma3\.attention\.sliding_window_pa"),
    ],
)
def test_what_a_model_cannot_be_given_is_refused_by_its_name(
    architecture: str, config: Any, settings: dict[str, Any], said: str, tmp_path: Path
) -> None:
    file = settings_of(tmp_path, architecture, settings)
    with pytest.raises(ModelError, match=rf"m\.gguf says {said}.*another model would answer"):
        take_settings(file, read_header(file), config(**SHARED))


def test_settings_that_change_nothing_are_accepted(tmp_path: Path) -> None:
    settings = {"expert_count": 0, "expert_weights_scale": 1.0, "attention.causal": True, "rope.scaling.type": "none"}
    file = settings_of(tmp_path, "llama", settings | {KV: HEADS, "tensor_data_layout": "Meta AI original pth"})
    before = LlamaConfig(**SHARED, intermediate_size=48, tie_word_embeddings=True)
    config = LlamaConfig(**before.to_dict())
    take_settings(file, read_header(file), config)
    assert json.loads(config.to_json_string()) == json.loads(before.to_json_string())


def test_a_model_named_mistral_has_no_window_that_its_file_does_not_name(tmp_path: Path) -> None:
    file = settings_of(tmp_path, "llama", {KV: HEADS, RMS: EPSILON})
    config = MistralConfig(**SHARED, intermediate_size=48)
    assert config.sliding_window
    take_settings(file, read_header(file), config)
    assert config.sliding_window is None


def test_an_architecture_that_was_not_compared_is_refused(tmp_path: Path) -> None:
    for architecture in ("deepseek2", "gpt-oss", "gemma4", "minimax-m2"):
        header = read_header(settings_of(tmp_path, architecture, {}))
        with pytest.raises(ModelError, match=rf"is of the architecture {architecture}, whose GGUF files are not read"):
            reject_unknown_architecture("m.gguf", header)
