"""Every way of running a model gives what plain transformers gives, or is not used."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.masking_utils import AttentionMaskInterface

from jglue_app.api import evaluate
from jglue_app.backends import open_backend
from jglue_app.backends.hf.ablation import ALL, Optimizations, without
from jglue_app.backends.hf.backend import HFBackend
from jglue_app.backends.hf.engine import packed_attention
from jglue_app.backends.hf.engine.equivalence import NotCausalError, ReferenceModel
from jglue_app.backends.hf.engine.linear import READ_ELSEWHERE, PackedLinear, pack_layers, watch_reads
from jglue_app.backends.hf.engine.packed_engine import PackedEngine
from jglue_app.backends.hf.engine.packed_model import PackedModel
from jglue_app.backends.hf.memory import config_sizes, memory_budget
from jglue_app.errors import ModelError
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec, Output, Prompt, RunError
from tests.conftest import JAPANESE, TinyModel

ANSWERS = ("含意", "矛盾", "中立", "はい")
BASE = {
    "vocab_size": 500,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "initializer_range": 0.4,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
    "tie_word_embeddings": False,
}
TEXTS = (
    "空は青い。",
    "".join(JAPANESE[:3]),
    "".join(JAPANESE),
    "".join(JAPANESE) + "雨が降った。",
)


def never() -> bool:
    return False


def prompt(text: str) -> Prompt:
    return Prompt("jnli", text, text, None, (), ANSWERS, "", (), "")


@pytest.fixture
def save(tiny_model: TinyModel, tmp_path: Path) -> Callable[..., Path]:
    """Save a model of some class with the shared tokenizer."""

    def made(config: Any, model: Any, name: str = "model", **more: Any) -> Path:
        torch.manual_seed(0)
        folder = tmp_path / name
        built = model(config(**(BASE | more)))
        with torch.no_grad():
            for parameter in built.parameters():
                if parameter.dim() == 1 and float(parameter.abs().max()) == 0:
                    parameter.uniform_(-0.3, 0.3)
        built.save_pretrained(folder)
        AutoTokenizer.from_pretrained(tiny_model("llama")).save_pretrained(folder)
        return folder

    return made


def ignore_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let packed passes know nothing of masks, as of those that are of no kind known here."""
    monkeypatch.setitem(AttentionMaskInterface._global_mapping, packed_attention.NAME, lambda *_, **__: None)


def opened(folder: Path, settings: Settings, dtype: str = "float32") -> HFBackend:
    backend = open_backend(ModelSpec(str(folder), dtype=dtype), settings, device="cpu")
    assert isinstance(backend, HFBackend)
    return backend


def packed_model(backend: HFBackend) -> Any:
    assert isinstance(backend._engine, PackedEngine)
    return backend._engine._model


