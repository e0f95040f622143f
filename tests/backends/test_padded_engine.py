"""Padded batches: the common beginning is read once and copied, and nothing else changes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from jglue_app.backends.hf.ablation import without
from jglue_app.backends.hf.backend import HFBackend
from jglue_app.backends.hf.engine.padded_engine import PaddedEngine
from jglue_app.types import ModelSpec, Output, Prompt
from tests.backends.contract import Results, collect, logprobs_of, make_prompt, never, same, text_of
from tests.conftest import TinyModel

ANSWERS = ("含意", "矛盾", "中立")
HEAD = "次の二つの文の関係を答えてください。\n前提：犬が走る。\n仮説：動物が動く。\n関係：含意\n\n"
ENDS = ("前提：猫が眠る。\n関係：", "空は青い。", "前提：雨が降る日の朝に、弟は長い坂を下りていった。" * 3, "月")
"""One so short, and one so long, that the padding of a row is longer than the beginning that is shared."""
PROMPTS = [make_prompt(HEAD + end, ANSWERS, item_id=str(i)) for i, end in enumerate(ENDS)]
PADDED = without(["packing"])
SHARING = ("llama", "gpt_neox", "bloom", "mpt", "qwen3")

ASKS: tuple[Callable[[HFBackend], Results], ...] = (
    lambda b: collect(b.choose(PROMPTS, never)),
    lambda b: collect(b.generate(PROMPTS, 12, never)),
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def padded(tiny_model: TinyModel) -> Callable[[str], Any]:
    """`padded(architecture)`: a backend of padded batches."""

    def make(architecture: str) -> HFBackend:
        folder = tiny_model(architecture)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        return HFBackend(ModelSpec("tiny"), "c", model, AutoTokenizer.from_pretrained(folder), optimizations=PADDED)

    return make


def padded_engine(backend: HFBackend) -> Any:
    assert isinstance(backend._engine, PaddedEngine)
    return backend._engine


def unshared(backend: HFBackend) -> Any:
    """The same backend, with every prompt read from its first token on."""
    padded_engine(backend).model.shares_prefix = False
    return backend


@pytest.mark.parametrize("architecture", SHARING)
def test_sharing_the_beginning_changes_no_result(architecture: str, padded: Callable[[str], Any]) -> None:
    shared, plain = padded(architecture), unshared(padded(architecture))
    assert padded_engine(shared).model.shares_prefix
    for ask in ASKS:
        found, expected = ask(shared), ask(plain)
        assert set(found) == set(expected) == set(range(len(PROMPTS)))
        for i, result in found.items():
            same(result, expected[i])
    assert shared.counters.forward_tokens < plain.counters.forward_tokens


@pytest.mark.parametrize("architecture", ["bloom", "mpt"])
def test_the_beginning_is_kept_for_the_next_call(architecture: str, padded: Callable[[str], Any]) -> None:
    backend = padded(architecture)
    first = collect(backend.choose(PROMPTS[:2], never))
    read = backend.counters.forward_tokens
    backend.counters.reset()
    again = collect(backend.choose(PROMPTS[:2], never))
    head = len(padded_engine(backend).model.cached_prefix)
    assert head > 16
    assert backend.counters.forward_tokens == read - head
    for i in (0, 1):
        same(again[i], first[i])
    collect(backend.choose([make_prompt("月が出た。", ANSWERS), make_prompt("空は青い。", ANSWERS)], never))
    collect(backend.generate([replace(p, text=p.text[:-1]) for p in PROMPTS], 4, never))


def test_a_cache_that_forgets_is_not_shared(padded: Callable[[str], Any]) -> None:
    assert not padded_engine(padded("gemma3")).model.shares_prefix


def test_a_model_whose_cache_gives_other_results_is_read_from_the_first_token_on(
    tiny_model: TinyModel,
) -> None:
    folder = tiny_model("bloom")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    forward = model.forward

    asked: list[bool] = []

    @functools.wraps(forward)
    def forgets(*args: Any, **kwargs: Any) -> Any:
        found = kwargs.get("cache", kwargs.get("past_key_values"))
        for layer in found.layers if found else ():
            if layer.values is not None:
                layer.values = layer.values * 0
                asked.append(True)
        return forward(*args, **kwargs)

    model.forward = forgets
    tokenizer = AutoTokenizer.from_pretrained(folder)
    backend = HFBackend(ModelSpec("tiny"), "c", model, tokenizer, optimizations=PADDED)
    assert asked and not padded_engine(backend).model.shares_prefix
    assert not padded_engine(backend).mode.use_cache
    assert "one at a time: log-probabilities differ" in backend.info.engine_reason


def test_equal_prompts_are_read_once_and_all_answered(padded: Callable[[str], Any]) -> None:
    backend = padded("bloom")
    once = collect(backend.generate(PROMPTS[:1], 6, never))[0]
    alone = backend.counters.forward_tokens
    backend.counters.reset()
    thrice = collect(backend.generate([PROMPTS[0]] * 3, 6, never))
    assert backend.counters.forward_tokens == alone
    assert {text_of(r) for r in thrice.values()} == {text_of(once)}
    other = replace(PROMPTS[0], stop=(text_of(once)[:1],))
    results = collect(backend.generate([PROMPTS[0], other], 6, never))
    assert [text_of(results[0]), text_of(results[1])] == [text_of(once), ""]


def test_no_memory_for_the_beginning_means_reading_it_with_each_prompt(
    padded: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = padded("bloom")
    expected = collect(padded("bloom").choose(PROMPTS, never))

    def runs_out(ids: list[int]) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory, on purpose")

    monkeypatch.setattr(padded_engine(backend).model, "cache_prefix", runs_out)
    for i, result in collect(backend.choose(PROMPTS, never)).items():
        assert isinstance(result, Output)
        assert logprobs_of(result) == pytest.approx(logprobs_of(expected[i]), abs=1e-3)


def test_closing_gives_up_the_model_and_what_is_kept(padded: Callable[[str], Any]) -> None:
    backend = padded("bloom")
    collect(backend.choose(PROMPTS, never))
    engine = padded_engine(backend)
    backend.close()
    assert engine.model._model is None
    assert engine.model._cached_prefix == ([], [])


def test_a_beginning_alone_is_a_prompt_too(padded: Callable[[str], Any]) -> None:
    """The shortest prompt is the beginning of all others: its last token is read with it."""
    prompts: list[Prompt] = [make_prompt(HEAD, ANSWERS), *PROMPTS]
    for architecture in ("bloom", "mpt"):
        shared, plain = padded(architecture), unshared(padded(architecture))
        expected = collect(plain.generate(prompts, 6, never))
        for i, result in collect(shared.generate(prompts, 6, never)).items():
            same(result, expected[i])
