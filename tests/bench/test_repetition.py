"""Runs are repeated until they agree; those that are compared take turns."""

from __future__ import annotations

from itertools import count
from typing import Any, cast

import pytest

from jglue_app.bench.measure import Measurement
from jglue_app.bench.repetition import MAX_RUNS, Pairs, Rule, Summary, repeated, taking_turns
from jglue_app.bench.workload_runs import WorkloadRuns


@pytest.mark.parametrize(
    ("values", "seconds", "ends"),
    [
        ((1.0, 1.0), 500.0, False),  # Fewer than are wanted, however long it took.
        ((1.0, 1.0, 1.0), 0.0, True),
        ((1.0, 1.0, 1.05), 0.0, False),  # 5 % is not below 5 %.
        ((1.0, 1.0, 1.04), 0.0, True),
        ((9.0, 1.0, 1.0, 1.01), 0.0, True),  # The first ones are slow.
        ((1.0, 9.0, 1.0, 1.01), 0.0, False),
        ((1.0, 9.0, 1.0, 1.01), 120.0, True),
        (tuple(float(k) for k in range(1, MAX_RUNS)), 0.0, False),
        (tuple(float(k) for k in range(1, MAX_RUNS + 1)), 0.0, True),
    ],
)
def test_runs_end_when_the_last_agree_or_at_a_limit(values: tuple[float, ...], seconds: float, ends: bool) -> None:
    assert Rule(3, 120.0).ends(values, seconds) is ends


def test_as_many_runs_as_are_wanted_are_more_than_the_most() -> None:
    assert not Rule(20, 0.0).ends([1.0] * 19, 10.0)
    assert Rule(20, 0.0).ends([1.0] * 20, 10.0)


def test_a_single_run_has_no_spread() -> None:
    assert Rule(1).ends([5.0], 0.0)
    assert Rule(1).summary([5.0]) == Summary(5.0, None, False)


def test_a_summary_is_of_the_last_runs() -> None:
    assert Rule(3).summary([9.0, 1.0, 2.0, 1.6]) == Summary(1.6, 0.625, False)
    assert Rule(2).summary([9.0, 1.96875, 2.03125]) == Summary(2.0, 0.03125, True)


def test_a_run_is_compared_with_those_before_and_after_it() -> None:
    pairs = Pairs((1.0, 3.0, 2.0), (4.0, 10.0))
    assert pairs.ratios == [4.0 / 2.0, 10.0 / 2.5]


def test_runs_take_turns_and_ours_is_the_first_and_the_last() -> None:
    order: list[str] = []

    def run(name: str, seconds: float) -> float:
        order.append(name)
        return seconds

    pairs = taking_turns(lambda: run("here", 1.0), lambda: run("there", 3.0), Rule(3))
    assert order == ["here", "there", "here", "there", "here", "there", "here"]
    assert pairs == Pairs((1.0,) * 4, (3.0,) * 3) and pairs.ratios == [3.0] * 3


def test_a_machine_that_slows_down_does_so_for_both() -> None:
    clock = count(1)
    pairs = taking_turns(lambda: float(next(clock)), lambda: 2.0 * next(clock), Rule(3))
    assert pairs.ratios == [2.0, 2.0, 2.0]


def test_runs_that_do_not_agree_go_on_to_the_most() -> None:
    numbers = count(1)
    assert len(repeated(lambda: float(next(numbers)), Rule(3))) == MAX_RUNS
    assert repeated(iter([7.0, 2.0, 2.0, 2.0]).__next__, Rule(3)) == [7.0, 2.0, 2.0, 2.0]


@pytest.mark.parametrize(("runs", "seconds"), [(2, 3.0), (3, 4.0)])
def test_what_a_workload_cost_is_the_median_of_an_even_number_of_runs_too(runs: int, seconds: float) -> None:
    of_runs = WorkloadRuns(cast("Any", None), cast("Any", None), 1.0, "float32")
    for took in (9.0, 2.0, 4.0) if runs == 2 else (2.0, 9.0, 4.0):
        parts = {"prefill": took / 2, "other": took / 2}
        of_runs._measurements.append(
            Measurement(
                "t", "choose", 0, 12, 0, took, 12 / took, 60, 30, 2.0, 60 / took, 30 / took, 5, parts, 6.0, 6 / took
            )
        )
    found = of_runs.measurement(Rule(runs))
    assert (found.seconds, found.items_per_s, found.fraction) == (seconds, 12 / seconds, 6 / seconds)
    assert (found.naive_tokens_per_s, found.distinct_tokens_per_s) == (60 / seconds, 30 / seconds)
    assert found.parts == {"prefill": seconds / 2, "other": seconds / 2}
