"""Two runs side by side at W&B: a third W&B run that joins them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from scipy import stats

from jglue_app.api import compare
from jglue_app.scoring.judged import judge_run
from jglue_app.scoring.types import Difference
from jglue_app.types import Decoding, Item, ModelSpec, Output, Prompt, PromptSpec, Record, RunData, RunSpec
from jglue_app.wandb_sink.payload import comparison_id
from jglue_app.wandb_sink.tables import comparison_table
from tests.wandb_sink.conftest import Board
from tests.wandb_sink.known import (
    JNLI,
    JSQUAD,
    JSTS,
    LABELS,
    Json,
    items,
    logprobs,
    other,
    ranked,
    said,
    similarity,
    span,
    spec_id,
    text,
)


def shown(words: str | None) -> str | None:
    return "\\ud83d" if words == "\ud83d" else words


def right(id_: str, shift: int) -> bool | None:
    return None if text(id_, shift) is None else said(id_, shift).parsed == "gold"


def parsed(id_: str, shift: int) -> str | None:
    return {"gold": JNLI[id_], "other": other(JNLI[id_]), None: None}[said(id_, shift).parsed]


# --- rows -----------------------------------------------------------------------------------------------


def test_choices_are_joined_with_what_both_said_and_who_is_right(board: Board) -> None:
    rows = board.server.table(board.run("both"), "comparison/jnli")
    who: dict[tuple[bool | None, bool | None], str] = {
        (True, True): "both",
        (True, False): "a",
        (False, True): "b",
        (False, False): "neither",
    }
    expected = [
        {
            "item_id": id_,
            "gold": gold,
            "a_raw": shown(text(id_, 0)),
            "b_raw": shown(text(id_, 1)),
            "a_parsed": parsed(id_, 0),
            "b_parsed": parsed(id_, 1),
            "a_correct": right(id_, 0),
            "b_correct": right(id_, 1),
            # An item at which one of them failed is in no paired test.
            "who_is_right": None if None in (right(id_, 0), right(id_, 1)) else who[right(id_, 0), right(id_, 1)],
            "a_outcome": said(id_, 0).outcome,
            "b_outcome": said(id_, 1).outcome,
            "a_choice": None if text(id_, 0) is None else ranked(id_, 0),
            "b_choice": None if text(id_, 1) is None else ranked(id_, 1),
        }
        for id_, gold in JNLI.items()
    ]
    assert [{key: row[key] for key in expected[0]} for row in rows] == expected
    assert {row["who_is_right"] for row in rows} == {"both", "a", "b", "neither", None}
    asked = items(board.ada, "jnli")
    assert all(row["question"].count(asked[row["item_id"]]["fields"]["sentence1"]) == 1 for row in rows)


def test_of_two_similarities_the_nearer_one_is_right(board: Board) -> None:
    rows = board.server.table(board.run("both"), "comparison/jsts")
    assert [row["item_id"] for row in rows] == list(JSTS)
    for row, (id_, gold) in zip(rows, JSTS.items(), strict=True):
        a, b = similarity(id_, 0), similarity(id_, 1)
        assert (row["a_verdict"], row["b_verdict"]) == (a, b)
        assert (row["a_correct"], row["b_correct"]) == (None, None)
        away = [math.inf if value is None else round(abs(value - gold), 6) for value in (a, b)]
        nearer = "a" if away[0] < away[1] else "b" if away[0] > away[1] else "equal"
        assert row["who_is_right"] == ("neither" if away == [math.inf] * 2 else nearer), row
    assert {row["who_is_right"] for row in rows} >= {"a", "b"}


def test_spans_are_joined_item_by_item(board: Board) -> None:
    rows = board.server.table(board.run("both"), "comparison/jsquad")
    assert [row["item_id"] for row in rows] == list(JSQUAD)
    # An answer is right if it is an accepted one, with or without a full stop: the first two of five ways to answer,
    # what reads the same backwards, and a first half that is accepted. B is one way further on than A.
    names = {(True, True): "both", (True, False): "a", (False, True): "b", (False, False): "neither"}
    right_of = {id_: [span(id_, shift).removesuffix("。") in JSQUAD[id_] for shift in (0, 1)] for id_ in JSQUAD}
    assert [row["who_is_right"] for row in rows] == [names[a, b] for a, b in right_of.values()]
    assert set(names.values()) == {row["who_is_right"] for row in rows}


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        # Rankings alone: by the label that is ranked first, as the paired test goes. The last has none in B.
        (((None,) * 4, (None,) * 4), ["both", "a", "b", None]),
        # A text on one side only: by the rankings too.
        ((("含意",) * 4, (None,) * 4), ["both", "a", "b", None]),
        # One item with two texts: the others are in no paired test.
        ((("矛盾", None, None, None), ("含意", None, None, None)), ["b", None, None, None]),
    ],
)
def test_who_is_right_without_texts_is_by_the_ranking(
    texts: tuple[tuple[str | None, ...], ...], expected: list[str | None]
) -> None:
    # The gold label is entailment. A ranks it first, first, second, first; B first, second, first, and not at all.
    logprobs_of = (
        ((-1.0, -2.0, -3.0), (-1.0, -2.0, -3.0), (-2.0, -1.0, -3.0), (-1.0, -2.0, -3.0)),
        ((-1.0, -2.0, -3.0), (-2.0, -1.0, -3.0), (-1.0, -2.0, -3.0), None),
    )
    fields = {"sentence1": "犬が走る。", "sentence2": "動物が動く。"}
    asked = {str(i): Item("jnli", str(i), fields, ("entailment",), LABELS) for i in range(4)}
    runs = []
    for of_run, said_of_run in zip(logprobs_of, texts, strict=True):
        prompt = Prompt("jnli", "", "関係：", None, (), ("含意", "矛盾", "中立"), "", (), "")
        outputs = [
            Output(words, "scored" if words is None else "stop", 1, 1, 0.0, numbers)
            for words, numbers in zip(said_of_run, of_run, strict=True)
        ]
        spec = RunSpec(ModelSpec("m"), ("jnli",), "sample-1", {}, PromptSpec(), "", Decoding("choose"), "1")
        records = [Record(spec.spec_id, "jnli", id_, prompt, out) for id_, out in zip(asked, outputs, strict=True)]
        runs.append(judge_run(RunData(spec, {"jnli": asked}, {"jnli": "sample"}, records), "official"))
    found = comparison_table("jnli", (runs[0], runs[1]), (runs[0], runs[1]))
    at = found.columns.index("who_is_right")
    assert [row[at] for row in found.rows] == expected


# --- statistics -----------------------------------------------------------------------------------------


def flat(found: Difference) -> Json:
    """One difference, as it has to stand in the summary."""
    d = found.difference
    return {
        "/a": found.a.value,
        "/b": found.b.value,
        "/difference": d.value,
        "/difference/low": d.low,
        "/difference/high": d.high,
        "/difference/n": d.n,
        "/p": found.p,
        "/p_holm": found.p_holm,
        "/verdict": found.verdict,
        "/needed": found.needed,
    }


def close(value: Any) -> Any:
    """A number but for its last digits: the process that sends may sum in another order, as libraries choose by the
    environment."""
    return pytest.approx(value, rel=1e-12, abs=1e-12) if isinstance(value, float) else value


def test_paired_statistics_are_those_of_the_comparison_shown_here(board: Board) -> None:
    found = compare(board.ada, board.ben)
    summary = board.run("both").summary
    expected: Json = {}
    for reading, tables in (("", found.differences), ("lenient/", found.lenient), ("choose/", found.choose)):
        for task, metrics in tables.items():
            for metric, difference in metrics.items():
                at = f"comparison/{task}/{reading}{metric}"
                expected |= {f"{at}{key}": value for key, value in flat(difference).items() if value is not None}
    assert found.average is not None
    average = flat(found.average)
    for key in ("/a", "/b", "/difference", "/difference/low", "/difference/high", "/difference/n", "/p", "/verdict"):
        expected[f"comparison/average{key}"] = average[key]
    assert len(expected) > 60
    assert set(expected) <= set(summary)
    for key, value in expected.items():
        assert summary[key] == close(value), key


def test_the_test_of_right_and_wrong_is_mcnemars_over_the_items_both_have_answered(board: Board) -> None:
    both = [id_ for id_ in JNLI if right(id_, 0) is not None and right(id_, 1) is not None]
    a_alone = sum(bool(right(id_, 0)) and not right(id_, 1) for id_ in both)
    b_alone = sum(bool(right(id_, 1)) and not right(id_, 0) for id_ in both)
    summary = board.run("both").summary
    assert summary["comparison/jnli/accuracy/difference/n"] == len(both) == 36
    assert math.isclose(summary["comparison/jnli/accuracy/difference"], (b_alone - a_alone) / len(both))
    exact = stats.binomtest(a_alone, a_alone + b_alone).pvalue
    assert math.isclose(summary["comparison/jnli/accuracy/p"], exact)


@pytest.mark.parametrize("metric", ["accuracy", "pearson", "exact_match", "f1"])
def test_the_table_of_statistics_has_both_scores_the_difference_and_the_verdict(board: Board, metric: str) -> None:
    rows = board.server.table(board.run("both"), "comparison/statistics")
    task, title = {"accuracy": ("jnli", "JNLI"), "pearson": ("jsts", "JSTS")}.get(metric, ("jsquad", "JSQuAD"))
    (row,) = [r for r in rows if (r["subset"], r["metric"], r["reading"]) == (title, metric, "strict")]
    found = compare(board.ada, board.ben)
    a, b, d = found.a.tasks[task].metrics[metric], found.b.tasks[task].metrics[metric], found.differences[task][metric]
    expected = {"a": a.value, "a_low": a.low, "a_high": a.high, "b": b.value, "b_low": b.low, "b_high": b.high}
    expected |= {"difference": d.difference.value, "low": d.difference.low, "high": d.difference.high}
    expected |= {"n": d.difference.n, "p": d.p, "p_holm": d.p_holm}
    for key, value in expected.items():
        assert row[key] == close(value), key
    assert [row[key] for key in ("test", "verdict")] == [d.test, d.verdict]
    assert row["unreadable_a"] == found.a.tasks[task].unreadable


# --- agreement ------------------------------------------------------------------------------------------


def test_how_far_the_two_agree_is_sent_as_scalars_and_rows(board: Board) -> None:
    summary = board.run("both").summary
    both = [id_ for id_ in JNLI if text(id_, 0) is not None and text(id_, 1) is not None]
    # The two rank other labels first, by 2 nats; the gold label's word has two characters.
    first = 1 / (1 + 2 * math.exp(-2))
    apart = first - first * math.exp(-2)
    gold = list(LABELS).index
    bits = [sum(-logprobs(id_, side)[gold(JNLI[id_])] for id_ in both) / len(both) / math.log(2) / 2 for side in (0, 1)]
    at = "comparison/jnli/agreement"
    expected = {
        f"{at}/kl_nats": 2 * apart,
        f"{at}/kl_nats/n": len(both),
        f"{at}/total_variation": apart,
        f"{at}/bits_per_character/a": bits[0],
        f"{at}/bits_per_character/b": bits[1],
        f"{at}/bits_per_character/difference": bits[1] - bits[0],
        f"{at}/logprob_difference": 4 / 3,
        f"{at}/logprob_difference/largest": 2.0,
        f"{at}/texts": len(both),
        f"{at}/texts/identical": sum(text(id_, 0) == text(id_, 1) for id_ in both),
        "comparison/jsquad/agreement/texts": len(JSQUAD),
    }
    for key, value in expected.items():
        assert summary[key] == pytest.approx(value, rel=1e-9), key

    rows = board.server.table(board.run("both"), "comparison/agreement")
    (row,) = [row for row in rows if row["subset"] == "JNLI"]
    names = ("kl_nats", "total_variation", "bits_per_character_a", "bits_per_character_b", "mean_logprob_difference")
    values = (2 * apart, apart, *bits, 4 / 3)
    for name, value in zip(names, values, strict=True):
        assert row[name] == pytest.approx(value, rel=1e-9), name
    assert (row["n"], row["texts"], row["other_answers"], row["approximate"]) == (len(both), len(both), 0, False)

    of_items = board.server.table(board.run("both"), "comparison/agreement_items")
    found = {row["item_id"]: row for row in of_items if row["subset"] == "JNLI"}
    assert list(found) == both
    for id_, row in found.items():
        assert row["kl_nats"] == pytest.approx(2 * apart, rel=1e-9)
        a, b = (str(text(id_, side)) for side in (0, 1))
        same = next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        assert row["first_difference"] == (None if a == b else same)


# --- how the three belong together ----------------------------------------------------------------------


def test_the_three_are_one_group_and_the_third_links_to_both(board: Board) -> None:
    a, b, both = (board.run(name) for name in ("a", "b", "both"))
    assert a.group == b.group == both.group == both.id
    assert both.job_type == "comparison"
    assert a.config["comparisons"] == b.config["comparisons"] == [both.id]
    assert both.config["members"] == [a.id, b.id]
    assert both.display_name == f"A {a.display_name} | B {b.display_name}"
    for side, run, folder in (("a", a, board.ada), ("b", b, board.ben)):
        found = both.config[side]
        assert found["url"] == f"{board.server.url}/{run.path}".replace("jglue/jglue-", "jglue/runs/jglue-")
        assert (found["run_id"], found["spec_id"], found["label"]) == (run.id, spec_id(folder), run.display_name)
    assert both.tags == ["jglue", "comparison", "official"]
    assert both.state == "finished"
    assert both.history == []
    assert both.summary["push/state"] == "complete"


def test_the_third_has_used_the_folders_of_both(board: Board) -> None:
    folders = [board.server.artifact(f"jglue-run-{spec_id(run)}") for run in (board.ada, board.ben)]
    assert sorted(board.run("both").used) == sorted(artifact.id for artifact in folders)


def test_the_id_of_a_comparison_is_the_same_for_the_same_two_in_the_same_order(board: Board) -> None:
    a, b = spec_id(board.ada), spec_id(board.ben)
    assert board.sent["both"].id == comparison_id(a, b) == comparison_id(a, b)
    assert comparison_id(b, a) != comparison_id(a, b)
