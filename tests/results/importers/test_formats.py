"""Each format: what is read of a small log, and the scores it is worth by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from jglue_app.results.importers import FORMATS, detect
from jglue_app.results.importers.import_run import ImportResult
from jglue_app.scoring.report import report_run
from jglue_app.types import Output, Record
from tests.results.importers.logs import (
    JCQA,
    JNLI,
    JSQUAD,
    JSTS,
    NLI,
    NLI_JA,
    dump,
    inspect_head,
    inspect_sample,
    jnli_ranked,
    packed,
    ranked_sample,
    results,
    rows,
    samples,
    taken,
    whole,
    with_zstandard,
    written_sample,
)

TASK = "ja_leaderboard_jnli"
# Gold entailment and neutral are ranked first, contradiction is not: 30 of 45 are right.
SUMS = {"entailment": (-1.0, -2.0, -3.0), "contradiction": (-1.0, -2.0, -3.0), "neutral": (-5.0, -4.0, -0.5)}


def records(found: ImportResult, task: str) -> dict[str, Record]:
    return {record.item_id: record for record in found.data.records if record.task == task}


def output(record: Record) -> Output:
    assert record.output is not None
    return record.output


def score(found: ImportResult, task: str, protocol: str, metric: str) -> float | None:
    return report_run(found.data, protocol).tasks[task].metrics[metric].value


def kinds(found: ImportResult) -> list[str]:
    return [notice.kind for notice in found.notices]


# --- lm-eval --------------------------------------------------------------------------------------------------


def test_ranked_samples_are_scored_as_lm_eval_scores_them(tmp_path: Path) -> None:
    log = samples(tmp_path, TASK, jnli_ranked(SUMS))
    results(tmp_path, {TASK: {"acc": 30 / 45, "acc_stderr": 0.07}})
    found = taken(log)
    assert score(found, "jnli", "lm-eval-ja", "accuracy") == pytest.approx(2 / 3)
    assert found.data.spec.label == "model-1b · lm-eval 0.4.13"
    assert [(one.metric, one.same) for one in found.reported_scores] == [("acc", True)]
    assert kinds(found) == []
    first = records(found, "jnli")[JNLI[0]["sentence_pair_id"]]
    assert first.prompt.text == f"前提：{JNLI[0]['sentence1']}\n仮説：{JNLI[0]['sentence2']}\n答え："
    assert (first.prompt.lead, first.prompt.answers) == ("\n", ("含意", "矛盾", "中立"))
    assert found.data.spec.prompt.shots == 3


def test_each_sum_goes_to_the_label_that_its_text_means_in_whatever_order_they_were_ranked(tmp_path: Path) -> None:
    turned = {"entailment": (-9.0, -2.0, -1.0), "contradiction": (-9.0, -1.0, -2.0), "neutral": (-1.0, -8.0, -7.0)}
    log = samples(tmp_path, TASK, jnli_ranked(turned, ("neutral", "contradiction", "entailment")))
    found = taken(log)
    assert score(found, "jnli", "lm-eval-ja", "accuracy") == 1
    some = next(row for row in JNLI if row["label"] == "contradiction")
    # Official order: entailment, contradiction, neutral.
    assert output(records(found, "jnli")[some["sentence_pair_id"]]).choice_logprobs == (-2.0, -1.0, -9.0)
    assert kinds(found) == []


def test_choice_texts_are_found_wherever_the_log_has_put_them(tmp_path: Path) -> None:
    found_rows = []
    for row in JCQA:
        texts = [row[f"choice{k}"] for k in (3, 1, 4, 0, 2)]
        sums = [-1.0 if text == row["choice0"] else -2.0 for text in texts]
        at = texts.index(row[f"choice{row['label']}"])
        found_rows.append(ranked_sample(row, f"{row['question']}\n", texts, sums, at))
    found = taken(samples(tmp_path, "ja_leaderboard_jcommonsenseqa", found_rows))
    assert score(found, "jcommonsenseqa", "lm-eval-ja", "accuracy") == 9 / 45
    assert kinds(found) == []


def test_letters_stand_for_the_choices_in_the_order_in_which_the_log_says_they_were_shown(tmp_path: Path) -> None:
    found_rows = []
    for row in JCQA:
        texts = [row[f"choice{k}"] for k in (3, 1, 4, 0, 2)]
        right = texts.index(row[f"choice{row['label']}"])
        sums = [-1.0 if k == right else -3.0 for k in range(5)]
        doc = {"q_id": row["q_id"], "question": row["question"], "choices": texts}
        found_rows.append(ranked_sample(doc, row["question"], list("ABCDE"), sums, right, lead=" "))
    found = taken(samples(tmp_path, "my_jcommonsenseqa", found_rows))
    assert score(found, "jcommonsenseqa", "lm-eval-ja", "accuracy") == 1
    assert kinds(found) == []


def test_requests_without_a_question_are_left_out(tmp_path: Path) -> None:
    found_rows = jnli_ranked(SUMS)
    for row in found_rows:  # As `acc_mutual_info` adds them.
        for k, text in enumerate(("含意", "矛盾", "中立"), start=3):
            row["arguments"][f"gen_args_{k}"] = {"arg_0": "", "arg_1": f"\n{text}"}
            row["resps"].append([["-0.1", "False"]])
    found = taken(samples(tmp_path, TASK, found_rows))
    assert score(found, "jnli", "lm-eval-ja", "accuracy") == pytest.approx(2 / 3)


def test_a_sum_that_is_not_finite_makes_the_item_an_error_and_no_zero(tmp_path: Path) -> None:
    found_rows = jnli_ranked(SUMS)
    found_rows[0]["resps"][1] = [["nan", "False"]]
    found_rows[1]["resps"][1] = [["-inf", "False"]]
    report = report_run(taken(samples(tmp_path, TASK, found_rows)).data, "lm-eval-ja").tasks["jnli"]
    assert report.metrics["accuracy"].n == 43
    assert report.outcomes["error"] == 2


def test_generated_samples_keep_the_text_before_filters_and_are_counted_once_for_all_filters(tmp_path: Path) -> None:
    first = [written_sample(r, r["question"], f" {r['answers']['text'][0]}\n", r["answers"]["text"][0]) for r in JSQUAD]
    second = [{**row, "filter": "other", "filtered_resps": ["違う"]} for row in first]
    log = samples(tmp_path, "ja_leaderboard_jsquad", [row for pair in zip(first, second, strict=True) for row in pair])
    found = taken(log)
    assert output(records(found, "jsquad")[JSQUAD[0]["id"]]).text == f" {JSQUAD[0]['answers']['text'][0]}\n"
    assert score(found, "jsquad", "lm-eval-ja", "exact_match") == 1
    assert score(found, "jsquad", "flexeval", "exact_match") == 0
    assert kinds(found) == []


def test_a_text_that_a_filter_has_changed_is_said_to_be_scored_as_the_model_wrote_it(tmp_path: Path) -> None:
    found_rows = [written_sample(r, r["question"], "答えは不明です", r["answers"]["text"][0]) for r in JSQUAD]
    for row in found_rows[:4]:
        row["filtered_resps"] = ["不明"]
    found = taken(samples(tmp_path, "jsquad", found_rows))
    assert [(n.kind, n.facts["k"]) for n in found.notices] == [("imported_processed", 4)]
    assert output(records(found, "jsquad")[JSQUAD[0]["id"]]).text == "答えは不明です"


def test_samples_of_earlier_versions_are_one_array_with_arguments_as_lists(tmp_path: Path) -> None:
    found_rows = jnli_ranked(SUMS)
    for row in found_rows:
        row["arguments"] = [[one["arg_0"], one["arg_1"]] for one in row["arguments"].values()]
        row["resps"] = [[[float(pair[0][0]), False]] for pair in row["resps"]]
    found = taken(whole(tmp_path / "out_jnli.jsonl", found_rows))
    assert score(found, "jnli", "lm-eval-ja", "accuracy") == pytest.approx(2 / 3)
    assert found.data.spec.label == "unknown model · lm-eval"


def test_a_chat_that_lm_eval_has_sent_is_kept_with_its_turns(tmp_path: Path) -> None:
    turns = [{"role": "system", "content": "短く答える。"}, {"role": "user", "content": "関係は？"}]
    sent = [json.dumps(turns, ensure_ascii=False)]
    found_rows = [
        written_sample(row, "", "含意", row["label"]) | {"arguments": {"gen_args_0": {"arg_0": sent, "arg_1": {}}}}
        for row in JNLI
    ]
    found = taken(samples(tmp_path, "ja_jnli", found_rows))
    prompts = {record.prompt.text for record in records(found, "jnli").values()}
    assert prompts == {"短く答える。\n関係は？"}
    (first, *_) = records(found, "jnli").values()
    assert first.prompt.messages == tuple(turns)


@pytest.mark.parametrize("tasks", [(), ("jnli",)])
def test_of_a_folder_of_many_benchmarks_those_of_jglue_are_taken_and_the_others_are_named(
    tmp_path: Path, tasks: tuple[str, ...]
) -> None:
    folder = tmp_path / "some__model-1b"
    samples(folder, "ja_leaderboard_jnli", jnli_ranked(dict.fromkeys(NLI, (-1.0, -2.0, -3.0))))
    sums = {"question": "りんごが三個あります。", "answer_number": 3}
    samples(folder, "ja_leaderboard_mgsm", [written_sample(sums, "問題：りんごが三個あります。", "3", "3")] * 3)
    samples(folder, "ja_leaderboard_xlsum", [written_sample({"text": "記事"}, "記事", "要約", "要約")])
    found = taken(folder, tasks=tasks)
    assert list(found.data.items) == ["jnli"] and len(found.data.records) == 45
    assert found.left_out == ("ja_leaderboard_mgsm", "ja_leaderboard_xlsum")
    assert found.notices == ()


def test_several_samples_in_a_folder_are_one_run(tmp_path: Path) -> None:
    samples(tmp_path, TASK, jnli_ranked(SUMS))
    jcqa = [
        ranked_sample(r, r["question"], [r[f"choice{k}"] for k in range(5)], (-1, -2, -3, -4, -5), r["label"])
        for r in JCQA
    ]
    samples(tmp_path, "ja_leaderboard_jcommonsenseqa", jcqa)
    results(tmp_path, {TASK: {"acc": 0.6667}, "ja_leaderboard_jcommonsenseqa": {"acc": 0.2}})
    found = taken(tmp_path)
    assert found.data.spec.tasks == ("jnli", "jcommonsenseqa")
    assert [(one.task, one.recomputed, one.same) for one in found.reported_scores] == [
        ("jnli", pytest.approx(2 / 3), True),
        ("jcommonsenseqa", 0.2, True),
    ]


def test_other_tasks_of_a_leaderboard_in_the_same_folder_are_left_out_and_named(tmp_path: Path) -> None:
    samples(tmp_path, TASK, jnli_ranked(SUMS))
    samples(tmp_path, "ja_leaderboard_mgsm", [written_sample({"question": "一足す二は？"}, "問い", "3", "3")])
    squad = {"id": "x", "context": "別の文章。", "question": "何か。", "answers": {"text": ["文章"]}}
    samples(tmp_path, "ja_leaderboard_jaqket_v2", [written_sample(squad, "問い", "3", "3")])
    results(tmp_path, {TASK: {"acc": 30 / 45}, "ja_leaderboard_mgsm": {"acc": 0.0}, "ja_leaderboard_jaqket_v2": {}})
    found = taken(tmp_path)
    assert found.data.spec.tasks == ("jnli",)
    assert found.left_out == ("ja_leaderboard_jaqket_v2", "ja_leaderboard_mgsm")
    assert kinds(found) == []
    again = taken(tmp_path, tasks=["jnli"], model="named")
    assert again.data.items == found.data.items


def test_a_printed_score_that_is_another_is_said(tmp_path: Path) -> None:
    log = samples(tmp_path, TASK, jnli_ranked(SUMS))
    results(tmp_path, {TASK: {"acc": 0.7}})
    found = taken(log)
    (notice,) = found.notices
    assert (notice.kind, notice.facts["printed"], notice.facts["here"]) == ("imported_score", "0.7000", "0.6667")


def test_results_may_lie_elsewhere(tmp_path: Path) -> None:
    log = samples(tmp_path / "a", TASK, jnli_ranked(SUMS))
    table = results(tmp_path / "b", {TASK: {"acc": 30 / 45}})
    assert [one.same for one in taken(log, results=table).reported_scores] == [True]


# --- flexeval -------------------------------------------------------------------------------------------------


def generated(row: dict[str, Any], prompt: str, text: str, references: list[str], **more: Any) -> dict[str, Any]:
    return {
        "lm_prompt": prompt,
        "lm_output": text,
        "finish_reason": "stop",
        "extra_info": row,
        "references": references,
        "exact_match": False,
    } | more


def test_outputs_of_flexeval_are_scored_with_their_own_words_for_the_labels(tmp_path: Path) -> None:
    found_rows = [
        generated(row, f"関係：「{row['sentence1']}", '"含意"', [f'"{NLI_JA[row["label"]]}"'], finish_reason="length")
        for row in JNLI
    ]
    log = dump(tmp_path / "jnli" / "outputs.jsonl", found_rows)
    whole(log.with_name("metrics.json"), {"exact_match": 15 / 45, "finish_reason_ratio-stop": 1.0, "elapsed_time": 3})
    whole(
        log.with_name("config.json"),
        {
            "eval_setup": {"init_args": {"eval_dataset": {"init_args": {"path": "x/JGLUE", "subset": "JNLI"}}}},
            "language_model": {"class_path": "HuggingFaceLM", "init_args": {"model": "some/model"}},
            "metadata": {"flexeval_version": "0.18.3"},
        },
    )
    found = taken(log)
    assert found.data.spec.label == "model · flexeval 0.18.3"
    assert score(found, "jnli", "flexeval", "exact_match") == 15 / 45
    assert [(one.metric, one.same) for one in found.reported_scores] == [("exact_match", True)]
    one = records(found, "jnli")[JNLI[0]["sentence_pair_id"]]
    assert one.prompt.answers == ('"含意"', '"矛盾"', '"中立"')
    assert output(one).finish == "length"
    assert kinds(found) == []


def test_ranked_outputs_of_flexeval_are_found_by_their_prompts(tmp_path: Path) -> None:
    shots = "".join(f"問題：{r['question']}\n回答：{r['choice0']}\n\n" for r in JCQA[:2])
    found_rows = [
        {
            "prefix": f"{shots}問題：{row['question']}\n回答：",
            "choices": [row[f"choice{k}"] for k in range(5)],
            "answer_index": row["label"],
            "log_probs": [-2.0, -1.0, -3.0, -4.0, -5.0],
            "prediction": 1,
            "byte_norm_log_probs": [0.0] * 5,
            "byte_norm_prediction": 0,
        }
        for row in JCQA[::-1]
    ]
    log = dump(tmp_path / "outputs.jsonl", found_rows)
    whole(tmp_path / "metrics.json", {"accuracy": 0.2})
    found = taken(log)
    assert score(found, "jcommonsenseqa", "lm-eval-ja", "accuracy") == 9 / 45
    assert list(found.data.items["jcommonsenseqa"]) == [str(row["q_id"]) for row in JCQA]
    assert kinds(found) == []


def test_the_text_before_processing_is_the_output(tmp_path: Path) -> None:
    found_rows = [
        generated(row, row["question"], "傘", [row[f"choice{row['label']}"]], raw_lm_output="<think>雨</think>傘")
        for row in JCQA
    ]
    found = taken(dump(tmp_path / "jcommonsenseqa" / "outputs.jsonl", found_rows))
    one = records(found, "jcommonsenseqa")[str(JCQA[0]["q_id"])]
    assert output(one).text == "<think>雨</think>傘"
    assert one.prompt.answers == tuple(JCQA[0][f"choice{k}"] for k in range(5))
    assert kinds(found) == ["imported_processed"]


# --- llm-jp-eval ----------------------------------------------------------------------------------------------


def test_a_result_of_llm_jp_eval_has_many_datasets_of_which_those_of_jglue_are_taken(tmp_path: Path) -> None:
    jnli = [
        {"input": f"前提：{r['sentence1']}\n仮説：{r['sentence2']}", "pred": "neutral", "gold": r["label"]}
        for r in JNLI
    ]
    jsts = [
        {"input": f"文1：{r['sentence1']}\n文2：{r['sentence2']}", "pred": str(r["label"]), "gold": str(r["label"])}
        for r in JSTS
    ]
    jcqa = [
        {
            "input": f"質問：{r['question']}\n選択肢：" + ",".join(f"{k}.{r[f'choice{k}']}" for k in range(5)),
            "pred": "0",
            "gold": str(r["label"]),
        }
        for r in JCQA
    ]
    table = {
        "scores": {"scores": {}, "jnli_exact_match": 15 / 45, "jsts_pearson": 1.0, "jcommonsenseqa_exact_match": 0.2},
        "outputs": {"jamp": [{"input": "x", "pred": "y", "gold": "y"}], "jnli": jnli, "jsts": jsts}
        | {"jcommonsenseqa": jcqa},
        "config": {
            "model": {"pretrained_model_name_or_path": "some/model"},
            "metainfo": {"version": "1.3.0", "num_few_shots": 4},
        },
    }
    del table["scores"]["scores"]  # type: ignore[attr-defined]
    found = taken(whole(tmp_path / "result.json", table))
    assert found.left_out == ("jamp",)
    assert found.data.spec.label == "model · llm-jp-eval 1.3.0"
    assert found.data.spec.prompt.shots == 4
    assert {(one.task, one.metric, one.same) for one in found.reported_scores} == {
        ("jnli", "exact_match", True),
        ("jsts", "pearson", True),
        ("jcommonsenseqa", "exact_match", True),
    }
    # That it is no raw output is said of each subset.
    assert kinds(found) == ["imported_trimmed"] * 3


def test_a_number_for_what_could_not_be_read_is_no_output_that_reads_as_a_number(tmp_path: Path) -> None:
    found_rows = [
        {"input": f"{r['sentence1']}\n{r['sentence2']}", "pred": -2.0 if k < 3 else r["label"], "gold": r["label"]}
        for k, r in enumerate(JSTS)
    ]
    found = taken(whole(tmp_path / "result.json", {"scores": {}, "outputs": {"jsts": found_rows}, "config": {}}))
    report = report_run(found.data).tasks["jsts"]
    assert (report.unreadable, report.outcomes["empty"]) == (3, 3)
    assert report.metrics["pearson"].value == pytest.approx(1)
    assert ("imported_number", 3) in [(n.kind, n.facts["k"]) for n in found.notices]


def test_the_outputs_of_a_result_alone_are_a_log_too(tmp_path: Path) -> None:
    found_rows = [
        {"input": f"{r['sentence1']}\n{r['sentence2']}", "pred": "含意", "gold": NLI_JA[r["label"]]} for r in JNLI
    ]
    found = taken(whole(tmp_path / "outputs.json", {"jnli": found_rows, "jamp": found_rows}))
    assert score(found, "jnli", "llm-jp-eval", "exact_match") == 15 / 45
    assert found.left_out == ("jamp",)


def test_generated_samples_of_llm_jp_eval_are_a_log_too(tmp_path: Path) -> None:
    found_rows = [
        {
            "input": f"文章：{r['context']}\n質問：{r['question']}",
            "prompt": f"p\n文章：{r['context']}\n質問：{r['question']}",
        }
        | {"gold": r["answers"]["text"][0], "generated": f"{r['answers']['text'][0]}\n\n文章"}
        for r in JSQUAD
    ]
    table = {"target_dataset": "jsquad", "num_few_shots": 0, "config": {}, "samples": found_rows}
    found = taken(whole(tmp_path / "jsquad.eval-generated.json", table))
    assert score(found, "jsquad", "llm-jp-eval", "exact_match") == 1
    assert score(found, "jsquad", "flexeval", "exact_match") == 0
    assert records(found, "jsquad")[JSQUAD[0]["id"]].prompt.text == found_rows[0]["prompt"]
    assert kinds(found) == []


# --- Swallow --------------------------------------------------------------------------------------------------


def swallow(*versions: str) -> dict[str, Any]:
    details = [
        {"question": r["question"], "response": r["answers"]["text"][-1], "gold": r["answers"]} for r in JSQUAD[::-1]
    ]
    return {
        "results": {name: {"exact_match": 100.0, "f1": 100.0, "details": details} for name in versions},
        "versions": dict.fromkeys(versions, 1.1),
        "config": {"model": "hf", "model_args": "pretrained=some/model,dtype=bfloat16", "num_fewshot": 4},
    }


def test_details_of_swallows_harness_are_found_by_their_questions(tmp_path: Path) -> None:
    found = taken(whole(tmp_path / "result.json", swallow("jsquad-1.1-0.2")))
    assert found.data.spec.label == "model · lm-evaluation-harness-jp"
    assert score(found, "jsquad", "stability-jp", "exact_match") == 1
    assert [(one.metric, one.reported, one.same) for one in found.reported_scores] == [
        ("exact_match", 1, True),
        ("f1", 1, True),
    ]
    assert kinds(found) == []


# --- Inspect --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["eval", "zstandard", "json"])
def test_a_log_of_inspect_opens_packed_and_plain(tmp_path: Path, form: str) -> None:
    found_rows = []
    for k, row in enumerate(JNLI, start=1):
        asked = f"前提：{row['sentence1']}\n仮説：{row['sentence2']}\n関係："
        found_rows.append(inspect_sample(k, asked, "neutral", row["label"]))
    found_rows[0] |= {"input": "attachment://a1", "attachments": {"a1": found_rows[0]["input"]}}
    found_rows.append({**found_rows[0], "epoch": 2})
    head = inspect_head("jnli", accuracy=1 / 3)
    if form != "json":
        log = packed(tmp_path / "log.eval", head, found_rows)
        log = with_zstandard(log) if form == "zstandard" else log
    else:
        log = whole(tmp_path / "log.json", {**head, "samples": found_rows})
    found = taken(log)
    assert found.data.spec.label == "model · inspect 0.3.285"
    assert score(found, "jnli", "official", "accuracy") == 15 / 45
    assert records(found, "jnli")["sn001"].prompt.messages == (
        {"role": "user", "content": found_rows[1 - 1]["messages"][0]["content"]},
    )
    assert kinds(found) == []


def test_of_several_epochs_the_first_is_scored_and_that_is_said(tmp_path: Path) -> None:
    asked = [f"前提：{row['sentence1']}\n仮説：{row['sentence2']}\n関係：" for row in JNLI]
    found_rows = [
        inspect_sample(k, text, said, row["label"], epoch=epoch)
        for epoch, said in ((1, "neutral"), (2, "entailment"))
        for k, (text, row) in enumerate(zip(asked, JNLI, strict=True), start=1)
    ]
    head = inspect_head("jnli")
    head["eval"]["config"] = {"epochs": 2}
    found = taken(packed(tmp_path / "log.eval", head, found_rows))
    assert {record.output.text for record in records(found, "jnli").values() if record.output} == {"neutral"}
    assert [(n.kind, n.facts["k"], n.facts["n"]) for n in found.notices] == [("imported_several", 45, 45)]


def test_letters_of_inspect_stand_for_the_choices_as_they_were_shown_and_a_failed_sample_is_an_error(
    tmp_path: Path,
) -> None:
    found_rows = []
    for k, row in enumerate(JCQA, start=1):
        shown = [row[f"choice{n}"] for n in (4, 3, 2, 1, 0)]
        letter = "ABCDE"[4 - row["label"]]
        more = {"choices": shown, "error": {"message": "time-out"} if k == 2 else None}
        found_rows.append(inspect_sample(k, row["question"], None if k == 2 else letter, letter, **more))
    found = taken(packed(tmp_path / "log.eval", inspect_head("jcommonsenseqa"), found_rows))
    one = records(found, "jcommonsenseqa")[str(JCQA[0]["q_id"])]
    assert one.prompt.answers == ("E", "D", "C", "B", "A")
    report = report_run(found.data).tasks["jcommonsenseqa"]
    assert (report.metrics["accuracy"].value, report.n, report.outcomes["error"]) == (1, 44, 1)
    assert kinds(found) == []


# --- all ------------------------------------------------------------------------------------------------------


def test_every_format_is_told_from_its_file(tmp_path: Path) -> None:
    logs = {
        "lm-eval": samples(tmp_path, TASK, jnli_ranked(SUMS)),
        "flexeval": dump(tmp_path / "outputs.jsonl", [generated(JNLI[0], "p", "t", ["含意"])]),
        "llm-jp-eval": whole(tmp_path / "llm.json", {"scores": {}, "outputs": {}, "config": {}}),
        "inspect": whole(tmp_path / "log.json", {**inspect_head("jnli"), "samples": []}),
        "swallow-jp": whole(tmp_path / "sw.json", swallow("jsquad-1.1-0.2")),
    }
    assert set(logs) == set(FORMATS)
    assert {name: detect(path) for name, path in logs.items()} == {name: name for name in logs}
    packed(tmp_path / "log.eval", inspect_head("jnli"), [])
    assert detect(tmp_path / "log.eval") == "inspect"


def test_the_sixth_subset_is_imported_by_the_same_rules(tmp_path: Path) -> None:
    found_rows = [
        ranked_sample(row, row["sentence"], ["acceptable", "unacceptable"], (-1.0, -2.0), 1 - row["label"])
        for row in rows("jcola")
    ]
    found = taken(samples(tmp_path, "my_jcola", found_rows))
    right = sum(row["label"] for row in rows("jcola"))
    best = [output(record).choice_logprobs for record in found.data.records]
    assert best == [(-2.0, -1.0)] * len(found_rows)
    report = report_run(found.data).tasks["jcola"]
    assert report.choose["accuracy"].value == right / len(found_rows)
    assert kinds(found) == []
    generated_rows = [generated(row, row["sentence"], "1", [str(row["label"])]) for row in rows("jcola")]
    again = taken(dump(tmp_path / "jcola" / "outputs.jsonl", generated_rows))
    assert [record.prompt.answers for record in again.data.records] == [("0", "1")] * len(found_rows)
    assert score(again, "jcola", "official", "accuracy") == right / len(found_rows)


def test_an_empty_output_is_one_and_no_missing_answer(tmp_path: Path) -> None:
    found_rows = [written_sample(r, r["question"], " \n", r["answers"]["text"][0]) for r in JSQUAD]
    found = taken(samples(tmp_path, "jsquad", found_rows))
    report = report_run(found.data, "lm-eval-ja").tasks["jsquad"]
    assert (report.n, report.outcomes) == (len(JSQUAD), {"empty": len(JSQUAD)})
    assert not math.isnan(report.metrics["exact_match"].value or 0)
