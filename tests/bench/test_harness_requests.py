"""Which interpreters and files go to which harness."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from transformers import AutoConfig, LlamaConfig

from jglue_app.bench.harness_requests import check_same_model, requested_harnesses
from jglue_app.errors import InputError
from jglue_app.settings import load_settings
from jglue_app.types import ModelSpec

FOLDER = ModelSpec("folder")
A, B = Path("a/python"), Path("b/python")


def requested(
    names: str, pythons: list[Path], files: list[Path], model: ModelSpec = FOLDER
) -> list[tuple[object, ...]]:
    found = requested_harnesses(names.split(), pythons, files, model, load_settings())
    return [(request.name, request.python, request.gguf) for request in found]


def test_interpreters_go_to_harnesses_in_their_order(tiny_gguf: Path) -> None:
    here = Path(sys.executable)
    assert requested("vllm transformers lm-eval", [A, B], []) == [
        ("vllm", A, None),
        ("transformers", here, None),
        ("lm-eval", B, None),
    ]
    assert requested("transformers vllm", [A, B], []) == [("transformers", A, None), ("vllm", B, None)]
    assert requested("vllm llama-cpp", [A, B], [tiny_gguf]) == [("vllm", A, None), ("llama-cpp", B, tiny_gguf)]
    for pythons in ([], [A, B, A]):
        with pytest.raises(InputError, match="one interpreter for each harness"):
            requested("vllm transformers", pythons, [])


def test_the_file_of_the_model_here_is_taken_if_it_is_one(tiny_gguf: Path) -> None:
    model = ModelSpec(str(tiny_gguf))
    assert requested("llama-cpp", [A], [], model) == [("llama-cpp", A, tiny_gguf)]
    for names, files in (("llama-cpp", []), ("vllm", [tiny_gguf]), ("llama-cpp", [tiny_gguf] * 2)):
        with pytest.raises(InputError, match="give one GGUF file for each"):
            requested(names, [A], files)


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    with pytest.raises(InputError, match="There is no file"):
        requested("llama-cpp", [A], [path])
    path.write_bytes(b"GGUF of a kind")
    with pytest.raises(InputError, match="is no GGUF file, or is damaged"):
        requested("llama-cpp", [A], [path])


def test_a_file_of_another_model_is_refused(tiny_gguf: Path, tiny_model_config: LlamaConfig) -> None:
    check_same_model(tiny_gguf, FOLDER, tiny_model_config)
    tiny_model_config.num_hidden_layers = 3
    with pytest.raises(InputError, match="2 layers of width 64, and folder has 3 of 64"):
        check_same_model(tiny_gguf, FOLDER, tiny_model_config)


@pytest.fixture
def tiny_model_config() -> LlamaConfig:
    return AutoConfig.for_model("llama", num_hidden_layers=2, hidden_size=64)
