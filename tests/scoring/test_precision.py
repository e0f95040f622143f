"""What rounding changes on a sample of a run's items, against values worked out by hand."""

from __future__ import annotations

from dataclasses import astuple, replace

import pytest

from jglue_app.scoring.comparison import compare_runs
from jglue_app.scoring.notices import sentence
from jglue_app.scoring.precision import largest_share, precision_effect
from jglue_app.scoring.report import report_run
from jglue_app.types import Float32Output, ModelInfo, ModelSpec, Output, RunData
from tests.scoring.test_report import nli, output

INFO = ModelInfo("m", "c", "bfloat16", "cpu", None, "", False, "", False, 0)
ROUNDED = [(-1.0, -2.0, -3.0), (-2.0, -1.9, -9.0), (-4.0, -5.0, -6.0)]
EXACT = [(-1.1, -2.0, -3.3), (-1.9, -2.1, -9.0), (-4.0, -5.0, -6.02)]
"""The second item has another first choice. Differences: 0.1, 0, 0.3; 0.1, 0.2, 0; 0, 0, 0.02."""


def ranked(text: str, logprobs: tuple[float, ...]) -> Output:
    return replace(output(text), choice_logprobs=logprobs)


def run(sampled: int = 3) -> RunData:
    rows = [("neutral", ranked(f"答え{n}", logprobs)) for n, logprobs in enumerate(ROUNDED)]
    exact = [Float32Output("jnli", str(n), ranked("答え0", logprobs)) for n, logprobs in enumerate(EXACT)]
    return replace(nli(*rows), model=INFO, float32=tuple(exact[:sampled]))


def values(data: RunData) -> tuple[object, ...]:
    """Precision, items, ranked, flips, largest, median, written, other texts."""
    effect = precision_effect(data)
    assert effect is not None
    return astuple(effect)


def test_flips_differences_and_texts_are_those_worked_out_by_hand() -> None:
    assert values(run()) == ("bfloat16", 3, 3, 1, pytest.approx(0.3), pytest.approx(0.02), 3, 2)
    # Of the first item alone the median is the middle of 0, 0.1 and 0.3.
    assert values(run(1)) == ("bfloat16", 1, 1, 0, pytest.approx(0.3), pytest.approx(0.1), 1, 0)


def test_a_report_says_what_was_measured_and_nothing_where_nothing_was() -> None:
    said = [sentence(notice) for notice in report_run(run()).notices]
    assert [text for text in said if "float32" in text][1:] == [
        "bfloat16: the first choice differs for 1 of 3 items that were also ranked in float32; log-probabilities "
        "differ by 0.30 at most (median 0.020).",
        "bfloat16: the text differs for 2 of 3 items that were also written in float32.",
    ]
    report = report_run(replace(run(), float32=()))
    assert report.precision is None
    assert [notice.kind for notice in report.notices] == ["approximate"]
    assert report_run(replace(run(), model=replace(INFO, dtype="float32"))).precision is None


def test_items_without_usable_log_probabilities_or_text_are_not_counted() -> None:
    data = run()
    broken = (float("nan"), -1.0, -2.0)
    records = [replace(data.records[0], output=ranked("答え0", broken)), *data.records[1:]]
    exact = (*data.float32[:2], replace(data.float32[2], output=replace(data.float32[2].output, text=None)))
    found = values(replace(data, records=records, float32=exact))
    assert found == ("bfloat16", 3, 2, 1, pytest.approx(0.2), pytest.approx(0.01), 2, 1)
    gone = replace(data, records=[], float32=(Float32Output("jsts", "9", output("1")), *data.float32))
    assert precision_effect(gone) is None


def test_eight_bits_are_named_as_such() -> None:
    data = run()
    spec = replace(data.spec, model=ModelSpec("m", quantization="8bit"))
    effect = precision_effect(replace(data, spec=spec, model=replace(INFO, dtype="float32")))
    assert effect is not None
    assert effect.precision == "8-bit"


def test_a_label_names_the_dtype_that_was_asked_for() -> None:
    spec = run().spec
    assert replace(spec, model=ModelSpec("m", dtype="bfloat16")).label == f"{spec.label} · bfloat16"
    assert replace(spec, model=ModelSpec("m", dtype="float32")).label == spec.label


def test_pairs_with_other_numbers_of_answers_are_not_ranked() -> None:
    data = run()
    fewer = replace(data.float32[2], output=ranked("答え0", (-4.0, -5.0)))
    found = values(replace(data, float32=(*data.float32[:2], fewer)))
    assert found[1:4] == (3, 2, 1)
    assert report_run(replace(data, float32=(fewer,))).precision is not None


@pytest.mark.parametrize(
    ("k", "n", "high"), [(0, 24, 1 - 0.025 ** (1 / 24)), (0, 3, 1 - 0.025 ** (1 / 3)), (1, 2, 0.975**0.5), (2, 2, 1)]
)
def test_the_largest_share_that_a_sample_allows(k: int, n: int, high: float) -> None:
    # The share at which so few are seen in 2.5 % of samples: (1 - p)ⁿ for none, 1 - p² for at most one of two.
    assert largest_share(k, n) == pytest.approx(high)


@pytest.mark.parametrize(("more", "said"), [(4, True), (5, False)])
def test_a_sample_without_a_flip_allows_for_some(more: int, said: bool) -> None:
    # None of 24 is up to 14.2 % of all: 4 of 30 are below that, 5 are not.
    wrong, right = ranked("", (-2.0, -1.0, -3.0)), ranked("", (-1.0, -2.0, -3.0))
    rows = [("entailment", wrong)] * 30
    exact = [Float32Output("jnli", str(n), right if n < more else wrong) for n in range(24)]
    a = replace(nli(*rows), model=replace(INFO, dtype="float32"))
    b = replace(nli(*[("entailment", right)] * more, *rows[more:]), model=INFO, float32=tuple(exact))
    found = compare_runs(a, b)
    assert found.choose["jnli"]["accuracy"].difference.value == pytest.approx(more / 30)
    texts = [str(sentence(notice)) for notice in found.b.notices if notice.kind == "within_rounding"]
    assert [("Of 24 items" in text, "up to 14 %" in text) for text in texts] == [(True, True)] * said


@pytest.mark.parametrize(("same", "kinds"), [(False, ["within_rounding"]), (True, [])])
def test_a_difference_smaller_than_what_rounding_flips_is_said_to_be_so(same: bool, kinds: list[str]) -> None:
    # Of four items B has one more right: a difference of 0.25; rounding flips one of the three that were sampled.
    first, second = ("entailment", "contradiction", "neutral", "neutral"), (-1.0, -2.0, -3.0)
    rows = [(gold, ranked("", second)) for gold in first]
    a = replace(nli(*rows), model=replace(INFO, dtype="float32"))
    wins = (-2.0, -1.0, -3.0)
    changed = rows if same else [rows[0], ("contradiction", ranked("", wins)), *rows[2:]]
    exact = [Float32Output("jnli", str(n), ranked("", wins if n == 0 else second)) for n in (0, 2, 3)]
    b = replace(nli(*changed), model=INFO, float32=tuple(exact))
    found = compare_runs(a, b)
    difference = found.choose["jnli"]["accuracy"].difference.value
    assert difference == pytest.approx(0.0 if same else 0.25)
    assert [n.kind for n in found.b.notices if n.kind == "within_rounding"] == kinds
    assert "within_rounding" not in {n.kind for n in found.a.notices}