def plain_scores(folder: Path, texts: Sequence[str], dtype: torch.dtype = torch.float32) -> list[list[float]]:
    """By transformers alone, one sequence after the other, without a cache."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    out = []
    for text in texts:
        row = []
        for answer in ANSWERS:
            context, ids = tokenizer(text)["input_ids"], tokenizer(text + answer)["input_ids"]
            with torch.no_grad():
                logprobs = model(input_ids=torch.tensor([ids])).logits[0].float().log_softmax(-1)
            row.append(float(sum(logprobs[k - 1, ids[k]] for k in range(len(context), len(ids)))))
        out.append(row)
    return out


def plain_texts(folder: Path, texts: Sequence[str], count: int) -> list[str]:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    out = []
    for text in texts:
        ids, new = tokenizer(text)["input_ids"], list[int]()
        while len(new) < count:
            with torch.no_grad():
                best = int(model(input_ids=torch.tensor([ids + new])).logits[0, -1].argmax())
            if best == 1:
                break
            new.append(best)
        out.append(tokenizer.decode(new, skip_special_tokens=True))
    return out


def scores_of(backend: HFBackend, texts: Sequence[str] = TEXTS) -> list[list[float]]:
    found = dict(backend.choose([prompt(text) for text in texts], never))
    assert all(isinstance(found[i], Output) for i in range(len(texts))), found
    return [list(found[i].choice_logprobs or ()) for i in range(len(texts))]  # type: ignore[union-attr]


def texts_of(backend: HFBackend, count: int, texts: Sequence[str] = TEXTS) -> list[str]:
    found = dict(backend.generate([prompt(text) for text in texts], count, never))
    return [str(found[i].text) for i in range(len(texts))]  # type: ignore[union-attr]


def worst(a: list[list[float]], b: list[list[float]]) -> float:
    return max(abs(x - y) for one, other in zip(a, b, strict=True) for x, y in zip(one, other, strict=True))


# --- what follows the head ---------------------------------------------------------------------------------


CAPPED = {"final_logit_softcapping": 6.0, "head_dim": 16, "tie_word_embeddings": True}


@pytest.mark.parametrize(
    ("config", "model", "more"),
    [
        (transformers.Gemma3TextConfig, transformers.Gemma3ForCausalLM, CAPPED),
        (transformers.GraniteConfig, transformers.GraniteForCausalLM, {"logits_scaling": 8.0}),
        (transformers.CohereConfig, transformers.CohereForCausalLM, {"logit_scale": 0.25, "tie_word_embeddings": True}),
    ],
)
def test_caps_and_factors_behind_the_head_are_applied_in_every_dtype(
    config: Any, model: Any, more: dict[str, Any], save: Callable[..., Path], settings: Settings
) -> None:
    folder = save(config, model, **more)
    exact = plain_scores(folder, TEXTS)
    backend = opened(folder, settings)
    assert backend.info.engine == "packed"
    assert worst(scores_of(backend), exact) < 1e-3
    assert texts_of(backend, 8) == plain_texts(folder, TEXTS, 8)
    own_rounding = worst(plain_scores(folder, TEXTS, torch.bfloat16), exact)
    half = opened(folder, settings, "bfloat16")
    assert half.info.engine == "packed"
    assert worst(scores_of(half), exact) < 2 * own_rounding + 0.05


# --- switches of the length -----------------------------------------------------------------------------------


def test_a_window_that_only_the_mask_knows_is_found_out_when_a_prompt_is_longer_than_it(
    save: Callable[..., Path], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Qwen2-MoE names no window to its attention: without its mask the packed engine sees everything."""
    ignore_masks(monkeypatch)
    more: dict[str, Any] = {
        "use_sliding_window": True,
        "sliding_window": 200,
        "max_window_layers": 0,
        "num_hidden_layers": 2,
    }
    more |= {"moe_intermediate_size": 32, "shared_expert_intermediate_size": 32, "num_experts": 4}
    more |= {"num_experts_per_tok": 2, "layer_types": ["sliding_attention"] * 2}
    folder = save(transformers.Qwen2MoeConfig, transformers.Qwen2MoeForCausalLM, **more)
    backend = opened(folder, settings)
    assert backend.info.engine == "packed"
    short = TEXTS[:2]
    assert worst(scores_of(backend, short), plain_scores(folder, short)) < 1e-3
    assert backend.info.engine == "packed"
    long = ["".join(JAPANESE) * 2, "".join(JAPANESE) * 2 + "雨。"]
    assert len(AutoTokenizer.from_pretrained(folder)(long[0])["input_ids"]) > 210
    assert worst(scores_of(backend, long), plain_scores(folder, long)) < 1e-3
    assert backend.info.engine == "padded batches"
    assert "log-probabilities differ" in backend.info.engine_reason


def test_windows_that_attention_is_told_of_stay_packed_beyond_their_end(
    save: Callable[..., Path], settings: Settings
) -> None:
    layers = ["sliding_attention", "full_attention"]
    more = CAPPED | {"sliding_window": 170, "layer_types": layers}
    folder = save(transformers.Gemma3TextConfig, transformers.Gemma3ForCausalLM, **more)
    backend = opened(folder, settings)
    long = ["".join(JAPANESE) * 2, "".join(JAPANESE) * 2 + "雨。"]
    assert worst(scores_of(backend, long), plain_scores(folder, long)) < 1e-3
    assert backend.info.engine == "packed"
    assert packed_model(backend).verified_length > 170


