"""Metrics against values worked out by hand and against scipy and scikit-learn."""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import balanced_accuracy_score, f1_score, matthews_corrcoef

from jglue_app.scoring import metrics
from jglue_app.scoring.metrics import Floats, Metric

Correlate = Callable[[Sequence[float], Sequence[float]], Metric]
Agree = Callable[[Sequence[str | None], Sequence[str]], Metric]
Labels = tuple[list[str | None], list[str]]

CORRELATIONS = [metrics.pearson, metrics.spearman]
AGREEMENTS = [metrics.balanced_accuracy, metrics.macro_f1, metrics.mcc]
LARGEST = float(np.finfo(np.float64).max)
RNG = np.random.default_rng(20240115)
GOLD = np.round(RNG.uniform(0, 5, 120), 1)
CLOSE = np.clip(GOLD + RNG.normal(0, 0.8, 120), 0, 5)
FAR = np.clip(GOLD + RNG.normal(0, 2.5, 120), 0, 5)


def value(metric: Metric, n: int) -> float:
    """Each item once."""
    (result,) = metric(np.ones((n, 1)))
    return float(result)


def same(a: float, b: float) -> bool:
    return (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)


def sklearn_value(of: Agree, predictions: Sequence[str | None], golds: Sequence[str]) -> float:
    """Unreadable is a class of its own that no average counts."""
    said = [p or "unreadable" for p in predictions]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that predictions have a class that gold has not
        if of is metrics.balanced_accuracy:
            return float(balanced_accuracy_score(golds, said))
        if of is metrics.macro_f1:
            classes = sorted({*golds, *said} - {"unreadable"})
            return float(f1_score(golds, said, labels=classes, average="macro", zero_division=0))
        return float(matthews_corrcoef(golds, said))


def scipy_value(of: Correlate, x: Sequence[float], y: Sequence[float]) -> float:
    if len(set(x)) < 2 or len(set(y)) < 2:
        return math.nan
    return float((stats.pearsonr if of is metrics.pearson else stats.spearmanr)(x, y).statistic)


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


@given(st.text(max_size=20), st.lists(st.text(max_size=20), min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_f1_lies_between_exact_match_and_one_and_does_not_depend_on_the_order_of_references(
    prediction: str, references: list[str]
) -> None:
    f1 = metrics.span_f1(prediction, references)
    assert metrics.span_exact_match(prediction, references) <= f1 <= 1
    assert f1 == metrics.span_f1(prediction, references[::-1])
    assert metrics.span_f1(references[0], references) == 1


# --- averages --------------------------------------------------------------------------------------------


def test_a_mean_is_weighted_by_how_often_an_item_counts() -> None:
    weights = np.array([[1.0, 2, 0], [1, 0, 0], [1, 1, 4]])
    # (0.3 + 0.6 + 0) / 3, (0.3 + 0.3 + 0) / 3 and 0.
    assert metrics.mean([0.3, 0.6, 0.0])(weights) == pytest.approx([0.3, 0.2, 0.0])


@given(
    st.floats(allow_nan=False, allow_infinity=False), st.lists(st.integers(0, 5), min_size=1, max_size=50).filter(any)
)
@settings(max_examples=200, deadline=None)
def test_a_constant_has_itself_for_a_mean_to_the_last_digit(constant: float, counts: list[int]) -> None:
    (mean,) = metrics.mean([constant] * len(counts))(np.array(counts, dtype=np.float64)[:, None])
    assert mean == constant


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
@settings(max_examples=300, deadline=None)
def test_a_mean_of_any_floats_is_that_of_exact_fractions(values: list[float]) -> None:
    exact = float(sum(map(Fraction, values)) / len(values))
    assert value(metrics.mean(values), len(values)) == pytest.approx(exact, abs=1e-14 * max(map(abs, values)))


# --- correlations ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "predicted", [CLOSE, FAR, np.round(FAR), -FAR, GOLD], ids=["close", "far", "with ties", "inverse", "equal"]
)
@pytest.mark.parametrize("of", CORRELATIONS)
def test_a_correlation_is_that_of_scipy(of: Correlate, predicted: Floats) -> None:
    assert value(of(list(predicted), list(GOLD)), 120) == pytest.approx(
        scipy_value(of, predicted.tolist(), GOLD.tolist())
    )


def test_spearman_sees_ranks_only_and_gives_ties_their_middle_rank() -> None:
    assert value(metrics.spearman([1, 10, 100, 1000], [1, 2, 3, 4]), 4) == 1
    assert value(metrics.spearman([1, 10, 100, 1000], [4, 3, 2, 1]), 4) == -1
    # Ranks 1.5 1.5 3 4 against 1 2 3 4: covariance 4.5, spreads 4.5 and 5.
    assert value(metrics.spearman([1, 1, 2, 3], [1, 2, 3, 4]), 4) == pytest.approx(4.5 / math.sqrt(4.5 * 5))


def test_rounding_takes_no_correlation_beyond_1() -> None:
    weights = np.random.default_rng(1).integers(0, 4, (120, 500)).astype(np.float64)
    for of in CORRELATIONS:
        for line in (3 * FAR + 0.1, 0.7 - FAR / 3):
            found = of(FAR.tolist(), line.tolist())(weights)
            assert np.abs(found) == pytest.approx(np.ones(500))
            assert np.abs(found).max() <= 1


def test_pearson_by_hand() -> None:
    # Deviations −1 0 1 against −1 1 0: covariance 1, spreads 2 and 2.
    assert value(metrics.pearson([1, 2, 3], [1, 3, 2]), 3) == pytest.approx(0.5)


@pytest.mark.parametrize("of", CORRELATIONS)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 25), st.integers(0, 3)), min_size=1, max_size=25).filter(
        lambda rows: any(row[2] for row in rows)
    )
)
@settings(max_examples=150, deadline=None)
def test_a_weighted_correlation_is_that_of_items_written_out_as_often(
    of: Correlate, rows: list[tuple[int, int, int]]
) -> None:
    x, y, counts = [r[0] for r in rows], [r[1] / 5 for r in rows], [r[2] for r in rows]
    (weighted,) = of(x, y)(np.array(counts, dtype=np.float64)[:, None])
    written = [(a, b) for a, b, times in zip(x, y, counts, strict=True) for _ in range(times)]
    assert same(float(weighted), scipy_value(of, [a for a, _ in written], [b for _, b in written]))


