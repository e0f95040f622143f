"""What a GGUF file says of a model and transformers does not read: put right, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoConfig, LlamaConfig, Phi3Config
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from jglue_app.backends.hf.checkpoint.gguf import convert_once
from jglue_app.backends.hf.checkpoint.gguf_header import float32, read_header
from jglue_app.backends.hf.checkpoint.gguf_unread import (
    FREQUENCIES,
    llama3_scaling,
    needs_correction,
    put_right,
    reject_other_settings,
    reject_unread,
)
from jglue_app.errors import ModelError
from tests.conftest import write_gguf

TinyModel = Callable[..., Path]
LLAMA_31: dict[str, Any] = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8_192,
}


def silent(text: str) -> None:
    """Nobody listens."""


def plain_frequencies(width: int, theta: float) -> torch.Tensor:
    return 1.0 / theta ** (torch.arange(0, width, 2).float() / width)


def frequencies(width: int, theta: float, **scaling: Any) -> torch.Tensor:
    """As transformers has them for a Llama."""
    config = LlamaConfig(head_dim=width, rope_parameters={"rope_theta": theta, **scaling})
    found, _ = ROPE_INIT_FUNCTIONS[scaling["rope_type"]](config, "cpu")
    return torch.as_tensor(found)


def header_of(file: Path, architecture: str, *tensors: str, **settings: Any) -> Path:
    """A GGUF file of settings of an architecture, and tensors of eight ones."""
    writer = gguf.GGUFWriter(file, architecture)
    for name, value in settings.items():
        key = f"{architecture}.{name.replace('__', '.')}"
        add = {str: writer.add_string, int: writer.add_uint32, float: writer.add_float32}[type(value)]
        add(key, value)
    for name in tensors:
        writer.add_tensor(name, np.ones(8, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def test_frequencies_that_llama_3_1_divides_are_divided_in_the_converted_model(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    source = tiny_model("llama")
    config = json.loads((source / "config.json").read_text("utf-8"))
    width, theta = config["head_dim"], config["rope_parameters"]["rope_theta"]
    expected = frequencies(width, theta, **LLAMA_31)
    factors = (plain_frequencies(width, theta) / expected).numpy()
    file = write_gguf(source, tmp_path / "m.gguf", more=lambda writer: writer.add_tensor(FREQUENCIES, factors))
    folder = convert_once(file, tmp_path, silent)
    assert folder.name.endswith("-v3")  # What earlier versions have made of it is not used.
    rotary = LlamaRotaryEmbedding(AutoConfig.from_pretrained(folder))
    assert torch.allclose(rotary.inv_freq, expected, rtol=1e-5)
    assert float(factors.max()) > 2


@pytest.mark.parametrize("theta", [10_000.0, 500_000.0])
@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_the_scaling_of_llama_3_1_is_known_by_its_factors(theta: float, factor: float) -> None:
    scaling = LLAMA_31 | {"factor": factor}
    factors = plain_frequencies(64, theta) / frequencies(64, theta, **scaling)
    assert llama3_scaling(factors.tolist(), theta) == scaling
    assert llama3_scaling([*factors.tolist()[:-1], 3.0], theta) is None


@pytest.mark.parametrize(
    ("architecture", "tensors", "settings", "said"),
    [
        ("llama", ["blk.0.attn_q.bias"], {}, r"blk\.0\.attn_q\.bias\).*another model would answer"),
        ("phi3", [], {"rope__scaling__type": "longrope", "rope__scaling__factor": 4.0}, r"phi3\.rope\.scaling\.type ="),
        ("qwen2", [], {"rope__scaling__type": "yarn", "rope__scaling__factor": 4.0}, r"qwen2\.rope\.scaling\.factor"),
        ("gemma3", [], {"rope__scaling__type": "yarn", "rope__scaling__factor": 4.0}, r"gemma3\.rope\.scaling"),
        ("falcon", [], {"rope__scale_linear": 4.0}, r"falcon\.rope\.scale_linear = 4\.0"),
    ],
)
def test_what_would_be_left_out_is_refused(
    architecture: str, tensors: list[str], settings: dict[str, Any], said: str, tmp_path: Path
) -> None:
    header = read_header(header_of(tmp_path / "m.gguf", architecture, *tensors, **settings))
    with pytest.raises(ModelError, match=said):
        reject_unread("m.gguf", header)


@pytest.mark.parametrize(
    ("architecture", "settings", "expected"),
    [
        ("llama", {"type": "linear", "factor": 4.0}, {"rope_type": "linear", "factor": 4.0}),
        (
            "qwen2",
            {"type": "yarn", "factor": 4.0, "original_context_length": 32_768},
            {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32_768},
        ),
        ("gemma3", {"type": "linear", "factor": 8.0}, {"rope_type": "linear", "factor": 8.0}),
    ],
)
def test_scaled_positions_are_written_into_the_configuration(
    architecture: str, settings: dict[str, Any], expected: dict[str, Any], tmp_path: Path
) -> None:
    file = header_of(tmp_path / "m.gguf", architecture, **{f"rope__scaling__{k}": v for k, v in settings.items()})
    header = read_header(file)
    reject_unread(file.name, header)
    assert needs_correction(header)
    plain = {"rope_type": "default", "rope_theta": 1e6}
    before = {"full_attention": plain, "sliding_attention": plain} if architecture == "gemma3" else plain
    (tmp_path / "config.json").write_text(json.dumps({"rope_parameters": before}))
    put_right(file, header, tmp_path)
    rope = json.loads((tmp_path / "config.json").read_text("utf-8"))["rope_parameters"]
    assert (rope["full_attention"] if architecture == "gemma3" else rope) == plain | expected
    assert rope.get("sliding_attention", plain) == plain


def test_factors_of_one_change_nothing_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    file = header_of(tmp_path / "m.gguf", "llama", FREQUENCIES, rope__scaling__type="none")
    header = read_header(file)
    assert float32(file, header, FREQUENCIES) == [1.0] * 8
    table = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}
    (tmp_path / "config.json").write_text(json.dumps(table))
    put_right(file, header, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text("utf-8")) == table
    content = file.read_bytes()
    file.write_bytes(content[: header.tensors[FREQUENCIES][2]] + np.full(8, 3, dtype=np.float32).tobytes())
    with pytest.raises(ModelError, match=r"m\.gguf says rope_freqs\.weight, which transformers does not read"):
        put_right(file, header, tmp_path)


def test_settings_that_transformers_takes_otherwise_are_refused_and_a_window_is_kept(tmp_path: Path) -> None:
    config = Phi3Config(hidden_size=64, num_attention_heads=4, pad_token_id=0)
    for settings, said in (
        ({"rope__dimension_count": 12}, r"phi3\.rope\.dimension_count = 12"),
        ({"final_logit_softcapping": 30.0}, r"phi3\.final_logit_softcapping = 30"),
        ({"logit_scale": 0.25}, r"phi3\.logit_scale = 0\.25"),
    ):
        header = read_header(header_of(tmp_path / "m.gguf", "phi3", **settings))
        with pytest.raises(ModelError, match=said):
            reject_other_settings("m.gguf", header, config)
    file = header_of(tmp_path / "m.gguf", "phi3", rope__dimension_count=16, attention__sliding_window=2_047)
    header = read_header(file)
    reject_other_settings(file.name, header, config)
    config.save_pretrained(tmp_path)
    put_right(file, header, tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).sliding_window == 2_047


@pytest.mark.parametrize(
    ("architecture", "layers", "width", "scale"), [("gemma2", 46, 4_608, 144), ("gemma3", 62, 5_376, 168)]
)
def test_attention_of_the_gemmas_of_27b_is_scaled_as_their_own_configuration_says(
    architecture: str, layers: int, width: int, scale: int, tmp_path: Path
) -> None:
    file = header_of(tmp_path / "m.gguf", architecture, block_count=layers)
    assert needs_correction(read_header(file))
    config = {"hidden_size": width, "num_attention_heads": 32, "query_pre_attn_scalar": 256}
    (tmp_path / "config.json").write_text(json.dumps(config))
    put_right(file, read_header(file), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text("utf-8"))["query_pre_attn_scalar"] == scale
    assert not needs_correction(read_header(header_of(tmp_path / "s.gguf", architecture, block_count=26)))


def test_the_token_that_ends_a_turn_ends_an_answer_too(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "qwen2")
    writer.add_eos_token_id(1)
    writer.add_eot_token_id(7)
    writer.add_eom_token_id(7)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    header = read_header(tmp_path / "m.gguf")
    assert needs_correction(header)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": 1, "bos_token_id": 0}))
    put_right(tmp_path / "m.gguf", header, tmp_path)
    found = json.loads((tmp_path / "generation_config.json").read_text("utf-8"))
    assert found == {"eos_token_id": [1, 7], "bos_token_id": 0}
