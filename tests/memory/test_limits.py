"""The short form of `python -m tests.memory`: with 1 GiB a run is refused in a sentence, and never killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.memory.__main__ import GIB, attempt, same, verdict
from tests.memory.limits import KINDS, Ended


@pytest.mark.harness
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_with_1_gib_is_refused_in_a_sentence(kind: str, tmp_path: Path) -> None:
    try:
        ended = attempt("rank", kind, GIB, tmp_path / "cache", 300, tmp_path)
    except OSError as e:
        pytest.skip(f"no control group can be made here ({e})")
    how, said = verdict(ended, tmp_path, None)
    assert how == "refused", ended.output
    assert "needs about" in said and "are free within the limit of" in said


def test_a_process_that_ends_without_a_word_counts_as_killed(tmp_path: Path) -> None:
    assert verdict(Ended(-9, "Loading the model."), tmp_path, None)[0] == "KILLED"
    assert verdict(Ended(1, "Traceback (most recent call last):\nMemoryError"), tmp_path, None)[0] == "KILLED"
    assert verdict(Ended(137, ""), tmp_path, None)[0] == "KILLED"
    assert verdict(Ended(4, "error: it broke."), tmp_path, None)[0] == "FAILED"
    assert verdict(Ended(0, "m works in up to 0.3 GiB beside its weights."), tmp_path, None)[0] == "completed"
    assert verdict(Ended(0, ""), tmp_path, [("はい",)])[0] == "DIFFERENT"


def test_results_are_the_same_up_to_rounding() -> None:
    assert same([("a",), (None, -1.0, -2.0)], [("a",), (None, -1.0001, -2.0)])
    assert not same([(None, -1.0)], [(None, -1.1)])
    assert not same([("a",)], [("b",)])
    assert not same([], [("b",)])
