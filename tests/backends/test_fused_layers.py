"""Decoder layers in fewer operations: the model's own results, and only where the source of a layer is known."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from jglue_app.backends.hf.engine import kv_cache
from jglue_app.backends.hf.engine.decode_step import DecodeStep
from jglue_app.backends.hf.engine.equivalence import ReferenceModel
from jglue_app.backends.hf.engine.fused_layers import fuse_layers
from jglue_app.backends.hf.engine.fused_modules import fuse_modules
from jglue_app.backends.hf.engine.linear import can_pack, pack_layers
from jglue_app.backends.hf.engine.packed_model import PackedModel
from jglue_app.backends.hf.engine.trie import build_trie
from tests.architectures import enliven

pytestmark = pytest.mark.skipif(not can_pack(torch.zeros(1)), reason="this torch has no oneDNN")
SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
WINDOW = {"sliding_window": 12, "layer_types": ["sliding_attention", "full_attention"]}
CONFIGS = {
    "llama": transformers.LlamaConfig(**SIZES),
    "qwen2": transformers.Qwen2Config(**SIZES),
    "qwen3": transformers.Qwen3Config(**SIZES),
    "mistral": transformers.MistralConfig(**SIZES, sliding_window=12),
    "gemma3": transformers.Gemma3TextConfig(**SIZES, **WINDOW, query_pre_attn_scalar=8),
}
TOKENS = [(7 + 31 * k) % 300 for k in range(40)]


def model_of(name: str, dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(3)
    model = transformers.AutoModelForCausalLM.from_config(copy.deepcopy(CONFIGS[name])).eval()
    enliven(model, 0.1)
    return model.to(dtype)


def fused_layers(model: Any) -> int:
    """How many layers of a model were exchanged."""
    pack_layers(model)
    fuse_modules(model)
    before = [type(layer) for layer in model.model.layers]
    fuse_layers(model)
    return sum(type(layer) is not own for layer, own in zip(model.model.layers, before, strict=True))


@torch.inference_mode()
def packed_logprobs(model: Any) -> torch.Tensor:
    packed = PackedModel(model, ReferenceModel(model, None), screen=False)
    states, _, _ = packed.prefill([build_trie([TOKENS])])
    return torch.cat(list(packed._head.logits(states)), dim=-1).log_softmax(-1)


@pytest.mark.parametrize("name", CONFIGS)
@torch.inference_mode()
def test_a_packed_pass_through_fused_layers_gives_what_the_model_gave_before(name: str) -> None:
    model = model_of(name)
    expected = model(input_ids=torch.tensor([TOKENS])).logits[0].log_softmax(-1)
    assert fused_layers(model) == 2
    # Outside of a packed pass, the layers run their own code.
    assert torch.allclose(model(input_ids=torch.tensor([TOKENS])).logits[0].log_softmax(-1), expected, atol=1e-5)
    assert torch.allclose(packed_logprobs(model), expected, atol=2e-5)


@torch.inference_mode()
def test_in_bfloat16_fused_layers_are_no_further_from_exact_results_than_the_models_own() -> None:
    model = model_of("gemma3", torch.bfloat16)
    inputs = torch.tensor([TOKENS])
    own = model(input_ids=inputs).logits[0].float().log_softmax(-1)
    exact = model_of("gemma3", torch.bfloat16).float()(input_ids=inputs).logits[0].log_softmax(-1)
    assert fused_layers(model) == 2
    got = packed_logprobs(model)
    assert (got - exact).square().mean() <= 1.2 * (own - exact).square().mean()


class ScaledAttention(nn.Module):
    """Attention that an adapter has put in the place of a layer's own."""

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.attention, self.head_dim = attention, attention.head_dim

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        out, attention_weights = self.attention(*args, **kwargs)
        return 0.5 * out, attention_weights


@torch.inference_mode()
def test_a_layer_whose_attention_was_replaced_runs_its_own_code() -> None:
    model = model_of("llama")
    assert fused_layers(model) == 2
    model.model.layers[0].self_attn = ScaledAttention(model.model.layers[0].self_attn)
    expected = model(input_ids=torch.tensor([TOKENS])).logits[0].log_softmax(-1)
    assert torch.allclose(packed_logprobs(model), expected, atol=2e-5)


def test_a_layer_with_other_code_is_left_as_it_is() -> None:
    model = model_of("llama")
    layer = model.model.layers[0]

    class Clamped(type(layer)):  # type: ignore[misc]  # A class that is not known before.
        def forward(self, hidden_states: torch.Tensor, **kwargs: Any) -> torch.Tensor:
            out: torch.Tensor = super().forward(hidden_states, **kwargs).clamp(-1e4, 1e4)
            return out

    layer.__class__ = Clamped
    assert fused_layers(model) == 1


@pytest.mark.parametrize("copied", [0, 128])
@torch.inference_mode()
def test_decoding_into_added_slots_and_after_rows_were_dropped_gives_the_models_own_results(
    copied: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kv_cache, "MAX_COPIED_PREFIX", copied)
    monkeypatch.setattr(kv_cache, "SLOTS", 2)
    model = model_of("gemma3")
    prefix, branches = TOKENS[:9], [TOKENS[9:30], [*TOKENS[9:20], 5, 6], TOKENS[20:28]]
    rows = [[*prefix, *branch] for branch in branches]
    expected = [model(input_ids=torch.tensor([row])).logits[0, -1].log_softmax(-1) for row in rows]
    packed = PackedModel(model, ReferenceModel(model, None), screen=False)
    _, _, prefix_kv = packed.prefill([build_trie([prefix])], keep=True)
    generated = 5
    tries = [build_trie([branch[:-generated] for branch in branches[:2]]), build_trie([branches[2][:-generated]])]
    _, _, kv = packed.prefill(tries, prefix_kv, len(prefix), keep=True)
    cache = kv_cache.DecodeCache.allocate(tries, prefix_kv, len(prefix), packed.device)
    cache.write_prefill(0, [len(trie.tokens) for trie in tries], kv, 30)
    alive = [0, 1, 2]
    for k in range(generated):
        if k == 3:
            cache, alive = cache.select_rows([1, 2]), [1, 2]
        tokens = [branches[row][len(branches[row]) - generated + k] for row in alive]
        states = packed.decode(tokens, DecodeStep(cache, list(range(len(alive))), [k] * len(alive)))
    got = torch.cat(list(packed._head.logits(states)), dim=-1).log_softmax(-1)
    assert torch.allclose(got, torch.stack([expected[row] for row in alive]), atol=2e-5)
