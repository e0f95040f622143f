"""Records → scores: what counts, what is left out, and how two runs are paired."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, matthews_corrcoef

from jglue_app.scoring.comparison import compare_runs
from jglue_app.scoring.judged import judge_run, only
from jglue_app.scoring.notices import sentence
from jglue_app.scoring.report import report_run
from jglue_app.scoring.scoreboard import score_rows
from jglue_app.scoring.standing import knowing, standings
from jglue_app.scoring.types import Cost, Flips, TaskReport
from jglue_app.types import (
    Decoding,
    Finish,
    Item,
    ModelInfo,
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


def test_a_floor_is_of_the_items_that_its_score_is_of() -> None:
    # Two texts, one of each of two labels; three items more were ranked alone, all neutral.
    ranked = ("neutral", output(None, (-3.0, -2.0, -1.0), "scored"))
    data = nli(("entailment", output("含意", (-1.0, -2.0, -3.0))), ("neutral", output("含意")), *[ranked] * 3)
    report = report_run(data)
    task = report.tasks["jnli"]
    assert (task.metrics["accuracy"].n, task.choose["accuracy"].n, task.n) == (2, 4, 5)
    # Neutral are one of the two with a text, three of the four with a ranking, four of all.
    assert task.floors == {"accuracy": 0.5}
    floors = {row.reading: row.floor for row in score_rows(report)}
    assert floors == {"strict": 0.5, "lenient": 0.5, "choose": 0.75}
    # Of rankings alone it is theirs.
    (row,) = score_rows(report_run(nli(ranked, ranked, ("entailment", output(None, (-3.0, -2.0, -1.0), "scored")))))
    assert row.reading == "choose"
    assert row.floor == pytest.approx(2 / 3)


def test_a_ranking_of_other_items_than_the_texts_is_held_against_its_own_floor() -> None:
    # Ten texts of either label, read and right; eighty items more are ranked alone, all neutral, by a model that always
    # puts neutral first.
    always = (-3.0, -2.0, -1.0)
    texts = [("entailment", output("含意", always)), ("neutral", output("中立", always))] * 10
    report = report_run(nli(*texts, *[("neutral", output(None, always, "scored"))] * 80))
    (standing,) = standings(report, {"jnli": "choose"}).values()
    assert (standing.value, standing.floor, standing.floor_value) == (0.9, "on_floor_constant", 0.9)
    assert standings(report)["jnli"].floor_value == 0.5
    assert knowing(report) == []


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


def squad(rows: Mapping[str, tuple[str, ...]], spec: RunSpec = SPEC) -> RunData:
    """One item per (output, references)."""
    fields = {"title": "", "context": "…", "question": "？"}
    items = [Item("jsquad", str(i), fields, gold) for i, gold in enumerate(rows.values())]
    records = [record(item, output(text)) for item, text in zip(items, rows, strict=True)]
    return RunData(spec, {"jsquad": {item.id: item for item in items}}, {"jsquad": "user"}, records)


def test_strict_accuracy_is_that_of_scikit_learn() -> None:
    gold = [LABELS[i * i % 3] for i in range(30)]
    said = [(i * 7 + i // 4) % 3 for i in range(30)]
    task = report_run(nli(*((g, output(ANSWERS[k])) for g, k in zip(gold, said, strict=True)))).tasks["jnli"]
    assert task.metrics["accuracy"].value == pytest.approx(accuracy_score(gold, [LABELS[k] for k in said]))
    assert task.metrics == task.lenient


def test_spans_are_averaged_over_items_each_with_its_best_reference() -> None:
    data = squad({"東京都": ("東京都", "東京"), "「大阪」": ("大阪",), "名古屋です。": ("名古屋市",), "": ("神戸",)})
    task = report_run(data).tasks["jsquad"]
    assert task.metrics["exact_match"].value == pytest.approx(1 / 4)
    # 1; 2·2/(4+2); 2·3/(5+4); 0.
    assert task.metrics["f1"].value == pytest.approx((1 + 4 / 6 + 6 / 9 + 0) / 4)
    assert task.lenient["exact_match"].value == pytest.approx(2 / 4)
    # 1; 1; 2·3/(3+4); 0.
    assert task.lenient["f1"].value == pytest.approx((1 + 1 + 6 / 7 + 0) / 4)
    assert (task.unreadable, task.unreadable_lenient, task.source) == (1, 1, "user")
    assert task.floors == {"exact_match": 1 / 4, "f1": 1 / 4}
    assert task.outcomes == {"correct": 1, "wrong_form": 1, "wrong": 1, "empty": 1}


def test_a_lenient_reading_is_correlated_over_its_own_items() -> None:
    task = report_run(sts({0.0: "0.5", 1.0: "類似度は2.0です", 3.0: "2.5", 5.0: "3か4", 4.0: "4.5"})).tasks["jsts"]
    assert (task.metrics["pearson"].n, task.lenient["pearson"].n) == (3, 4)
    expected = stats.pearsonr([0.5, 2.0, 2.5, 4.5], [0.0, 1.0, 3.0, 4.0])[0]
    assert task.lenient["pearson"].value == pytest.approx(expected)
    assert (task.unreadable, task.unreadable_lenient) == (2, 1)


def test_a_run_without_records_has_no_data_and_no_score_of_0() -> None:
    empty = report_run(nli(planned=5))
    task = empty.tasks["jnli"]
    assert (task.n, task.planned, task.outcomes) == (0, 5, {})
    assert (task.metrics, task.lenient, task.choose, task.imputed, task.floors) == ({}, {}, {}, {}, {})
    assert (empty.average.value, empty.average_without) == (None, ("jnli",))


def test_errors_alone_are_no_score_either() -> None:
    task = report_run(nli(*[("neutral", RunError("non_finite", "…"))] * 3)).tasks["jnli"]
    assert (task.metrics, task.n, task.outcomes) == ({}, 0, {"error": 3})


def test_the_floor_is_the_share_of_the_largest_class_among_the_answered_items() -> None:
    rows = [*[("neutral", output("含意"))] * 3, *[("entailment", output("含意"))] * 2]
    failed = [("entailment", RunError("non_finite", "…"))] * 4
    assert report_run(nli(*rows, *failed)).tasks["jnli"].floors == {"accuracy": 3 / 5}


def test_an_average_is_the_mean_of_the_main_metrics_and_names_its_subsets() -> None:
    one = nli(("entailment", output("含意")), ("entailment", output("矛盾")))
    two = squad({"東京": ("東京",), "大阪": ("大阪",), "京都": ("奈良",), "神戸": ("津",)})
    both = RunData(SPEC, {**one.items, **two.items}, {**one.sources, **two.sources}, [*one.records, *two.records])
    found = report_run(both)
    assert found.average.value == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert (found.average.n, found.average_of, found.average_without) == (6, ("jnli", "jsquad"), ())


def test_each_reading_has_differences_of_its_own() -> None:
    good, bad = (-1.0, -2.0, -3.0), (-3.0, -2.0, -1.0)
    a = nli(*[("entailment", output("答え：含意", bad))] * 12)
    b = nli(*[("entailment", output("含意", good))] * 12, spec=replace(SPEC, model=ModelSpec("n")))
    found = compare_runs(a, b)
    strict, lenient, choose = (x["jnli"]["accuracy"] for x in (found.differences, found.lenient, found.choose))
    assert (strict.difference.value, strict.verdict) == (1.0, "b")
    assert (lenient.difference.value, lenient.difference.low, lenient.difference.high) == (0.0, 0.0, 0.0)
    assert (choose.difference.value, choose.verdict) == (1.0, "b")
    back = compare_runs(b, a).differences["jnli"]["accuracy"]
    assert (back.difference.value, back.verdict) == (-1.0, "a")


def test_correlations_are_compared_where_both_outputs_can_be_read() -> None:
    golds = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    a = sts(dict(zip(golds, ("1.0", "0.5", "不明", "2.0", "5.0", "3.0"), strict=True)))
    b = sts(dict(zip(golds, ("0.0", "1.5", "2.0", "2.5", "？", "4.5"), strict=True)))
    found = compare_runs(a, b).differences["jsts"]
    common = [0.0, 1.0, 3.0, 5.0]
    left, right = [1.0, 0.5, 2.0, 3.0], [0.0, 1.5, 2.5, 4.5]
    for name, statistic in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
        assert found[name].difference.n == 4
        assert found[name].a.value == pytest.approx(statistic(left, common)[0])
        assert found[name].b.value == pytest.approx(statistic(right, common)[0])
        assert found[name].difference.value == pytest.approx(statistic(right, common)[0] - statistic(left, common)[0])
        assert found[name].verdict == "undecided"


def test_a_run_compared_with_itself_differs_by_nothing() -> None:
    data = squad(
        dict.fromkeys(("東京", "東京都", "「東京」", "京", "", "大阪", "東", "北京", "南京", "東京。"), ("東京",))
    )
    found = compare_runs(data, data)
    for differences in (found.differences, found.lenient):
        for name in ("exact_match", "f1"):
            one = differences["jsquad"][name]
            assert (one.difference.value, one.difference.low, one.difference.high) == (0.0, 0.0, 0.0)
            assert one.verdict == "undecided"
            assert one.a == one.b


# --- other protocols, and several subsets at once ---------------------------------------------------------


def test_rankings_have_the_metrics_of_scikit_learn() -> None:
    golds = [LABELS[(i * 7 + i // 4) % 3] for i in range(40)]
    said = [(i * 5 + i // 3) % 3 for i in range(40)]
    data = nli(*((g, output(None, tuple(-float(j != k) for j in range(3)))) for g, k in zip(golds, said, strict=True)))
    found = report_run(data, "stability-jp").tasks["jnli"].metrics
    picked = [LABELS[k] for k in said]
    expected = {
        "accuracy": accuracy_score(golds, picked),
        "balanced_accuracy": balanced_accuracy_score(golds, picked),
        "macro_f1": f1_score(golds, picked, average="macro"),
        "mcc": matthews_corrcoef(golds, picked),
    }
    assert {name: found[name].value for name in expected} == pytest.approx(expected)
    for name in expected:
        low, value, high = found[name].low, found[name].value, found[name].high
        assert low is not None and value is not None and high is not None and low < value < high


def test_what_is_ranked_right_and_written_in_no_right_form_is_counted() -> None:
    right, wrong = (-1.0, -2.0, -3.0), (-2.0, -1.0, -3.0)
    rows: list[tuple[str, Output | RunError]] = [
        ("entailment", output("含意", right)),  # written right
        ("entailment", output("答え：含意", right)),  # wrong form
        ("entailment", output("わかりません", right)),  # unreadable
        ("entailment", output("", right, "empty")),  # empty
        ("entailment", output("それは", right, "length")),  # cut off
        ("entailment", output("わかりません", wrong)),  # not known
        ("entailment", output("矛盾", right)),  # wrong for certain
        ("entailment", output(None, right, "scored")),  # no text
        ("entailment", RunError("non_finite", "…")),
    ]
    task = report_run(nli(*rows)).tasks["jnli"]
    assert task.knows == 4
    assert task.outcomes["truncated"] == 1
    assert report_run(nli(*rows), "flexeval").tasks["jnli"].knows == 4
    assert report_run(nli(("entailment", output("含意")))).tasks["jnli"].knows is None
    assert report_run(squad({"東京": ("東京",)})).tasks["jsquad"].knows is None


def joined(*parts: RunData) -> RunData:
    """Runs on different subsets as one."""
    return RunData(
        parts[0].spec,
        {name: items for part in parts for name, items in part.items.items()},
        {name: source for part in parts for name, source in part.sources.items()},
        [record for part in parts for record in part.records],
    )


def test_p_is_corrected_over_the_subsets_metric_by_metric() -> None:
    other = replace(SPEC, model=ModelSpec("n"))
    spans = [f"答{i}" for i in range(12)]
    a = joined(pairs(0, 6, 6)[0], squad({s if i > 4 else f"{s}？": (s,) for i, s in enumerate(spans)}))
    b = joined(pairs(0, 6, 6)[1], squad({s: (s,) for s in spans}, spec=other))
    found = compare_runs(a, b).differences
    jnli, jsquad = found["jnli"]["accuracy"], found["jsquad"]["exact_match"]
    # McNemar: 2 · ½⁶ and 2 · ½⁵; Holm: twice the smaller, and at least that for the larger.
    assert [jnli.p, jsquad.p] == pytest.approx([2 / 64, 2 / 32])
    assert [jnli.p_holm, jsquad.p_holm] == pytest.approx([4 / 64, 4 / 64])
    assert (jnli.verdict, jsquad.verdict) == ("undecided", "undecided")
    assert (jnli.test, jsquad.test, found["jsquad"]["f1"].test) == ("mcnemar", "mcnemar", "bootstrap")
    # F1 has no second metric of JNLI beside it.
    assert found["jsquad"]["f1"].p_holm == found["jsquad"]["f1"].p
    alone = compare_runs(*pairs(0, 6, 6)).differences["jnli"]["accuracy"]
    assert alone.p_holm == pytest.approx(2 / 64)
    assert alone.verdict == "b"


def test_averages_are_compared_with_an_interval_that_is_propagated() -> None:
    other = replace(SPEC, model=ModelSpec("n"))
    spans = [f"答{i}" for i in range(12)]
    a = joined(pairs(0, 10, 10)[0], squad({f"{s}？": (s,) for s in spans}))
    b = joined(pairs(0, 10, 10)[1], squad({s: (s,) for s in spans}, spec=other))
    comparison = compare_runs(a, b)
    found = comparison.average
    assert found is not None
    assert [found.a.value, found.b.value] == pytest.approx([0.25, 1.0])
    assert found.difference.value == pytest.approx(0.75)
    parts = [comparison.differences[n][m].difference for n, m in (("jnli", "accuracy"), ("jsquad", "exact_match"))]
    below = [(p.value or 0) - (p.low or 0) for p in parts]
    assert found.difference.low == pytest.approx(0.75 - sum(x * x for x in below) ** 0.5 / 2)
    assert (found.test, found.verdict) == ("normal", "b")


def test_averages_over_other_subsets_are_not_compared() -> None:
    assert compare_runs(nli(("entailment", output("含意"))), squad({"東京": ("東京",)})).average is None
    failed = compare_runs(nli(("neutral", RunError("x", "…"))), nli(("neutral", output("中立"))))
    assert failed.average is None


def test_a_protocol_without_log_likelihoods_to_look_at_compares_nothing() -> None:
    found = compare_runs(*pairs(2, 3, 7), "stability-jp")
    assert (found.differences, found.lenient, found.choose, found.average) == ({"jnli": {}},) * 3 + (None,)
    assert found.a.tasks["jnli"].unscored == "no_logprobs"


@pytest.mark.parametrize("protocol", ["wandb-2023-0shot", "stability-jp", "flexeval"])
def test_only_official_has_a_lenient_reading_and_a_ranking_beside_the_score(protocol: str) -> None:
    data = nli(*[("entailment", output("entailment", (-1.0, -2.0, -3.0)))] * 3)
    task = report_run(data, protocol).tasks["jnli"]
    assert task.metrics
    assert (task.lenient, task.choose, task.imputed, task.unreadable_lenient) == ({}, {}, {}, 0)


def info(dtype: str = "float32", device: str = "cpu", memory_bytes: int = 2_000) -> ModelInfo:
    return ModelInfo("m", "c", dtype, device, None, "", False, "", False, memory_bytes)


def test_answers_that_differ_are_counted_both_ways() -> None:
    ranked = (-1.0, -2.0, -3.0)
    a = nli(
        ("entailment", output("含意", ranked)),
        ("entailment", output("矛盾", ranked)),
        ("neutral", output("中立", ranked)),
        ("neutral", output("矛盾", (-3.0, -2.0, -1.0))),
        ("neutral", output("わかりません", ranked)),
        ("neutral", output("", finish="overflow")),
    )
    b = nli(
        ("entailment", output("含意", ranked)),
        ("entailment", output("含意", ranked)),
        ("neutral", output("わかりません", ranked)),
        ("neutral", output("含意", ranked)),
        ("neutral", output("何とも", ranked)),
        ("neutral", output("中立", ranked)),
        spec=replace(SPEC, model=ModelSpec("m", quantization="8bit")),
    )
    found = compare_runs(a, b).flips["jnli"]
    assert found["strict"] == Flips(5, 3, to_right=1, to_wrong=1)
    assert found["choose"] == Flips(5, 1, to_right=0, to_wrong=1)


def test_numbers_that_differ_are_neither_right_nor_wrong() -> None:
    found = compare_runs(sts({1.0: "2", 2.0: "3"}), sts({1.0: "2", 2.0: "4"})).flips
    assert found == {"jsts": {"strict": Flips(2, 1, None, None)}}


def test_a_comparison_says_what_both_cost() -> None:
    rows = (("neutral", output("中立")), ("neutral", RunError("out_of_memory", "no")))
    a, b = replace(nli(*rows), model=info()), replace(nli(*rows, spec=EIGHT_BITS), model=info(memory_bytes=500))
    cost = compare_runs(a, b).cost
    assert cost == (Cost(info(), "none", 1, 0.1), Cost(info(memory_bytes=500), "8bit", 1, 0.1))
    assert cost[0].items_per_s == pytest.approx(10)
    assert Cost(info(), "none", 0, 0.0).items_per_s is None
    assert compare_runs(a, nli(*rows)).cost is None


def test_weights_that_are_quantized_already_are_named_in_costs_and_marked() -> None:
    rows = (("neutral", output("中立")),)
    model = replace(info(), quantized="bnb 4-bit (nf4)")
    a, b = replace(nli(*rows), model=model), replace(nli(*rows, spec=EIGHT_BITS), model=info())
    compared = compare_runs(a, b)
    assert compared.cost is not None
    assert [cost.quantization for cost in compared.cost] == ["bnb 4-bit (nf4)", "8bit"]
    said = [sentence(n) for n in report_run(a).notices if n.kind == "quantized"]
    assert len(said) == 1
    assert "quantized already (bnb 4-bit (nf4))" in said[0]
    assert not [n for n in report_run(b).notices if n.kind == "quantized"]


EIGHT_BITS = replace(SPEC, model=replace(SPEC.model, quantization="8bit"))


@pytest.mark.parametrize(
    ("spec", "model", "says"),
    [
        (SPEC, info(), None),
        (SPEC, None, None),
        (SPEC, info(dtype="bfloat16"), "computed in bfloat16"),
        (SPEC, info(dtype="bfloat16", device="cuda:0"), None),
        (EIGHT_BITS, info(), "computed in 8-bit:"),
        (EIGHT_BITS, info(dtype="float16", device="cuda:0"), "computed in 8-bit:"),
    ],
)
def test_rounded_numbers_are_marked_as_approximate(spec: RunSpec, model: ModelInfo | None, says: str | None) -> None:
    report = report_run(replace(nli(("neutral", output("中立")), spec=spec), model=model))
    said = [sentence(n) for n in report.notices if n.kind == "approximate"]
    assert len(said) == (says is not None)
    assert says is None or says in said[0]


def dev_report(task: str, answers: list[tuple[tuple[str, ...] | float, str]], protocol: str) -> TaskReport:
    fields = {"jsts": {"sentence1": "犬", "sentence2": "猫"}, "jsquad": {"title": "", "context": "", "question": ""}}
    items = {str(n): Item(task, str(n), fields[task], gold) for n, (gold, _) in enumerate(answers)}
    records = [
        Record("s", task, str(n), Prompt(task, str(n), "p", None, (), (), "", (), ""), Output(said, "stop", 1, 1, 0.0))
        for n, (_, said) in enumerate(answers)
    ]
    spec = RunSpec(ModelSpec("m"), (task,), "v1.3", {}, PromptSpec(), "", Decoding(), "0")
    return report_run(RunData(spec, {task: items}, {task: "official"}, records), protocol).tasks[task]


@pytest.mark.parametrize(
    ("protocol", "value"),
    [
        ("official", None),
        ("wandb-2023-4shot", None),  # until 2023-08-10
        ("wandb-2023-0shot", 0.0),
        ("wandb-2023-10-0shot", 0.0),
        ("llm-jp-eval", 0.0),
        ("flexeval", None),
    ],
)
def test_a_correlation_of_a_constant_answer_counts_as_each_system_has_it(protocol: str, value: float | None) -> None:
    found = dev_report("jsts", [(1.0, "3"), (2.0, "3"), (4.0, "3")], protocol)
    assert [(e.value, e.low, e.n) for e in found.metrics.values()] == [(value, None, 3)] * 2
    kinds = [notice.kind for notice in found.notices]
    assert kinds.count("undefined_as_zero") == (0 if value is None else 2)


def test_an_infinite_similarity_has_a_rank_and_no_moment() -> None:
    found = dev_report("jsts", [(1.0, "1"), (2.0, "3"), (4.0, "inf")], "flexeval").metrics
    assert found["pearson"].value is None
    assert found["spearman"].value == pytest.approx(1.0)


def test_items_that_a_system_leaves_out_are_not_scored_and_named() -> None:
    # The lexicographically largest reference decides: い… here, not the longest.
    answers: list[tuple[tuple[str, ...] | float, str]] = [
        (("あ" * 40, "い"), "い"),
        (("い" * 38, "あ"), "あ"),
        (("い" * 37,), "う"),
    ]
    found = dev_report("jsquad", answers, "wandb-2023-0shot")
    assert (found.n, found.planned, found.metrics["exact_match"].value) == (2, 2, 0.5)
    (notice,) = [n for n in found.notices if n.kind == "items_left_out"]
    assert (notice.facts["k"], notice.facts["n"]) == (1, 3)
    assert dev_report("jsquad", answers, "flexeval").n == 3
