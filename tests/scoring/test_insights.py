"""What a comparison shows first: each kind of fact where it holds, and none where it does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from jglue_app.scoring.comparison import compare_runs
from jglue_app.scoring.insights import Insight, insights
from jglue_app.scoring.report import report_run
from jglue_app.types import Item, ModelSpec, Output, Prompt, Record, RunData, RunError
from tests.scoring.test_report import SPEC, joined, nli, output, pairs, squad, sts

OTHER = replace(SPEC, model=ModelSpec("n"))
RIGHT, WRONG = (-1.0, -2.0, -3.0), (-3.0, -2.0, -1.0)
"""Log-probabilities by which entailment is ranked first, and by which it is last."""
EVEN = ("entailment", "contradiction", "neutral")
WORDS = {"entailment": "含意", "contradiction": "矛盾", "neutral": "中立"}


def of_pair(a: RunData, b: RunData) -> list[Insight]:
    comparison = compare_runs(a, b)
    return insights(comparison.a, comparison.b, comparison)


def kinds(found: Sequence[Insight]) -> list[str]:
    return [insight.kind for insight in found]


def only(found: Sequence[Insight], kind: str) -> list[Insight]:
    return [insight for insight in found if insight.kind == kind]


def good(wrong: int = 0, said: str = "？", n: int = 30) -> RunData:
    """A run over all three labels in equal numbers that is right but for some items; far from every floor."""
    rows = [(EVEN[i % 3], output(said if i < wrong else WORDS[EVEN[i % 3]])) for i in range(n)]
    return nli(*rows)


def ranking(first: int, choices: int) -> tuple[float, ...]:
    """Log-probabilities by which one choice is ranked first."""
    return tuple(-1.0 if i == first else -2.0 for i in range(choices))


def reviews(*texts: str, ranked_right: int | None = None) -> RunData:
    """One MARC-ja item for each text, every second one positive; the first few ranked right, or none ranked."""
    labels = ("positive", "negative")
    items = [Item("marc_ja", str(i), {"sentence": "文"}, (labels[i % 2],), labels) for i in range(len(texts))]
    prompt = Prompt("marc_ja", "", "p", None, (), ("肯定", "否定"), "", (), "")
    records = [
        Record("s", "marc_ja", item.id, replace(prompt, item_id=item.id), Output(text, "stop", 1, 1, 0.1, logprobs))
        for i, (item, text) in enumerate(zip(items, texts, strict=True))
        for logprobs in [None if ranked_right is None else ranking((i + (i >= ranked_right)) % 2, 2)]
    ]
    return RunData(SPEC, {"marc_ja": {item.id: item for item in items}}, {"marc_ja": "sample"}, records)


# --- who is better ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("only_a", "only_b", "same", "expected"),
    [
        # McNemar: 2 · ½⁶ = 0.031. Every gold is entailment, and so always saying that scores as well.
        (0, 6, 6, Insight("better_floor", "B", {"tasks": "JNLI"}, "only_b")),
        (7, 0, 5, Insight("better_floor", "A", {"tasks": "JNLI"}, "only_a")),
        (3, 3, 6, Insight("undecided", "", {"tasks": "JNLI"}, "disagree")),
        (0, 3, 0, Insight("undecided", "", {"tasks": "JNLI"}, "disagree")),
    ],
)
def test_the_better_side_is_named_only_where_the_test_says_so(
    only_a: int, only_b: int, same: int, expected: Insight
) -> None:
    assert of_pair(*pairs(only_a, only_b, same))[0] == expected


def test_each_side_is_named_with_the_subsets_it_wins_and_those_that_are_open_come_last() -> None:
    spans = [f"答{i}" for i in range(12)]
    a = joined(pairs(0, 10, 2)[0], squad({s: (s,) for s in spans}), sts({float(i % 6): str(i % 6) for i in range(6)}))
    b = joined(
        pairs(0, 10, 2)[1],
        squad({f"{s}？": (s,) for s in spans}, spec=OTHER),
        sts({float(i % 6): str(5 - i % 6) for i in range(6)}),
    )
    found = of_pair(a, replace(b, spec=OTHER))
    assert [insight for insight in found if insight.kind in ("better", "better_floor", "undecided")] == [
        Insight("better_floor", "B", {"tasks": "JNLI"}, "only_b"),
        Insight("better", "A", {"tasks": "JSQuAD"}, "only_a"),
        Insight("undecided", "", {"tasks": "JSTS"}, "disagree"),
    ]


def test_runs_without_texts_are_compared_by_their_rankings() -> None:
    a = nli(*[("entailment", output(None, WRONG, "scored"))] * 12)
    b = nli(*[("entailment", output(None, RIGHT, "scored"))] * 12, spec=OTHER)
    assert of_pair(a, b)[0] == Insight("better_floor", "B", {"tasks": "JNLI"}, "only_b")


def test_that_a_side_is_better_and_on_a_floor_is_one_sentence_and_not_two() -> None:
    # B is right in all of JNLI, and calls every review positive, as every second one is.
    a = joined(good(wrong=30), reviews(*["よい"] * 20))
    b = replace(joined(good(), reviews(*["肯定"] * 20)), spec=OTHER)
    found = of_pair(a, b)
    assert only(found, "better_partly") == [
        Insight("better_partly", "B", {"tasks": "JNLI, MARC-ja", "low": "MARC-ja"}, "only_b")
    ]
    assert [insight.side for insight in found if insight.kind in ("floor", "below")] == ["A"]
    above = of_pair(good(wrong=30), replace(good(), spec=OTHER))
    assert above[0] == Insight("better", "B", {"tasks": "JNLI"}, "only_b")


def test_a_subset_without_a_difference_to_speak_of_is_left_out() -> None:
    constant = sts({1.0: "4.0", 2.0: "4.0", 3.0: "4.0"})
    assert kinds(of_pair(constant, replace(constant, spec=OTHER))) == []
    failed = nli(("entailment", RunError("non_finite", "…")))
    assert kinds(of_pair(failed, nli(("entailment", output("含意")), spec=OTHER))) == ["floor"]


def test_one_report_alone_is_not_compared() -> None:
    assert insights(report_run(good())) == []


# --- the gap between text and ranking ---------------------------------------------------------------------


def with_ranking(texts_right: int, ranked_right: int, n: int = 60) -> RunData:
    """A run over all three labels in turn: a constant answer has a third of them right."""
    rows = [
        (EVEN[i % 3], output(WORDS[EVEN[(i + (i >= texts_right)) % 3]], ranking((i + (i >= ranked_right)) % 3, 3)))
        for i in range(n)
    ]
    return nli(*rows)


@pytest.mark.parametrize(
    ("texts_right", "ranked_right", "facts"),
    [
        (15, 60, {"task": "JNLI", "text": "0.25", "ranked": "1.00"}),
        (30, 42, {"task": "JNLI", "text": "0.50", "ranked": "0.70"}),
        (30, 38, None),
        (30, 30, None),
        (60, 40, None),
    ],
)
def test_a_text_that_is_far_behind_the_ranking_is_told(
    texts_right: int, ranked_right: int, facts: dict[str, str] | None
) -> None:
    found = only(insights(report_run(with_ranking(texts_right, ranked_right))), "gap")
    assert found == ([] if facts is None else [Insight("gap", "A", facts, "knows", "jnli")])


@pytest.mark.parametrize(
    ("ranked_right", "told"),
    [
        # Wilson: from 0.346 and from 0.331 on; a constant answer scores 0.333.
        (28, ["gap"]),
        (27, []),
        (20, []),
    ],
)
def test_a_ranking_that_is_on_its_floor_tells_no_gap(ranked_right: int, told: list[str]) -> None:
    # The text is right on 0.10.
    assert kinds(only(insights(report_run(with_ranking(6, ranked_right))), "gap")) == told


@pytest.mark.parametrize(("n", "told"), [(10, ["gap"]), (9, [])])
def test_a_ranking_of_fewer_than_ten_items_tells_no_gap(n: int, told: list[str]) -> None:
    # All ranked right: Wilson from n / (n + 3.84) on, which is 0.72 and 0.70, above 0.40 and 0.33.
    assert kinds(only(insights(report_run(with_ranking(0, n, n))), "gap")) == told


def test_of_several_gaps_the_widest_is_told_for_each_side() -> None:
    # JNLI 0.50 → 0.85; MARC-ja 0 → 0.80, or 0.50 → 0.80 where every review is called positive.
    a = joined(with_ranking(30, 51), reviews(*["よい"] * 20, ranked_right=16))
    b = replace(joined(with_ranking(30, 51), reviews(*["肯定"] * 20, ranked_right=16)), spec=OTHER)
    assert only(of_pair(a, b), "gap") == [
        Insight("gap", "A", {"task": "MARC-ja", "text": "0.00", "ranked": "0.80"}, "knows", "marc_ja"),
        Insight("gap", "B", {"task": "JNLI", "text": "0.50", "ranked": "0.85"}, "knows", "jnli"),
    ]


def test_there_is_no_gap_without_both_text_and_ranking() -> None:
    ranked = report_run(nli(*[(EVEN[i % 3], output(None, ranking(i % 3, 3), "scored")) for i in range(30)]))
    assert ranked.tasks["jnli"].choose["accuracy"].value == 1.0
    assert "gap" not in kinds(insights(ranked))
    assert "gap" not in kinds(insights(report_run(good(wrong=20))))


# --- form -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said", "facts"),
    [
        # 5 % of 30 are 1.5.
        (1, "？", None),
        (2, "？", {"form": "0", "shapeless": "2", "total": "30"}),
        (2, "", {"form": "0", "shapeless": "2", "total": "30"}),
        (0, "？", None),
    ],
)
def test_outputs_out_of_form_are_told_from_one_in_twenty_on(
    wrong: int, said: str, facts: dict[str, str] | None
) -> None:
    expected = [] if facts is None else [Insight("shapeless", "A", facts, "unreadable")]
    assert insights(report_run(good(wrong, said))) == expected


def of_form(*rows: tuple[str, Output | RunError]) -> list[Insight]:
    """What is told of the form of some outputs and seven right ones."""
    found = insights(report_run(nli(*rows, *[("neutral", output("中立"))] * 7)))
    return [insight for insight in found if insight.kind in ("form", "shapeless")]


def test_right_answers_in_the_wrong_form_are_told_of_and_unreadable_outputs_are_shown_first() -> None:
    written = ("entailment", output("答え：含意"))
    shapeless = [("neutral", output("？")), ("neutral", output("中", finish="length"))]
    assert of_form(written, *shapeless) == [
        Insight("form", "A", {"form": "1", "shapeless": "2", "total": "10"}, "unreadable"),
    ]
    assert of_form(written) == [Insight("form", "A", {"form": "1", "shapeless": "0", "total": "8"}, "form")]
    assert of_form(*shapeless) == [
        Insight("shapeless", "A", {"form": "0", "shapeless": "2", "total": "9"}, "unreadable"),
    ]


def test_errors_and_wrong_answers_are_no_matter_of_form() -> None:
    failed = ("neutral", RunError("x", "…"))
    assert of_form(failed, ("neutral", output("", finish="overflow")), ("neutral", output("含意"))) == []


def test_large_totals_are_written_for_people() -> None:
    found = only(insights(report_run(good(wrong=600, n=1200))), "shapeless")
    assert found[0].facts == {"form": "0", "shapeless": "600", "total": "1,200"}


def test_nothing_is_said_of_the_form_of_what_was_not_answered() -> None:
    assert insights(report_run(nli(planned=30))) == []


# --- floors -----------------------------------------------------------------------------------------------


def test_the_same_floors_of_both_sides_are_told_once() -> None:
    # A third of the golds is entailment, and so is every answer.
    constant = good(wrong=30, said="含意")
    found = only(of_pair(constant, replace(constant, spec=OTHER)), "floor")
    assert found == [Insight("floor", "A B", {"tasks": "JNLI"})]
    # Every gold is entailment: 9 of 12, which is 0.91 at most (Wilson), are fewer than that one answer has right.
    assert only(of_pair(*pairs(3, 3, 6)), "below") == [Insight("below", "A B", {"tasks": "JNLI"})]


def test_a_score_below_the_floor_is_told_of_before_one_that_cannot_be_told_from_it() -> None:
    report = report_run(joined(reviews(*["肯定"] * 30), good(wrong=30)))
    assert [insight for insight in insights(report) if insight.kind in ("below", "floor")] == [
        # None right is 0.11 of 30 at most (Wilson): less than a third.
        Insight("below", "A", {"tasks": "JNLI"}),
        Insight("floor", "A", {"tasks": "MARC-ja"}),
    ]


def test_other_floors_of_each_side_are_told_apart() -> None:
    a = joined(good(wrong=30, said="含意"), reviews(*["肯定", "否定"] * 15))
    b = joined(good(), reviews(*["肯定"] * 30))
    assert only(of_pair(a, replace(b, spec=OTHER)), "floor") == [
        Insight("floor", "A", {"tasks": "JNLI"}),
        Insight("floor", "B", {"tasks": "MARC-ja"}),
    ]
    both = joined(good(wrong=30, said="含意"), reviews(*["肯定"] * 30))
    assert only(insights(report_run(both)), "floor") == [Insight("floor", "A", {"tasks": "JNLI, MARC-ja"})]


def test_a_score_that_is_above_the_floor_is_not_told_of() -> None:
    assert kinds(of_pair(good(), replace(good(1), spec=OTHER))) == ["undecided"]


def test_a_similarity_without_correlation_is_on_no_floor() -> None:
    report = report_run(sts({float(i): "2.0" if i % 2 else "3.0" for i in range(6)}))
    assert [notice.kind for notice in report.tasks["jsts"].notices] == ["no_correlation", "no_correlation"]
    assert insights(report) == []


def test_a_score_that_a_default_explains_is_on_the_floor_of_its_protocol() -> None:
    # wandb-2023 takes an unreadable answer for entailment, and that is what a third of the golds are.
    report = report_run(good(wrong=30), "wandb-2023-0shot")
    assert "on_floor_default" in [notice.kind for notice in report.tasks["jnli"].notices]
    assert only(insights(report), "floor") == [Insight("floor", "A", {"tasks": "JNLI"})]


def test_what_is_told_first_is_who_is_better_then_gaps_form_and_floors() -> None:
    positive = reviews(*["肯定"] * 12)
    a = nli(*[(EVEN[i % 3], output("？", ranking(i % 3, 3))) for i in range(12)])
    b = joined(good(n=12), positive)
    found = of_pair(joined(a, positive), replace(b, spec=OTHER))
    assert kinds(found) == ["better", "undecided", "gap", "shapeless", "below", "floor"]


def test_a_ranking_on_the_floor_says_nothing_of_the_text_beside_it() -> None:
    rows = [(EVEN[i % 3], output(WORDS[EVEN[i % 3]], RIGHT)) for i in range(30)]
    assert insights(report_run(nli(*rows))) == []
