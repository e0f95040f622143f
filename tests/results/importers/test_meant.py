"""A log that does not tell what it is of: `--task` says so, in every format, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from jglue_app.errors import DataError, InputError
from jglue_app.results.importers.import_run import ImportResult
from jglue_app.scoring.report import report_run
from tests.results.importers.logs import (
    JNLI,
    JSQUAD,
    dump,
    inspect_head,
    inspect_sample,
    packed,
    rows,
    taken,
    whole,
    written_sample,
)

Row = Mapping[str, Any]


def without_label(row: Row) -> dict[str, Any]:
    """An item of JNLI whose fields fit JSTS as well."""
    return {name: row[name] for name in ("sentence_pair_id", "sentence1", "sentence2")}


def asked(row: Row) -> str:
    return f"前提：{row['sentence1']}\n仮説：{row['sentence2']}"


def flexeval(row: Row, doc: Row, prompt: str) -> dict[str, Any]:
    return {"lm_prompt": prompt, "lm_output": "neutral", "extra_info": doc, "references": [row["label"]]}


def flexeval_by_id(folder: Path) -> Path:
    found = [flexeval(row, {"sentence_pair_id": row["sentence_pair_id"]}, "") for row in JNLI]
    return dump(folder / "one.jsonl", found)


def flexeval_by_text(folder: Path) -> Path:
    return dump(folder / "outputs.jsonl", [flexeval(row, without_label(row), asked(row)) for row in JNLI])


def flexeval_ranked(folder: Path) -> Path:
    labels = ("entailment", "contradiction", "neutral")
    found = [
        {"prefix": asked(r), "choices": labels, "answer_index": labels.index(r["label"]), "log_probs": [-3, -2, -1]}
        for r in JNLI
    ]
    return dump(folder / "outputs.jsonl", found)


def lm_eval(folder: Path) -> Path:
    return dump(folder / "a.jsonl", [written_sample(without_label(r), asked(r), "neutral", r["label"]) for r in JNLI])


def llm_jp_eval(folder: Path) -> Path:
    found = [{"input": asked(row), "generated": "neutral", "gold": row["label"]} for row in JNLI]
    return whole(folder / "a.json", {"target_dataset": "my_set", "samples": found})


def llm_jp_eval_result(folder: Path) -> Path:
    found = [{"input": asked(row), "pred": "neutral", "gold": row["label"]} for row in JNLI]
    return whole(folder / "a.json", {"scores": {"my_set_exact_match": 15 / 45}, "outputs": {"my_set": found}})


def inspect(folder: Path) -> Path:
    found = [inspect_sample(k, asked(row), "neutral", row["label"]) for k, row in enumerate(JNLI, start=1)]
    return packed(folder / "a.eval", inspect_head("my_set"), found)


LOGS = [flexeval_by_id, flexeval_by_text, flexeval_ranked, lm_eval, llm_jp_eval, llm_jp_eval_result, inspect]


@pytest.mark.parametrize("log", LOGS)
def test_one_task_says_what_a_log_is_of_that_does_not(tmp_path: Path, log: Callable[[Path], Path]) -> None:
    path = log(tmp_path)
    with pytest.raises((InputError, DataError), match=r"--task|It has my_set"):
        taken(path)
    found = taken(path, tasks=["jnli"])
    assert list(found.data.items["jnli"]) == [row["sentence_pair_id"] for row in JNLI]
    # 15 of the 45 sample items are neutral, which is written or ranked first everywhere.
    report = report_run(found.data, "official").tasks["jnli"]
    scores = report.choose if log is flexeval_ranked else report.metrics
    assert scores["accuracy"].value == 15 / 45
    said = {notice.kind for notice in found.notices}
    assert said <= {"imported_unchecked", "imported_trimmed"}
    assert ("imported_unchecked" in said) == (log is flexeval_by_id)


@pytest.mark.parametrize("log", LOGS)
def test_a_log_of_other_items_is_refused_whatever_it_is_said_to_be(tmp_path: Path, log: Callable[[Path], Path]) -> None:
    with pytest.raises(DataError, match=r"45 of 45 answers are to no item of MARC-ja valid"):
        taken(log(tmp_path), tasks=["marc_ja"])


def test_the_name_of_a_folder_does_not_stand_against_what_is_said(tmp_path: Path) -> None:
    found = taken(flexeval_by_text(tmp_path / "jsquad"), tasks=["jnli"])
    assert len(found.data.items["jnli"]) == 45
    # Its configuration does: that is part of the log.
    inside = {"eval_setup": {"init_args": {"eval_dataset": {"init_args": {"path": "x/JGLUE", "subset": "JSTS"}}}}}
    whole(tmp_path / "jsquad" / "config.json", inside)
    with pytest.raises(DataError, match=r"holds no answer of JNLI"):
        taken(tmp_path / "jsquad" / "outputs.jsonl", tasks=["jnli"])


def test_a_result_of_swallow_with_one_task_of_an_unknown_name_is_taken_as_what_is_said(tmp_path: Path) -> None:
    details = [{"question": r["question"], "response": r["answers"]["text"][0], "gold": r["answers"]} for r in JSQUAD]
    table: dict[str, Any] = {"results": {"my_set": {"details": details}}, "versions": {"my_set": 1}, "config": {}}
    path = whole(tmp_path / "a.json", table)
    with pytest.raises(DataError, match=r"holds no answer of JGLUE"):
        taken(path)
    assert len(taken(path, tasks=["jsquad"]).data.items["jsquad"]) == len(JSQUAD)


def test_of_several_logs_those_without_a_name_are_left_out_still(tmp_path: Path) -> None:
    named = [flexeval(row, without_label(row), asked(row)) for row in JNLI]
    dump(tmp_path / "jnli" / "outputs.jsonl", named)
    dump(tmp_path / "other" / "outputs.jsonl", [flexeval(JNLI[0], {"id": "7"}, "1 + 1 は？")])
    found: ImportResult = taken(tmp_path, tasks=["jnli"])
    assert (len(found.data.items["jnli"]), found.left_out) == (45, ("outputs.jsonl",))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("不自然", "自然"), (0, 1)),
        pytest.param(("自然", "不自然"), (1, 0), marks=pytest.mark.slow),
        pytest.param(("この文は不自然です", "自然だ"), (0, 1), marks=pytest.mark.slow),
    ],
)
def test_words_that_mean_a_label_of_jcola_as_a_whole_answer_are_known_when_ranked(
    tmp_path: Path, words: tuple[str, str], said: tuple[int, int]
) -> None:
    found_rows = [
        {"prefix": row["sentence"], "choices": words, "answer_index": said.index(row["label"]), "log_probs": [-2, -1]}
        for row in rows("jcola")
    ]
    found = taken(dump(tmp_path / "jcola" / "outputs.jsonl", found_rows))
    # What stands second was ranked first: the log-likelihoods go to the labels by meaning.
    wanted = (-2.0, -1.0) if said == (0, 1) else (-1.0, -2.0)
    assert {record.output.choice_logprobs for record in found.data.records if record.output} == {wanted}
    assert {notice.kind for notice in found.notices} == set()
