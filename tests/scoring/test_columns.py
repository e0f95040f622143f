"""Tests of all pairs at once give what the test of each pair gives."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from jglue_app.scoring import many_pairs, significance
from jglue_app.scoring.columns import Column, Differences, differences, differences_in_common, in_common
from jglue_app.scoring.comparison import main_difference
from jglue_app.scoring.judged import judge_run
from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.ranking import mean_tests
from jglue_app.scoring.summary import summarise
from jglue_app.scoring.types import Difference
from jglue_app.tasks import TASKS
from jglue_app.types import RunData
from tests.scoring.pair_by_pair import mean_test
from tests.scoring.test_report import nli, output, sts

WORDS = {"entailment": "含意", "contradiction": "矛盾", "neutral": "中立"}


def nli_run(ability: float, seed: int, n: int = 60) -> RunData:
    rng, golds = random.Random(seed), random.Random(0)
    rows = []
    for _ in range(n):
        gold = golds.choice(list(WORDS))
        said = WORDS[gold] if rng.random() < ability else rng.choice([*WORDS.values(), "わかりません"])
        rows.append((gold, output(said)))
    return nli(*rows)


def sts_run(noise: float, seed: int, unreadable: int = 0, n: int = 80) -> RunData:
    rng = random.Random(seed)
    said = {i / n * 5: f"{min(5, max(0, i / n * 5 + rng.gauss(0, noise))):.1f}" for i in range(n)}
    for gold in rng.sample(sorted(said), unreadable):
        said[gold] = "わかりません"
    return sts(said)


def of_pair(a: RunData, b: RunData, task: str, protocol: str) -> Difference | None:
    rows = [judge_run(data, protocol)[task] for data in (a, b)]
    return main_difference(TASKS[task], rows[0], rows[1], get_protocol(protocol))


def column(data: RunData, task: str, protocol: str) -> Column:
    return summarise(data, protocol, judge_run(data, protocol))[1][task]


def of_columns(a: Column, b: Column) -> Differences:
    return differences(a, [b]) if a.items == b.items else differences_in_common([(a, b)])


@pytest.mark.parametrize("protocol", ["official", "llm-jp-eval"])
@pytest.mark.parametrize("task", ["jnli", "jsts"])
def test_pairs_of_columns_have_the_differences_of_the_pairs(task: str, protocol: str) -> None:
    runs = (
        [nli_run(ability, seed) for seed, ability in enumerate((0.3, 0.6, 0.6, 0.95))]
        if task == "jnli"
        else [sts_run(noise, seed, left) for seed, (noise, left) in enumerate(((0.5, 0), (1, 0), (1, 3), (3, 5)))]
    )
    columns = [column(data, task, protocol) for data in runs]
    for (i, a), (j, b) in itertools.combinations(enumerate(runs), 2):
        wanted, found = of_pair(a, b, task, protocol), of_columns(columns[i], columns[j])
        assert wanted is not None
        numbers = wanted.difference
        assert (found.value[0], found.low[0], found.high[0]) == pytest.approx(
            (numbers.value, numbers.low, numbers.high), abs=1e-12
        )
        assert found.n[0] == numbers.n
        if wanted.test == "mcnemar":
            assert found.p[0] == pytest.approx(wanted.p, rel=1e-12)
        test = mean_test([wanted])
        value, p = mean_tests([found], single_share=wanted.test == "mcnemar")
        assert test is not None
        assert (value[0], p[0]) == pytest.approx((test.difference.value, test.p), rel=1e-9)


def test_columns_on_other_items_are_paired_on_those_they_share() -> None:
    whole, part = column(sts_run(1, 1), "jsts", "official"), column(sts_run(1, 2, 7), "jsts", "official")
    assert (in_common(whole, part), whole.items == part.items) == (73, False)
    back, forth = (differences_in_common([pair]) for pair in ((whole, part), (part, whole)))
    assert back.value[0] == pytest.approx(-forth.value[0], abs=1e-12)


def test_a_mean_over_subsets_has_the_p_of_one_pair() -> None:
    pairs = [(nli_run(0.4, 1), nli_run(0.8, 2), "jnli"), (sts_run(2, 3), sts_run(0.5, 4), "jsts")]
    wanted = mean_test([of_pair(a, b, task, "official") for a, b, task in pairs])
    found = [of_columns(column(a, task, "official"), column(b, task, "official")) for a, b, task in pairs]
    value, p = mean_tests(found, single_share=False)
    assert wanted is not None
    assert (value[0], p[0]) == pytest.approx((wanted.difference.value, wanted.p), rel=1e-9)


def test_what_one_pair_lacks_is_missing_for_it_alone() -> None:
    flat = sts({i / 80 * 5: "3" for i in range(80)})
    others = [column(data, "jsts", "official") for data in (flat, sts_run(1, 1))]
    found = differences(column(sts_run(1, 2), "jsts", "official"), others)
    assert np.isnan(found.value).tolist() == [True, False]
    _, p = mean_tests([found], single_share=False)
    assert np.isnan(p).tolist() == [True, False]


def test_draws_that_are_mostly_undefined_have_no_interval() -> None:
    # One answer of twenty differs, so a third of the resamples have no correlation.
    nearly = column(sts({i / 4: "3" if i else "4" for i in range(20)}), "jsts", "official")
    other = column(sts({i / 4: f"{i / 4}" for i in range(20)}), "jsts", "official")
    found = differences(other, [nearly])
    wanted = significance.correlation_test("pearson", other.values, nearly.values, other.golds).difference
    assert (wanted.low, np.isnan(found.low[0])) == (None, True)
    assert found.value[0] == pytest.approx(wanted.value)


def test_holm_of_an_array_is_holm() -> None:
    ps = [0.04, None, 0.001, 0.001, 0.9, 0.02]
    wanted = significance.holm(dict(enumerate(ps)))
    found = many_pairs.holm(np.array([np.nan if p is None else p for p in ps]))
    assert [None if np.isnan(p) else p for p in found.tolist()] == pytest.approx([wanted[i] for i in range(6)])
