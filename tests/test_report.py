"""Records → scores: what counts, what is left out, and how two runs are paired."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from scipy import stats

from jglue_app.report import compare_runs, judge_run, only, report_run
from jglue_app.types import (
    Decoding,
    Finish,
    Item,
    ModelSpec,
    Output,
    Prompt,
    PromptSpec,
    Record,
    RunData,
    RunError,
    RunSpec,
)

SPEC = RunSpec(ModelSpec("m"), ("jnli",), "v1.3", {}, PromptSpec(), "", Decoding(), "0")
LABELS = ("entailment", "contradiction", "neutral")
ANSWERS = ("含意", "矛盾", "中立")
FIELDS = {"sentence1": "犬が走る。", "sentence2": "動物が動く。"}


def output(text: str | None, logprobs: tuple[float, ...] | None = None, finish: Finish = "stop") -> Output:
    return Output(text, finish, 5, 2, 0.1, logprobs)


def record(item: Item, result: Output | RunError) -> Record:
    answers = ANSWERS if item.choices else ()
    prompt = Prompt(item.task, item.id, "p", None, (), answers, "", (), "")
    if isinstance(result, RunError):
        return Record("s", item.task, item.id, prompt, None, result)
    return Record("s", item.task, item.id, prompt, result)


def nli(*rows: tuple[str, Output | RunError], spec: RunSpec = SPEC, planned: int = 0) -> RunData:
    """One item per (gold, result), and further items without a record up to `planned`."""
    items = [Item("jnli", str(i), FIELDS, (gold,), LABELS) for i, (gold, _) in enumerate(rows)]
    records = [record(item, result) for item, (_, result) in zip(items, rows, strict=True)]
    items += [Item("jnli", str(i), FIELDS, ("neutral",), LABELS) for i in range(len(rows), planned)]
    return RunData(spec, {"jnli": {item.id: item for item in items}}, {"jnli": "official"}, records)


def sts(rows: Mapping[float, str]) -> RunData:
    items = [Item("jsts", str(i), FIELDS, gold) for i, gold in enumerate(rows)]
    records = [record(item, output(text)) for item, text in zip(items, rows.values(), strict=True)]
    return RunData(SPEC, {"jsts": {item.id: item for item in items}}, {"jsts": "sample"}, records)


def test_strict_and_lenient_scores_stand_side_by_side_and_unreadable_outputs_are_wrong() -> None:
    data = nli(
        ("entailment", output("含意")),
        ("neutral", output("答え：中立")),
        ("neutral", output("矛盾")),
        ("neutral", output("わかりません")),
    )
    task = report_run(data).tasks["jnli"]
    assert (task.metrics["accuracy"].value, task.metrics["accuracy"].n) == (0.25, 4)
    assert task.lenient["accuracy"].value == 0.5
    assert (task.unreadable, task.unreadable_lenient) == (2, 1)
    assert task.outcomes == {"correct": 1, "wrong_form": 1, "wrong": 1, "unreadable": 1}
    assert task.floors == {"accuracy": 0.75}


def test_errors_and_prompts_that_do_not_fit_are_counted_and_never_scored() -> None:
    data = nli(
        ("entailment", output("含意")),
        ("neutral", RunError("out_of_memory", "…")),
        ("neutral", output("", finish="overflow")),
        planned=7,
    )
    task = report_run(data).tasks["jnli"]
    assert (task.metrics["accuracy"].value, task.n, task.planned) == (1.0, 1, 7)
    assert task.outcomes == {"correct": 1, "error": 1, "overflow": 1}


def test_log_likelihood_picks_the_most_likely_choice() -> None:
    data = nli(
        ("contradiction", output("中立", (-3.0, -1.0, -2.0))),
        ("entailment", output(None, (-3.0, -1.0, -2.0), "scored")),
    )
    task = report_run(data).tasks["jnli"]
    assert (task.choose["accuracy"].value, task.choose["accuracy"].n) == (0.5, 2)
    assert (task.metrics["accuracy"].value, task.metrics["accuracy"].n) == (0.0, 1)
    assert [row.judgement.choice for row in judge_run(data, "official")["jnli"].values()] == ["contradiction"] * 2


def test_unreadable_similarities_are_left_out_counted_and_imputed_beside() -> None:
    texts = {0.0: "1.0", 1.2: "わかりません", 2.4: "2.0", 3.6: "4.5", 5.0: "4.0"}
    task = report_run(sts(texts)).tasks["jsts"]
    golds, values = [0.0, 2.4, 3.6, 5.0], [1.0, 2.0, 4.5, 4.0]
    assert task.metrics["pearson"].value == pytest.approx(stats.pearsonr(values, golds)[0])
    assert task.metrics["spearman"].value == pytest.approx(stats.spearmanr(values, golds)[0])
    assert (task.metrics["pearson"].n, task.unreadable) == (4, 1)
    filled = [1.0, 2.5, 2.0, 4.5, 4.0]
    assert task.imputed["pearson"].value == pytest.approx(stats.pearsonr(filled, list(texts))[0])


def test_a_constant_similarity_has_no_correlation() -> None:
    task = report_run(sts({1.0: "4.0", 2.0: "4.0", 3.0: "4.0"})).tasks["jsts"]
    assert (task.metrics["pearson"].value, task.metrics["pearson"].n) == (None, 3)


def test_an_average_needs_a_value_of_every_subset() -> None:
    right, constant = nli(("entailment", output("含意"))), sts({1.0: "4.0", 2.0: "4.0"})
    both = RunData(SPEC, {**right.items, **constant.items}, {"jnli": "official", "jsts": "sample"}, [])
    both = replace(both, records=[*right.records, *constant.records])
    found = report_run(both)
    assert (found.average.value, found.average_of, found.average_without) == (None, ("jnli", "jsts"), ("jsts",))
    assert report_run(right).average.value == 1.0


def pairs(only_a: int, only_b: int, same: int) -> tuple[RunData, RunData]:
    """Runs of which A alone is right on some items, B alone on others, and both on the rest."""
    texts = [("含意", "矛盾")] * only_a + [("矛盾", "含意")] * only_b + [("含意", "含意")] * same
    other = replace(SPEC, model=ModelSpec("n"))
    a = nli(*(("entailment", output(x)) for x, _ in texts))
    return a, nli(*(("entailment", output(y)) for _, y in texts), spec=other)


@pytest.mark.parametrize(
    ("only_a", "only_b", "same", "verdict"),
    [
        (0, 6, 6, "b"),  # McNemar p = 2/64
        (0, 5, 7, "undecided"),  # p = 2/32, though the bootstrap interval leaves out zero
        (7, 0, 5, "a"),
        (0, 3, 0, "undecided"),  # too few items for any verdict
        (3, 3, 6, "undecided"),
    ],
)
def test_a_verdict_needs_the_exact_test_and_ten_items(only_a: int, only_b: int, same: int, verdict: str) -> None:
    found = compare_runs(*pairs(only_a, only_b, same)).differences["jnli"]["accuracy"]
    assert found.verdict == verdict
    assert found.difference.value == pytest.approx((only_b - only_a) / (only_a + only_b + same))


def test_two_runs_are_compared_on_the_items_both_were_asked() -> None:
    long = nli(*[("entailment", output("含意"))] * 4)
    short = nli(*[("entailment", output("矛盾"))] * 2, spec=replace(SPEC, model=ModelSpec("n")))
    found = compare_runs(long, short)
    assert [report.tasks["jnli"].n for report in (found.a, found.b)] == [2, 2]
    assert found.differences["jnli"]["accuracy"].difference.value == -1.0


def test_items_of_the_same_id_but_other_content_are_not_paired() -> None:
    a, b = nli(("entailment", output("含意"))), nli(("neutral", output("含意")))
    found = compare_runs(a, b)
    assert found.differences["jnli"] == {}
    assert found.a.tasks["jnli"].n == 0


def test_an_item_that_failed_on_one_side_is_left_out_of_the_difference() -> None:
    a = nli(("entailment", output("含意")), ("entailment", RunError("non_finite", "…")))
    b = nli(("entailment", output("含意")), ("entailment", output("含意")))
    found = compare_runs(a, b).differences["jnli"]["accuracy"]
    assert (found.difference.n, found.difference.value) == (1, 0.0)


def test_a_run_can_be_seen_as_if_asked_for_fewer_items() -> None:
    data = nli(("entailment", output("含意")), ("neutral", output("含意")))
    assert report_run(only(data, {"jnli": {"0"}})).tasks["jnli"].metrics["accuracy"].value == 1.0
    assert report_run(only(data, {})).tasks == {}
