"""Models of sentence-transformers against plain transformers, and what is refused."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from jglue_app.backends.embedding import Embedder, open_embedder, with_source
from jglue_app.backends.embedding.vectors import Embedding
from jglue_app.errors import DeviceError, InputError, ModelError, ModelNotFoundError, NetworkError, UnknownNameError
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec, RunError
from tests.embedding.sentence_model import save_static_model

TEXTS = ("海辺で犬が走っています。", "道路の端に自転車が三台止めてある。", "犬")


def spec_of(folder: Path) -> ModelSpec:
    return ModelSpec(str(folder), "sentence_transformers")


def vector(result: Embedding | RunError) -> np.ndarray:
    assert isinstance(result, Embedding)
    assert result.vector is not None
    return result.vector


def mean_of_states(folder: Path, text: str) -> np.ndarray:
    """The mean over all tokens, [CLS] and [SEP] among them, by transformers alone."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    with torch.inference_mode():
        states = model.eval()(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
    return np.asarray(states.double().mean(0).numpy())


@pytest.fixture
def encoder(sentence_model: Path, settings: Settings) -> Embedder:
    return open_embedder(spec_of(sentence_model), settings, device="cpu")


@pytest.fixture
def copy(sentence_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sentence_model, tmp_path / "copy"))


def test_a_vector_is_what_the_modules_make_of_the_text_with_its_prefix(encoder: Embedder, sentence_model: Path) -> None:
    for text, result in zip(TEXTS, encoder.embed(TEXTS, "類似："), strict=True):
        assert vector(result) == pytest.approx(mean_of_states(sentence_model, "類似：" + text), abs=1e-6)
    plain = encoder.embed(TEXTS[:1], "")
    assert vector(plain[0]) == pytest.approx(mean_of_states(sentence_model, TEXTS[0]), abs=1e-6)


def test_a_vector_does_not_depend_on_the_texts_beside_it(encoder: Embedder) -> None:
    together = encoder.embed(TEXTS, "")
    for text, result in zip(TEXTS, together, strict=True):
        (alone,) = encoder.embed([text], "")
        assert (vector(alone) == vector(result)).all()


def test_the_default_prompt_of_a_model_is_not_used_unasked(copy: Path, settings: Settings) -> None:
    path = copy / "config_sentence_transformers.json"
    path.write_text(json.dumps({"prompts": {"query": "query: "}, "default_prompt_name": "query"}), "utf-8")
    (result,) = open_embedder(spec_of(copy), settings, device="cpu").embed(TEXTS[:1], "")
    assert vector(result) == pytest.approx(mean_of_states(copy, TEXTS[0]), abs=1e-6)


def test_a_text_that_is_longer_than_the_model_takes_is_never_cut(encoder: Embedder) -> None:
    # [CLS], [SEP] and 62 characters of which none is in the vocabulary together with another one are 64 tokens.
    fits, long = encoder.embed(["!" * 62, "!" * 63], "")
    assert isinstance(fits, Embedding)
    assert isinstance(long, Embedding)
    assert (fits.tokens, long.tokens) == (64, 65)
    assert fits.vector is not None
    assert long.vector is None
    (with_prefix,) = encoder.embed(["!" * 62], "?")
    assert isinstance(with_prefix, Embedding)
    assert with_prefix.vector is None


def test_facts_about_the_model_say_how_vectors_are_made(encoder: Embedder, sentence_model: Path) -> None:
    info = encoder.info
    assert info.name == str(sentence_model)
    assert info.context_length == 64
    assert (info.dtype, info.device) == ("float32", "cpu")
    assert info.engine == "sentence-transformers (Transformer, Pooling mean); one text at a time"
    assert info.commit.startswith("local-")


def test_static_embeddings_are_means_of_rows_and_a_zero_row_has_no_cosine(tmp_path: Path, settings: Settings) -> None:
    rows = {"[UNK]": [0, 0], "犬": [3, 4], "猫": [4, 3], "魚": [0, 2], "station": [1, 1]}
    folder = save_static_model(tmp_path / "static", rows)
    embedder = open_embedder(spec_of(folder), settings, device="cpu")
    dog, both, unknown = embedder.embed(["犬", "猫 魚", "鳥"], "")
    assert list(vector(dog)) == [3, 4]
    assert list(vector(both)) == [2, 2.5]
    assert list(vector(unknown)) == [0, 0]


def test_one_vector_for_all_texts_is_refused(tmp_path: Path, settings: Settings) -> None:
    folder = save_static_model(tmp_path / "static", {"[UNK]": [1, 0], "犬": [3, 4]})
    with pytest.raises(ModelError, match="the same vector for different texts"):
        open_embedder(spec_of(folder), settings, device="cpu")


# --- refusals ---