@pytest.mark.parametrize(
    ("config", "model"),
    [
        (transformers.Phi3Config, transformers.Phi3ForCausalLM),
        (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    ],
)
def test_positions_that_depend_on_the_whole_length_go_alone_beyond_their_first_range(
    config: Any, model: Any, save: Callable[..., Path], settings: Settings
) -> None:
    factors = [1.0 + 0.4 * k for k in range(8)]
    rope = {
        "rope_type": "longrope",
        "rope_theta": 10_000.0,
        "short_factor": [1.0] * 8,
        "long_factor": factors,
        "original_max_position_embeddings": 64,
        "factor": 16.0,
    }
    more = {"original_max_position_embeddings": 64} if config is transformers.Phi3Config else {}
    folder = save(config, model, rope_parameters=rope, **more)
    sizes_ = [len(ids) for ids in AutoTokenizer.from_pretrained(folder)(list(TEXTS))["input_ids"]]
    assert min(sizes_) < 40 < 80 < max(sizes_)
    backend = opened(folder, settings)
    assert backend.info.engine == "packed"
    assert backend._reference.max_batched_length == 63
    assert worst(scores_of(backend), plain_scores(folder, TEXTS)) < 1e-3
    assert texts_of(backend, 6) == plain_texts(folder, TEXTS, 6)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    crossing = next(
        text for k in range(200) if 56 <= len(tokenizer(text := ("".join(JAPANESE))[:k])["input_ids"]) <= 58
    )
    assert texts_of(backend, 20, [crossing]) == plain_texts(folder, [crossing], 20)
    # In another order, and after one another, the same.
    assert worst(scores_of(backend, TEXTS[::-1]), plain_scores(folder, TEXTS[::-1])) < 1e-3


@pytest.mark.parametrize(
    ("config", "model", "rope"),
    [
        (transformers.LlamaConfig, transformers.LlamaForCausalLM, {"rope_type": "llama3", "factor": 8.0}),
        (transformers.Qwen3Config, transformers.Qwen3ForCausalLM, {"rope_type": "yarn", "factor": 4.0}),
    ],
)
def test_positions_that_are_stretched_once_for_all_need_no_further_comparison(
    config: Any, model: Any, rope: dict[str, Any], save: Callable[..., Path], settings: Settings
) -> None:
    rope |= {"rope_theta": 10_000.0, "original_max_position_embeddings": 200}
    rope |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0} if rope["rope_type"] == "llama3" else {}
    folder = save(
        config, model, rope_parameters=rope, **({"head_dim": 16} if config is transformers.Qwen3Config else {})
    )
    backend = opened(folder, settings)
    long = ["".join(JAPANESE) * 2, "".join(JAPANESE) * 2 + "雨。"]
    assert worst(scores_of(backend, long), plain_scores(folder, long)) < 1e-3
    assert backend.info.engine == "packed"
    assert packed_model(backend).verified_length < 200
    assert isinstance(dict(backend.generate([prompt(TEXTS[0])], 600, never))[0], Output)


