"""The most likely tokens at every place of a prompt, beside the logits of plain transformers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
import transformers
from accelerate.hooks import AlignDevicesHook, add_hook_to_module  # type: ignore[import-untyped]
from transformers import AutoModelForCausalLM, AutoTokenizer

from jglue_app.backends import open_backend
from jglue_app.backends.hf.backend import HFBackend
from jglue_app.backends.hf.engine import next_tokens
from jglue_app.backends.hf.engine.equivalence import ReferenceModel
from jglue_app.backends.hf.engine.next_tokens import byte_letters, most_likely
from jglue_app.backends.hf.engine.requests import Limits
from jglue_app.settings import Settings
from jglue_app.types import Backend, ModelSpec, NextTokens, PredictingBackend, RunError
from tests.backends.contract import StopAfter, make_prompt, never
from tests.conftest import OpenTiny, TinyModel

TEXT = "前提：犬が走る。\n仮説：動物が動く。\n関係："
COUNT = 10
SMALL = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.5,
}
IDS = [(7 + 31 * k) % 300 for k in range(50)]
"""A sequence longer than the windows of these models."""
BLOCK = 4 * 300 * 7
"""Room for the scores of seven places."""


def plain(model: Any, ids: list[int]) -> torch.Tensor:
    """Log-probabilities after each token, by transformers alone."""
    with torch.inference_mode():
        logprobs: torch.Tensor = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float().log_softmax(-1)
    return logprobs


def tiny(architecture: str, **more: object) -> Any:
    torch.manual_seed(0)
    config = transformers.CONFIG_MAPPING[architecture](**SMALL | more)
    return AutoModelForCausalLM.from_config(config).eval()


def found(model: Any, ids: list[int], block: int = BLOCK) -> tuple[next_tokens.Places, list[float]]:
    made = most_likely(model, ReferenceModel(model, None), ids, COUNT, never, block)
    assert made is not None
    return made


def same_as(expected: torch.Tensor, ids: list[int], places: next_tokens.Places, following: list[float]) -> None:
    values, tokens = expected.topk(COUNT, dim=-1)
    assert [place for place, _ in places] == tokens.tolist()
    torch.testing.assert_close(torch.tensor([value for _, value in places]), values, atol=1e-4, rtol=0)
    wanted = expected[torch.arange(len(ids) - 1), torch.tensor(ids[1:])]
    torch.testing.assert_close(torch.tensor(following), wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("architecture", "more"),
    [
        ("llama", {}),
        # Logits that are capped, scaled, and of windows shorter than the sequence.
        ("gemma2", {"final_logit_softcapping": 6.0, "head_dim": 16, "sliding_window": 6}),
        ("cohere", {"logit_scale": 0.3}),
        ("granite", {"logits_scaling": 4.0}),
        ("mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2}),
        ("gpt2", {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64}),
        ("mamba", {"state_size": 8}),
    ],
)
def test_they_are_those_of_one_pass_of_transformers(
    architecture: str, more: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny(architecture, **more)
    expected = plain(model, IDS)
    passes: list[int] = []
    before = model.base_model.forward

    def counted(*arguments: Any, **options: Any) -> Any:
        passes.append(1)
        return before(*arguments, **options)

    monkeypatch.setattr(model.base_model, "forward", counted)
    places, following = found(model, IDS)
    same_as(expected, IDS, places, following)
    passes_of_all = len(passes)
    assert model.base_model.forward(input_ids=torch.tensor([IDS]))[0].shape[1] == len(IDS), "the body is itself again"
    # Those of the checks of `ReferenceModel`, and one.
    passes.clear()
    ReferenceModel(model, None)
    assert passes_of_all - len(passes) == 1


def test_a_model_that_does_more_with_its_states_runs_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama")
    forward = model.forward

    def shifted(input_ids: torch.Tensor, logits_to_keep: Any = 0, **options: Any) -> Any:
        """Adds to the logits what depends on how long the sequence is."""
        out = forward(input_ids=input_ids, logits_to_keep=logits_to_keep, **options)
        out.logits = out.logits + torch.linspace(0, input_ids.shape[1], 300)
        return out

    monkeypatch.setattr(model, "forward", shifted)
    made = most_likely(model, cast(Any, _Attention()), IDS, COUNT, never, BLOCK)
    assert made is not None
    same_as(plain(model, IDS), IDS, *made)


class _Attention:
    """In the place of a `ReferenceModel`, which would refuse the model above."""

    def restore_attention(self) -> None:
        """It has its own."""


def test_one_that_cannot_leave_places_out_is_scored_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama")
    forward = model.forward
    monkeypatch.setattr(
        model, "forward", lambda input_ids, use_cache: forward(input_ids=input_ids, use_cache=use_cache)
    )
    same_as(plain(model, IDS), IDS, *found(model, IDS))


def test_a_model_whose_parts_are_on_several_devices_has_its_hooks_afterwards() -> None:
    model = tiny("llama")
    expected = plain(model, IDS)
    # What accelerate does where it puts a model on several devices: each module gets a `forward` of its own.
    for module in (model, model.base_model, model.lm_head):
        add_hook_to_module(module, AlignDevicesHook(execution_device="cpu", io_same_device=True))
    before = model.base_model.forward
    same_as(expected, IDS, *found(model, IDS))
    assert model.base_model.forward is before


def test_a_sequence_of_one_token_has_one_place() -> None:
    model = tiny("llama")
    places, following = found(model, [5])
    assert (len(places), following) == (1, [])


@pytest.mark.parametrize("asked", [1, 3, 5, 7])
def test_it_stops_between_layers_and_between_blocks_and_leaves_no_hook(asked: int) -> None:
    model = tiny("llama")
    reference = ReferenceModel(model, None)
    stop = StopAfter(asked)
    assert most_likely(model, reference, IDS, COUNT, stop, BLOCK) is None
    assert stop.asked == asked
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())
    assert "forward" not in model.base_model.__dict__


# --- the backend ----------------------------------------------------------------------------------------


def of(backend: Backend, text: str = TEXT, count: int = COUNT, chat: bool = False) -> NextTokens:
    assert isinstance(backend, PredictingBackend)
    result = backend.next_tokens(make_prompt(text, chat=chat), count, never)
    assert isinstance(result, NextTokens)
    return result


def agrees(result: NextTokens, model: Any, ids: list[int]) -> None:
    assert list(result.ids) == ids
    assert (result.top[0], result.logprobs[0]) == ((), None)
    places = [([token.id or 0 for token in place], [t.logprob for t in place]) for place in result.top[1:]]
    same_as(plain(model, ids), ids, places, [value for value in result.logprobs[1:] if value is not None])


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "bloom", "mpt"])
def test_a_prompt_has_the_tokens_that_transformers_expects(
    architecture: str, open_tiny: OpenTiny, tiny_model: TinyModel
) -> None:
    folder = tiny_model(architecture)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    result = of(open_tiny(architecture))
    agrees(result, model, tokenizer(TEXT)["input_ids"])
    for place in result.top[1:]:
        assert len(place) == COUNT == len({token.id for token in place})
        assert all(token.logprob <= 0 for token in place)


def test_a_chat_is_not_begun_twice(open_tiny: OpenTiny, tiny_model: TinyModel) -> None:
    backend = open_tiny("llama", chat=True)
    text = backend.render_chat([{"role": "user", "content": TEXT}])
    tokenizer = AutoTokenizer.from_pretrained(tiny_model("llama", chat=True))
    assert list(of(backend, text, chat=True).ids) == tokenizer(text, add_special_tokens=False)["input_ids"]


def test_other_work_is_the_same_before_and_after(open_tiny: OpenTiny) -> None:
    backend = open_tiny("gemma3")
    before = list(backend.choose([make_prompt(TEXT)], never))
    of(backend)
    assert [o.choice_logprobs for _, o in backend.choose([make_prompt(TEXT)], never)] == [  # type: ignore[union-attr]
        o.choice_logprobs  # type: ignore[union-attr]
        for _, o in before
    ]


def test_part_of_a_character_is_named_by_its_bytes(open_tiny: OpenTiny) -> None:
    texts = [token.text for place in of(open_tiny("llama"), count=500).top for token in place]
    assert not any("\ufffd" in text for text in texts)
    assert "<0xE3>" in texts
    assert "が" in texts
    assert {byte_letters()[letter] for letter in byte_letters()} == set(range(256))


def test_a_prompt_that_cannot_be_read_is_an_error_in_a_sentence(
    open_tiny: OpenTiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = open_tiny("llama", bos=False)
    assert isinstance(backend, HFBackend)

    def kind(text: str) -> str:
        error = backend.next_tokens(make_prompt(text), COUNT, never)
        assert isinstance(error, RunError)
        return error.kind

    assert kind("") == "empty_prompt"
    assert kind("犬" * 193) == "overflow"
    monkeypatch.setattr(backend, "_limits", Limits(192, 20))
    assert kind("犬" * 30) == "too_long"
    monkeypatch.undo()
    nan = next_tokens.with_texts([1, 2], [([3], [math.nan])] * 2, [math.nan], backend.tokenizer)
    assert isinstance(nan, RunError)
    assert nan.kind == "non_finite"


def test_what_a_model_never_writes_is_left_out(open_tiny: OpenTiny) -> None:
    tokenizer = cast(Any, open_tiny("llama")).tokenizer
    never_written = [([7, 3, 5], [-0.5, -0.5, -math.inf])]
    result = next_tokens.with_texts([1], never_written, [], tokenizer)
    assert isinstance(result, NextTokens)
    # Of two that are equally likely the first of the vocabulary.
    assert [token.id for token in result.top[1]] == [3, 7]


def test_the_table_of_answers_expects_nothing(tmp_path: Any, settings: Settings) -> None:
    table = tmp_path / "answers.jsonl"
    table.write_text('{"item_id": "0", "text": "含意"}\n', "utf-8")
    backend = open_backend(replace(ModelSpec(str(table)), backend="scripted"), settings)
    assert not isinstance(backend, PredictingBackend)


@pytest.mark.slow
def test_the_embedded_model_expects_what_transformers_does(gemma: Backend) -> None:
    backend = cast(Any, gemma)
    ids = backend.tokenizer(TEXT)["input_ids"]
    result = of(gemma)
    backend._reference.restore_attention()
    agrees(result, backend.model, ids)
    assert result.top[-1][0].text.strip()
