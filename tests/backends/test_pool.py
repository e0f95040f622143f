"""Which models are resident, and which leaves first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from jglue_app.backends import backend_for
from jglue_app.backends.hf import load
from jglue_app.backends.pool import ModelPool
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec
from tests.conftest import TinyModel

Tables = Callable[[str], ModelSpec]


@pytest.fixture
def table(tmp_path: Path) -> Tables:
    def make(name: str) -> ModelSpec:
        path = tmp_path / f"{name}.jsonl"
        path.write_text('{"item_id": "1", "text": "a"}\n', "utf-8")
        return ModelSpec(str(path), "scripted")

    return make


def test_the_same_spec_is_loaded_once(settings: Settings, table: Tables) -> None:
    with ModelPool(settings) as pool:
        assert pool.get(table("a")) is pool.get(table("a"))


def test_the_least_recently_used_model_leaves_first(settings: Settings, table: Tables) -> None:
    told: list[str] = []
    with ModelPool(settings, size=2) as pool:
        first, second = pool.get(table("a")), pool.get(table("b"))
        assert pool.get(table("a")) is first
        pool.get(table("c"), told.append)
        assert pool.get(table("a")) is first
        assert pool.get(table("b")) is not second
    assert [message for message in told if message.startswith("Unloading")] == [
        f"Unloading {table('b').id} to make room."
    ]


def test_more_models_than_the_pool_holds_do_not_fit_together(settings: Settings, table: Tables) -> None:
    pool = ModelPool(settings, size=2)
    assert pool.fit_together({table("a"), table("b")})
    assert not pool.fit_together({table("a"), table("b"), table("c")})


def test_models_fit_together_only_if_their_sum_is_free(
    settings: Settings, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = {ModelSpec(str(tiny_model(name))) for name in ("llama", "qwen3")}
    needs = [load.memory_needed(spec, settings) for spec in specs]
    assert all(isinstance(need, int) and need > 10_000 for need in needs)
    total = sum(need for need in needs if need)
    for free, fit in ((total, True), (total - 1, False)):
        monkeypatch.setattr(load, "memory_free", lambda device, free=free: free)
        assert ModelPool(settings).fit_together(specs) == fit


def test_a_model_that_does_not_fit_beside_another_takes_its_place(
    settings: Settings, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (ModelSpec(str(tiny_model(name))) for name in ("llama", "qwen3"))
    told: list[str] = []
    with ModelPool(settings, device="cpu") as pool:
        pool.get(first)
        need = load.memory_needed(second, settings)
        assert need is not None
        # Too little while the first model is in memory, enough once it has left.
        resident = [True]
        monkeypatch.setattr(load, "memory_free", lambda device: need - 1 if resident[0] else need)

        def notice(message: str) -> None:
            told.append(message)
            resident[0] = resident[0] and not message.startswith("Unloading")

        pool.get(second, notice)
    assert f"Unloading {first.id} to make room." in told


def test_closing_the_pool_closes_every_model(settings: Settings, table: Tables) -> None:
    pool = ModelPool(settings)
    before = pool.get(table("a"))
    pool.clear()
    assert pool.get(table("a")) is not before


@pytest.mark.parametrize(
    ("model", "backend"), [("answers.jsonl", "scripted"), ("gemma-3-270m", "hf"), ("a/b", "hf"), ("x.gguf", "hf")]
)
def test_the_backend_follows_from_the_id(model: str, backend: str) -> None:
    assert backend_for(model) == backend


def test_a_model_of_unknown_size_that_does_not_fit_is_tried_again_alone(
    settings: Settings, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (ModelSpec(str(tiny_model(name))) for name in ("llama", "qwen3"))
    need = load.memory_needed(second, settings)
    assert need is not None
    monkeypatch.setattr(load, "memory_needed", lambda *_: None)
    told: list[str] = []
    with ModelPool(settings, device="cpu") as pool:
        pool.get(first)
        monkeypatch.setattr(
            load, "memory_free", lambda _: need if told[-1:] != [f"Preparing {second.id}."] else need - 1
        )
        backend = pool.get(second, told.append)
        assert backend is pool.get(second)
    assert told[:2] == [f"Preparing {second.id}.", f"Unloading all other models to make room for {second.id}."]
