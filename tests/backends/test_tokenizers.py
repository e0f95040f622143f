"""Tokenizers that come as a sentencepiece model, as those of rinna and Llama 2 do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import sentencepiece

from jglue_app.backends import open_backend
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec, Output, Prompt
from tests.conftest import JAPANESE, TinyModel

PROMPT = "前提：犬が庭を走っている。\n関係："


@pytest.fixture(scope="module")
def spiece(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentencepiece model trained on a few Japanese sentences."""
    folder = tmp_path_factory.mktemp("spiece")
    (folder / "text.txt").write_text("\n".join(JAPANESE * 20), "utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text.txt"),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=450,
        model_type="unigram",
        byte_fallback=True,
        hard_vocab_limit=False,
        pad_id=3,
        minloglevel=2,
    )
    return folder / "tokenizer.model"


@pytest.mark.parametrize(
    ("class_name", "file", "adds_bos"),
    [("LlamaTokenizer", "tokenizer.model", True), ("T5Tokenizer", "spiece.model", False)],
)
def test_a_model_with_a_sentencepiece_tokenizer_answers(
    tiny_model: TinyModel,
    spiece: Path,
    settings: Settings,
    tmp_path: Path,
    class_name: str,
    file: str,
    adds_bos: bool,
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model("llama"), folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    shutil.copy(spiece, folder / file)
    config: dict[str, object] = {
        "tokenizer_class": class_name,
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
    }
    config |= {"add_bos_token": True} if adds_bos else {}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")

    backend = open_backend(ModelSpec(str(folder)), settings, device="cpu")
    prompt = Prompt("jnli", "1", PROMPT, None, ("\n",), ("含意", "矛盾", "中立"), "", (), "")
    ((_, generated),) = list(backend.generate([prompt], 4, lambda: False))
    ((_, chosen),) = list(backend.choose([prompt], lambda: False))
    backend.close()

    bare = sentencepiece.SentencePieceProcessor(model_file=str(spiece)).encode(PROMPT)
    assert isinstance(generated, Output)
    assert generated.prompt_tokens == len(bare) + adds_bos
    assert backend.info.adds_bos == adds_bos
    assert isinstance(chosen, Output)
    assert chosen.choice_logprobs is not None
    assert len(chosen.choice_logprobs) == 3