@pytest.mark.parametrize("of", CORRELATIONS)
def test_each_column_of_weights_has_its_own_value(of: Correlate) -> None:
    counts = np.random.default_rng(5).integers(0, 3, (120, 7))
    columns = of(FAR.tolist(), GOLD.tolist())(counts.astype(np.float64))
    expected = [scipy_value(of, np.repeat(FAR, c).tolist(), np.repeat(GOLD, c).tolist()) for c in counts.T]
    assert columns == pytest.approx(expected)
    assert len(set(expected)) == 7


@pytest.mark.parametrize("of", CORRELATIONS)
@pytest.mark.parametrize("n", [1, 2, 40, 1_457, 12_451])
@pytest.mark.parametrize("constant", [0.0, 2.7, 3.3, 0.1, LARGEST, 5e-324])
def test_a_constant_has_no_correlation(of: Correlate, n: int, constant: float) -> None:
    varied = np.random.default_rng(n).uniform(0, 5, n).tolist()
    assert math.isnan(value(of([constant] * n, varied), n))
    assert math.isnan(value(of(varied, [constant] * n), n))


@pytest.mark.parametrize("of", CORRELATIONS)
def test_a_resample_without_what_varied_has_no_correlation_and_the_others_keep_theirs(of: Correlate) -> None:
    weights = np.array([[1.0, 2, 0], [1, 1, 0], [1, 0, 3]])
    first, second, third = of([2.3, 2.3, 4], [1, 2, 3])(weights)
    # Two of three predictions are equal: ranks 1.5 1.5 3 against 1 2 3, and any line through two distinct values.
    assert first == pytest.approx(1.5 / math.sqrt(1.5 * 2))
    assert math.isnan(second) and math.isnan(third)


def test_small_differences_are_not_taken_for_none() -> None:
    x = [1 + 1e-9, 1 + 2e-9, 1 + 3e-9, 1 + 4e-9]
    assert value(metrics.spearman(x, [1, 2, 3, 4]), 4) == 1
    assert value(metrics.pearson(x, [1e-9, 2e-9, 3e-9, 4e-9]), 4) == pytest.approx(1, abs=1e-6)


def test_pearson_keeps_its_digits_far_from_zero_and_beside_an_outlier() -> None:
    x = (1e9 + FAR).tolist()
    assert value(metrics.pearson(x, GOLD.tolist()), 120) == pytest.approx(
        statistics.correlation(x, GOLD.tolist()), abs=1e-9
    )
    # The resample leaves the outlier out.
    weights = np.array([*[1.0] * 120, 0.0])[:, None]
    (without,) = metrics.pearson([*FAR, 1e6], [*GOLD, 2.0])(weights)
    assert without == pytest.approx(stats.pearsonr(FAR, GOLD).statistic, abs=1e-7)


@pytest.mark.parametrize("exponent", [-1_060, -500, 0, 500, 1_020])
def test_a_power_of_two_does_not_change_a_correlation(exponent: int) -> None:
    x = [1.0, 3.0, -5.0, 7.0, 6.0]
    scaled = np.ldexp(x, exponent).tolist()
    for of in CORRELATIONS:
        assert value(of(scaled, [1, 2, 3, 4, 5]), 5) == value(of(x, [1, 2, 3, 4, 5]), 5)
        assert value(of(scaled, scaled), 5) == 1


