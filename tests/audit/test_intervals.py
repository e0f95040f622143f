"""Intervals and tests from values and numbers of items, against other libraries and published examples."""

from __future__ import annotations

import math
import random

import pytest
from scipy import stats

from jglue_app.audit import intervals


@pytest.mark.parametrize(("k", "n"), [(734, 2434), (0, 100), (100, 100), (1, 10)])
def test_the_interval_of_a_share_is_wilsons(k: int, n: int) -> None:
    expected = stats.binomtest(k, n).proportion_ci(method="wilson")
    assert intervals.interval("accuracy", k / n, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_the_interval_of_a_difference_is_that_of_newcombes_example() -> None:
    # Newcombe 1998, table II, example (a), method 10: 56/70 - 48/80.
    assert intervals.newcombe(56 / 70, 70, 48 / 80, 80) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_the_test_of_two_shares_is_that_of_scipy_without_correction() -> None:
    expected = stats.chi2_contingency([[734, 1700], [790, 1644]], correction=False).pvalue
    assert intervals.p_value("accuracy", 734 / 2434, 2434, 790 / 2434, 2434) == pytest.approx(expected, rel=1e-9)


def test_the_interval_of_a_correlation_is_fishers() -> None:
    # atanh 0.5 = 0.549306; 1.959964/sqrt(27) = 0.377195; tanh of both ends.
    assert intervals.interval("pearson", 0.5, 30) == pytest.approx((0.170431, 0.728959), abs=1e-5)
    # Bonett and Wright: sqrt(1 + 0.25/2) times as wide in z: 0.400074.
    assert intervals.interval("spearman", 0.5, 30) == pytest.approx(
        (math.tanh(0.549306 - 0.400074), math.tanh(0.549306 + 0.400074)), abs=2e-5
    )


def test_two_correlations_differ_by_fishers_z() -> None:
    z = (math.atanh(0.9) - math.atanh(0.89)) / math.sqrt(2 / 1454)
    assert intervals.p_value("pearson", 0.9, 1457, 0.89, 1457) == pytest.approx(2 * stats.norm.sf(z), rel=1e-9)


@pytest.mark.parametrize("metric", ["mcc", "macro_f1"])
def test_metrics_without_a_variance_have_no_interval_and_no_test(metric: str) -> None:
    assert intervals.interval(metric, 0.5, 100) is None
    assert intervals.p_value(metric, 0.5, 100, 0.6, 100) is None


def test_a_perfect_correlation_has_no_interval_and_few_items_none() -> None:
    assert intervals.interval("pearson", 1.0, 100) is None
    assert intervals.interval("pearson", 0.5, 3) is None
    assert intervals.p_value("pearson", 1.0, 100, 0.5, 100) is None


def test_equal_scores_at_an_end_are_not_told_apart() -> None:
    assert intervals.p_value("accuracy", 1.0, 100, 1.0, 100) == 1.0
    assert intervals.p_value("accuracy", 0.0, 100, 0.0, 50) == 1.0


def test_the_variance_of_a_balanced_accuracy_is_the_largest_of_its_mean() -> None:
    sizes = {"a": 5, "b": 40, "c": 200}
    largest = intervals.balanced_variance(0.4, sizes)
    rng = random.Random(1)
    for _ in range(20_000):
        first, second = rng.random(), rng.random()
        third = 1.2 - first - second
        if 0 <= third <= 1:
            shares = zip((first, second, third), sizes.values(), strict=True)
            assert sum(r * (1 - r) / c for r, c in shares) / 9 <= largest + 1e-12
    # At a half, all shares are a half: (1/5 + 1/40 + 1/200) / 4 / 9.
    assert intervals.balanced_variance(0.5, sizes) == pytest.approx(0.23 / 36)
    assert intervals.balanced_variance(0.0, sizes) == pytest.approx(0)
    assert intervals.balanced_variance(1.0, sizes) == pytest.approx(0)


def test_holm_stops_at_the_first_that_does_not_hold() -> None:
    # Thresholds of four: .0125, .0167, .025, .05.
    assert intervals.holm([0.01, 0.04, 0.03, 0.005]) == [True, False, False, True]
    assert intervals.holm([]) == []
    assert intervals.holm([0.05]) == [True]
    assert intervals.holm([0.03, 0.03]) == [False, False]
