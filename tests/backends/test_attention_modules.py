"""Architectures whose attention is not transformers' usual one: packed, they answer as their own forward pass does."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
import transformers

from jglue_app.backends.hf.backend import HFBackend
from jglue_app.backends.hf.engine.packed_engine import PackedEngine
from jglue_app.types import ModelSpec, Prompt
from tests.architectures import enliven, tokenizer
from tests.backends.contract import collect, logprobs_of, make_prompt, never, text_of

ANSWERS = ("含意", "矛盾", "はい、そうです")
HEAD = "前提：犬が庭を走っている。\n仮説：動物が外にいる。\n関係：含意\n\n"
LONG = "東京は日本の首都で、多くの人が住んでいる大きな町である。" * 5
PROMPTS = [make_prompt(HEAD + end, ANSWERS) for end in ("冬", "店は開いている。\n関係：", LONG, LONG + "京都には寺が")]
"""Of very different lengths; all share a beginning, and two of them nearly everything."""
NEW_TOKENS = 6
VOCABULARY = 500

Case = tuple[type[Any], dict[str, Any]]


def bloom(heads: int) -> Case:
    return transformers.BloomConfig, {"hidden_size": 8 * heads, "n_layer": 2, "n_head": heads}


def mpt(heads: int, **attention: Any) -> Case:
    sizes = {"d_model": 8 * heads, "n_layers": 2, "n_heads": heads, "max_seq_len": 512, "expansion_ratio": 2}
    return transformers.MptConfig, sizes | {"attn_config": attention}


def falcon(heads: int, **more: Any) -> Case:
    sizes = {"hidden_size": 8 * heads, "num_hidden_layers": 2, "num_attention_heads": heads}
    return transformers.FalconConfig, sizes | {"bias": True, "new_decoder_architecture": False} | more


GEMMA2 = {"num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"], "sliding_window": 24}
GEMMA2 |= {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
OSS = GEMMA2 | {"num_local_experts": 2, "num_experts_per_tok": 1}
GEMMA2 |= {"query_pre_attn_scalar": 8, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 6.0}
NEO = {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "intermediate_size": 48, "window_size": 24}
XGLM = {"d_model": 32, "num_layers": 2, "attention_heads": 4, "ffn_dim": 48, "attention_dropout": 0.0, "dropout": 0.0}
CASES: dict[str, Case] = {
    "bloom": bloom(4),
    "bloom whose number of heads is no power of two": bloom(6),
    "mpt": mpt(4),
    "mpt with other heads, a clip and a scale": mpt(6, clip_qkv=1.0, softmax_scale=0.5),
    # transformers adds the bias of positions to every MPT.
    "mpt that says it has no alibi": mpt(4, alibi=False),
    "falcon with alibi": falcon(6, alibi=True, multi_query=False),
    "falcon with alibi and one key head": falcon(6, alibi=True, multi_query=True),
    "falcon": falcon(4, multi_query=True),
    "falcon with groups of heads": falcon(4, new_decoder_architecture=True, num_kv_heads=2),
    "gpt-neo": (transformers.GPTNeoConfig, NEO | {"attention_types": [[["global", "local"], 1]]}),
    "xglm": (transformers.XGLMConfig, XGLM),
    "gemma2": (transformers.Gemma2Config, GEMMA2),
    "gpt-oss": (transformers.GptOssConfig, OSS),
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def made(case: Case, spread: float = 0.3) -> Any:
    """A model with random weights, large enough that positions, caps and sinks matter."""
    kind, fields = case
    torch.manual_seed(0)
    ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    config = kind(vocab_size=VOCABULARY, initializer_range=spread, **ids, **fields)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    enliven(model, spread)
    return model


class Plain:
    """The model's own forward pass, one whole sequence at a time."""

    def __init__(self, model: Any) -> None:
        self.model = copy.deepcopy(model)

    @torch.inference_mode()
    def logprobs(self, ids: Sequence[int]) -> torch.Tensor:
        logits: torch.Tensor = self.model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0]
        return logits.log_softmax(-1)

    def scores(self, prompt: Prompt) -> list[float]:
        start = len(tokenizer()(prompt.text)["input_ids"])
        out: list[float] = []
        for answer in prompt.answers:
            ids = tokenizer()(prompt.text + answer)["input_ids"]
            rows = self.logprobs(ids)
            out.append(float(sum(rows[k - 1, ids[k]] for k in range(start, len(ids)))))
        return out

    def written(self, prompt: Prompt) -> str:
        ids: list[int] = tokenizer()(prompt.text)["input_ids"]
        new: list[int] = []
        while len(new) < NEW_TOKENS:
            best = int(self.logprobs([*ids, *new])[-1].argmax())
            if best == 1:
                break
            new.append(best)
        return str(tokenizer().decode(new, skip_special_tokens=True))


