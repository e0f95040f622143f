"""Metrics against values worked out by hand and against scipy and scikit-learn."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import accuracy_score

from jglue_app import metrics
from jglue_app.metrics import Floats
from jglue_app.types import Estimate

NO_DATA = Estimate(None, None, None, 0)


def near(estimate: Estimate, value: float, low: float, high: float, tolerance: float) -> None:
    assert estimate.low is not None and estimate.high is not None
    assert estimate.value == pytest.approx(value, abs=1e-12)
    assert estimate.low == pytest.approx(low, abs=tolerance)
    assert estimate.high == pytest.approx(high, abs=tolerance)


# --- spans -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("東京", "東京"),
        ("東京。", "東京"),
        ("東京。。", "東京"),
        ("。東京", "。東京"),
        ("東京。大阪。", "東京。大阪"),
        ("東京。 ", "東京。"),
        ("  Tokyo\t\nBay　", "tokyo bay"),
        ("ＴＯＫＹＯ", "ｔｏｋｙｏ"),
        ("１２３", "１２３"),
        ("「東京」！", "「東京」！"),
        ("。", ""),
        ("", ""),
        (" \u3000\n", ""),
    ],
)
def test_a_span_is_lower_cased_freed_of_its_last_full_stop_and_its_white_space_collapsed(
    text: str, normalised: str
) -> None:
    assert metrics.normalize_span(text) == normalised


@pytest.mark.parametrize(
    ("prediction", "references", "exact_match", "f1"),
    [
        ("東京都", ["東京都"], 1, 1),
        ("東京都。", ["東京都"], 1, 1),
        ("東京都", ["東京都。"], 1, 1),
        ("TOKYO", ["Tokyo"], 1, 1),
        # 2 common characters of 2 and 3: 2·2/(2+3).
        ("東京", ["東京都"], 0, 4 / 5),
        ("東京都", ["東京"], 0, 4 / 5),
        # 「東京都」 in 「東京都です。」 without the full stop: 2·3/(5+3).
        ("東京都です。", ["東京都"], 0, 6 / 8),
        # Quotation marks stay: 2·3/(5+3).
        ("「東京都」", ["東京都"], 0, 6 / 8),
        # Width stays: nothing in common but 年: 2·1/(5+5).
        ("１９９０年", ["1990年"], 0, 2 / 10),
        # A bag knows no order.
        ("京都東", ["東京都"], 0, 1),
        # Repeated characters count as often as both have them: 2·2/(3+2).
        ("ははは", ["はは"], 0, 4 / 5),
        # The space is a character: "new york" has 8, "newyork" 7: 2·7/(8+7).
        ("new york", ["newyork"], 0, 14 / 15),
        ("New  York", ["new york"], 1, 1),
        # Each metric takes its best reference: 2·2/(2+2) for the second, 2·2/(2+5) for the first.
        ("大阪", ["大阪府大阪市", "大阪"], 1, 1),
        # 2·3/(3+6) and 2·1/(3+2).
        ("大阪市", ["大阪府大阪市", "市長"], 0, 6 / 9),
        ("京都", ["大阪"], 0, 0),
        ("", ["東京"], 0, 0),
        ("。", ["東京"], 0, 0),
        (" ", ["東京"], 0, 0),
    ],
)
def test_exact_match_and_character_f1_are_the_best_over_the_references(
    prediction: str, references: list[str], exact_match: float, f1: float
) -> None:
    assert metrics.span_exact_match(prediction, references) == exact_match
    assert metrics.span_f1(prediction, references) == pytest.approx(f1)


@given(st.text(max_size=30), st.lists(st.text(max_size=30), min_size=1, max_size=3))
@settings(max_examples=200, deadline=None)
def test_f1_lies_between_exact_match_and_one_and_does_not_depend_on_the_order_of_references(
    prediction: str, references: list[str]
) -> None:
    f1 = metrics.span_f1(prediction, references)
    assert metrics.span_exact_match(prediction, references) <= f1 <= 1
    assert f1 == metrics.span_f1(prediction, references[::-1])
    assert metrics.span_f1(references[0], references) == 1


# --- proportions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("successes", "n"), [(0, 1), (1, 1), (1, 2), (0, 40), (40, 40), (13, 40), (37, 50), (1119, 1119), (2001, 2434)]
)
def test_a_proportion_has_the_wilson_interval_of_scipy(successes: int, n: int) -> None:
    interval = stats.binomtest(successes, n).proportion_ci(confidence_level=0.95, method="wilson")
    estimate = metrics.proportion(successes, n)
    near(estimate, successes / n, interval.low, interval.high, 1e-9)
    assert estimate.n == n


def test_the_wilson_interval_of_8_in_10_is_that_of_the_textbook() -> None:
    # Centre (0.8 + 1.96²/20) / (1 + 1.96²/10) = 0.7167, half width 0.2266.
    near(metrics.proportion(8, 10), 0.8, 0.4902, 0.9433, 1e-4)


def test_a_proportion_of_right_answers_is_the_accuracy_of_scikit_learn() -> None:
    rng = np.random.default_rng(7)
    labels = np.array(["entailment", "contradiction", "neutral"])
    gold, predicted = (labels[rng.integers(0, 3, 500)] for _ in range(2))
    right = [g == p for g, p in zip(gold, predicted, strict=True)]
    assert metrics.proportion(sum(right), 500).value == pytest.approx(accuracy_score(gold, predicted))


@given(st.integers(1, 5_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(max_examples=200, deadline=None)
def test_a_wilson_interval_holds_the_proportion_and_stays_within_0_and_1(case: tuple[int, int]) -> None:
    estimate = metrics.proportion(*case)
    assert estimate.low is not None and estimate.high is not None and estimate.value is not None
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert estimate.low < estimate.high


# --- bootstrap -------------------------------------------------------------------------------------------

RNG = np.random.default_rng(20240115)
GOLD = RNG.uniform(0, 5, 120)
CLOSE = np.clip(GOLD + RNG.normal(0, 0.8, 120), 0, 5)
FAR = np.clip(GOLD + RNG.normal(0, 2.5, 120), 0, 5)
ROUNDED = np.round(FAR)
ZERO_ONE = (RNG.uniform(size=120) < 0.3).astype(float)
PARTIAL = RNG.beta(0.5, 0.5, 120)


def scipy_interval(columns: Sequence[Floats], statistic: Callable[..., Any]) -> tuple[float, float]:
    """A percentile interval with eight times as many resamples, so that most of the noise left is ours."""
    result = stats.bootstrap(
        columns,
        statistic,
        paired=len(columns) > 1,
        n_resamples=8_000,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(1),
        batch=1_000,
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def column_pearson(x: Floats, y: Floats, axis: int = -1) -> Floats:
    r: Floats = stats.pearsonr(x, y, axis=axis).statistic
    return r


def column_spearman(x: Floats, y: Floats, axis: int = -1) -> Floats:
    return column_pearson(stats.rankdata(x, axis=axis), stats.rankdata(y, axis=axis), axis)


@pytest.mark.parametrize("values", [ZERO_ONE, PARTIAL, GOLD], ids=["zeros and ones", "parts", "wide"])
def test_a_mean_has_the_percentile_bootstrap_interval_of_scipy(values: Floats) -> None:
    low, high = scipy_interval((values,), lambda x, axis=-1: np.mean(x, axis=axis))
    near(metrics.mean(values), float(np.mean(values)), low, high, 0.12 * (high - low))


@pytest.mark.parametrize("predicted", [CLOSE, FAR, ROUNDED, -FAR], ids=["close", "far", "with ties", "inverse"])
def test_a_correlation_has_the_value_and_the_percentile_bootstrap_interval_of_scipy(predicted: Floats) -> None:
    low, high = scipy_interval((predicted, GOLD), column_pearson)
    value = stats.pearsonr(predicted, GOLD).statistic
    near(metrics.correlation("pearson", list(predicted), list(GOLD)), value, low, high, 0.12 * (high - low))
    low, high = scipy_interval((predicted, GOLD), column_spearman)
    value = stats.spearmanr(predicted, GOLD).statistic
    near(metrics.correlation("spearman", list(predicted), list(GOLD)), value, low, high, 0.12 * (high - low))


def test_a_difference_of_correlations_has_the_paired_bootstrap_interval_of_scipy() -> None:
    for kind, statistic in (("pearson", column_pearson), ("spearman", column_spearman)):

        def difference(
            a: Floats, b: Floats, gold: Floats, axis: int = -1, of: Callable[..., Floats] = statistic
        ) -> Floats:
            return of(b, gold, axis=axis) - of(a, gold, axis=axis)

        low, high = scipy_interval((FAR, CLOSE, GOLD), difference)
        value = float(statistic(CLOSE, GOLD) - statistic(FAR, GOLD))
        estimate = metrics.correlation_difference(kind, list(FAR), list(CLOSE), list(GOLD))
        near(estimate, value, low, high, 0.12 * (high - low))
        assert value > 0


def test_a_difference_of_means_has_the_paired_bootstrap_interval_of_scipy() -> None:
    low, high = scipy_interval((ZERO_ONE, PARTIAL), lambda a, b, axis=-1: np.mean(b - a, axis=axis))
    value = float(np.mean(PARTIAL) - np.mean(ZERO_ONE))
    near(metrics.mean_difference(list(ZERO_ONE), list(PARTIAL)), value, low, high, 0.12 * (high - low))


def test_a_paired_interval_is_narrower_than_that_of_two_samples_that_go_together() -> None:
    better = np.clip(PARTIAL + 0.05, 0, 1)
    paired = metrics.mean_difference(list(PARTIAL), list(better))
    single = metrics.mean(PARTIAL)
    assert paired.low is not None and paired.high is not None and single.low is not None and single.high is not None
    assert paired.high - paired.low < (single.high - single.low) / 5
    assert paired.low > 0


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
def test_the_order_of_items_does_not_change_a_correlation(kind: str) -> None:
    order = np.random.default_rng(3).permutation(len(GOLD))
    straight = metrics.correlation(kind, list(CLOSE), list(GOLD))
    shuffled = metrics.correlation(kind, list(CLOSE[order]), list(GOLD[order]))
    assert shuffled.value == pytest.approx(straight.value, abs=1e-12)


def test_the_same_items_give_the_same_interval_every_time() -> None:
    assert metrics.mean(PARTIAL) == metrics.mean(PARTIAL)
    assert metrics.correlation("spearman", list(FAR), list(GOLD)) == metrics.correlation(
        "spearman", list(FAR), list(GOLD)
    )


def test_an_interval_does_not_depend_on_how_the_resamples_are_cut_into_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = metrics.mean(PARTIAL)
    monkeypatch.setattr(metrics, "_CHUNK_CELLS", 7_000)
    assert metrics.mean(PARTIAL) == whole


# --- differences by hand ---------------------------------------------------------------------------------


def test_a_difference_is_b_minus_a() -> None:
    # B is right on two more of four items.
    assert metrics.mean_difference([1, 0, 0, 0], [1, 1, 1, 0]).value == 0.5
    assert metrics.mean_difference([1, 1, 1, 0], [1, 0, 0, 0]).value == -0.5
    # A orders the items the wrong way round, B the right way: 1 − (−1).
    estimate = metrics.correlation_difference("pearson", [4, 3, 2, 1], [1, 2, 3, 4], [1, 2, 3, 4])
    assert estimate.value == pytest.approx(2)


def test_a_constant_difference_is_certain() -> None:
    assert metrics.mean_difference([0, 0, 0], [1, 1, 1]) == Estimate(1.0, 1.0, 1.0, 3)


@pytest.mark.parametrize("values", [[0.1, 0.7, 0.3, 0.9], list(GOLD), [1.0, 0.0]])
def test_identical_runs_differ_by_exactly_nothing(values: list[float]) -> None:
    n = len(values)
    assert metrics.mean_difference(values, values) == Estimate(0.0, 0.0, 0.0, n)
    golds = [v * v + 0.1 for v in values]
    for kind in ("pearson", "spearman"):
        estimate = metrics.correlation_difference(kind, values, values, golds)
        assert (estimate.value, estimate.n) == (0.0, n)
        if n > 2:
            assert (estimate.low, estimate.high) == (0.0, 0.0)


# --- nothing to say --------------------------------------------------------------------------------------


def test_no_items_is_no_data_and_never_0() -> None:
    assert metrics.proportion(0, 0) == NO_DATA
    assert metrics.mean([]) == NO_DATA
    assert metrics.mean_difference([], []) == NO_DATA
    for kind in ("pearson", "spearman"):
        assert metrics.correlation(kind, [], []) == NO_DATA
        assert metrics.correlation_difference(kind, [], [], []) == NO_DATA


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
@pytest.mark.parametrize("n", [1, 2, 40, 1_457, 12_451])
@pytest.mark.parametrize("constant", [0.0, 2.7, 3.3, 0.1])
def test_a_constant_has_no_correlation(kind: str, n: int, constant: float) -> None:
    varied = list(np.random.default_rng(n).uniform(0, 5, n))
    undefined = Estimate(None, None, None, n)
    assert metrics.correlation(kind, [constant] * n, varied) == undefined
    assert metrics.correlation(kind, varied, [constant] * n) == undefined
    assert metrics.correlation_difference(kind, varied, [constant] * n, varied) == undefined
    assert metrics.correlation_difference(kind, [constant] * n, varied, varied) == undefined


def test_small_differences_are_not_taken_for_none() -> None:
    x = [1 + 1e-9, 1 + 2e-9, 1 + 3e-9, 1 + 4e-9]
    assert metrics.correlation("spearman", x, [1, 2, 3, 4]).value == pytest.approx(1)
    assert metrics.correlation("pearson", x, [1e-9, 2e-9, 3e-9, 4e-9]).value == pytest.approx(1, abs=1e-6)


def test_a_correlation_has_a_value_but_no_interval_when_most_resamples_have_none() -> None:
    # One prediction and another item's gold stand out of 60: 0.63 · 0.63 of the resamples draw both.
    predictions, golds = [2.0] * 59 + [4.0], [1.0] + [3.0] * 59
    value = stats.pearsonr(predictions, golds).statistic
    estimate = metrics.correlation("pearson", predictions, golds)
    assert estimate == Estimate(pytest.approx(value), None, None, 60)  # type: ignore[arg-type]


def test_perfect_and_inverse_predictions_correlate_by_1_and_minus_1() -> None:
    golds = [0.0, 1.5, 2.0, 4.5, 5.0]
    for kind in ("pearson", "spearman"):
        near(metrics.correlation(kind, golds, golds), 1, 1, 1, 1e-9)
        near(metrics.correlation(kind, [5 - g for g in golds], golds), -1, -1, -1, 1e-9)


def test_spearman_sees_ranks_only_and_gives_ties_their_middle_rank() -> None:
    assert metrics.correlation("spearman", [1, 10, 100, 1000], [1, 2, 3, 4]).value == pytest.approx(1)
    # Ranks 1.5 1.5 3 4 against 1 2 3 4: covariance 4.5, spreads 4.5 and 5.
    estimate = metrics.correlation("spearman", [1, 1, 2, 3], [1, 2, 3, 4])
    assert estimate.value == pytest.approx(4.5 / math.sqrt(4.5 * 5))


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (5, 0), (6, 0), (1, 7), (12, 30), (50, 50)])
def test_mcnemar_is_the_exact_binomial_test_on_the_items_that_differ(only_a: int, only_b: int) -> None:
    a = [1.0] * only_a + [0.0] * only_b + [1.0, 0.0] * 10
    b = [0.0] * only_a + [1.0] * only_b + [1.0, 0.0] * 10
    expected = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert metrics.mcnemar(a, b) == pytest.approx(expected)
