"""Numbers of right answers behind a print."""

from __future__ import annotations

from fractions import Fraction

import pytest
from sklearn.metrics import f1_score

from jglue_app.audit import grim
from jglue_app.audit.reported_score import parse


@pytest.mark.parametrize(
    ("text", "n", "counts"),
    [
        (".301561", 2434, [734]),  # 734/2434 = .3015612
        ("30.16", 2434, [734]),
        ("19.3", 1119, [216]),  # 216/1119 = .19303; 215 is .19214, 217 .19392
        ("0.302", 2434, [734, 735, 736]),  # .30156, .30197, .30238
        ("0.3015", 2434, []),  # 733 is .30115, 734 .30156
        ("0.5", 10, [5]),
        ("1.000", 100, [100]),
        ("0.00", 100, [0]),
        ("0.333", 100, []),
    ],
)
def test_the_counts_that_round_to_a_print(text: str, n: int, counts: list[int]) -> None:
    assert list(grim.counts(parse(text), n)) == counts


def test_a_count_that_begins_with_the_digits_is_found_where_none_rounds_to_them() -> None:
    assert list(grim.truncated_counts(parse("0.3015"), 2434)) == [734]
    assert list(grim.truncated_counts(parse("30.11"), 2434)) == [733]  # 733/2434 = .301150
    assert list(grim.truncated_counts(parse(".301561"), 2434)) == []
    assert list(grim.truncated_counts(parse("0.333"), 100)) == []


def test_few_digits_cannot_fail_to_fit() -> None:
    assert not grim.is_distinctive(parse("0.302"), 2434)
    assert grim.is_distinctive(parse("0.3016"), 2434)


def test_the_neighbours_of_an_impossible_share() -> None:
    assert grim.neighbours(parse("0.3020"), 100) == (30, 31)
    assert grim.neighbours(parse("1.00"), 10) == (10, 10)


def test_a_balanced_accuracy_of_one_label_goes_with_every_constant() -> None:
    sizes = {"entailment": 353, "contradiction": 734, "neutral": 1347}
    low, high = grim.accuracies(Fraction(1, 3), sizes)
    assert (low, high) == (Fraction(353, 2434), Fraction(1347, 2434))
    assert grim.accuracies(Fraction(1), sizes) == (Fraction(1), Fraction(1))
    assert grim.accuracies(Fraction(0), sizes) == (Fraction(0), Fraction(0))


def test_a_balanced_accuracy_between_labels_takes_parts_of_them() -> None:
    # 0.5 of two labels with 1 and 3 items: one label whole, which is 1 or 3 of 4.
    assert grim.accuracies(Fraction(1, 2), {"a": 1, "b": 3}) == (Fraction(1, 4), Fraction(3, 4))
    # 0.75: one whole and half of the other: 1 + 1.5 or 3 + 0.5 of 4.
    assert grim.accuracies(Fraction(3, 4), {"a": 1, "b": 3}) == (Fraction(5, 8), Fraction(7, 8))


def test_macro_f1_of_a_constant_is_that_of_scikit_learn() -> None:
    golds = ["a"] * 3 + ["b"] * 5 + ["c"] * 2
    expected = f1_score(golds, ["b"] * 10, average="macro", zero_division=0.0)
    assert float(grim.macro_f1_of_constant(Fraction(5, 10), 3)) == pytest.approx(expected)
