"""Which runs are ranked with each other, and the ranks that they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from scipy import stats

from jglue_app.scoring.comparison import main_difference
from jglue_app.scoring.judged import judge_run
from jglue_app.scoring.leaderboard import run_scores
from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.ranking import comparable
from jglue_app.scoring.report import report_run
from jglue_app.scoring.summary import RunSummary, summarise
from jglue_app.scoring.types import Difference, Estimate, PairedTest
from jglue_app.tasks import TASKS
from jglue_app.types import RunData
from tests.scoring.pair_by_pair import mean_test, places
from tests.scoring.test_report import nli, output, sts


def right(marks: str, spec_items: int = 0) -> RunData:
    """A run on JNLI that answers the items right (`o`), wrong (`x`), or not at all (`-`)."""
    said = {"o": "含意", "x": "矛盾"}
    answered = [("entailment", output(said[mark])) for mark in marks if mark != "-"]
    return nli(*answered, planned=spec_items or len(marks))


def candidate(data: RunData, protocol: str = "official") -> RunSummary:
    summary, _ = summarise(data, protocol, judge_run(data, protocol))
    assert summary.scores == run_scores(report_run(data, protocol))
    return summary


def candidates(runs: Mapping[str, RunData]) -> dict[str, RunSummary]:
    return {name: candidate(data) for name, data in runs.items()}


def test_runs_on_the_same_items_are_one_group_and_the_largest_group_is_first() -> None:
    runs = {name: right("o" * n) for name, n in (("few", 12), ("one", 20), ("two", 20), ("less", 12), ("three", 20))}
    groups, apart = comparable(candidates(runs), ["jnli"])
    assert [group.names for group in groups] == [("one", "two", "three"), ("few", "less")]
    assert [dict(group.items) for group in groups] == [{"jnli": 20}, {"jnli": 12}]
    assert apart == {}


def test_what_cannot_be_ranked_stands_apart_with_the_reason() -> None:
    runs = {
        "a": right("o" * 20),
        "b": right("x" * 20),
        "half": right("o" * 10, 20),
        "nearly": right("o" * 19, 20),
        "nine": right("o" * 9),
        "one": right("o"),
        "alone": right("o" * 33),
        "other": sts({i / 10: "3.0" for i in range(20)}),
    }
    groups, apart = comparable(candidates(runs), ["jnli"])
    # `nearly` was given the 20 items too, although its last one has another gold label than those of the others.
    assert [group.names for group in groups] == [("a", "b")]
    assert apart == {
        "half": "only 10 of 20 items of JNLI count",
        "nearly": "no other run has the same items",
        "nine": "only 9 items of JNLI; 10 are needed",
        "one": "only 1 item of JNLI; 10 are needed",
        "alone": "no other run has the same items",
        "other": "no score for JNLI: the run was not asked them",
    }


def test_a_single_run_is_first_of_one() -> None:
    (group,), apart = comparable(candidates({"a": right("o" * 20)}), ["jnli"])
    assert (group.names, apart) == (("a",), {})
    assert places(group.names, lambda a, b: None)["a"].rank == 1


def test_a_text_is_not_ranked_with_a_choice_by_log_likelihood() -> None:
    chosen = nli(*[("entailment", output(None, (-1.0, -2.0, -3.0)))] * 12)
    written = nli(*[("entailment", output("含意"))] * 12)
    groups, apart = comparable(candidates({"a": chosen, "b": written, "c": written}), ["jnli"])
    assert [group.names for group in groups] == [("b", "c")]
    assert apart == {"a": "no other run of the same items is scored in the same way (texts or log-likelihood)"}
    # Over other items no way of scoring would help.
    _, apart = comparable(candidates({"a": chosen, "b": right("o" * 20), "c": right("o" * 20)}), ["jnli"])
    assert apart == {"a": "no other run has the same items"}
    # A run of the same items that has no score of its own does not make them other items.
    _, apart = comparable(
        {name: candidate(data, "stability-jp") for name, data in (("a", chosen), ("b", written))}, ["jnli"]
    )
    assert apart["a"] == "the other runs of the same items cannot be ranked, as is said beside them"
    assert "the run wrote texts alone" in apart["b"]


def test_a_run_without_a_score_says_why() -> None:
    chosen = nli(*[("entailment", output(None, (-1.0, -2.0, -3.0)))] * 12)
    written = nli(*[("entailment", output("含意"))] * 12)
    same = sts({i / 10: "3.0" for i in range(20)})
    unread = sts({i / 10: "？" if i else "3.0" for i in range(20)})

    def why(data: RunData, protocol: str, *tasks: str) -> str:
        return comparable({"a": candidate(data, protocol)}, tasks)[1]["a"]

    assert why(written, "stability-jp", "jnli") == (
        "no score for JNLI: this protocol ranks the answers by log-likelihood, and the run wrote texts alone"
    )
    assert why(chosen, "flexeval", "jnli") == (
        "no score for JNLI: this protocol reads texts, and the run ranked the answers by log-likelihood alone"
    )
    assert why(same, "official", "jsts") == (
        "no score for JSTS: all answers that could be read are the same, and a correlation cannot be computed of these"
    )
    assert why(unread, "official", "jsts").endswith(": too few answers could be read to compute a correlation")
    assert why(chosen, "flexeval", "jsts", "jnli", "jsquad") == (
        "no score for JSTS, JSQuAD: the run was not asked them; "
        "no score for JNLI: this protocol reads texts, and the run ranked the answers by log-likelihood alone"
    )


def test_similarities_that_hardly_vary_cannot_be_tested() -> None:
    golds = [i / 10 for i in range(20)]
    every = sts({gold: str(gold) for gold in golds})
    # Of resamples that lack the one other answer, a third, the correlation is undefined.
    flat = sts({gold: "3.0" if gold else "1.0" for gold in golds})
    groups, apart = comparable(candidates({"a": every, "b": flat, "c": every}), ["jsts"])
    assert [group.names for group in groups] == [("a", "c")]
    assert apart == {"b": "the answers to JSTS vary too little to be tested"}


def test_similarities_of_which_many_are_unreadable_are_scored_on_other_items() -> None:
    golds = [i / 10 for i in range(20)]
    every = sts({gold: str(gold) for gold in golds})
    some = sts({gold: str(gold) if i < 15 else "？" for i, gold in enumerate(golds)})
    groups, apart = comparable(candidates({"a": every, "b": some, "c": every}), ["jsts"])
    assert [group.names for group in groups] == [("a", "c")]
    assert apart == {"b": "only 15 of 20 items of JSTS count"}


def mcnemar_of(a: RunData, b: RunData) -> PairedTest | None:
    (rows_a, rows_b) = (judge_run(data, "official")["jnli"] for data in (a, b))
    return mean_test([main_difference(TASKS["jnli"], rows_a, rows_b, get_protocol("official"))])


def test_one_subset_of_right_and_wrong_is_tested_by_mcnemar() -> None:
    a, b = "ooooooxxxxxxxxxx", "xooooooooooooooo"
    found = mcnemar_of(right(a), right(b))
    assert found is not None
    # B alone is right on ten items, A alone on one.
    assert found.p == pytest.approx(stats.binomtest(1, 11, 0.5).pvalue)
    assert found.difference.value == pytest.approx(9 / 16)


def test_too_few_items_are_not_tested() -> None:
    assert mcnemar_of(right("o" * 9), right("x" * 9)) is None
    assert mcnemar_of(right("o" * 10), right("x" * 10)) is not None
    assert mean_test([None]) is None


def of(d: float, p: float | None) -> PairedTest:
    return PairedTest(Estimate(d, d - 0.1, d + 0.1, 50), p, "mcnemar", None)


def ranked(names: Sequence[str], tests: Mapping[str, PairedTest]) -> dict[str, tuple[int, int, str]]:
    found = places(names, lambda a, b: tests.get(a + b))
    return {name: (place.rank, place.last, "".join(place.alike)) for name, place in found.items()}


def test_a_rank_counts_the_runs_that_are_shown_to_be_better() -> None:
    # p of (a, b), (a, c), (b, c); Holm multiplies the least by 3, the next by 2.
    clear = {"ab": of(-0.2, 0.01), "ac": of(-0.4, 0.001), "bc": of(-0.2, 0.02)}
    assert ranked("abc", clear) == {"a": (1, 1, ""), "b": (2, 2, ""), "c": (3, 3, "")}
    # 3 · 0.02 > 0.05: nothing is shown.
    assert ranked("abc", {pair: of(-0.2, 0.02) for pair in clear}) == {
        "a": (1, 3, "bc"),
        "b": (1, 3, "ac"),
        "c": (1, 3, "ab"),
    }


def test_being_told_apart_is_not_transitive_and_each_run_says_from_which_it_is_not() -> None:
    chain = {"ab": of(-0.1, 0.3), "ac": of(-0.2, 0.004), "bc": of(-0.1, 0.3)}
    assert ranked("abc", chain) == {"a": (1, 2, "b"), "b": (1, 3, "ac"), "c": (2, 3, "b")}


def test_better_is_by_the_sign_of_the_difference_whatever_the_order() -> None:
    assert ranked("cba", {"cb": of(0.2, 0.01), "ca": of(0.4, 0.001), "ba": of(0.2, 0.02)}) == {
        "a": (1, 1, ""),
        "b": (2, 2, ""),
        "c": (3, 3, ""),
    }


def test_a_pair_that_cannot_be_tested_counts_as_alike_and_not_in_the_correction() -> None:
    # One test alone is not multiplied.
    assert ranked("abc", {"ac": of(-0.4, 0.04)}) == {"a": (1, 2, "b"), "b": (1, 3, "ac"), "c": (2, 3, "b")}


def test_ranks_of_ten_runs_agree_with_holm_by_hand() -> None:
    marks = ["o" * (40 - 4 * i) + "x" * (4 * i) for i in range(10)]
    runs = {str(i): right(row) for i, row in enumerate(marks)}
    found = places(list(runs), lambda a, b: mcnemar_of(runs[a], runs[b]))
    # Items that only the better has right: 4 · (difference of numbers); the other has none alone, so p = 2 · ½ⁿ.
    pairs = sorted((2 * 0.5 ** (4 * (j - i)), i, j) for i in range(10) for j in range(i + 1, 10))
    better: dict[int, set[int]] = {i: set() for i in range(10)}
    for position, (p, i, j) in enumerate(pairs):
        if p * (len(pairs) - position) >= 0.05:
            break
        better[j].add(i)
    assert {int(name): place.rank for name, place in found.items()} == {i: 1 + len(better[i]) for i in range(10)}
    assert [found[str(i)].rank for i in range(10)] == [1, 1, 1, 2, 3, 4, 5, 6, 7, 8]


def test_a_mean_over_subsets_has_the_normal_p_of_its_interval() -> None:
    def on(d: float, half: float) -> Difference:
        none = Estimate(None, None, None, 50)
        return Difference(none, none, Estimate(d, d - half, d + half, 50), "undecided", 0.5, 0.5, "mcnemar", None)

    found = mean_test([on(0.3, 0.3), on(0.1, 0.4)])
    assert found is not None
    # (0.3 + 0.1) / 2; the half width is √(0.3² + 0.4²) / 2 = 0.25.
    assert found.difference.value == pytest.approx(0.2)
    assert found.p == pytest.approx(2 * stats.norm.sf(0.2 / (0.25 / stats.norm.ppf(0.975))))
