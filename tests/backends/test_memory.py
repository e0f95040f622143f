"""The budget of memory: found, given, too much; a small one changes no result."""

from __future__ import annotations

import contextlib
import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from jglue_app.backends import open_backend
from jglue_app.backends.hf import memory
from jglue_app.backends.hf.backend import HFBackend
from jglue_app.backends.hf.memory import (
    MIN_TOKENS,
    MemoryBudget,
    memory_budget,
    release_unused,
    search_only_new_objects,
)
from jglue_app.errors import InputError
from jglue_app.settings import Settings, gib, load_settings
from jglue_app.types import ModelSpec, RunError
from tests.backends.contract import Results, collect, make_prompt, never, same
from tests.conftest import TinyModel

ANSWERS = ("含意", "矛盾", "中立")
PROMPTS = [make_prompt(f"{k}番目の文。" + "雨が降る。" * k, ANSWERS, item_id=str(k)) for k in range(12)]
ASKS: tuple[Callable[[HFBackend], Results], ...] = (
    lambda b: collect(b.choose(PROMPTS, never)),
    lambda b: collect(b.generate(PROMPTS, 6, never)),
)


def test_half_of_the_budget_is_for_reading_and_half_for_keeping() -> None:
    found = MemoryBudget(budget=2_000_000, activation_bytes=900, kv_bytes=100)
    assert found.max_batch_tokens(10**9) == 1_000
    assert found.max_batch_tokens(10**9, extra_bytes=1_000) == 500
    assert found.max_kv_tokens(10**9) == 10_000
    assert (found.max_batch_tokens(500), found.max_kv_tokens(500)) == (500, 500)


def test_too_small_a_budget_still_reads_something() -> None:
    found = MemoryBudget(budget=10, activation_bytes=900, kv_bytes=100)
    assert found.max_batch_tokens(1_024) == found.max_kv_tokens(1_024) == MIN_TOKENS


def test_a_part_of_what_is_free_is_taken(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model("llama"), dtype=torch.float32)
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1_000_000)
    found = memory_budget(model)
    config = model.config
    assert found.budget == 500_000
    layers, own, width = config.num_hidden_layers, config.num_key_value_heads, config.head_dim
    assert found.kv_bytes == 4 * 2 * layers * own * width
    assert found.activation_bytes > 4 * 3 * config.intermediate_size


def test_more_of_a_gpu_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda where: ({"cuda:0": 1_000}[where], 2_000))
    text = SimpleNamespace(num_hidden_layers=2, hidden_size=8, num_attention_heads=2)
    config = SimpleNamespace(get_text_config=lambda: text)
    found = memory_budget(SimpleNamespace(device=torch.device("cuda:0"), dtype=torch.float16, config=config))
    assert found.budget == 800
    assert found.kv_bytes == 2 * 2 * 2 * 8


def test_what_is_wanted_is_taken_and_more_than_there_is_is_an_error(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model("llama"), dtype=torch.float32)
    monkeypatch.setattr(memory, "free_bytes", lambda device: 2**30)
    assert memory_budget(model, 2**29).budget == 2**29
    with pytest.raises(InputError, match=r"2\.0 GiB of working memory were asked for and 1\.0 GiB are free.*--memory"):
        memory_budget(model, 2**31)


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "mpt"])
def test_a_small_budget_makes_small_batches_and_changes_no_result(tiny_model: TinyModel, architecture: str) -> None:
    folder = tiny_model(architecture)

    def backend(size: int | None) -> HFBackend:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        return HFBackend(ModelSpec("tiny"), "c", model, AutoTokenizer.from_pretrained(folder), memory=size)

    small, large = backend(1_000), backend(None)
    engine: Any = small._engine
    tokens = engine._max_pass_tokens if small.packed else engine._max_batch_tokens
    assert tokens == engine._max_kv_tokens == MIN_TOKENS
    for ask in ASKS:
        found, expected = ask(small), ask(large)
        assert set(found) == set(range(len(PROMPTS)))
        for i, result in found.items():
            same(result, expected[i])


def test_the_budget_is_told_when_a_model_is_loaded(tiny_model: TinyModel, settings: Settings) -> None:
    said: list[str] = []
    spec = ModelSpec(str(tiny_model("llama")))
    open_backend(spec, replace(settings, memory_bytes=3 * 2**29), device="cpu", notify=said.append)
    assert any("works in up to 1.5 GiB beside its weights" in line for line in said)


def test_memory_is_written_in_gib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JGLUE_MEMORY", "1.5")
    assert load_settings().memory_bytes == 3 * 2**29
    monkeypatch.setenv("JGLUE_MEMORY", "")
    assert load_settings().memory_bytes is None


@pytest.mark.parametrize("text", ["much", "0", "-1", "inf", "nan"])
def test_what_is_no_amount_of_memory_is_said(text: str) -> None:
    with pytest.raises(InputError, match="--memory takes a number of GiB above 0"):
        gib("--memory", text)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' allocators give it back by themselves")
def test_memory_that_is_no_longer_used_goes_back_to_the_system() -> None:
    here = psutil.Process()
    release_unused()
    blocks = [bytes(4_000) for _ in range(60_000)]
    full = here.memory_info().rss
    pin = blocks[-1]  # It lies at the end: without being told, the allocator keeps all that lies before.
    del blocks
    release_unused()
    assert here.memory_info().rss < full - 150 * 2**20
    assert len(pin) == 4_000