def packed(model: Any) -> HFBackend:
    backend = HFBackend(ModelSpec("tiny"), "c", model, tokenizer())
    assert isinstance(backend._engine, PackedEngine), backend.info.engine_reason
    return backend


def assert_same(backend: HFBackend, plain: Plain) -> None:
    chosen = collect(backend.choose(PROMPTS, never))
    for i, prompt in enumerate(PROMPTS):
        assert logprobs_of(chosen[i]) == pytest.approx(plain.scores(prompt), abs=1e-4)
    texts = collect(backend.generate(PROMPTS, NEW_TOKENS, never))
    assert [text_of(texts[i]) for i in range(len(PROMPTS))] == [plain.written(prompt) for prompt in PROMPTS]


@pytest.mark.parametrize("name", CASES)
def test_packed_scores_and_texts_are_those_of_the_models_own_forward_pass(name: str) -> None:
    model = made(CASES[name])
    plain = Plain(model)
    assert_same(packed(model), plain)


@pytest.mark.parametrize("name", ["bloom", "gpt-oss"])
def test_memory_that_runs_out_in_the_middle_changes_no_result(name: str) -> None:
    model = made(CASES[name])
    plain, backend = Plain(model), packed(model)
    body = model.base_model
    forward = body.forward
    refused: list[int] = []

    def small(*args: Any, **kwargs: Any) -> Any:
        if (tokens := kwargs["input_ids"].shape[1]) > 48:
            refused.append(tokens)
            raise torch.OutOfMemoryError("CUDA out of memory, on purpose")
        return forward(*args, **kwargs)

    body.forward = small
    assert_same(backend, plain)
    assert refused


@pytest.mark.parametrize("name", ["bloom", "mpt"])
def test_outside_of_a_packed_pass_the_model_is_as_it_was(name: str) -> None:
    model = made(CASES[name])
    attention = model.config._attn_implementation
    ids = torch.tensor([tokenizer()(LONG)["input_ids"]])
    with torch.inference_mode():
        before = model(input_ids=ids, use_cache=False).logits
    backend = packed(model)
    running: Any = backend.choose(PROMPTS, never)
    next(running)
    assert model.config._attn_implementation == attention
    assert not any("forward" in module.__dict__ for module in model.modules())
    with torch.inference_mode():
        assert torch.allclose(model(input_ids=ids, use_cache=False).logits, before, atol=1e-4)
    running.close()


def test_code_that_changed_so_that_results_differ_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.models.bloom import modeling_bloom

    usual = modeling_bloom.build_alibi_tensor
    monkeypatch.setattr(modeling_bloom, "build_alibi_tensor", lambda *arguments: usual(*arguments) * 1.01)
    model = made(CASES["bloom"])
    backend = HFBackend(ModelSpec("tiny"), "c", model, tokenizer())
    assert backend.info.engine != "packed"
    assert "packed: log-probabilities differ" in backend.info.engine_reason


def test_biases_are_not_rounded_to_the_dtype_of_the_model() -> None:
    """In bfloat16 the model itself rounds them, and the more the further they are from the start."""
    exact = made(CASES["bloom"])
    plain = Plain(exact)
    half = copy.deepcopy(exact).bfloat16()
    own = Plain(half)
    backend = packed(half)
    prompt = make_prompt(LONG, ANSWERS)
    expected = torch.tensor(plain.scores(prompt))
    error = (torch.tensor(logprobs_of(collect(backend.choose([prompt], never))[0])) - expected).abs().max()
    assert error <= 2 * (torch.tensor(own.scores(prompt)) - expected).abs().max() + 0.02
