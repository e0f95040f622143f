"""The mean of a causal model's hidden states, against plain transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from jglue_app.backends.embedding import open_embedder
from jglue_app.backends.embedding.hidden_states import HiddenStateEmbedder
from jglue_app.backends.embedding.vectors import Embedding
from jglue_app.backends.hf.backend import HFBackend
from jglue_app.errors import InputError
from jglue_app.settings import Settings
from jglue_app.types import Backend, ModelSpec, RunError
from tests.conftest import ARCHITECTURES, OpenTiny, TinyModel

TEXTS = ("今日は天気がよいので、散歩しました。", "犬", "質問：一年でいちばん寒い季節はいつですか。")


def vector(result: Embedding | RunError) -> np.ndarray:
    assert isinstance(result, Embedding)
    assert result.vector is not None
    return result.vector


def mean_of_states(folder: Path, text: str, bos: list[int]) -> np.ndarray:
    """The mean of the model's last hidden states over the text's own tokens, by transformers alone."""
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text, add_special_tokens=False).ids
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        states = model.base_model(input_ids=torch.tensor([bos + ids])).last_hidden_state[0]
    return np.asarray(states[len(bos) :].double().mean(0).numpy())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_vector_is_the_mean_of_the_last_states_without_that_of_bos(
    architecture: str, tiny_model: TinyModel, open_tiny: OpenTiny
) -> None:
    folder, backend = tiny_model(architecture), open_tiny(architecture)
    assert isinstance(backend, HFBackend)
    for text, result in zip(TEXTS, backend.embed(TEXTS), strict=True):
        assert vector(result) == pytest.approx(mean_of_states(folder, text, [0]), abs=2e-5)


def test_without_bos_every_token_counts(tiny_model: TinyModel, open_tiny: OpenTiny) -> None:
    backend = open_tiny("llama", bos=False)
    assert isinstance(backend, HFBackend)
    (result,) = backend.embed(TEXTS[:1])
    expected = mean_of_states(tiny_model("llama", bos=False), TEXTS[0], [])
    assert vector(result) == pytest.approx(expected, abs=2e-5)


def test_a_vector_does_not_depend_on_the_texts_beside_it_and_answers_stay_the_same(open_tiny: OpenTiny) -> None:
    from tests.backends.contract import collect, make_prompt, never

    backend = open_tiny("gemma3")
    assert isinstance(backend, HFBackend)
    prompts = [make_prompt(text) for text in TEXTS]
    before = collect(backend.choose(prompts, never))
    together = list(backend.embed(TEXTS))
    for text, result in zip(TEXTS, together, strict=True):
        (alone,) = backend.embed([text])
        assert (vector(alone) == vector(result)).all()
    after = collect(backend.choose(prompts, never))
    for i in before:
        old, new = before[i], after[i]
        assert not isinstance(old, RunError)
        assert not isinstance(new, RunError)
        assert old.choice_logprobs == new.choice_logprobs


def test_a_text_beyond_the_context_is_not_cut_and_an_empty_one_is_an_error(open_tiny: OpenTiny) -> None:
    backend = open_tiny("llama")
    assert isinstance(backend, HFBackend)
    fits, long, empty = backend.embed(["a" * 191, "a" * 192, ""])
    assert isinstance(fits, Embedding)
    assert isinstance(long, Embedding)
    assert isinstance(empty, RunError)
    # With BOS, and a token each.
    assert (fits.tokens, long.tokens) == (192, 193)
    assert fits.vector is not None
    assert long.vector is None
    assert empty.kind == "no_tokens"


def test_the_prefix_is_a_part_of_the_text(open_tiny: OpenTiny) -> None:
    backend = open_tiny("llama")
    assert isinstance(backend, HFBackend)
    embedder = HiddenStateEmbedder(backend)
    (prefixed,), (whole,) = embedder.embed(["犬"], "動物："), embedder.embed(["動物：犬"], "")
    assert (vector(prefixed) == vector(whole)).all()
    assert embedder.info.engine.startswith("mean of the last hidden states")


def test_a_gguf_file_has_hidden_states_too(tiny_gguf: Path, settings: Settings) -> None:
    embedder = open_embedder(ModelSpec(str(tiny_gguf)), settings, device="cpu")
    (result,) = embedder.embed(["犬が走る"], "")
    assert vector(result).shape == (64,)
    embedder.close()


def test_a_public_server_embeds_nothing(settings: Settings) -> None:
    from dataclasses import replace

    with pytest.raises(InputError, match="public server embeds nothing"):
        open_embedder(ModelSpec("gemma-3-270m"), replace(settings, public=True))


def test_the_embedded_model_orders_sentences(gemma: Backend) -> None:
    from jglue_app.backends.embedding.vectors import cosine

    assert isinstance(gemma, HFBackend)
    texts = ("犬が公園を走っている。", "公園で犬が走っている。", "会社の株価が下がった。")
    first, near, far = map(vector, gemma.embed(texts))
    close, distant = cosine(first, near), cosine(first, far)
    assert isinstance(close, float)
    assert isinstance(distant, float)
    assert close > distant
