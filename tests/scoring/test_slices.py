"""Scores on parts of the items: which items are in which part, and the differences to a baseline."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jglue_app.scoring.judged import judge_run
from jglue_app.scoring.slices import Slice, slices
from jglue_app.types import Item, RunData
from tests.scoring.test_report import nli, output, sts

SAID = {"e": "含意", "c": "矛盾", "n": "中立", "?": "さあ"}
GOLD = {"e": "entailment", "c": "contradiction", "n": "neutral"}


def run(golds: str, answers: str) -> RunData:
    return nli(*[(GOLD[gold], output(SAID[said])) for gold, said in zip(golds, answers, strict=True)])


def of(data: RunData, baseline: RunData | None = None) -> dict[tuple[str, str], Slice]:
    other = judge_run(baseline, "official") if baseline else None
    return {(one.kind, one.key): one for one in slices(data, "official", judge_run(data, "official"), other)}


def with_lengths(data: RunData, lengths: list[int]) -> RunData:
    items = {
        id_: Item(item.task, id_, {"sentence1": "あ" * n, "sentence2": ""}, item.gold, item.choices)
        for (id_, item), n in zip(data.items["jnli"].items(), lengths, strict=True)
    }
    return replace(data, items={"jnli": items})


def test_by_gold_label_each_score_is_the_recall_of_that_label() -> None:
    found = of(run("eeeecccnn", "eeecccnn?"))
    assert {key: (one.score.value, one.score.n) for (kind, key), one in found.items() if kind == "label"} == {
        "entailment": (0.75, 4),
        "contradiction": (pytest.approx(2 / 3), 3),
        "neutral": (0.5, 2),
    }


def test_by_length_there_are_thirds_and_equal_lengths_stay_together() -> None:
    found = of(with_lengths(run("eeeeeeeee", "eeeeeeccc"), [1, 2, 3, 3, 3, 6, 7, 8, 9]))
    parts = {
        key: (one.score.n, one.score.value, one.characters) for (kind, key), one in found.items() if kind == "length"
    }
    assert parts == {
        "short": (5, 1.0, (1, 3)),
        "middle": (1, 1.0, (6, 6)),
        "long": (3, 0.0, (7, 9)),
    }
    alike = of(with_lengths(run("eee", "eec"), [5, 5, 5]))
    assert [key for kind, key in alike if kind == "length"] == ["short"]


def test_by_rule_the_parts_are_all_items_and_an_unreadable_one_scores_nothing() -> None:
    found = {key: one for (kind, key), one in of(run("eec", "ec?")).items() if kind == "rule"}
    assert sum(one.score.n for one in found.values()) == 3
    assert sorted(one.score.value or 0.0 for one in found.values()) == [0.0, 0.5]


def test_what_an_earlier_item_asks_too_stands_apart_from_the_rest() -> None:
    # All items of `nli` have the same text: each but the first repeats it.
    found = of(run("ee" + "c" * 10, "ec" + "c" * 10))
    assert found["fault", "repeated"].score.n == 11
    assert (found["fault", "clean"].score.n, found["fault", "clean"].score.value) == (1, 1.0)
    assert ("fault", "leaked") not in found


def test_differences_to_a_baseline_are_corrected_over_all_parts_and_few_items_have_no_verdict() -> None:
    lengths = [*range(1, 31)]
    better = with_lengths(run("e" * 20 + "c" * 10, "e" * 20 + "c" * 10), lengths)
    worse = with_lengths(run("e" * 20 + "c" * 10, "c" * 20 + "c" * 9 + "e"), lengths)
    found = of(better, worse)
    entailment, contradiction = found["label", "entailment"].difference, found["label", "contradiction"].difference
    assert entailment is not None
    assert contradiction is not None
    assert (entailment.difference.value, entailment.difference.n, entailment.verdict) == (1.0, 20, "b")
    # One rule has read all 30 answers, of which 21 differ: only that p is smaller.
    tested = [one.difference for one in found.values() if one.difference is not None]
    assert entailment.p_holm == pytest.approx(2 * 0.5**20 * (len(tested) - 1))
    assert (contradiction.difference.n, contradiction.verdict) == (10, "undecided")
    few = of(with_lengths(run("e" * 9, "e" * 9), lengths[:9]), with_lengths(run("e" * 9, "c" * 9), lengths[:9]))
    assert {one.difference.verdict for one in few.values() if one.difference} == {"undecided"}


def test_similarities_have_no_labels_and_correlate_within_each_third() -> None:
    data = sts({i / 10: str(i / 10) for i in range(30)})
    items = {
        id_: replace(item, fields={"sentence1": "あ" * n, "sentence2": ""})
        for n, (id_, item) in enumerate(data.items["jsts"].items())
    }
    found = of(replace(data, items={"jsts": items}))
    assert {kind for kind, _ in found} == {"length", "rule"}
    assert [one.score.value for (kind, _), one in found.items() if kind == "length"] == pytest.approx([1.0, 1.0, 1.0])
