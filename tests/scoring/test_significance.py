"""Intervals and paired tests against statsmodels, scipy, plain bootstraps, permutations and simulated runs."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from jglue_app.scoring import significance
from jglue_app.scoring.metrics import Floats
from jglue_app.scoring.significance import Agreement, Correlation
from jglue_app.scoring.types import Estimate, PairedTest

NO_DATA = Estimate(None, None, None, 0)
CORRELATIONS: tuple[Correlation, ...] = ("pearson", "spearman")
AGREEMENTS: tuple[Agreement, ...] = ("balanced_accuracy", "macro_f1", "mcc")
LARGEST = float(np.finfo(np.float64).max)

RNG = np.random.default_rng(20240115)
GOLD = np.round(RNG.uniform(0, 5, 150), 1)
CLOSE = np.clip(GOLD + RNG.normal(0, 0.8, 150), 0, 5)
FAR = np.clip(GOLD + RNG.normal(0, 2.5, 150), 0, 5)
ZERO_ONE = (RNG.uniform(size=150) < 0.3).astype(float)
PARTIAL = RNG.beta(0.5, 0.5, 150)
LABELS = ("entailment", "contradiction", "neutral")
GOLD_CODES = RNG.choice(3, 150, p=[0.2, 0.3, 0.5])
GOLD_LABELS = [LABELS[i] for i in GOLD_CODES]


def said(right: float, seed: int) -> tuple[NDArray[np.int64], list[str | None]]:
    """Codes (3 is unreadable) and labels of a run that knows this share of the answers and guesses the others."""
    rng = np.random.default_rng(seed)
    codes = np.where(rng.uniform(size=150) < right, GOLD_CODES, rng.integers(0, 4, 150))
    return codes, [(*LABELS, None)[i] for i in codes]


def ends(estimate: Estimate) -> tuple[float, float]:
    assert estimate.low is not None and estimate.high is not None
    return estimate.low, estimate.high


def p_of(test: PairedTest) -> float:
    assert test.p is not None
    return test.p


def right_wrong(both: int, only_a: int, only_b: int, neither: int) -> tuple[list[float], list[float]]:
    a = [1.0] * (both + only_a) + [0.0] * (only_b + neither)
    b = [1.0] * both + [0.0] * only_a + [1.0] * only_b + [0.0] * neither
    return a, b


# --- proportions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("successes", "n"), [(0, 1), (1, 1), (1, 2), (0, 40), (40, 40), (13, 40), (37, 50), (1119, 1119), (2001, 2434)]
)
def test_a_proportion_has_the_wilson_interval_of_statsmodels(successes: int, n: int) -> None:
    estimate = significance.proportion(successes, n)
    assert (estimate.value, estimate.n) == (successes / n, n)
    assert ends(estimate) == pytest.approx(proportion_confint(successes, n, alpha=0.05, method="wilson"), abs=1e-12)


def test_the_wilson_interval_of_8_in_10_is_that_of_the_textbook() -> None:
    # Centre (0.8 + 1.96²/20) / (1 + 1.96²/10) = 0.7167, half width 0.2266.
    assert ends(significance.proportion(8, 10)) == pytest.approx((0.4902, 0.9433), abs=1e-4)


@given(st.integers(1, 5_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(max_examples=200, deadline=None)
def test_a_wilson_interval_holds_the_proportion_and_stays_within_0_and_1(case: tuple[int, int]) -> None:
    estimate = significance.proportion(*case)
    low, high = ends(estimate)
    assert estimate.value is not None
    assert 0 <= low <= estimate.value <= high <= 1
    assert low < high


# --- bootstrap intervals ---------------------------------------------------------------------------------

Statistic = Callable[[NDArray[np.int64]], float]


def plain_interval(statistic: Statistic, n: int = 150, draws: int = 4_000) -> tuple[float, float]:
    """Percentiles of a statistic of drawn item numbers, from the definition."""
    rng = np.random.default_rng(1)
    found = [statistic(rng.integers(0, n, n)) for _ in range(draws)]
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), float(high)


def plain_spearman(x: Floats, y: Floats) -> float:
    return float(np.corrcoef(stats.rankdata(x), stats.rankdata(y))[0, 1])


def plain_pearson(x: Floats, y: Floats) -> float:
    return float(np.corrcoef(x, y)[0, 1])


PLAIN = {"pearson": plain_pearson, "spearman": plain_spearman}


def plain_agreement(kind: str, predicted: NDArray[np.int64], gold: NDArray[np.int64]) -> float:
    """Class by class; code 3 is unreadable."""
    if kind == "balanced_accuracy":
        return float(np.mean([np.mean(predicted[gold == c] == c) for c in np.unique(gold)]))
    if kind == "macro_f1":
        hits = [(np.sum((predicted == c) & (gold == c)), np.sum(predicted == c) + np.sum(gold == c)) for c in range(3)]
        return float(np.mean([2 * both / either for both, either in hits]))
    # Gorodkin's correlation as it is defined: of the indicator matrices.
    x, y = (np.eye(4)[codes] - np.eye(4)[codes].mean(axis=0) for codes in (predicted, gold))
    return float(np.sum(x * y) / math.sqrt(np.sum(x * x) * np.sum(y * y)))


def assert_interval(found: Estimate, value: float, expected: tuple[float, float], n: int = 150) -> None:
    """Within an eighth of the width, as 1,000 resamples leave that much to chance."""
    assert found.value == pytest.approx(value, abs=1e-9)
    assert found.n == n
    assert ends(found) == pytest.approx(expected, abs=(expected[1] - expected[0]) / 8)


@pytest.mark.parametrize("values", [ZERO_ONE, PARTIAL, GOLD], ids=["zeros and ones", "parts", "wide"])
def test_a_mean_has_a_percentile_bootstrap_interval(values: Floats) -> None:
    expected = plain_interval(lambda drawn: float(values[drawn].mean()))
    assert_interval(significance.mean(values), float(values.mean()), expected)


def test_the_interval_of_zeros_and_ones_ends_at_the_quantiles_of_the_binomial_distribution() -> None:
    # A resample of 400 items, 80 of them right, holds Binomial(400, 0.2) right ones.
    expected = stats.binom.ppf([0.025, 0.975], 400, 0.2) / 400
    low, high = ends(significance.mean([1.0] * 80 + [0.0] * 320))
    assert (low, high) == pytest.approx(tuple(expected), abs=2.5 / 400)


def test_a_mean_agrees_with_the_bootstrap_of_scipy() -> None:
    result = stats.bootstrap((PARTIAL,), np.mean, n_resamples=8_000, method="percentile", rng=np.random.default_rng(1))
    interval = result.confidence_interval
    assert_interval(significance.mean(PARTIAL), float(PARTIAL.mean()), (float(interval.low), float(interval.high)))


@pytest.mark.parametrize("predicted", [CLOSE, np.round(FAR), -FAR], ids=["close", "with ties", "inverse"])
@pytest.mark.parametrize("kind", CORRELATIONS)
def test_a_correlation_has_a_percentile_bootstrap_interval(kind: Correlation, predicted: Floats) -> None:
    of = PLAIN[kind]
    expected = plain_interval(lambda drawn: of(predicted[drawn], GOLD[drawn]), draws=1_500)
    assert_interval(significance.correlation(kind, predicted.tolist(), GOLD.tolist()), of(predicted, GOLD), expected)


@pytest.mark.parametrize("kind", AGREEMENTS)
def test_an_agreement_has_a_percentile_bootstrap_interval(kind: Agreement) -> None:
    codes, labels = said(0.6, 3)
    expected = plain_interval(lambda drawn: plain_agreement(kind, codes[drawn], GOLD_CODES[drawn]), draws=1_500)
    value = plain_agreement(kind, codes, GOLD_CODES)
    assert_interval(significance.agreement(kind, labels, GOLD_LABELS), value, expected)


def test_an_interval_covers_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(11)
    covered = 0
    for _ in range(500):
        low, high = ends(significance.mean(rng.uniform(size=80)))
        covered += low <= 0.5 <= high
    assert 0.92 <= covered / 500 <= 0.97


def test_a_correlation_has_a_value_but_no_interval_when_most_resamples_have_none() -> None:
    # One prediction and another item's gold stand out of 60: 0.63 · 0.63 of the resamples draw both.
    predictions, golds = [2.0] * 59 + [4.0], [1.0] + [3.0] * 59
    estimate = significance.correlation("pearson", predictions, golds)
    assert (estimate.low, estimate.high, estimate.n) == (None, None, 60)
    assert estimate.value == pytest.approx(1 / 59)
    test = significance.correlation_test("pearson", predictions, golds, golds)
    assert test == PairedTest(Estimate(pytest.approx(58 / 59), None, None, 60), None, "bootstrap", None)  # type: ignore[arg-type]


def test_one_item_has_a_value_and_no_interval_as_it_cannot_show_how_items_vary() -> None:
    assert significance.mean([0.3]) == Estimate(0.3, None, None, 1)
    assert significance.agreement("macro_f1", ["a"], ["a"]) == Estimate(1.0, None, None, 1)
    assert significance.proportion(1, 1).low == pytest.approx(0.2065, abs=1e-4)  # Wilson knows what a share can be
    difference = Estimate(0.5, None, None, 1)
    assert significance.mean_difference_test([0.25], [0.75]) == PairedTest(difference, None, "bootstrap", None)
    assert significance.right_wrong_test([0], [1]) == PairedTest(Estimate(1.0, None, None, 1), 1.0, "mcnemar", 6)


@pytest.mark.parametrize("kind", CORRELATIONS)
def test_two_items_lie_on_a_line_and_say_nothing_more(kind: Correlation) -> None:
    assert significance.correlation(kind, [1, 5], [2, 3]) == Estimate(1.0, None, None, 2)
    assert significance.correlation(kind, [5, 1], [2, 3]) == Estimate(-1.0, None, None, 2)


def test_no_items_is_no_data_and_never_0() -> None:
    assert significance.proportion(0, 0) == NO_DATA
    assert significance.mean([]) == NO_DATA
    assert significance.average([]) == NO_DATA
    nothing = PairedTest(NO_DATA, None, "bootstrap", None)
    assert significance.mean_difference_test([], []) == nothing
    assert significance.right_wrong_test([], []) == PairedTest(NO_DATA, None, "mcnemar", None)
    assert significance.average_test([]) == PairedTest(NO_DATA, None, "normal", None)
    for correlation in CORRELATIONS:
        assert significance.correlation(correlation, [], []) == NO_DATA
        assert significance.correlation_test(correlation, [], [], []) == nothing
    for agreement in AGREEMENTS:
        assert significance.agreement(agreement, [], []) == NO_DATA
        assert significance.agreement_test(agreement, [], [], []) == nothing


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_has_no_value_and_no_test(bad: float) -> None:
    undefined = Estimate(None, None, None, 3)
    nothing = PairedTest(undefined, None, "bootstrap", None)
    assert significance.mean([1, bad, 2]) == undefined
    assert significance.mean_difference_test([1, bad, 2], [1, 2, 3]) == nothing
    assert significance.mean_difference_test([1, bad, 2], [1, bad, 3]) == nothing
    assert significance.right_wrong_test([1, bad, 0], [1, 0, 0]) == PairedTest(undefined, None, "mcnemar", None)
    for kind in CORRELATIONS:
        assert significance.correlation(kind, [1, bad, 2], [1, 2, 3]) == undefined
        assert significance.correlation_test(kind, [1, bad, 2], [1, 3, 2], [1, 2, 3]) == nothing
        assert significance.correlation_test(kind, [1, 3, 2], [1, bad, 2], [1, 2, 3]) == nothing


def test_the_largest_and_the_smallest_floats_are_numbers_like_any_other() -> None:
    for size in (1e308, 1e-300):
        test = significance.mean_difference_test([size, 0, 0, 0], [0, 0, 0, size / 10])
        usual = significance.mean_difference_test([1, 0, 0, 0], [0, 0, 0, 0.1])
        assert (test.p, test.needed) == (usual.p, usual.needed)
        assert test.difference.value == pytest.approx(-0.225 * size)
        assert ends(significance.mean([size, size, 0, -size])) == pytest.approx((-0.5 * size, size))
    assert significance.mean_difference_test([-LARGEST, 1], [LARGEST, 1]).difference == Estimate(None, None, None, 2)
    estimate = significance.correlation("pearson", [1, 2, 3, 4, 1e308], [1, 2, 3, 4, 5])
    assert estimate.value == pytest.approx(2.5 / math.sqrt(12.5))


@pytest.mark.parametrize("kind", CORRELATIONS)
def test_a_constant_has_no_correlation_and_no_test(kind: Correlation) -> None:
    undefined = Estimate(None, None, None, 150)
    assert significance.correlation(kind, [2.7] * 150, GOLD) == undefined
    nothing = PairedTest(undefined, None, "bootstrap", None)
    assert significance.correlation_test(kind, FAR, [2.7] * 150, GOLD) == nothing
    assert significance.correlation_test(kind, [2.7] * 150, FAR, GOLD) == nothing


def test_runs_that_never_answered_agree_with_nothing_and_do_not_differ() -> None:
    silent: list[str | None] = [None] * 150
    for kind in AGREEMENTS:
        assert significance.agreement(kind, silent, GOLD_LABELS) == Estimate(0.0, 0.0, 0.0, 150)
        test = significance.agreement_test(kind, silent, silent, GOLD_LABELS)
        assert test == PairedTest(Estimate(0.0, 0.0, 0.0, 150), 1.0, "bootstrap", None)
        assert p_of(significance.agreement_test(kind, silent, said(0.6, 3)[1], GOLD_LABELS)) == pytest.approx(2 / 1_001)


def test_a_constant_is_certain() -> None:
    assert significance.mean([0.7] * 9) == Estimate(0.7, 0.7, 0.7, 9)
    for kind in CORRELATIONS:
        estimate = significance.correlation(kind, GOLD, GOLD)
        assert (estimate.value, *ends(estimate)) == pytest.approx((1, 1, 1))
        estimate = significance.correlation(kind, 5 - GOLD, GOLD)
        assert (estimate.value, *ends(estimate)) == pytest.approx((-1, -1, -1))


# Found by trying: of 8 items, one prediction stands out, and any resample of at most 7 of them ranks it higher.
def test_answers_of_which_all_but_one_are_alike_have_a_correlation_and_no_interval() -> None:
    # A third of the resamples (0.9 to the power of 10) lack the tenth item and have no correlation: an interval over
    # the others would leave out what it is to show.
    said = [4.0] * 9 + [1.0]
    gold = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 4.5, 3.5, 2.5, 0.5]
    for kind, plain in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
        found = significance.correlation(kind, said, gold)  # type: ignore[arg-type]
        assert found.value == pytest.approx(plain(said, gold)[0])
        assert (found.low, found.high, found.n) == (None, None, 10)
    # Two of ten the other way leave a tenth of them without one, four of ten under one in a hundred.
    assert significance.correlation("pearson", [4.0] * 8 + [1.0] * 2, gold).low is None
    assert significance.correlation("pearson", [4.0] * 6 + [1.0] * 4, gold).low is not None


scores = st.lists(
    st.tuples(*[st.sampled_from([0.0, 1.0, 1.5, 2.0, 5.0])] * 3, *[st.sampled_from(["a", "b", None])] * 2),
    min_size=1,
    max_size=20,
)


@given(scores)
@settings(max_examples=60, deadline=None)
def test_an_interval_holds_its_value(rows: list[tuple[float, float, float, str | None, str | None]]) -> None:
    a, b, gold, x, y = (list(column) for column in zip(*rows, strict=True))
    golds = ["a" if g > 1 else "b" for g in gold]
    found = [
        significance.mean(a),
        significance.mean_difference_test(a, b).difference,
        *(significance.correlation(kind, a, gold) for kind in CORRELATIONS),
        *(significance.correlation_test(kind, a, b, gold).difference for kind in CORRELATIONS),
        *(significance.agreement(kind, x, golds) for kind in AGREEMENTS),
        *(significance.agreement_test(kind, x, y, golds).difference for kind in AGREEMENTS),
    ]
    assert all(e.n == len(rows) for e in found)
    for estimate in found:
        if estimate.low is not None:
            low, high = ends(estimate)
            assert estimate.value is not None
            assert low <= estimate.value <= high


def everything() -> list[Estimate | PairedTest]:
    labels = said(0.6, 3)[1]
    return [
        significance.mean(PARTIAL),
        significance.mean_difference_test(ZERO_ONE, PARTIAL),
        significance.right_wrong_test(ZERO_ONE, ZERO_ONE[::-1]),
        *(significance.correlation(kind, FAR, GOLD) for kind in CORRELATIONS),
        *(significance.correlation_test(kind, FAR, CLOSE, GOLD) for kind in CORRELATIONS),
        *(significance.agreement(kind, labels, GOLD_LABELS) for kind in AGREEMENTS),
        *(significance.agreement_test(kind, labels, said(0.5, 4)[1], GOLD_LABELS) for kind in AGREEMENTS),
    ]


def test_the_same_items_give_the_same_result_whatever_was_done_before() -> None:
    before = everything()
    np.random.default_rng(0).random(10)
    significance._kept.cache_clear()
    assert everything() == before


@pytest.mark.parametrize(("cells", "kept"), [(7_000, 10_000), (1, 10_000), (125_000, 0)])
def test_a_result_does_not_depend_on_how_the_resamples_are_cut_into_blocks_or_kept(
    monkeypatch: pytest.MonkeyPatch, cells: int, kept: int
) -> None:
    before = (
        significance.correlation_test("spearman", FAR, CLOSE, GOLD),
        significance.agreement("mcc", said(0.6, 3)[1], GOLD_LABELS),
    )
    monkeypatch.setattr(significance, "_BLOCK_CELLS", cells)
    monkeypatch.setattr(significance, "_KEPT_ITEMS", kept)
    significance._kept.cache_clear()
    after = (
        significance.correlation_test("spearman", FAR, CLOSE, GOLD),
        significance.agreement("mcc", said(0.6, 3)[1], GOLD_LABELS),
    )
    significance._kept.cache_clear()
    # Sums of whole numbers are exact in any order.
    assert after == before


OF_MANY = """
import numpy as np
from jglue_app.scoring import significance
gold = np.random.default_rng(0).normal(size=1_457)
a, b = gold + np.random.default_rng(1).normal(size=(2, 1_457))
labels = [["a" if value > 0 else "b" for value in side] for side in (a, b, gold)]
print(significance.correlation_test("pearson", a, b, gold), significance.agreement_test("macro_f1", *labels))
"""
"""Tests of so many items that BLAS shares a product of all of them among its threads."""


def test_the_last_digits_do_not_depend_on_the_number_of_threads() -> None:
    said = [
        subprocess.run(
            [sys.executable, "-c", OF_MANY],
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2")
    ]
    assert "PairedTest" in said[0]
    assert said[0] == said[1]


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="columns of 2, 3 items"):
        significance.mean_difference_test([1, 0], [1, 0, 1])
    with pytest.raises(ValueError, match="columns of 2, 3 items"):
        significance.mcnemar([1, 0], [1, 0, 1])
    with pytest.raises(ValueError, match="columns of 1, 2 items"):
        significance.agreement("mcc", ["a"], ["a", "b"])
    with pytest.raises(ValueError, match="columns of 2, 2, 1 items"):
        significance.correlation_test("pearson", [1, 2], [1, 2], [1])
    with pytest.raises(ValueError, match="columns of 1, 2, 2 items"):
        significance.agreement_test("mcc", ["a"], ["a", "b"], ["a", "b"])


# --- right and wrong -------------------------------------------------------------------------------------


def test_mcnemar_is_the_exact_test_of_statsmodels_on_every_small_table() -> None:
    for only_a in range(16):
        for only_b in range(16):
            if only_a + only_b:
                expected = statsmodels_mcnemar([[3, only_a], [only_b, 2]], exact=True).pvalue
                assert significance.mcnemar(*right_wrong(3, only_a, only_b, 2)) == pytest.approx(min(1.0, expected))


@pytest.mark.parametrize(("only_a", "only_b"), [(100, 140), (30, 12), (1_000, 300), (2_300, 2_450), (0, 500)])
def test_mcnemar_is_the_binomial_test_on_large_tables(only_a: int, only_b: int) -> None:
    expected = stats.binomtest(only_a, only_a + only_b).pvalue
    assert significance.mcnemar(*right_wrong(0, only_a, only_b, 0)) == pytest.approx(expected, rel=1e-6)


def test_runs_that_are_right_on_the_same_items_have_a_p_of_1() -> None:
    assert significance.mcnemar([1, 0, 1], [1, 0, 1]) == 1
    assert significance.mcnemar([], []) == 1


def test_right_and_wrong_is_the_difference_of_the_shares_with_mcnemar_and_a_paired_interval() -> None:
    a, b = right_wrong(70, 10, 30, 40)
    test = significance.right_wrong_test(a, b)
    drawn = plain_interval(lambda i: float(np.mean(np.array(b)[i] - np.array(a)[i])))
    assert_interval(test.difference, 20 / 150, drawn)
    assert test.p == pytest.approx(stats.binomtest(10, 40).pvalue)
    assert test.test == "mcnemar"


@pytest.mark.parametrize(
    ("table", "needed"),
    [
        # The example of the calculator on powerandsamplesize.com for Connor's formula: 0.45 and 0.05 of the items.
        ((5, 1, 9, 5), 23),
        ((50, 10, 90, 50), 23),
        ((5, 9, 1, 5), 23),
        # (1.95996 √0.4 + 0.84162 √(0.4 − 0.04))² / 0.04 = 76.09.
        ((20, 10, 30, 40), 77),
        # All items differ and for the better: (1.95996 · 1 + 0)² = 3.84, but 5 items cannot have p < 0.05.
        ((0, 0, 12, 0), 6),
        ((10, 4, 4, 10), None),
        ((10, 0, 0, 10), None),
    ],
)
def test_the_items_needed_are_those_of_connor(table: tuple[int, int, int, int], needed: int | None) -> None:
    assert significance.right_wrong_test(*right_wrong(*table)).needed == needed


@pytest.mark.parametrize("tests", [1, 4, 15])
@pytest.mark.parametrize("table", [(50, 12, 24, 14), (60, 2, 10, 28), (400, 45, 65, 490)])
def test_with_the_items_needed_the_exact_test_finds_the_difference_about_4_times_in_5(
    table: tuple[int, int, int, int], tests: int
) -> None:
    alone = significance.right_wrong_test(*right_wrong(*table)).needed
    needed = significance.needed_of_several(alone, tests)
    assert needed is not None
    counts = np.random.default_rng(8).multinomial(needed, np.array(table) / sum(table), size=20_000)
    fewer, differing = counts[:, 1:3].min(axis=1), counts[:, 1:3].sum(axis=1)
    # Holm's correction takes the smallest p of several times their number.
    power = np.mean(tests * 2 * stats.binom.cdf(fewer, differing, 0.5) < 0.05)
    assert 0.72 <= power <= 0.90


def test_of_several_tests_each_needs_as_many_items_as_can_differ_enough() -> None:
    assert [significance.needed_of_several(6, tests) for tests in (1, 2, 5)] == [6, 8, 9]
    assert significance.needed_of_several(None, 5) is None


# --- paired bootstrap tests ------------------------------------------------------------------------------


def test_a_difference_is_b_minus_a() -> None:
    # B is right on two more of four items.
    assert significance.mean_difference_test([1, 0, 0, 0], [1, 1, 1, 0]).difference.value == 0.5
    assert significance.right_wrong_test([1, 1, 1, 0], [1, 0, 0, 0]).difference.value == -0.5
    # A orders the items the wrong way round, B the right way: 1 − (−1).
    found = significance.correlation_test("pearson", [4, 3, 2, 1], [1, 2, 3, 4], [1, 2, 3, 4])
    assert found.difference.value == pytest.approx(2)
    # Recall of A 1 and 0, of B 1 and 1/2.
    test = significance.agreement_test("balanced_accuracy", ["a", "a", "a"], ["a", "b", None], ["a", "b", "b"])
    assert test.difference.value == pytest.approx(0.25)


def test_a_difference_of_means_has_the_paired_bootstrap_interval() -> None:
    drawn = plain_interval(lambda i: float(np.mean(PARTIAL[i]) - np.mean(ZERO_ONE[i])))
    found = significance.mean_difference_test(ZERO_ONE, PARTIAL).difference
    assert_interval(found, float(PARTIAL.mean() - ZERO_ONE.mean()), drawn)


@pytest.mark.parametrize("kind", CORRELATIONS)
def test_a_difference_of_correlations_has_the_paired_bootstrap_interval(kind: Correlation) -> None:
    of = PLAIN[kind]
    drawn = plain_interval(lambda i: of(CLOSE[i], GOLD[i]) - of(FAR[i], GOLD[i]), draws=1_500)
    found = significance.correlation_test(kind, FAR.tolist(), CLOSE.tolist(), GOLD.tolist()).difference
    assert_interval(found, of(CLOSE, GOLD) - of(FAR, GOLD), drawn)


@pytest.mark.parametrize("kind", AGREEMENTS)
def test_a_difference_of_agreements_has_the_paired_bootstrap_interval(kind: Agreement) -> None:
    (a, labels_a), (b, labels_b) = said(0.6, 3), said(0.5, 4)

    def difference(i: NDArray[np.int64]) -> float:
        return plain_agreement(kind, b[i], GOLD_CODES[i]) - plain_agreement(kind, a[i], GOLD_CODES[i])

    found = significance.agreement_test(kind, labels_a, labels_b, GOLD_LABELS).difference
    assert_interval(found, difference(np.arange(150)), plain_interval(difference, draws=1_500))


def test_a_paired_interval_is_narrower_than_that_of_two_samples_that_go_together() -> None:
    low, high = ends(significance.mean_difference_test(PARTIAL, np.clip(PARTIAL + 0.05, 0, 1)).difference)
    single = ends(significance.mean(PARTIAL))
    assert high - low < (single[1] - single[0]) / 5
    assert low > 0


def chance(p: float) -> float:
    """Three standard errors of a two-sided p from 1,000 resamples, and 0.01 for what the two tests differ by."""
    return 0.01 + 3 * 2 * math.sqrt(p / 2 * (1 - p / 2) / 1_000)


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.12, 0.2, -0.15])
def test_p_is_about_that_of_the_permutation_test_for_means(shift: float) -> None:
    rng = np.random.default_rng(21)
    a = rng.uniform(size=120)
    b = a + rng.normal(shift, 0.6, 120)
    signs = rng.choice([-1, 1], (10_000, 120))
    expected = float(np.mean(np.abs(signs @ (b - a)) >= abs(np.sum(b - a))))
    assert significance.mean_difference_test(a, b).p == pytest.approx(expected, abs=chance(expected))


@pytest.mark.parametrize("noise", [0.8, 1.0, 1.2])
def test_p_is_about_that_of_the_permutation_test_for_correlations(noise: float) -> None:
    rng = np.random.default_rng(22)
    b = GOLD + rng.normal(0, noise, 150)

    def difference(x: Floats, y: Floats) -> float:
        return plain_pearson(y, GOLD) - plain_pearson(x, GOLD)

    seen = abs(difference(CLOSE, b))
    swaps = rng.uniform(size=(2_000, 150)) < 0.5
    expected = float(np.mean([abs(difference(np.where(s, b, CLOSE), np.where(s, CLOSE, b))) >= seen for s in swaps]))
    found = significance.correlation_test("pearson", CLOSE, b, GOLD).p
    assert found == pytest.approx(expected, abs=0.01 + chance(expected))


def share_below_5_percent(test: Callable[[np.random.Generator], PairedTest], runs: int) -> float:
    rng = np.random.default_rng(31)
    return sum(p_of(test(rng)) < 0.05 for _ in range(runs)) / runs


def test_two_runs_that_are_equally_good_differ_about_5_times_in_100() -> None:
    def parts(rng: np.random.Generator) -> PairedTest:
        hardness = rng.uniform(size=100)
        return significance.mean_difference_test(*(np.clip(hardness + rng.normal(0, 0.3, 100), 0, 1) for _ in "ab"))

    def similarities(rng: np.random.Generator) -> PairedTest:
        gold = rng.uniform(0, 5, 100)
        a, b = (gold + rng.normal(0, 1, 100) for _ in "ab")
        return significance.correlation_test("spearman", a, b, gold)

    def labels(rng: np.random.Generator) -> PairedTest:
        gold = rng.integers(0, 3, 100)
        a, b = (np.where(rng.uniform(size=100) < 0.6, gold, rng.integers(0, 3, 100)) for _ in "ab")
        return significance.agreement_test("macro_f1", *([LABELS[i] for i in codes] for codes in (a, b, gold)))

    assert 0.03 <= share_below_5_percent(parts, 800) <= 0.075
    assert 0.025 <= share_below_5_percent(similarities, 300) <= 0.08
    assert 0.025 <= share_below_5_percent(labels, 300) <= 0.08


def test_mcnemar_never_errs_more_than_5_times_in_100() -> None:
    def shares(rng: np.random.Generator) -> PairedTest:
        return significance.right_wrong_test(*(rng.uniform(size=(2, 100)) < 0.5).astype(float))

    assert 0.01 <= share_below_5_percent(shares, 500) <= 0.05


@pytest.mark.parametrize(
    ("items", "least"), [(1, 1.0), (2, 0.5), (3, 0.25), (5, 1 / 16), (6, 1 / 32), (9, 1 / 256), (10, 2 / 1_001)]
)
def test_p_is_never_below_that_of_the_most_extreme_swap_of_the_items_that_differ(items: int, least: float) -> None:
    # All of them in favour of B, by as much: only two of 2ⁿ ways to swap the runs item by item are as extreme.
    test = significance.mean_difference_test([0.5] * 20, [0.75] * items + [0.5] * (20 - items))
    resampled = 2 * (stats.binom.pmf(0, 20, items / 20))
    assert p_of(test) >= least
    assert p_of(test) == pytest.approx(max(least, resampled), abs=0.03)
    golds = [float(i) for i in range(20)]
    worse = [0.0 if i < items else g for i, g in enumerate(golds[::-1])][::-1]
    assert p_of(significance.correlation_test("spearman", worse, golds, golds)) >= least
    wrong = ["b"] * items + ["a"] * (20 - items)
    assert p_of(significance.agreement_test("macro_f1", wrong, ["a"] * 20, ["a"] * 20)) >= least


@pytest.mark.parametrize("n", [5, 40])
def test_a_difference_that_never_varies_needs_the_six_items_that_any_test_needs(n: int) -> None:
    test = significance.mean_difference_test([0.25] * n, [0.75] * n)
    assert test.difference == Estimate(0.5, 0.5, 0.5, n)
    assert test.needed == 6


def test_the_items_needed_for_a_mean_are_those_of_the_normal_formula() -> None:
    rng = np.random.default_rng(41)
    a, b = rng.uniform(size=400), rng.uniform(size=400) + 0.05
    d = b - a
    expected = (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) ** 2 * d.var() / d.mean() ** 2
    # The spread of 1,000 resamples is known to 2 %, its square to twice that.
    assert significance.mean_difference_test(a, b).needed == pytest.approx(expected, rel=0.1)


def test_with_the_items_needed_the_bootstrap_finds_the_difference_about_4_times_in_5() -> None:
    rng = np.random.default_rng(42)
    gold = rng.uniform(0, 5, 1_000)
    a, b = gold + rng.normal(0, 0.9, 1_000), gold + rng.normal(0.1, 1.1, 1_000)

    def of_means(items: NDArray[np.int64]) -> PairedTest:
        return significance.mean_difference_test(a[items], b[items])

    def of_correlations(items: NDArray[np.int64]) -> PairedTest:
        return significance.correlation_test("pearson", a[items], b[items], gold[items])

    for test in (of_means, of_correlations):
        needed = test(np.arange(1_000)).needed
        assert needed is not None and 100 < needed < 1_000

        def again(rng: np.random.Generator, n: int = needed, test: Callable[..., PairedTest] = test) -> PairedTest:
            return test(rng.integers(0, 1_000, n))

        assert 0.72 <= share_below_5_percent(again, 300) <= 0.90


@given(st.lists(st.tuples(*[st.sampled_from([0.0, 0.1, 0.3, 1.0, 4.5])] * 3), min_size=2, max_size=20))
@settings(max_examples=40, deadline=None)
def test_to_swap_the_runs_turns_the_difference_round_and_keeps_p(rows: list[tuple[float, float, float]]) -> None:
    a, b, gold = (list(column) for column in zip(*rows, strict=True))
    x, y, golds = ([f"{v:g}" if v < 4 else None for v in column] for column in (a, b, gold))
    marked = [g or "4" for g in golds]
    for there, back in [
        (significance.mean_difference_test(a, b), significance.mean_difference_test(b, a)),
        (
            significance.right_wrong_test([float(v > 0.2) for v in a], [float(v > 0.2) for v in b]),
            significance.right_wrong_test([float(v > 0.2) for v in b], [float(v > 0.2) for v in a]),
        ),
        *(
            (significance.correlation_test(kind, a, b, gold), significance.correlation_test(kind, b, a, gold))
            for kind in CORRELATIONS
        ),
        *(
            (significance.agreement_test(kind, x, y, marked), significance.agreement_test(kind, y, x, marked))
            for kind in AGREEMENTS
        ),
    ]:
        assert (back.p, back.needed, back.test) == (there.p, there.needed, there.test)
        if there.difference.value is None:
            assert back.difference.value is None
            continue
        assert back.difference.value == -there.difference.value
        if there.difference.low is not None:
            low, high = ends(there.difference)
            assert ends(back.difference) == pytest.approx((-high, -low), abs=1e-12)


@given(st.lists(st.floats(0, 5), min_size=2, max_size=20))
@settings(max_examples=30, deadline=None)
def test_identical_runs_differ_by_exactly_nothing(values: list[float]) -> None:
    n = len(values)
    nothing = Estimate(0.0, 0.0, 0.0, n)
    same = PairedTest(nothing, 1.0, "bootstrap", None)
    assert significance.mean_difference_test(values, values) == same
    right = [float(v > 2) for v in values]
    assert significance.right_wrong_test(right, right) == PairedTest(nothing, 1.0, "mcnemar", None)
    said_, golds = ["ab"[v > 2] for v in values], ["ab"[v > 3] for v in values]
    for agreement in AGREEMENTS:
        assert significance.agreement_test(agreement, said_, said_, golds) == same
    for correlation in CORRELATIONS:
        test = significance.correlation_test(correlation, values, values, list(range(n)))
        if len(set(values)) == 1:
            assert test == PairedTest(Estimate(None, None, None, n), None, "bootstrap", None)
        elif test.difference.low is None:
            assert test == PairedTest(Estimate(0.0, None, None, n), None, "bootstrap", None)
        else:
            assert test == same


def test_what_differs_by_rounding_alone_does_not_differ() -> None:
    nothing = PairedTest(Estimate(0.0, 0.0, 0.0, 12), 1.0, "bootstrap", None)
    assert significance.mean_difference_test([0.3] * 12, [0.1 + 0.2] * 12) == nothing
    # Gains and losses of the same sizes: their sum is 0, but not in floats.
    a, b = [0.3, 0.9, 0.1, 0.1, 0.9, 0.2], [0.9, 0.2, 0.1, 0.9, 0.1, 0.3]
    assert sum(y - x for x, y in zip(a, b, strict=True)) != 0
    test = significance.mean_difference_test(a, b)
    assert (test.difference.value, test.needed) == (0.0, None)
    # Another scale is no other correlation.
    test = significance.correlation_test("pearson", FAR, FAR / 3 + 0.7, GOLD)
    assert test == PairedTest(Estimate(0.0, 0.0, 0.0, 150), 1.0, "bootstrap", None)


# --- several tests ---------------------------------------------------------------------------------------


def test_holm_by_hand() -> None:
    # 3 · 0.01, 2 · 0.02, and 0.03 raised to the one before it; what was not tested does not count.
    found = significance.holm({"a": 0.03, "b": None, "c": 0.01, "d": 0.02})
    assert found == {"a": pytest.approx(0.04), "b": None, "c": pytest.approx(0.03), "d": pytest.approx(0.04)}
    assert list(found) == ["a", "b", "c", "d"]
    assert significance.holm({}) == {}
    assert significance.holm({"a": None}) == {"a": None}
    assert significance.holm({"a": 0.7, "b": 0.8}) == {"a": 1.0, "b": 1.0}


@given(st.lists(st.none() | st.floats(0, 1) | st.sampled_from([0.0, 0.01, 0.02, 0.04, 1.0]), min_size=1, max_size=10))
@settings(max_examples=15, deadline=None)  # statsmodels collects garbage at every call
def test_holm_is_that_of_statsmodels(ps: list[float | None]) -> None:
    found = significance.holm(dict(enumerate(ps)))
    assert [p is None for p in found.values()] == [p is None for p in ps]
    tested = [p for p in ps if p is not None]
    if tested:
        expected = multipletests(tested, method="holm")[1]
        assert [p for p in found.values() if p is not None] == pytest.approx(expected.tolist(), abs=1e-12)


# --- averages --------------------------------------------------------------------------------------------


def normal(value: float, error: float, n: int = 100) -> Estimate:
    half = float(stats.norm.ppf(0.975)) * error
    return Estimate(value, value - half, value + half, n)


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(0.01, 0.2)), min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_an_average_of_symmetric_intervals_is_that_of_independent_normal_variables(
    rows: list[tuple[float, float]],
) -> None:
    k = len(rows)
    value, error = sum(v for v, _ in rows) / k, math.sqrt(sum(e * e for _, e in rows)) / k
    expected = normal(value, error)
    estimates = [normal(*row) for row in rows]
    found = significance.average(estimates)
    assert found.n == 100 * k
    assert (found.value, *ends(found)) == pytest.approx((value, *ends(expected)), abs=1e-12)
    test = significance.average_test([PairedTest(e, None, "bootstrap", None) for e in estimates])
    assert (test.difference, test.test, test.needed) == (found, "normal", None)
    assert test.p == pytest.approx(2 * stats.norm.sf(abs(value) / error), abs=1e-9)


def test_an_average_takes_each_side_of_its_interval_from_that_side() -> None:
    # Distances below 0.03 and 0.04, above 0.05 and 0.12: √(9 + 16) = 5 and √(25 + 144) = 13 hundredths, halved.
    one, two = Estimate(0.05, 0.02, 0.10, 10), Estimate(-0.01, -0.05, 0.11, 30)
    found = significance.average([one, two])
    assert (found.value, *ends(found)) == pytest.approx((0.02, -0.005, 0.085))
    assert found.n == 40
    test = significance.average_test([PairedTest(one, None, "mcnemar", None), PairedTest(two, 0.5, "bootstrap", 5)])
    assert test.difference == found
    # The width is 2 · 1.96 standard errors, so z = 0.02 / (0.09 / 3.92) = 0.871.
    assert test.p == pytest.approx(0.3837, abs=1e-4)


def test_the_interval_of_an_average_of_subsets_covers_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(51)
    covered = 0
    for _ in range(400):
        share = significance.proportion(int(rng.binomial(60, 0.9)), 60)
        low, high = ends(significance.average([share, significance.mean(rng.beta(2, 1, 50))]))
        covered += low <= (0.9 + 2 / 3) / 2 <= high
    assert 0.92 <= covered / 400 <= 0.98


def test_an_average_lacks_what_any_of_its_parts_lacks() -> None:
    whole, bare, none = Estimate(0.5, 0.4, 0.6, 10), Estimate(0.7, None, None, 2), Estimate(None, None, None, 3)
    assert significance.average([whole, bare]) == Estimate(pytest.approx(0.6), None, None, 12)  # type: ignore[arg-type]
    assert significance.average([whole, none]) == Estimate(None, None, None, 13)
    assert significance.average([whole]) == Estimate(0.5, 0.4, 0.6, 10)
    for part in (bare, none):
        test = significance.average_test([PairedTest(e, 0.01, "mcnemar", 9) for e in (whole, part)])
        assert test == PairedTest(significance.average([whole, part]), None, "normal", None)


def test_an_average_without_spread_has_no_p_of_0() -> None:
    one = PairedTest(Estimate(0.5, 0.5, 0.5, 3), 0.25, "bootstrap", 6)
    # 6 items in all, and all of them for B.
    assert significance.average_test([one, one]) == PairedTest(Estimate(0.5, 0.5, 0.5, 6), 1 / 32, "normal", None)
    equal = PairedTest(Estimate(0.0, 0.0, 0.0, 3), 1.0, "bootstrap", None)
    assert significance.average_test([equal, equal]).p == 1


def test_p_of_an_average_is_right_about_5_times_in_100_for_runs_that_are_equally_good() -> None:
    def averages(rng: np.random.Generator) -> PairedTest:
        a, b = rng.uniform(size=(2, 80)), rng.uniform(size=(2, 60))
        return significance.average_test([significance.mean_difference_test(*a), significance.mean_difference_test(*b)])

    assert 0.03 <= share_below_5_percent(averages, 600) <= 0.08


def test_estimates_are_given_for_sequences_and_arrays_alike() -> None:
    columns: list[Sequence[float] | Floats] = [PARTIAL, PARTIAL.tolist(), tuple(PARTIAL)]
    assert len({significance.mean(column) for column in columns}) == 1


@pytest.mark.parametrize("n", [10, 20, 44, 300])
def test_the_smallest_difference_is_the_one_whose_test_needs_that_many_items(n: int) -> None:
    found = significance.smallest_difference(n)

    def needed(difference: float) -> float:
        """By Connor's formula, with a third of the items discordant or, if that is more, all that differ."""
        share = max(1 / 3, difference)
        return float((1.95996 * share**0.5 + 0.84162 * (share - difference**2) ** 0.5) / difference) ** 2

    assert needed(found * 1.001) < n < needed(found * 0.999)
    # The same from data: 3,000 items, of which a third are discordant.
    if n >= 44:
        only_b = round(3_000 * (1 / 3 + found) / 2)
        a = [1.0] * (1_000 - only_b) + [0.0] * (2_000 + only_b)
        b = [0.0] * (1_000 - only_b) + [1.0] * only_b + [0.0] * 2_000
        test = significance.right_wrong_test(a, b)
        assert test.needed is not None
        assert abs(test.needed - n) <= max(1, 0.01 * n)


def test_no_difference_can_be_shown_with_fewer_items_than_have_to_differ() -> None:
    assert significance.smallest_difference(5) == 1.0


def test_the_fewest_items_that_have_to_differ_follow_from_half_to_the_power() -> None:
    # 2 · ½⁵ = 0.0625, 2 · ½⁶ = 0.031; 5 · 2 · ½⁷ = 0.078, 5 · 2 · ½⁸ = 0.039.
    assert significance.fewest_differing() == 6
    assert significance.fewest_differing(5) == 8
