"""The Prompt lab with a paid model: an answer or a sweep costs at most its budget, and nothing without one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from jglue_app import prompt_lab
from jglue_app.backends.pool import ModelPool
from jglue_app.data import files
from jglue_app.errors import InputError
from jglue_app.runs.events import Event
from jglue_app.runs.request import Side
from jglue_app.settings import Settings
from jglue_app.types import Item
from jglue_app.ui.lab_jobs import read_budget, start_answer, start_sweep
from jglue_app.ui.state import AppState
from tests.paid_backend import SENT, register

MODEL = "1000000/10000000/USD"
"""One dollar a character of prompts, ten a character of answers."""


@pytest.fixture(autouse=True)
def _paid(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)


@pytest.fixture
def pool(settings: Settings) -> Iterator[ModelPool]:
    with ModelPool(settings) as pool:
        yield pool


def side(model: str = MODEL) -> Side:
    return Side(model, backend="paid")


def item(task: str = "jsquad") -> Item:
    return files.read_file(task, "valid", files.sample_path(task, "valid"), "sample", "sample-1").items[0]


def test_an_answer_needs_a_budget_that_has_room_for_it(settings: Settings, pool: ModelPool) -> None:
    with pytest.raises(InputError, match=r"no budget is set.*tokens in"):
        prompt_lab.try_item(settings, pool, side(), item())
    with pytest.raises(InputError, match=r"the budget of \$5\.00 has no room"):
        prompt_lab.try_item(settings, pool, side(), item(), budget=5.0)
    assert SENT == []
    tried = prompt_lab.try_item(settings, pool, side(), item(), budget=5000.0)
    assert tried is not None and tried.answered.record.output is not None and len(SENT) == 1
    assert not list(settings.runs_dir.glob("*")), "nothing is stored"


def test_a_free_answer_needs_none(settings: Settings, pool: ModelPool) -> None:
    assert prompt_lab.try_item(settings, pool, side("0/0/"), item()) is not None


def test_next_tokens_of_a_model_that_says_none_cost_nothing(settings: Settings, pool: ModelPool) -> None:
    with pytest.raises(InputError, match="does not say which tokens"):
        prompt_lab.foresee(settings, pool, side(), item(), budget=5000.0)
    assert SENT == []


def sides() -> list[Side]:
    return prompt_lab.variants(side(), ["plain", "alpaca", "rinna"])


def swept(settings: Settings, pool: ModelPool, items: int, budget: float | None) -> tuple[int, list[str]]:
    """Runs that were begun, and how each ended."""
    events = list(prompt_lab.sweep(settings, pool, "jnli", sides(), items, budget=budget))
    ends = [event.kind for event in events if isinstance(event, Event) and event.kind in ("done", "stopped")]
    return sum(isinstance(event, tuple) for event in events), list(ends)


def test_a_sweep_has_one_budget_for_all_its_runs(settings: Settings, pool: ModelPool) -> None:
    with pytest.raises(InputError) as error:
        swept(settings, pool, 2, None)
    # Both methods: each label is sent behind the prompt, too.
    assert "up to about $" in str(error.value) and SENT == []
    assert swept(settings, pool, 1, math.inf) == (3, ["done", "done", "done"])
    first = len(SENT)
    assert swept(settings, pool, 1, 1.0) == (3, ["done", "done", "done"]), "what is answered costs nothing"
    assert len(SENT) == first
    begun, ends = swept(settings, pool, 4, 3000.0)
    assert ends[-1] == "stopped" and begun == len(ends) < 3


@pytest.mark.parametrize(("given", "budget"), [(None, None), (0, None), (0.0, None), (2, 2.0), (0.5, 0.5)])
def test_budgets_are_read(given: Any, budget: float | None) -> None:
    assert read_budget(given) == budget


@pytest.mark.parametrize("given", [-1, True, "5", math.nan, math.inf, 1e12, [5]])
def test_what_is_no_budget_is_refused(given: Any) -> None:
    with pytest.raises(InputError, match="amount of money above 0"):
        read_budget(given)


def test_jobs_of_the_page_pass_it_on(settings: Settings) -> None:
    state = AppState(settings, device="cpu")
    refused = start_answer(state, "ann", {"A": side()}, item())
    assert refused.ended.wait(30) and refused.failure is not None and "no budget" in refused.failure.message
    answered = start_answer(state, "ann", {"A": side()}, item(), budget=5000.0)
    assert answered.ended.wait(30) and answered.failure is None and set(answered.result) == {"A"}
    sweep = start_sweep(state, "ann", "jnli", sides(), 2, "sample", 100.0)
    assert sweep.ended.wait(30) and sweep.state == "out_of_budget"
    assert any("has no room" in notice for notice in sweep.notices)
    state.pool.clear()
    state._scratch.cleanup()
