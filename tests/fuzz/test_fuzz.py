"""Some inputs for each reader; `python -m tests.fuzz` tries ten thousand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.fuzz.__main__ import SEED, row
from tests.fuzz.measure import run_target
from tests.fuzz.shrink import shrunk
from tests.fuzz.target import Allowance, Target
from tests.fuzz.targets import NAMES, load

LONG = (
    *("config.json of a model", "tokenizer files", "chat template", "GGUF header", "safetensors header"),
    *("parameters of an endpoint", "cookies of visitors"),
)
"""Readers that need torch, transformers or gradio, which take seconds to import."""
OF_FEW = ("run: ", "archive of a run", "logs, imported", "leaderboard")
"""Readers that take milliseconds for an input."""


@pytest.mark.parametrize("name", [name for name in NAMES if name not in LONG])
def test_odd_input_is_read_or_refused(name: str, tmp_path: Path) -> None:
    result = run_target(load(name, tmp_path), SEED, 30 if name.startswith(OF_FEW) else 100, large=False)
    assert not result.failed, row(result)


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG)
def test_odd_files_of_models_and_requests_are_read_or_refused(name: str, tmp_path: Path) -> None:
    result = run_target(load(name, tmp_path), SEED, 400, large=False)
    assert not result.failed, row(result)


def _fails_on_x(text: str) -> None:
    if "x" in text and "y" in text:
        raise KeyError("x")


def test_a_fault_is_counted_and_shown_with_the_smallest_input_that_has_it() -> None:
    target = Target("x", lambda rng: "a" * rng.randint(5, 9) + "x" + "b" * 9 + "y", _fails_on_x)
    result = run_target(target, 0, 10)
    assert (result.inputs, result.foreign, result.accepted, result.refused) == (10, 10, 0, 0)
    (fault,) = result.faults
    assert (fault.number, fault.made) == (0, "'xy'")
    assert fault.what.startswith("KeyError: 'x' at test_fuzz.py:")


def test_an_input_that_takes_too_long_is_a_fault() -> None:
    target = Target("x", lambda rng: "a", lambda text: sum(range(8_000_000)))
    assert run_target(target, 0, 1).faults[0].what.endswith(" ms")


def test_time_that_a_reader_is_allowed_is_counted_and_stated() -> None:
    allowed = Target("x", lambda rng: "a", lambda text: sum(range(8_000_000)), allowance=Allowance(60_000, "it adds"))
    result = run_target(allowed, 0, 1)
    assert (result.failed, result.slow, result.allowed) == (False, 1, 1)
    assert "up to 60,000 ms: it adds" in row(result)
    too_slow = replace(allowed, allowance=Allowance(51, "it adds"), read=lambda text: sum(range(16_000_000)))
    assert run_target(too_slow, 0, 1).failed


def test_a_tree_is_shrunk_to_the_part_that_fails() -> None:
    tree = {"a": [1, {"b": 2, "c": [3, 4]}], "d": "e"}
    assert shrunk(tree, lambda t: isinstance(t.get("a"), list) and {"c": [4]} in [_only_c(x) for x in t["a"]]) == {
        "a": [{"c": [4]}]
    }


def _only_c(node: object) -> object:
    return {"c": [x for x in node["c"] if x == 4]} if isinstance(node, dict) and "c" in node else node