def test_a_folder_without_modules_is_refused(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "config.json").write_text("{}", "utf-8")
    with pytest.raises(ModelNotFoundError, match=r"no modules\.json.*hidden-states"):
        open_embedder(spec_of(tmp_path), settings, device="cpu")


def test_code_of_a_repository_is_not_run(copy: Path, settings: Settings) -> None:
    modules = json.loads((copy / "modules.json").read_text("utf-8"))
    (copy / "evil.py").write_text(f"open({str(copy / 'ran')!r}, 'w')\nclass Evil: pass\n", "utf-8")
    modules[1]["type"] = "evil.Evil"
    (copy / "modules.json").write_text(json.dumps(modules), "utf-8")
    with pytest.raises(ModelError, match=r"code of its own \(evil.Evil\)"):
        open_embedder(spec_of(copy), settings, device="cpu")
    assert not (copy / "ran").exists()


def test_a_config_with_code_of_its_own_is_not_run(copy: Path, settings: Settings) -> None:
    config = json.loads((copy / "config.json").read_text("utf-8"))
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}}
    (copy / "evil.py").write_text(f"open({str(copy / 'ran')!r}, 'w')\n", "utf-8")
    (copy / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(ModelError, match="code of its own"):
        open_embedder(spec_of(copy), settings, device="cpu")
    assert not (copy / "ran").exists()


def test_pickled_weights_are_not_read(copy: Path, settings: Settings) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pickled \(pytorch_model.bin\)"):
        open_embedder(spec_of(copy), settings, device="cpu")


def test_a_module_outside_the_folder_is_refused(copy: Path, settings: Settings) -> None:
    modules = json.loads((copy / "modules.json").read_text("utf-8"))
    modules[1]["path"] = "../elsewhere"
    (copy / "modules.json").write_text(json.dumps(modules), "utf-8")
    with pytest.raises(ModelError, match="a folder outside it"):
        open_embedder(spec_of(copy), settings, device="cpu")


@pytest.mark.parametrize("text", ["", "{}", "[]", "[1]", "nonsense"])
def test_a_damaged_list_of_modules_is_a_sentence(copy: Path, settings: Settings, text: str) -> None:
    (copy / "modules.json").write_text(text, "utf-8")
    with pytest.raises(ModelError, match="no list of modules"):
        open_embedder(spec_of(copy), settings, device="cpu")


def test_weights_that_would_be_random_are_refused_and_a_missing_pooler_is_not(copy: Path, settings: Settings) -> None:
    file = copy / "model.safetensors"
    tensors = load_file(file)
    save_file({k: v for k, v in tensors.items() if "pooler" not in k}, file, {"format": "pt"})
    open_embedder(spec_of(copy), settings, device="cpu").close()
    save_file({k: v for k, v in tensors.items() if "layer.1.output" not in k}, file, {"format": "pt"})
    with pytest.raises(ModelError, match=r"lack 4 tensors .* such as encoder.layer.1.output"):
        open_embedder(spec_of(copy), settings, device="cpu")


def test_the_package_that_is_missing_is_named(
    sentence_model: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(DeviceError, match="pip install sentence-transformers"):
        open_embedder(spec_of(sentence_model), settings, device="cpu")


def test_options_of_language_models_are_refused(sentence_model: Path, settings: Settings) -> None:
    with pytest.raises(InputError, match="Quantization, GGUF files and adapters"):
        open_embedder(replace(spec_of(sentence_model), quantization="8bit"), settings, device="cpu")


def test_an_unknown_model_is_a_sentence(settings: Settings) -> None:
    with pytest.raises((ModelNotFoundError, NetworkError), match="no-such"):
        with_source(ModelSpec("owner/no-such"), None, settings)


def test_the_source_is_chosen_by_the_model(sentence_model: Path, tmp_path: Path, settings: Settings) -> None:
    def backend(model: str, source: str | None = None) -> str:
        return with_source(ModelSpec(model), source, settings).backend

    assert backend(str(sentence_model)) == "sentence_transformers"
    assert backend("gemma-3-270m") == "hf"
    assert backend(str(tmp_path)) == "hf"
    assert backend("file.gguf") == "hf"
    assert backend("owner/name", "sentence-transformers") == "sentence_transformers"
    assert backend(str(sentence_model), "hidden-states") == "hf"
    with pytest.raises(UnknownNameError, match="source"):
        backend("gemma-3-270m", "pooler")
    with pytest.raises(InputError, match="table of answers"):
        backend("answers.jsonl")
    with pytest.raises(InputError, match="ENDPOINT:MODEL"):
        backend("gemma-3-270m", "endpoint")


def test_hidden_states_of_an_encoder_are_refused(sentence_model: Path, settings: Settings) -> None:
    with pytest.raises(ModelError, match="Only causal language models"):
        open_embedder(ModelSpec(str(sentence_model), "hf"), settings, device="cpu")
