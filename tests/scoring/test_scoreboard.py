"""Reports as rows and numbers as texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from jglue_app.scoring.scoreboard import count_text, estimate_text, number, p_text, score_rows
from jglue_app.scoring.types import Comparison, Difference, Estimate, Report, TaskReport

HALF = Estimate(0.5, 0.25, 0.75, 40)
MORE = Estimate(0.75, 0.5, 0.875, 40)
NONE = Estimate(None, None, None, 0)
GAIN = Difference(HALF, MORE, Estimate(0.25, 0.125, 0.375, 38), "b")


def task(name: str, names: Sequence[str], /, **changes: Any) -> TaskReport:
    values: dict[str, Any] = {
        "task": name,
        "source": "official",
        "n": 40,
        "planned": 40,
        "metrics": dict.fromkeys(names, HALF),
        "lenient": dict.fromkeys(names, MORE),
        "choose": {},
        "imputed": {},
        "outcomes": {"correct": 20, "wrong": 20},
        "unreadable": 3,
        "unreadable_lenient": 1,
        "floors": {"accuracy": 0.4} if "accuracy" in names else {},
    }
    return TaskReport(**{**values, **changes})


def report(*tasks: TaskReport) -> Report:
    names = tuple(t.task for t in tasks)
    return Report("0123456789abcdef", "m · plain", "official", {t.task: t for t in tasks}, HALF, names, ())


def comparison(a: Report, b: Report, **differences: Mapping[str, Mapping[str, Difference]]) -> Comparison:
    tables = {"differences": {}, "lenient": {}, "choose": {}, **differences}
    return Comparison(a, b, tables["differences"], tables["lenient"], tables["choose"])


JNLI = task("jnli", ["accuracy"])
JSQUAD = task("jsquad", ["exact_match", "f1"])
JSTS = task("jsts", ["pearson", "spearman"])


def test_rows_come_by_subset_in_the_usual_order_then_metric_then_reading() -> None:
    ranked = task("marc_ja", ["accuracy"], choose={"accuracy": MORE})
    rows = score_rows(report(JSQUAD, JNLI, ranked))
    assert [(row.task, row.metric, row.reading) for row in rows] == [
        ("marc_ja", "accuracy", "strict"),
        ("marc_ja", "accuracy", "lenient"),
        ("marc_ja", "accuracy", "choose"),
        ("jnli", "accuracy", "strict"),
        ("jnli", "accuracy", "lenient"),
        ("jsquad", "exact_match", "strict"),
        ("jsquad", "exact_match", "lenient"),
        ("jsquad", "f1", "strict"),
        ("jsquad", "f1", "lenient"),
    ]


def test_a_row_holds_score_floor_unreadable_outputs_and_source_of_its_reading() -> None:
    strict, lenient, choose = score_rows(report(task("jnli", ["accuracy"], choose={"accuracy": MORE}, source="sample")))
    assert (strict.a, lenient.a, choose.a) == (HALF, MORE, MORE)
    assert (strict.unreadable_a, lenient.unreadable_a, choose.unreadable_a) == (3, 1, 0)
    for row in (strict, lenient, choose):
        assert (row.b, row.difference, row.unreadable_b) == (None, None, 0)
        assert (row.floor, row.sources) == (0.4, ("sample",))


def test_a_metric_without_a_floor_has_none() -> None:
    assert {row.floor for row in score_rows(report(JSTS, JSQUAD))} == {None}


def test_choices_alone_make_rows_of_choices_alone() -> None:
    ranked = task("jnli", ["accuracy"], metrics={}, lenient={}, choose={"accuracy": MORE})
    assert [(row.reading, row.a) for row in score_rows(report(ranked))] == [("choose", MORE)]


def test_a_subset_without_any_output_makes_no_row() -> None:
    assert score_rows(report(task("jnli", ["accuracy"], metrics={}, lenient={}, n=0))) == []


def test_two_reports_stand_side_by_side_with_their_difference() -> None:
    other = task("jnli", ["accuracy"], metrics={"accuracy": MORE}, unreadable=0, unreadable_lenient=0)
    a, b = report(JNLI), report(other)
    strict, lenient = score_rows(a, b, comparison(a, b, differences={"jnli": {"accuracy": GAIN}}))
    assert (strict.a, strict.b, strict.difference) == (HALF, MORE, GAIN)
    assert (strict.unreadable_a, strict.unreadable_b) == (3, 0)
    assert (lenient.a, lenient.b, lenient.difference) == (MORE, MORE, None)


@pytest.mark.parametrize("reading", ["differences", "lenient", "choose"])
def test_each_reading_has_the_difference_of_its_own(reading: str) -> None:
    both = report(task("jnli", ["accuracy"], choose={"accuracy": MORE}))
    rows = score_rows(both, both, comparison(both, both, **{reading: {"jnli": {"accuracy": GAIN}}}))
    expected = {"differences": "strict"}.get(reading, reading)
    assert {row.reading: row.difference for row in rows if row.difference} == {expected: GAIN}


def test_a_subset_or_reading_that_only_one_side_has_is_a_row_with_a_gap() -> None:
    a, b = report(JNLI), report(JSTS, task("jnli", ["accuracy"], metrics={}, lenient={}, choose={"accuracy": MORE}))
    rows = score_rows(a, b, comparison(a, b))
    assert [(row.task, row.reading, row.a, row.b) for row in rows] == [
        ("jsts", "strict", None, HALF),
        ("jsts", "lenient", None, MORE),
        ("jsts", "strict", None, HALF),
        ("jsts", "lenient", None, MORE),
        ("jnli", "strict", HALF, None),
        ("jnli", "lenient", MORE, None),
        ("jnli", "choose", None, MORE),
    ]
    assert {row.difference for row in rows} == {None}


@pytest.mark.parametrize(
    ("value", "plain", "signed"),
    [
        (None, "–", "–"),
        (0.0, "0.000", "+0.000"),
        (0.41999, "0.420", "+0.420"),
        (1.0, "1.000", "+1.000"),
        (-0.0625, "-0.062", "-0.062"),
        (0.0004, "0.000", "+0.000"),
    ],
)
def test_a_number_has_three_decimals_and_a_sign_when_asked_for(value: float | None, plain: str, signed: str) -> None:
    assert number(value) == plain
    assert number(value, sign=True) == signed


def test_a_difference_that_rounds_to_nothing_has_no_minus() -> None:
    assert number(-0.0) == "0.000"
    assert number(-0.0004) == "0.000"
    assert number(-0.0004, sign=True) == "+0.000"


@pytest.mark.parametrize(
    ("estimate", "plain", "signed"),
    [
        (None, "–", "–"),
        (NONE, "–", "–"),
        (Estimate(None, None, None, 12), "–", "–"),
        (Estimate(0.42, 0.301, 0.549, 50), "0.420 [0.301, 0.549]", "+0.420 [+0.301, +0.549]"),
        (Estimate(-0.02, -0.1, 0.06, 50), "-0.020 [-0.100, 0.060]", "-0.020 [-0.100, +0.060]"),
        (Estimate(1.0, None, None, 2), "1.000", "+1.000"),
    ],
)
def test_an_estimate_stands_with_its_interval_if_it_has_one(estimate: Estimate | None, plain: str, signed: str) -> None:
    assert estimate_text(estimate) == plain
    assert estimate_text(estimate, sign=True) == signed


@pytest.mark.parametrize(
    ("p", "text"),
    [(None, "–"), (1.0, "1.000"), (0.0314, "0.031"), (0.001, "0.001"), (0.00099, "<0.001"), (0, "<0.001")],
)
def test_a_p_is_three_digits_and_never_nothing(p: float | None, text: str) -> None:
    assert p_text(p) == text


def test_counts_are_grouped() -> None:
    assert (count_text(None), count_text(0), count_text(1_234_567)) == ("–", "0", "1,234,567")
