"""A checkpoint in the format of compressed-tensors, made with that package's own tools, answers like the same weights
rounded by hand and kept in float32.

The package is not among the requirements of the tests: `pip install 'compressed-tensors>=0.15'`, then

    python -m pytest -n 0 tests/backends/test_compressed_tensors.py
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from jglue_app.backends import open_backend
from jglue_app.backends.hf.load import memory_needed
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec, Output, Prompt
from tests.conftest import TinyModel

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("compressed_tensors") is None, reason="compressed-tensors is not installed"
)
PROMPT = "前提：犬が庭を走っている。\n関係："
ANSWERS = ("含意", "矛盾", "中立")
CHANNELS = {"strategy": "channel", "symmetric": True}
TOKENS = {"num_bits": 8, "type": "int", "strategy": "token", "symmetric": True, "dynamic": True}
SCHEMES: dict[str, tuple[str, dict[str, Any]]] = {
    "int8": ("pack-quantized", {"weights": {"num_bits": 8, "type": "int", **CHANNELS}}),
    "int4": (
        "pack-quantized",
        {"weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32, "symmetric": True}},
    ),
    "fp8": ("naive-quantized", {"weights": {"num_bits": 8, "type": "float", **CHANNELS}}),
    "int8, activations too": (
        "int-quantized",
        {"weights": {"num_bits": 8, "type": "int", **CHANNELS}, "input_activations": TOKENS},
    ),
}


def rounded(weight: torch.Tensor, bits: int, group: int, is_float: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights as they are after quantization, and the scales: round to nearest, symmetric, one scale for each `group`
    columns of a row."""
    rows = weight.reshape(weight.shape[0], -1, group)
    most = torch.finfo(torch.float8_e4m3fn).max if is_float else 2 ** (bits - 1) - 0.5
    scales = rows.abs().amax(dim=-1, keepdim=True) / most
    levels = rows / scales
    if is_float:
        levels = levels.to(torch.float8_e4m3fn).to(weight.dtype)
    else:
        levels = levels.round().clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return (levels * scales).reshape(weight.shape), scales.squeeze(-1)


def layers(model: Any) -> list[torch.nn.Linear]:
    """All linear layers but the head, which is not quantized."""
    return [m for name, m in model.named_modules() if isinstance(m, torch.nn.Linear) and name != "lm_head"]


@dataclass(frozen=True)
class Folders:
    """One model three times."""

    format: str
    rounds_activations: bool
    compressed: Path
    """Written with the tools of compressed-tensors."""
    plain: Path
    """The same weights, rounded by hand, in float32."""
    source: Path
    """As it was."""


@pytest.fixture(scope="module", params=SCHEMES)
def folders(request: pytest.FixtureRequest, tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Folders:
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config

    format_, scheme = SCHEMES[request.param]
    weights = scheme["weights"]
    source, target, plain = tiny_model("llama"), *(tmp_path_factory.mktemp(n) for n in ("compressed", "plain"))
    model, whole = (AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32) for _ in range(2))
    groups = {"group_0": {"targets": ["Linear"], **scheme}}
    apply_quantization_config(model, QuantizationConfig(config_groups=groups, ignore=["lm_head"], format=format_))
    for layer, other in zip(layers(model), layers(whole), strict=True):
        width = weights.get("group_size", layer.in_features)
        values, scales = rounded(layer.weight.data, weights["num_bits"], width, weights["type"] == "float")
        layer.weight_scale.data, other.weight.data = scales, values
    compressor = ModelCompressor.from_pretrained_model(model, quantization_format=format_)
    compressor.compress_model(model)
    model.save_pretrained(target)
    compressor.update_config(str(target))
    whole.save_pretrained(plain)
    for folder in (target, plain):
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(source / file, folder)
    return Folders(format_, "input_activations" in scheme, target, plain, source)


def by_hand(folder: Path) -> list[float]:
    """Summed log-probability of each answer after the prompt, with transformers alone."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    context = tokenizer(PROMPT)["input_ids"]
    out = []
    for answer in ANSWERS:
        ids = torch.tensor([tokenizer(PROMPT + answer)["input_ids"]])
        with torch.no_grad():
            logprobs = model(ids).logits[0].double().log_softmax(-1)
        out.append(float(sum(logprobs[k - 1, ids[0, k]] for k in range(len(context), ids.shape[1]))))
    return out


def apart(a: Sequence[float], b: Sequence[float]) -> float:
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


def test_it_answers_like_the_weights_rounded_by_hand(folders: Folders, settings: Settings) -> None:
    stored = json.loads((folders.compressed / "config.json").read_text("utf-8"))["quantization_config"]
    assert (stored["quant_method"], stored["format"]) == ("compressed-tensors", folders.format)
    backend = open_backend(ModelSpec(str(folders.compressed), dtype="float32"), settings, device="cpu")
    assert backend.info.quantized == f"compressed-tensors ({folders.format})"
    needed = memory_needed(ModelSpec(str(folders.compressed), dtype="float32"), settings, "cpu")
    assert needed == pytest.approx(backend.info.memory_bytes, rel=0.05)  # Scales are kept beside the weights.
    prompt = Prompt("jnli", "1", PROMPT, None, ("\n",), ANSWERS, "", (), "")
    ((_, chosen),) = list(backend.choose([prompt], lambda: False))
    ((_, generated),) = list(backend.generate([prompt], 4, lambda: False))
    backend.close()
    assert isinstance(chosen, Output) and isinstance(generated, Output)
    logprobs = chosen.choice_logprobs
    assert logprobs is not None
    of_rounded_weights = by_hand(folders.plain)
    assert apart(of_rounded_weights, by_hand(folders.source)) > 1e-3  # The rounding is to be seen.
    assert apart(logprobs, by_hand(folders.compressed)) < 1e-4
    if folders.rounds_activations:
        assert apart(logprobs, of_rounded_weights) > 1e-3
    else:
        assert apart(logprobs, of_rounded_weights) < 1e-4
