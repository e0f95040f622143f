"""Reliability diagrams and expected calibration errors, worked out by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from jglue_app.scoring.calibration import bin_numbers, calibration, of_confidences
from jglue_app.scoring.judged import judge_run
from tests.scoring.test_report import nli, output


def test_two_bins_by_hand() -> None:
    # Twenty items: ten with confidence 0.5, of which 8 are right; ten with 0.9, of which 6 are.
    found = of_confidences([0.5] * 10 + [0.9] * 10, [True] * 8 + [False] * 2 + [True] * 6 + [False] * 4)
    assert [(b.n, b.accuracy.value) for b in found.bins] == [(10, 0.8), (10, 0.6)]
    assert [b.confidence for b in found.bins] == pytest.approx([0.5, 0.9])
    # (10 · |0.8 − 0.5| + 10 · |0.6 − 0.9|) / 20; the mean confidence is that of the accuracy all the same.
    assert found.error.value == pytest.approx(0.3)
    assert found.confidence == pytest.approx(0.7)
    assert found.accuracy.value == 0.7
    assert found.error.low is not None
    assert found.error.high is not None
    assert 0.1 < found.error.low <= 0.3 <= found.error.high < 0.6
    # Ten draws each: gaps of about 0.12 and 0.08 on average, so 0.3 is no chance.
    assert 0.1 < found.by_chance < 0.3


def test_what_is_sure_and_always_right_has_no_error_by_chance_either() -> None:
    found = of_confidences([1.0] * 30, [True] * 30)
    assert (found.error.value, found.by_chance, len(found.bins)) == (0.0, 0.0, 1)


def test_bins_and_error_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    sure = rng.uniform(0.3, 1, 237)
    correct = rng.random(237) < sure**2
    found = of_confidences(list(sure), list(correct))
    accuracy, confidence = calibration_curve(correct, sure, n_bins=10, strategy="quantile")
    assert [b.accuracy.value for b in found.bins] == pytest.approx(list(accuracy))
    assert [b.confidence for b in found.bins] == pytest.approx(list(confidence))
    sizes = [b.n for b in found.bins]
    assert found.error.value == pytest.approx(np.average(np.abs(accuracy - confidence), weights=sizes))
    assert sum(sizes) == 237
    assert max(sizes) - min(sizes) <= 1


def test_right_probabilities_stay_below_what_chance_allows_in_about_95_of_100_runs() -> None:
    rng = np.random.default_rng(5)
    below = 0
    for _ in range(200):
        sure = rng.uniform(0.4, 1, 60)
        found = of_confidences(list(sure), list(rng.random(60) < sure))
        below += (found.error.value or 0) <= found.by_chance
    assert 180 <= below <= 198


@pytest.mark.parametrize(("n", "bins"), [(1, 1), (19, 1), (20, 2), (99, 9), (100, 10), (5_000, 10)])
def test_there_are_no_more_bins_than_ten_items_each_allow(n: int, bins: int) -> None:
    assert len(set(bin_numbers(np.linspace(0.4, 0.9, n)))) == bins


def test_equal_confidences_are_in_one_bin() -> None:
    assert len(set(bin_numbers(np.array([0.5] * 30 + [0.7] * 10)))) == 2


def test_confidence_is_that_of_the_most_likely_choice_among_the_choices() -> None:
    # Probabilities 0.2, 0.1 and 0.1 of all texts are 0.5, 0.25 and 0.25 of the choices.
    sure = output("含意", (float(np.log(0.2)), float(np.log(0.1)), float(np.log(0.1))))
    rows = judge_run(nli(("entailment", sure), ("neutral", sure), ("neutral", output("中立"))), "official")["jnli"]
    found = calibration(rows.values())
    assert found is not None
    assert found.confidence == pytest.approx(0.5)
    assert (found.n, found.accuracy.value) == (2, 0.5)


def test_without_log_likelihoods_there_is_nothing() -> None:
    rows = judge_run(
        nli(("entailment", output("含意")), ("neutral", output("中立", (float("nan"), -1.0, -2.0)))), "official"
    )
    assert calibration(rows["jnli"].values()) is None
