"""Ranking from copies of a recurrent model's state: prefix and question run once, and padding enters no state."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from jglue_app.backends import open_backend
from jglue_app.backends.hf.backend import HFBackend
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec
from tests import architectures
from tests.backends.contract import collect, logprobs_of, make_prompt, never

INSTRUCTION = "次の文を読んで、質問に日本語で短く答えてください。答えだけを書きます。\n"
TEXTS = (
    INSTRUCTION + "前提：店は開いている。\n関係：",
    INSTRUCTION + "前提：男性が町を歩いている。\n仮説：人が外にいる。\n関係：",
    INSTRUCTION + "月",
    INSTRUCTION + "レビュー：とても残念でした。\n" * 5 + "評価：",
)
PROMPTS = [make_prompt(text, architectures.ANSWERS, item_id=str(i)) for i, text in enumerate(TEXTS)]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def opened(name: str, folder: Path, settings: Settings) -> tuple[Any, list[list[float]]]:
    """A backend of an architecture, and the scores of its own forward pass."""
    architectures.make(name, folder)
    backend = open_backend(ModelSpec(str(folder), dtype="float32"), settings, device="cpu")
    assert isinstance(backend, HFBackend)
    plain = architectures.Plain(folder, torch.float32)
    return backend, [plain.scores(text) for text in TEXTS]


def assert_scores(backend: HFBackend, expected: list[list[float]]) -> None:
    found = collect(backend.choose(PROMPTS, never))
    assert [list(logprobs_of(found[i])) for i in range(len(TEXTS))] == [
        pytest.approx(row, abs=1e-4) for row in expected
    ]


@pytest.mark.parametrize("name", ["rwkv", "lfm2"])
def test_prefix_and_question_run_once_and_scores_are_those_of_the_model_alone(
    name: str, tmp_path: Path, settings: Settings
) -> None:
    backend, expected = opened(name, tmp_path, settings)
    backend.counters.reset()
    assert_scores(backend, expected)
    first = backend.counters.forward_tokens
    assert first < backend.counters.naive_tokens / 3
    backend.counters.reset()
    assert_scores(backend, expected)  # The state after the prefix is as it was.
    prefix = len(backend._engine.model.state_sharing._prefix[0])
    assert prefix > 16
    assert backend.counters.forward_tokens == first - prefix


def test_memory_that_runs_out_in_the_middle_changes_no_score(tmp_path: Path, settings: Settings) -> None:
    backend, expected = opened("rwkv", tmp_path, settings)
    sharing = backend._engine.model.state_sharing
    run, asked = sharing._run, list[int]()

    def runs_out(rows: Any, state: Any, last: int) -> Any:
        asked.append(len(rows))
        if len(asked) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory, on purpose")
        return run(rows, state, last)

    sharing._run = runs_out
    assert_scores(backend, expected)
    assert len(asked) == 5


def test_a_model_that_does_not_continue_from_its_state_runs_as_before(tmp_path: Path, settings: Settings) -> None:
    """Mamba's code in transformers takes one token at a time after the first pass."""
    backend, expected = opened("mamba", tmp_path, settings)
    assert backend._engine.model.state_sharing is None
    assert_scores(backend, expected)


def test_a_state_that_changes_results_is_not_used(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jglue_app.backends.hf.engine import state_sharing

    usual = state_sharing._copied
    monkeypatch.setattr(state_sharing, "_copied", lambda state, rows: [part * 0.9 for part in usual(state, rows)])
    backend, expected = opened("rwkv", tmp_path, settings)
    assert backend._engine.model.state_sharing is None
    assert_scores(backend, expected)
