"""Models that bitsandbytes quantizes run in the packed engine, and score as their own forward pass does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from jglue_app.backends.hf.backend import HFBackend
from jglue_app.backends.hf.engine.float32_weights import Float32Weights
from jglue_app.types import ModelSpec
from tests.backends.contract import collect, logprobs_of, make_prompt, never

TinyModel = Callable[..., Path]
ANSWERS = ("含意", "矛盾", "中立")
PROMPTS = [make_prompt(f"{k}番目、{'雨が降る。' * k}", ANSWERS, item_id=str(k)) for k in range(6)]


def quantized(folder: Path, bits: int, dtype: torch.dtype) -> Any:
    """The model as it is loaded on a GPU: 4-bit layers compute in bfloat16 there unless the model is in float32."""
    config = BitsAndBytesConfig(load_in_8bit=True)
    if bits == 4:
        config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, quantization_config=config)


@pytest.mark.parametrize(
    ("architecture", "bits", "dtype", "tolerance"),
    [
        ("llama", 8, torch.bfloat16, 1.5),
        ("llama", 4, torch.bfloat16, 0.3),
        ("gemma3", 4, torch.bfloat16, 0.3),
        ("gemma3", 4, torch.float32, 1e-4),
    ],
)
def test_quantized_models_are_packed_and_score_as_the_model_itself(
    tiny_model: TinyModel, architecture: str, bits: int, dtype: torch.dtype, tolerance: float
) -> None:
    folder = tiny_model(architecture)
    model, tokenizer = quantized(folder, bits, dtype), AutoTokenizer.from_pretrained(folder)
    backend = HFBackend(ModelSpec("tiny", quantization=f"{bits}bit"), "c", model, tokenizer)
    assert (backend.info.engine, backend.info.engine_reason) == ("packed", "")
    results = collect(backend.choose(PROMPTS, never))
    alone = quantized(folder, bits, dtype).eval()
    if bits == 4:
        alone = alone.dequantize()
    for i, prompt in enumerate(PROMPTS):
        context = len(tokenizer(prompt.text)["input_ids"])
        for answer, got in zip(ANSWERS, logprobs_of(results[i]), strict=True):
            ids = tokenizer(prompt.text + answer)["input_ids"]
            with torch.inference_mode():
                logprobs = alone(input_ids=torch.tensor([ids])).logits[0].float().log_softmax(-1)
            expected = sum(float(logprobs[k - 1, ids[k]]) for k in range(context, len(ids)))
            assert got == pytest.approx(expected, abs=tolerance * (len(ids) - context if tolerance > 1e-3 else 1))


def test_4bit_layers_compute_in_float32_while_compared(tiny_model: TinyModel) -> None:
    from bitsandbytes.functional import dequantize_4bit

    model = quantized(tiny_model("llama"), 4, torch.bfloat16)
    layer = model.model.layers[0].mlp.up_proj
    layer.support_avx512bf16_for_cpu = False
    x = torch.randn(5, layer.in_features, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        rounded = layer(x)
        weight = dequantize_4bit(layer.weight.data, layer.weight.quant_state).float()
        with Float32Weights(model):
            exact = layer(x)
        again = layer(x)
    assert torch.equal(again, rounded) and layer.compute_dtype == torch.bfloat16
    # The expanded weight is rounded to bfloat16, or not: the input and the sum are not.
    assert (exact - x @ weight.T).norm() < 0.003 * exact.norm()
    assert exact.dtype == torch.float32 and not torch.equal(exact, exact.bfloat16().float())
