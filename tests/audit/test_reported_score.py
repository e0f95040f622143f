"""Scores as they are printed."""

from __future__ import annotations

from fractions import Fraction

import pytest

from jglue_app.audit.reported_score import is_missing, parse
from jglue_app.errors import InputError


@pytest.mark.parametrize(
    ("text", "value", "unit", "scale"),
    [
        ("0.3016", "0.3016", "1/10000", "fraction"),
        (".301561", "0.301561", "1/1000000", "fraction"),
        ("30.16", "0.3016", "1/10000", "percent"),
        ("30.16%", "0.3016", "1/10000", "percent"),
        (" 19.3 % ", "0.193", "1/1000", "percent"),
        (".1930", "0.193", "1/10000", "fraction"),
        ("0.30±0.01", "0.3", "1/100", "fraction"),
        ("**0.930**", "0.93", "1/1000", "fraction"),
        # Marks of footnotes and a spread in brackets; no digit of a mark is one of the number.
        *(("0.3016²", "0.3016", "1/10000", "fraction"), ("55.1①", "0.551", "1/1000", "percent")),
        *(("55.1 †", "0.551", "1/1000", "percent"), ("**55.1** ‡¹²", "0.551", "1/1000", "percent")),
        *(("55.1 (±0.3)", "0.551", "1/1000", "percent"), ("0.30 (+/- 0.01)", "0.3", "1/100", "fraction")),
        ("３０．１６％", "0.3016", "1/10000", "percent"),
        ("0.9%", "0.009", "1/1000", "percent"),
        ("100", "1", "1/100", "percent"),
        ("3.0156e-1", "0.30156", "1/100000", "fraction"),
        (0.5, "0.5", "1/10", "fraction"),
    ],
)
def test_a_score_keeps_its_digits_and_its_scale_follows_from_its_value(
    text: str | float, value: str, unit: str, scale: str
) -> None:
    found = parse(text)
    assert (found.value, found.unit, found.scale) == (Fraction(value), Fraction(unit), scale)


@pytest.mark.parametrize("text", ["0.9", "1", "0.90", "1.0", ".5"])
def test_a_number_up_to_one_with_few_decimals_leaves_its_scale_open(text: str) -> None:
    assert not parse(text).sure
    assert parse(text, scale="percent").sure
    assert parse(text, scale="percent").value == Fraction(text) / 100


@pytest.mark.parametrize("text", ["0.901", "90.1", "0.9%", "0"])
def test_more_decimals_a_sign_or_a_larger_number_settle_the_scale(text: str) -> None:
    assert parse(text).sure


@pytest.mark.parametrize(
    ("text", "metric", "why"),
    [
        ("-0.1", "accuracy", "outside the range"),
        ("100.1", "accuracy", "outside the range"),
        ("-1.2e2", "pearson", "outside the range"),
        ("nan", "accuracy", "not a finite number"),
        ("inf", "accuracy", "not a finite number"),
        ("abc", "accuracy", "is no number"),
        ("", "accuracy", "is no number"),
        ("0,3016", "accuracy", "has a comma"),
        ("1/3", "accuracy", "is no number"),
        ("1e-999", "accuracy", "is no number"),
        ("1e99", "accuracy", "outside the range"),
        ("0.3 0.4", "accuracy", "is no number"),
        ("9" * 100, "accuracy", "longer than any number"),
    ],
)
def test_what_cannot_be_a_score_is_refused_in_one_sentence(text: str, metric: str, why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        parse(text, metric)
    assert "\n" not in str(caught.value)


def test_a_fraction_with_a_percent_sign_is_refused() -> None:
    with pytest.raises(InputError, match="percent sign"):
        parse("30%", scale="fraction")


def test_correlations_may_be_negative_and_accuracies_not() -> None:
    assert parse("-0.05", "spearman").value == Fraction(-1, 20)
    assert parse("−0.05", "mcc").value == Fraction(-1, 20)  # The sign that word processors write.


def test_a_print_stands_for_half_a_unit_on_either_side() -> None:
    printed = parse("30.16")
    assert printed.bounds == (Fraction("0.30155"), Fraction("0.30165"))
    assert printed.rounds(Fraction(734, 2434))
    assert not printed.rounds(Fraction(735, 2434))


def test_digits_that_are_cut_off_begin_the_same_way() -> None:
    printed = parse("0.3015")
    assert not printed.rounds(Fraction(734, 2434))
    assert printed.cuts(Fraction(734, 2434))
    assert not printed.cuts(Fraction(733, 2434))
    assert not parse("0.3016").cuts(Fraction(734, 2434))  # It rounds to it.


@pytest.mark.parametrize("text", ["0.3015612161051767", "0.30156123638153076", "30.15612161051767"])
def test_digits_beyond_single_precision_are_not_compared(text: str) -> None:
    # 734/2434 in double and in single precision.
    assert parse(text).rounds(Fraction(734, 2434))
    assert not parse(text).rounds(Fraction(735, 2434))


@pytest.mark.parametrize("text", ["", "-", " – ", "N/A", "†", "-&dagger;", "null", "—"])
def test_what_tables_write_for_no_score_is_missing(text: str) -> None:
    assert is_missing(text)


@pytest.mark.parametrize("text", ["0", "0.0", "nan", "a"])
def test_a_zero_is_a_score(text: str) -> None:
    assert not is_missing(text)


@pytest.mark.parametrize("text", ["10⁻²", "3²5.1", "²", "3×10²", "x₁"])
def test_small_digits_that_are_no_mark_behind_a_score_are_no_part_of_a_number(text: str) -> None:
    with pytest.raises(InputError, match="is no number"):
        parse(text)
