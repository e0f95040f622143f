"""How far two runs agree: divergences, bits per character and first differing characters, against values worked out by
hand and scipy's."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import log_softmax, rel_entr, softmax

from jglue_app.scoring.agreement import (
    agreements,
    bits_per_character,
    first_difference,
    item_agreement,
    kl_divergence,
    sentences,
    total_variation,
)
from jglue_app.scoring.comparison import compare_runs
from jglue_app.scoring.types import ItemAgreement, LogprobDifference, TextAgreement
from jglue_app.types import ModelInfo, Output, RunData, RunError
from tests.scoring.test_report import nli, output, sts

EVEN, UNEVEN = tuple(map(math.log, (0.5, 0.5))), tuple(map(math.log, (0.9, 0.1)))
INFO = ModelInfo("m", "c", "float32", "cpu", None, "", False, "", False, 0)
THIRDS = (-5.0, -5.0, -5.0)
"""Log-probabilities of three answers that are equally likely."""


def test_divergence_and_variation_are_those_worked_out_by_hand() -> None:
    # 0.5 ln(0.5 / 0.9) + 0.5 ln(0.5 / 0.1), and the other way round.
    assert kl_divergence(EVEN, UNEVEN) == pytest.approx(0.510825623765991)
    assert kl_divergence(UNEVEN, EVEN) == pytest.approx(0.368064207168497)
    assert total_variation(EVEN, UNEVEN) == total_variation(UNEVEN, EVEN) == pytest.approx(0.4)


def test_they_are_of_the_probabilities_renormalised_over_the_choices() -> None:
    shifted = tuple(value - 40 for value in UNEVEN)
    assert kl_divergence(UNEVEN, shifted) == pytest.approx(0, abs=1e-12)
    assert total_variation(UNEVEN, shifted) == pytest.approx(0, abs=1e-12)
    assert kl_divergence(EVEN, shifted) == pytest.approx(0.510825623765991)


def test_they_are_what_scipy_gives_for_random_log_probabilities() -> None:
    rng = np.random.default_rng(19)
    for _ in range(50):
        a, b = rng.normal(-8, 6, size=(2, 5))
        p, q = softmax(a), softmax(b)
        assert kl_divergence(tuple(a), tuple(b)) == pytest.approx(rel_entr(p, q).sum(), rel=1e-9)
        assert total_variation(tuple(a), tuple(b)) == pytest.approx(np.abs(p - q).sum() / 2, rel=1e-9)


@pytest.mark.parametrize(
    ("a", "b", "kl", "variation"),
    [
        ((0.0, -1e4), (-1e4, 0.0), 1e4, 1.0),
        ((-1e300, -1e300), (-1e300, -1e300), 0.0, 0.0),
        ((-0.3, -7.0, -2.0), (-0.3, -7.0, -2.0), 0.0, 0.0),
        ((-745.5, 0.0), (0.0, -745.5), 745.5, 1.0),
    ],
)
def test_extreme_log_probabilities_neither_overflow_nor_leave_the_range(
    a: tuple[float, ...], b: tuple[float, ...], kl: float, variation: float
) -> None:
    assert kl_divergence(a, b) == pytest.approx(kl)
    assert total_variation(a, b) == pytest.approx(variation)
    assert kl_divergence(a, b) >= 0 and 0 <= total_variation(a, b) <= 1


def test_bits_are_of_base_two_and_per_character() -> None:
    assert bits_per_character(math.log(1 / 16), "含意") == pytest.approx(2)
    assert bits_per_character(math.log(1 / 16), "𠮷") == pytest.approx(4)  # One code point, two in UTF-16.
    assert math.copysign(1, bits_per_character(0.0, "中立")) == 1


@pytest.mark.parametrize(
    ("a", "b", "at"),
    [
        ("同じ", "同じ", None),
        ("", "", None),
        ("", "x", 0),
        ("含意", "矛盾", 0),
        ("答えは含意", "答えは矛盾", 3),
        ("中立", "中立です", 2),
        ("中立です", "中立", 2),
        ("a𠮷b", "a𠮷c", 2),
        ("x" * 100_000 + "a", "x" * 100_000 + "b", 100_000),
        ("ab", "cb", 0),
    ],
)
def test_the_first_difference_is_the_length_of_what_both_begin_with(a: str, b: str, at: int | None) -> None:
    assert first_difference(a, b) == at


def with_logprobs(*rows: tuple[str, tuple[float, ...]]) -> RunData:
    return nli(*((gold, output(None, logprobs, "scored")) for gold, logprobs in rows))


def test_a_subset_has_the_means_over_its_items_with_their_number_and_the_largest_difference() -> None:
    # Answers 含意, 矛盾, 中立: two characters each.
    a = with_logprobs(("entailment", THIRDS), ("neutral", (-1.0, -2.0, -3.0)))
    b = with_logprobs(("entailment", (-4.0, -5.0, -5.0)), ("neutral", (-1.5, -2.0, -6.0)))
    found = agreements(a, b)["jnli"].logprobs
    assert found is not None
    pairs = [(THIRDS, (-4.0, -5.0, -5.0)), ((-1.0, -2.0, -3.0), (-1.5, -2.0, -6.0))]
    p, q = (np.array([softmax(pair[side]) for pair in pairs]) for side in (0, 1))
    assert found.kl.value == pytest.approx(rel_entr(p, q).sum(axis=1).mean())
    assert found.total_variation.value == pytest.approx(np.abs(p - q).sum(axis=1).mean() / 2)
    assert found.bits_a.value == pytest.approx((5 + 3) / 2 / math.log(2) / 2)
    assert found.bits_b.value == pytest.approx((4 + 6) / 2 / math.log(2) / 2)
    assert found.bits_difference.value == pytest.approx((10 - 8) / 2 / math.log(2) / 2)
    assert found.mean_difference.value == pytest.approx((1 + 0.5 + 0 + 3) / 6)
    assert found.largest == LogprobDifference("1", "中立", -3.0, -6.0)
    assert found.largest.size == 3.0
    assert {
        e.n for e in (found.kl, found.total_variation, found.bits_a, found.bits_difference, found.mean_difference)
    } == {2}


def test_the_interval_of_a_mean_is_that_of_the_bootstrap_over_items() -> None:
    a = with_logprobs(*(("entailment", THIRDS) for _ in range(40)))
    gains = [0.05 * i for i in range(40)]
    b = with_logprobs(*(("entailment", (-5.0 + gain, -5.0, -5.0)) for gain in gains))
    found = agreements(a, b)["jnli"].logprobs
    assert found is not None
    each = [-math.log(3) - log_softmax((gain, 0.0, 0.0)).mean() for gain in gains]
    assert found.kl.value == pytest.approx(np.mean(each))
    draws = np.random.default_rng(0).choice(each, size=(20_000, 40)).mean(axis=1)
    low, high = np.percentile(draws, (2.5, 97.5))
    assert found.kl.low == pytest.approx(low, rel=0.05)
    assert found.kl.high == pytest.approx(high, rel=0.05)


def test_a_run_agrees_with_itself_in_everything() -> None:
    a = nli(("entailment", output("含意", (-1.0, -2.0, -3.0))), ("neutral", output("中立", THIRDS)))
    found = compare_runs(a, a).agreement["jnli"]
    assert found.logprobs is not None
    for estimate in (found.logprobs.kl, found.logprobs.total_variation, found.logprobs.bits_difference):
        assert estimate.value == pytest.approx(0, abs=1e-12)
        assert estimate.n == 2
    assert found.logprobs.largest.size == 0
    assert found.texts == TextAgreement(2, 2, None, None, "")
    assert list(sentences(found)) == []


def test_texts_are_counted_where_both_have_one_and_the_earliest_difference_is_named() -> None:
    texts_a = ["含意", "中立です", "答え：矛盾", "x", "長い", "含意"]
    texts_b = ["含意", "中立", "答え：中立", "y", "長い", "含意。"]
    a, b = (nli(*(("neutral", output(text)) for text in texts)) for texts in (texts_a, texts_b))
    found = agreements(a, b)["jnli"]
    # First differences at 2, 3, 0 and 2 characters.
    assert found.texts == TextAgreement(6, 2, 2.0, 0, "3")
    assert found.logprobs is None


def test_what_one_side_lacks_is_left_out() -> None:
    a = nli(
        ("entailment", output("含意", THIRDS)),
        ("neutral", RunError("out_of_memory", "…")),
        ("neutral", output("", finish="overflow")),
        ("neutral", output(None, THIRDS, "scored")),
        ("neutral", output("中立", (float("-inf"), -1.0, -1.0))),
        planned=6,
    )
    b = nli(*(("entailment" if i == 0 else "neutral", output("含意", THIRDS)) for i in range(6)))
    found = agreements(a, b)["jnli"]
    assert found.texts is not None and found.logprobs is not None
    assert (found.texts.n, found.logprobs.kl.n, found.other_answers) == (2, 2, 0)


def test_other_items_and_similarities_without_texts_have_no_agreement() -> None:
    a = with_logprobs(("entailment", THIRDS))
    assert agreements(a, with_logprobs(("neutral", THIRDS))) == {}
    assert agreements(a, sts({1.0: "1"})) == {}
    found = agreements(sts({1.0: "1.0", 2.0: "2.5"}), sts({1.0: "1.0", 2.0: "2.0"}))["jsts"]
    assert (found.logprobs, found.texts) == (None, TextAgreement(2, 1, 2.0, 2, "1"))


def asking_for(data: RunData, *answers: str, of: int = 0) -> RunData:
    """The same run, with other answers asked for in the prompt of one item."""
    records = list(data.records)
    records[of] = replace(records[of], prompt=replace(records[of].prompt, answers=answers))
    return replace(data, records=records)


@pytest.mark.parametrize(
    "answers", [("entailment", "contradiction", "neutral"), (), ("含意", "中立", "矛盾"), ("", "", "")]
)
def test_log_probabilities_of_other_texts_are_never_compared(answers: tuple[str, ...]) -> None:
    a = with_logprobs(("entailment", THIRDS), ("neutral", (-1.0, -2.0, -3.0)))
    b = asking_for(with_logprobs(("entailment", (-4.0, -5.0, -5.0)), ("neutral", (-1.0, -2.0, -3.0))), *answers)
    found = agreements(a, b)["jnli"]
    assert found.logprobs is not None and found.logprobs.kl.value == pytest.approx(0, abs=1e-12)
    assert (found.logprobs.kl.n, found.other_answers) == (1, 1)
    assert str(*sentences(found)).startswith("Log-probabilities of 1 of the items are not compared")
    alone = agreements(asking_for(a, *answers), asking_for(b, of=1))["jnli"]
    if answers in ((), ("", "", "")):  # Equal on both sides, and not known.
        assert (alone.logprobs, alone.other_answers) == (None, 2)


def test_a_ranking_by_first_tokens_is_compared_by_nothing_but_its_texts() -> None:
    a = nli(("entailment", output("含意", THIRDS)))
    b = replace(nli(("entailment", output("含意。", (-1.0, -2.0, -3.0)))), model=replace(INFO, ranking="first token"))
    for pair in ((a, b), (b, a)):
        found = agreements(*pair)["jnli"]
        assert (found.logprobs, found.approximate, found.other_answers) == (None, True, 0)
        assert found.texts == TextAgreement(1, 0, 2.0, 2, "0")
        assert "first tokens alone" in str(*sentences(found))
    whole = replace(b, model=INFO)
    assert agreements(a, whole)["jnli"].logprobs is not None


def test_one_item_has_the_values_of_the_subset_that_is_it_alone() -> None:
    a = nli(("entailment", output("含意です", THIRDS)))
    b = nli(("entailment", output("含意だ", (-4.0, -5.0, -5.0))))
    found = agreements(a, b)["jnli"].logprobs
    item = a.items["jnli"]["0"]
    one = item_agreement(item, a.records[0], b.records[0])
    assert found is not None
    assert one == ItemAgreement(found.kl.value, found.total_variation.value, 2)
    assert item_agreement(item, a.records[0], b.records[0], approximate=True) == ItemAgreement(None, None, 2)
    silent = replace(b.records[0], output=Output(None, "scored", 1, 0, 0.1))
    assert item_agreement(item, a.records[0], silent) == ItemAgreement(None, None, None)