class Cycle:
    """An object that refers to itself: only a search finds that nobody else does."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def nothing_frozen() -> Iterator[None]:
    frozen = gc.get_freeze_count() > 0
    gc.unfreeze()
    memory._are_left_out_for_good.cache_clear()
    yield
    gc.unfreeze()
    if frozen:
        gc.freeze()
    memory._are_left_out_for_good.cache_clear()


@pytest.mark.usefixtures("nothing_frozen")
def test_while_a_model_loads_only_its_own_objects_are_searched_for_cycles() -> None:
    before = weakref.ref(Cycle())
    with contextlib.suppress(ValueError), search_only_new_objects():
        assert gc.get_freeze_count() > 1_000
        since = weakref.ref(Cycle())
        with search_only_new_objects():
            pass
        assert gc.get_freeze_count() > 1_000, "the inner one has not begun it"
        gc.collect()
        assert since() is None and before() is not None
        raise ValueError("it broke")
    assert gc.get_freeze_count() == 0
    gc.collect()
    assert before() is None


@pytest.mark.usefixtures("nothing_frozen")
def test_what_is_left_out_for_good_stays_so() -> None:
    gc.freeze()
    with search_only_new_objects():
        pass
    assert gc.get_freeze_count() > 0


@pytest.mark.usefixtures("nothing_frozen")
def test_a_model_is_loaded_so_and_what_it_made_meanwhile_is_found(
    tiny_model: TinyModel, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen: list[int] = []

    def noted() -> None:
        frozen.append(gc.get_freeze_count())
        release_unused()

    monkeypatch.setattr("jglue_app.backends.hf.load.release_unused", noted)
    open_backend(ModelSpec(str(tiny_model("llama"))), settings, device="cpu").close()
    assert frozen[0] > 1_000 and gc.get_freeze_count() == 0


def test_a_prompt_whose_attention_does_not_fit_is_not_run(tiny_model: TinyModel, settings: Settings) -> None:
    spec = ModelSpec(str(tiny_model("llama")))
    backend = open_backend(spec, settings, device="cpu")
    assert isinstance(backend, HFBackend)
    prompt = make_prompt("雨が降る。" * 4, ANSWERS)
    assert not isinstance(backend.next_tokens(prompt, 2, never), RunError)
    # 5 bytes for each pair of tokens, of which there are at least 4, are more than 1; and nothing is free.
    backend.memory = replace(backend.memory, budget=1, device="none")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "free_bytes", lambda device: 1)
        found = backend.next_tokens(prompt, 2, never)
        assert isinstance(found, RunError) and found.kind == "out_of_memory"
        (embedded,) = backend.embed(["雨が降る。"])
        assert isinstance(embedded, RunError) and embedded.kind == "out_of_memory"


def test_bytes_of_a_pair_of_tokens(tiny_model: TinyModel) -> None:
    found = {}
    for attention in ("sdpa", "eager"):
        options = {"dtype": torch.float32, "attn_implementation": attention}
        model = AutoModelForCausalLM.from_pretrained(tiny_model("llama"), **options)
        found[attention] = memory.bytes_per_pair(model, attention)
    # A mask of 5 bytes; and where scores are stored in full, of each head two of 4 bytes.
    assert found == {"sdpa": 5, "eager": 5 + 2 * 4 * model.config.num_attention_heads}


def test_what_cannot_be_divided_is_within_the_budget_and_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 3 * 2**30)
    found = MemoryBudget(budget=2**30, activation_bytes=900, kv_bytes=100)
    assert found.fits(2**30) and not found.fits(2**30 + 1)
    # 5 bytes for each of 1,000² pairs, and 1,000 for each token: 6 million, and 12 million of two rows.
    assert replace(found, budget=10**9).fits_alone(1_000, 1_000) is False
    monkeypatch.setattr(memory, "free_bytes", lambda device: 6_000_000)
    assert found.fits_alone(5, 1_000) and not found.fits_alone(5, 1_000, rows=2)
    # Of a GPU torch itself says so, and keeps for later what its driver counts as taken.
    assert replace(found, device="cuda:0").fits_alone(5, 1_000, rows=2)


def test_of_several_cards_the_fullest_decides(monkeypatch: pytest.MonkeyPatch, tiny_model: TinyModel) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_model("llama"))
    free = {"cpu": 8 * 2**30, "cuda:0": 6 * 2**30, "cuda:1": 2 * 2**30}
    monkeypatch.setattr(memory, "free_bytes", free.__getitem__)
    assert memory.memory_budget(model).budget == 4 * 2**30, "half of what is free on a CPU"
    model.hf_device_map = {"model.layers.0": 0, "model.layers.1": torch.device("cuda:1"), "lm_head": "cpu"}
    assert memory.memory_budget(model).budget == 2**30


def test_however_small_the_budget_a_little_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 2**30)
    found = MemoryBudget(budget=1, activation_bytes=900, kv_bytes=100)
    assert found.fits(memory.SMALL_BYTES) and not found.fits(memory.SMALL_BYTES + 1)


def test_a_prompt_fits_with_its_keys_twice_and_one_chunk(tiny_model: TinyModel) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model("llama"), dtype=torch.float32)
    backend = HFBackend(ModelSpec("tiny"), "c", model, AutoTokenizer.from_pretrained(tiny_model("llama")))
    engine: Any = backend._engine
    engine._model.chunk_tokens, engine._model.max_mask_bytes = 100, None
    # Of 2,000 tokens after 1,000: keys and values of 5,000, and 100 × 3,000 pairs of 2 heads × 5 bytes and 2 more.
    needed = 5_000 * 60_000 + 100 * (3_000 * 12 + 700)
    for budget, fits in ((needed, True), (needed - 1, False)):
        engine._memory = MemoryBudget(budget, activation_bytes=700, kv_bytes=60_000)
        assert engine._fits(1_000, 2_000) is fits