def test_a_text_that_grows_over_a_window_is_compared_then_and_goes_on_in_batches(
    save: Callable[..., Path], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ignore_masks(monkeypatch)
    more: dict[str, Any] = {"use_sliding_window": True, "sliding_window": 180, "max_window_layers": 0}
    more |= {"moe_intermediate_size": 32, "shared_expert_intermediate_size": 32, "num_experts": 4}
    more |= {"num_experts_per_tok": 2, "layer_types": ["sliding_attention"] * 2}
    folder = save(transformers.Qwen2MoeConfig, transformers.Qwen2MoeForCausalLM, **more)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = next(
        text for k in range(400) if len(tokenizer(text := ("".join(JAPANESE) * 2)[:k])["input_ids"]) in (165, 166, 167)
    )
    backend = opened(folder, settings)
    assert backend.info.engine == "packed"
    assert texts_of(backend, 24, [text, TEXTS[0]]) == plain_texts(folder, [text, TEXTS[0]], 24)
    assert backend.info.engine == "padded batches"


@pytest.mark.parametrize("optimizations", [ALL, without(["packing"])])
def test_texts_whose_comparison_does_not_fit_into_memory_are_not_run_and_others_are(
    save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, optimizations: Optimizations
) -> None:
    more = CAPPED | {"sliding_window": 170, "layer_types": ["sliding_attention", "full_attention"]}
    folder = save(transformers.Gemma3TextConfig, transformers.Gemma3ForCausalLM, **more)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    backend = HFBackend(ModelSpec("tiny"), "commit", model, tokenizer, optimizations=optimizations)
    prompts = [prompt("雨。"), prompt("".join(JAPANESE) * 2)]
    # Of 170 tokens and more, each pair takes 5 bytes or more; the short text needs less than that.
    monkeypatch.setattr("jglue_app.backends.hf.memory.free_bytes", lambda device: 5 * 170**2)
    for found in (dict(backend.choose(prompts, never)), dict(backend.generate(prompts, 2, never))):
        assert isinstance(found[0], Output)
        assert isinstance(found[1], RunError) and found[1].kind == "out_of_memory"
    monkeypatch.undo()
    assert all(isinstance(found, Output) for found in dict(backend.generate(prompts, 2, never)).values())


@pytest.mark.parametrize("optimizations", [ALL, without(["packing"])])
def test_a_stop_is_seen_within_a_comparison_and_within_a_pass(
    save: Callable[..., Path], optimizations: Optimizations
) -> None:
    more = CAPPED | {"sliding_window": 170, "layer_types": ["sliding_attention", "full_attention"]}
    folder = save(transformers.Gemma3TextConfig, transformers.Gemma3ForCausalLM, **more)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    backend = HFBackend(ModelSpec("tiny"), "commit", model, tokenizer, optimizations=optimizations)
    passes: list[int] = []
    layer = model.base_model.layers[0]
    layer.register_forward_hook(lambda _module, given, _output: passes.append(given[0].shape[1]))
    last = model.base_model.layers[-1]
    ended: list[int] = []
    last.register_forward_hook(lambda _module, given, _output: ended.append(given[0].shape[1]))
    long = [prompt("".join(JAPANESE) * 2)]
    expected = dict(backend.choose([prompt("雨。")], never))
    passes.clear()
    ended.clear()
    # A pass has two layers: it ends between them, first in the comparison and then, once it was made, in the text.
    assert dict(backend.choose(long, lambda: bool(passes))) == {}
    assert (len(passes), ended) == (1, [])
    assert isinstance(dict(backend.choose(long, never))[0], Output)
    passes.clear()
    ended.clear()
    assert dict(backend.choose(long, lambda: bool(passes))) == {}
    assert (len(passes), ended) == (1, [])
    again = dict(backend.choose([prompt("雨。")], never))[0]
    assert isinstance(again, Output) and isinstance(expected[0], Output)
    assert again.choice_logprobs == pytest.approx(expected[0].choice_logprobs, abs=1e-4)


def test_a_comparison_that_fails_leaves_the_model_right(
    save: Callable[..., Path], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = ["sliding_attention", "full_attention"]
    folder = save(
        transformers.Gemma3TextConfig,
        transformers.Gemma3ForCausalLM,
        **CAPPED | {"sliding_window": 170, "layer_types": layers},
    )
    backend = opened(folder, settings)
    long = ["".join(JAPANESE) * 2, "".join(JAPANESE) * 2 + "雨。"]

    logprobs = backend._reference.logprobs

    def no_memory(ids: Sequence[int], last: int, **options: bool) -> torch.Tensor:
        if len(ids) > 170:
            raise torch.OutOfMemoryError("no room for the comparison")
        return logprobs(ids, last, **options)

    with monkeypatch.context() as patch:
        patch.setattr(backend._reference, "logprobs", no_memory)
        assert worst(scores_of(backend, long), plain_scores(folder, long)) < 1e-3
    assert backend.info.engine == "padded batches"
    assert "no room for the comparison" in backend.info.engine_reason
    shared = [TEXTS[2], TEXTS[3]]
    assert worst(scores_of(backend, shared), plain_scores(folder, shared)) < 1e-3


def test_what_speaks_to_one_way_of_running_never_reaches_another(save: Callable[..., Path], settings: Settings) -> None:
    """A call that is left suspended while another is made on the same model."""
    rope = {"rope_type": "longrope", "rope_theta": 10_000.0, "short_factor": [1.0] * 8, "factor": 16.0}
    rope |= {"long_factor": [1.0 + 0.4 * k for k in range(8)], "original_max_position_embeddings": 64}
    folder = save(transformers.LlamaConfig, transformers.LlamaForCausalLM, rope_parameters=rope)
    backend = opened(folder, settings)
    assert backend._reference.max_batched_length == 63
    suspended = backend.choose([prompt(TEXTS[2]), prompt(TEXTS[3])], never)
    next(suspended)
    assert worst(scores_of(backend, TEXTS), plain_scores(folder, TEXTS)) < 1e-3
    rest = dict(suspended)
    assert len(rest) == 1
    assert "one at a time" in backend.info.engine_reason
    again: Any = backend.choose([prompt(TEXTS[2])], never)
    next(again)
    backend.close()
    again.close()


# --- several together and one alone ---------------------------------------------------------------------------------


def test_a_state_that_padding_would_enter_goes_in_rows_of_equal_length(
    save: Callable[..., Path], settings: Settings
) -> None:
    more = {"lru_width": 64, "attention_window_size": 48, "block_types": ["recurrent", "attention"]}
    folder = save(transformers.RecurrentGemmaConfig, transformers.RecurrentGemmaForCausalLM, **more)
    backend = opened(folder, settings)
    assert backend.info.engine == "batches of equal length"
    assert "padded batches" in backend.info.engine_reason
    assert worst(scores_of(backend), plain_scores(folder, TEXTS)) < 1e-3
    assert texts_of(backend, 6) == plain_texts(folder, TEXTS, 6)


def test_the_manifest_says_how_prompts_went_and_why(save: Callable[..., Path], tiny_model: TinyModel) -> None:
    more = {"lru_width": 64, "attention_window_size": 48, "block_types": ["recurrent", "attention"]}
    folder = save(transformers.RecurrentGemmaConfig, transformers.RecurrentGemmaForCausalLM, **more)
    for model, engine in ((folder, "batches of equal length"), (tiny_model("llama"), "packed")):
        run = evaluate(str(model), tasks=["jnli"], data="sample", limit=2)
        facts = json.loads((run.path / "manifest.json").read_text("utf-8"))["model"]
        assert facts["engine"] == engine
        assert ("padded batches: log-probabilities differ by" in facts["engine_reason"]) == (engine != "packed")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_state_space_and_recurrent_models_answer_on_a_cpu(
    dtype: str, save: Callable[..., Path], settings: Settings
) -> None:
    folder = save(transformers.MambaConfig, transformers.MambaForCausalLM, "mamba", state_size=8)
    small = {k: v for k, v in BASE.items() if k not in ("num_attention_heads", "num_key_value_heads")}
    torch.manual_seed(0)
    rwkv = transformers.RwkvForCausalLM(transformers.RwkvConfig(**small, attention_hidden_size=64, context_length=512))
    rwkv.save_pretrained(folder.with_name("rwkv"))
    AutoTokenizer.from_pretrained(folder).save_pretrained(folder.with_name("rwkv"))
    for name in ("mamba", "rwkv"):
        backend = opened(folder.with_name(name), settings, dtype)
        own = plain_scores(folder.with_name(name), TEXTS[:3], getattr(torch, dtype))
        exact = plain_scores(folder.with_name(name), TEXTS[:3])
        allowed = 1e-3 if dtype == "float32" else 2 * worst(own, exact) + 0.02
        assert worst(scores_of(backend, TEXTS[:3]), exact) < allowed, name
        backend.close()


def test_a_model_in_which_later_tokens_count_is_refused(save: Callable[..., Path], settings: Settings) -> None:
    torch.manual_seed(0)
    model = transformers.BertLMHeadModel(
        transformers.BertConfig(**{k: v for k, v in BASE.items() if k != "num_key_value_heads"})
    ).eval()
    with pytest.raises(NotCausalError, match="log-probabilities differ"):
        ReferenceModel(model, 512)
    model = transformers.BertLMHeadModel(
        transformers.BertConfig(**{k: v for k, v in BASE.items() if k != "num_key_value_heads"}, is_decoder=True)
    ).eval()
    ReferenceModel(model, 512)


def test_a_model_that_fails_on_its_first_text_is_refused_in_a_sentence(
    tiny_model: TinyModel, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model("llama"), dtype=torch.float32)
    model.model.layers[0].mlp.up_proj = torch.nn.Linear(7, 5)
    with pytest.raises(ModelError, match=r"tiny fails on a first short text \(RuntimeError: .*Try another dtype"):
        HFBackend(ModelSpec("tiny"), "c", model, AutoTokenizer.from_pretrained(tiny_model("llama")))


# --- long prompts ---------------------------------------------------------------------------------------------


def test_a_long_prompt_in_pieces_gives_the_same(tiny_model: TinyModel, settings: Settings) -> None:
    for architecture in ("llama", "gemma3"):
        folder = tiny_model(architecture)
        whole, cut = opened(folder, settings), opened(folder, settings)
        engine: Any = cut._engine
        engine._max_pass_tokens = engine._model.chunk_tokens = 32
        read: list[int] = []
        run = engine._model._forward

        def noted(ids: Sequence[int], *rest: Any, run: Any = run, read: list[int] = read) -> Any:
            read.append(len(ids))
            return run(ids, *rest)

        engine._model._forward = noted
        assert worst(scores_of(cut), scores_of(whole)) < 1e-4
        assert texts_of(cut, 8) == texts_of(whole, 8)
        assert max(read) <= 40 < len(AutoTokenizer.from_pretrained(folder)(TEXTS[2])["input_ids"])


def test_reading_in_pieces_is_part_of_the_first_comparison(
    tiny_model: TinyModel, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut: list[int] = []
    read = PackedModel._prefill_in_chunks

    def noted(self: PackedModel, trie: Any, *rest: Any) -> Any:
        cut.append(len(trie.tokens))
        return read(self, trie, *rest)

    monkeypatch.setattr(PackedModel, "_prefill_in_chunks", noted)
    assert opened(tiny_model("llama"), settings).packed
    assert cut


def test_a_wish_to_stop_is_seen_between_the_pieces(save: Callable[..., Path], settings: Settings) -> None:
    backend = opened(save(transformers.LlamaConfig, transformers.LlamaForCausalLM), settings)
    engine: Any = backend._engine
    model = engine._model
    model.chunk_tokens = engine._max_pass_tokens = 32
    asked: list[int] = []

    def stop() -> bool:
        asked.append(model.counters.forward_tokens)
        return len(asked) > 3

    model.counters.reset()
    assert list(backend.generate([prompt(TEXTS[2] * 2)], 4, stop)) == []
    assert 32 < model.counters.forward_tokens < 200
    model.counters.reset()
    assert list(backend.choose([prompt(TEXTS[2] * 2)], lambda: model.counters.forward_tokens > 200)) == []
    assert model.counters.forward_tokens < 300


def test_the_mask_of_a_long_prompt_stays_within_the_budget(tiny_model: TinyModel, settings: Settings) -> None:
    model = packed_model(opened(tiny_model("llama"), settings))
    model.chunk_tokens, model.max_mask_bytes = 1_024, 2**20
    # Two query heads share a key head; a mask takes five bytes for every query and key.
    assert model._chunk_size(0, 1_000) == 2**20 // (5 * 2 * 1_000)
    assert model._chunk_size(500, 500) == model._chunk_size(0, 1_000)


def test_an_operator_bounds_the_tokens_of_a_prompt(tiny_model: TinyModel, settings: Settings) -> None:
    for architecture in ("llama", "mpt"):
        backend = opened(tiny_model(architecture), replace(settings, max_prompt_tokens=60))
        for results in (
            dict(backend.choose([prompt(TEXTS[2]), prompt(TEXTS[0])], never)),
            dict(backend.generate([prompt(TEXTS[2]), prompt(TEXTS[0])], 3, never)),
        ):
            refused = results[0]
            assert isinstance(refused, RunError)
            assert refused.kind == "too_long"
            assert "at most 60 are read here" in refused.message
            assert isinstance(results[1], Output)


# --- layers and sizes -------------------------------------------------------------------------------------------


def test_layers_whose_weight_other_code_reads_or_changes_are_left_alone(save: Callable[..., Path]) -> None:
    torch.manual_seed(0)
    small = {k: v for k, v in BASE.items() if k not in ("num_attention_heads", "num_key_value_heads")}
    model = transformers.RwkvForCausalLM(transformers.RwkvConfig(**small, attention_hidden_size=64, rescale_every=1))
    model.eval()
    with watch_reads(model):
        ReferenceModel(model, 512)
    assert all(READ_ELSEWHERE in block.attention.output.__dict__ for block in model.rwkv.blocks)
    before = model(input_ids=torch.tensor([[5, 6, 7]])).logits
    pack_layers(model)
    assert not any(isinstance(block.attention.output, PackedLinear) for block in model.rwkv.blocks)
    assert any(isinstance(module, PackedLinear) for module in model.modules())
    assert torch.allclose(model(input_ids=torch.tensor([[5, 6, 7]])).logits, before, atol=1e-4)


def test_a_packed_layer_shows_its_weight_bias_and_dtype() -> None:
    torch.manual_seed(0)
    for dtype in (torch.float32, torch.bfloat16):
        layer = torch.nn.Linear(24, 40).to(dtype)
        packed = PackedLinear(layer)
        assert torch.equal(packed.weight, layer.weight)
        assert packed.bias is not None
        assert torch.equal(packed.bias, layer.bias)
        assert packed.weight.dtype == dtype


def test_sizes_that_differ_between_layers_count_as_the_largest(save: Callable[..., Path]) -> None:
    more: dict[str, Any] = {
        "head_dim": 16,
        "global_head_dim": 32,
        "hidden_size_per_layer_input": 16,
        "vocab_size_per_layer_input": 500,
    }
    more |= {"num_kv_shared_layers": 0, "layer_types": ["sliding_attention", "full_attention"], "sliding_window": 24}
    torch.manual_seed(0)
    model = transformers.Gemma4ForCausalLM(transformers.Gemma4TextConfig(**(BASE | more)))
    # 2 layers × keys and values × 2 heads × 32 × 4 bytes
    assert memory_budget(model).kv_bytes == 2 * 2 * 2 * 32 * 4
    n = transformers.Gemma3nTextConfig(num_hidden_layers=4, intermediate_size=[128, 256, 128, 64])
    assert max(config_sizes(n, "intermediate_size")) == 256


@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
@pytest.mark.slow
def test_the_embedded_model_in_few_bits_answers_one_prompt_as_it_answers_it_among_others(
    quantization: str, settings: Settings
) -> None:
    """In 8 bits what is an outlier depends on all tokens that are multiplied together."""
    backend = open_backend(ModelSpec("gemma-3-270m", quantization=quantization), settings, device="cpu")
    assert isinstance(backend, HFBackend)
    if quantization == "8bit":
        assert backend.info.engine == "one at a time"
        assert "depend on what is computed together" in backend.info.engine_reason
    alone = [scores_of(backend, [text])[0] for text in TEXTS[:2]]
    assert worst(scores_of(backend, TEXTS), [*alone, *scores_of(backend, TEXTS)[2:]]) < 0.3
    backend.close()