def test_one_answer_of_1e308_is_a_number_like_any_other() -> None:
    # Beside it the others are all alike: −¼ −¼ −¼ −¼ 1 against −2 −1 0 1 2, hence 2.5 / √(1.25 · 10).
    assert value(metrics.pearson([1, 2, 3, 4, 1e308], [1, 2, 3, 4, 5]), 5) == pytest.approx(2.5 / math.sqrt(12.5))
    assert value(metrics.spearman([1, 2, 3, 4, 1e308], [1, 2, 3, 4, 5]), 5) == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_makes_the_metric_undefined(bad: float) -> None:
    assert math.isnan(value(metrics.mean([1, bad, 2]), 3))
    for of in CORRELATIONS:
        assert math.isnan(value(of([1, bad, 2], [1, 2, 3]), 3))
        assert math.isnan(value(of([1, 2, 3], [1, 2, bad]), 3))


def test_no_items_have_no_mean_and_no_correlation() -> None:
    assert math.isnan(value(metrics.mean([]), 0))
    for of in CORRELATIONS:
        assert math.isnan(value(of([], []), 0))


# --- agreement with gold labels --------------------------------------------------------------------------

labels = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", "d", None]), st.sampled_from("abc"), st.integers(0, 3)),
    min_size=1,
    max_size=25,
).filter(lambda rows: any(row[2] for row in rows))


@pytest.mark.parametrize("of", AGREEMENTS)
@given(labels)
@settings(max_examples=100, deadline=None)
def test_a_weighted_agreement_is_that_of_scikit_learn_on_items_written_out_as_often(
    of: Agree, rows: list[tuple[str | None, str, int]]
) -> None:
    predictions, golds, counts = [r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows]
    once = value(of(predictions, golds), len(rows))
    assert once == pytest.approx(sklearn_value(of, predictions, golds), abs=1e-12)
    (weighted,) = of(predictions, golds)(np.array(counts, dtype=np.float64)[:, None])
    written = [(p, g) for p, g, times in rows for _ in range(times)]
    assert weighted == pytest.approx(sklearn_value(of, [p for p, _ in written], [g for _, g in written]), abs=1e-12)


@pytest.mark.parametrize(
    ("case", "balanced", "f1", "mcc"),
    [
        # Recall 1, 1/2; F1 2·2/(3+2), 2·1/(1+2); MCC (2·1 − 0·1)/√(3·2·1·2).
        ((["a", "a", "a", "b"], ["a", "a", "b", "b"]), 3 / 4, (4 / 5 + 2 / 3) / 2, 1 / math.sqrt(3)),
        # Recall 1/2, 1; F1 2·1/(1+2), 2·1/(1+1): what could not be read has no F1. MCC (3·2 − 1·2 − 1·1)/√((9−3)(9−5)).
        ((["a", None, "b"], ["a", "a", "b"]), 3 / 4, (2 / 3 + 1) / 2, 3 / math.sqrt(24)),
        # A class that gold does not have: no recall of its own, F1 0.
        ((["a", "c", "b"], ["a", "a", "b"]), 3 / 4, (2 / 3 + 1 + 0) / 3, 3 / math.sqrt(24)),
        # A constant: right on its class, MCC 0 by convention.
        ((["a", "a", "a"], ["a", "b", "a"]), 1 / 2, (4 / 5 + 0) / 2, 0),
        ((["a", "b"], ["a", "a"]), 1 / 2, (2 / 3 + 0) / 2, 0),
        (([None, None], ["a", "b"]), 0, 0, 0),
        (([None], ["a"]), 0, 0, 0),
        ((["a"], ["a"]), 1, 1, 0),
        ((["a", "b"], ["a", "b"]), 1, 1, 1),
        ((["b", "a"], ["a", "b"]), 0, 0, -1),
    ],
)
def test_agreement_by_hand(case: Labels, balanced: float, f1: float, mcc: float) -> None:
    found = [value(of(*case), len(case[1])) for of in AGREEMENTS]
    assert found == pytest.approx([balanced, f1, mcc])


def test_a_class_that_a_resample_lacks_does_not_count_there() -> None:
    weights = np.array([[1.0, 2, 0], [1, 1, 0], [1, 0, 3]])
    predictions, golds = ["a", "b", "b"], ["a", "a", "b"]
    # Gold a a b, said a b b; gold a a a, said a a b; gold b b b, said b b b.
    assert metrics.balanced_accuracy(predictions, golds)(weights) == pytest.approx([3 / 4, 2 / 3, 1])
    assert metrics.macro_f1(predictions, golds)(weights) == pytest.approx([2 / 3, (4 / 5 + 0) / 2, 1])
    assert metrics.mcc(predictions, golds)(weights) == pytest.approx([1 / 2, 0, 0])


@pytest.mark.parametrize("of", AGREEMENTS)
def test_the_names_of_the_classes_do_not_matter(of: Agree) -> None:
    rng = np.random.default_rng(2)
    predictions, golds = (["abc"[i] for i in rng.integers(0, 3, 60)] for _ in range(2))
    renamed = {"a": "中立", "b": "含意", "c": "矛盾"}
    again = value(of([renamed[p] for p in predictions], [renamed[g] for g in golds]), 60)
    assert again == pytest.approx(value(of(list(predictions), golds), 60))
