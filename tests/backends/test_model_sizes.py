"""Files that say a model has no layers, or a billion, are refused before anything is built or converted."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from jglue_app.backends.hf.checkpoint.checkpoint_files import count_weights
from jglue_app.backends.hf.checkpoint.gguf import convert_once, file_type
from jglue_app.backends.hf.checkpoint.gguf_header import numbers
from jglue_app.backends.hf.checkpoint.model_sizes import reject_impossible_config
from jglue_app.backends.hf.checkpoint.weight_headers import keys_of, read_headers
from jglue_app.errors import ModelError
from tests.fuzz.targets.models import gguf_header, safetensors_file


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("num_hidden_layers", 0),
        ("num_hidden_layers", -1),
        ("num_hidden_layers", 10**9),
        ("n_layer", 2**31),
        ("n_layers", "2"),
        ("num_layers", 2.5),
        ("num_local_experts", 10**9),
        ("num_experts", [8, 10**9]),
    ],
)
def test_an_impossible_number_is_refused(setting: str, value: object) -> None:
    for config in ({setting: value}, {"num_hidden_layers": 2, "text_config": {setting: value}}):
        with pytest.raises(ModelError, match=f"The files of some/model say {setting} = "):
            reject_impossible_config("some/model", config)


def test_possible_numbers_are_left_alone() -> None:
    config = {
        "num_hidden_layers": 126,
        "n_layer": None,
        "num_experts": 0,
        "n_routed_experts": [8, 16],
        "hidden_size": -1,
    }
    reject_impossible_config("some/model", {**config, "text_config": {"num_hidden_layers": 1}, "vision_config": None})


def test_the_numbers_of_a_gguf_header_are_read_and_its_lists_are_not(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf_header(layers=2, kind=15))
    assert list(numbers(path)) == [("llama.block_count", 2), ("general.file_type", 15)]
    assert file_type(path) == "Q4_K_M"


@pytest.mark.parametrize("layers", [0, 2**31])
def test_a_gguf_file_with_an_impossible_number_of_layers_is_not_converted(layers: int, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    content = bytearray(gguf_header(layers))
    content[8] = 1  # Tensors; with none it is a vocabulary.
    path.write_bytes(content)
    with pytest.raises(ModelError, match=f"llama.block_count = {layers}, which is no number from 1 to 10,000"):
        convert_once(path, tmp_path / "converting", lambda _: None)
    assert not (tmp_path / "converting").exists()


@pytest.mark.parametrize(
    "damage",
    [
        struct.pack("<Q", 2**62) + b"key",
        struct.pack("<Q", 1) + b"a" + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 2_000,
        struct.pack("<Q", 1) + b"a" + struct.pack("<IIQ", 9, 8, 2**63),
        struct.pack("<Q", 1) + b"a" + struct.pack("<IIQ", 9, 0, 2**63),
        struct.pack("<Q", 1) + b"a" + struct.pack("<I", 99),
        b"",
    ],
)
def test_a_damaged_gguf_header_ends_where_it_is_damaged(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(struct.pack("<4sIQQ", b"GGUF", 3, 0, 2**63) + damage)
    assert list(numbers(path)) == []
    assert file_type(path) == ""


@pytest.mark.parametrize(
    "header",
    [b"[" * 5_000, b'{"a":' * 5_000, b'{"a": {"dtype": "F32", "shape": [Infinity], "data_offsets": [0, 48]}}', b"[]"],
)
def test_a_damaged_safetensors_header_is_refused_in_a_sentence(header: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_file(header))
    assert keys_of(path) == ()
    assert count_weights([path]) is None
    with pytest.raises(ModelError, match=r"model\.safetensors of m is no safetensors file, or a damaged one"):
        read_headers([path], "m")
