"""Exports as lm-eval writes them: its names, its hashes, its averages, from what an independent reader finds there."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from jglue_app.results import exporters
from jglue_app.results.exporters.lm_eval import doc_of
from jglue_app.tasks import TASKS
from tests.results.exporters.known import ITEMS, stored

STAMP = "2026-11-02T03-04-05.000000"


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def read(folder: Path) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """The results and each task's samples, by the names that lm-eval's readers go by."""
    (model,) = folder.iterdir()
    results = json.loads((model / f"results_{STAMP}.json").read_text("utf-8"))
    samples = {}
    for path in sorted(model.glob("samples_*")):
        name = path.name[path.name.find("_") + 1 : path.name.rfind("_")]
        samples[name] = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return results, samples


@pytest.fixture
def made(tmp_path: Path) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    exporters.export(stored(tmp_path / "runs"), tmp_path / "out", "lm-eval")
    return read(tmp_path / "out")


Made = tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]


def test_every_subset_and_way_of_deciding_is_a_task_of_its_own(made: Made) -> None:
    results, samples = made
    names = ["jcommonsenseqa", "jcommonsenseqa_ranking", "jnli", "jnli_ranking", "jsquad", "jsts"]
    assert list(samples) == [f"jglue_{name}" for name in names]
    assert set(results["results"]) == set(samples) == set(results["configs"]) == set(results["n-shot"])
    assert [results["configs"][name]["output_type"] for name in samples] == [
        *("generate_until", "multiple_choice") * 2,
        *("generate_until", "generate_until"),
    ]


def test_scores_are_the_known_ones_with_their_standard_errors(made: Made) -> None:
    found = made[0]["results"]
    # Three of four right: sample deviation 1/2, over the root of 4.
    assert found["jglue_jcommonsenseqa"]["acc,none"] == 0.75
    assert found["jglue_jcommonsenseqa"]["acc_stderr,none"] == pytest.approx(0.25)
    assert found["jglue_jcommonsenseqa_ranking"]["acc,none"] == 0.5
    assert found["jglue_jnli"]["acc,none"] == 0.5
    assert found["jglue_jnli_ranking"]["acc,none"] == 1.0
    assert found["jglue_jsquad"]["exact_match,none"] == found["jglue_jsquad"]["f1,none"] == 1.0
    assert found["jglue_jsquad"]["f1_stderr,none"] == "N/A"
    expected = stats.pearsonr([4.5, 2.0, 2.5], [4.0, 1.0, 3.5]).statistic
    assert found["jglue_jsts"]["pearson,none"] == pytest.approx(expected)
    assert found["jglue_jsts"]["pearson_stderr,none"] == "N/A"
    assert made[0]["n-samples"]["jglue_jsts"] == {"original": 4, "effective": 4}
    assert made[0]["configs"]["jglue_jsts"]["metadata"]["intervals"]["pearson"]["n"] == 3


def test_means_over_the_samples_are_the_scores(made: Made) -> None:
    for name, rows in made[1].items():
        for metric in made[0]["configs"][name]["metric_list"]:
            values = [row[metric["metric"]] for row in rows]
            if metric["aggregation"] == "mean":
                score = made[0]["results"][name][f"{metric['metric']},none"]
                assert math.fsum(values) / len(values) == pytest.approx(score)
    pairs = [row["pearson"] for row in made[1]["jglue_jsts"]]
    assert pairs == [[4.0, 4.5], [1.0, 2.0], [3.5, 2.5], [0.0, None]]


def test_hashes_are_those_that_lm_eval_takes(made: Made) -> None:
    results, samples = made
    for name, rows in samples.items():
        for row in rows:
            assert row["doc_hash"] == sha(json.dumps(row["doc"], indent=2, ensure_ascii=False))
            assert row["prompt_hash"] == sha(row["arguments"]["gen_args_0"]["arg_0"])
            assert row["target_hash"] == sha(row["target"])
        joined = "".join(row["doc_hash"] + row["prompt_hash"] + row["target_hash"] for row in rows)
        assert results["task_hashes"][name] == sha(joined)


def test_a_written_answer_and_a_ranked_one_stand_as_lm_eval_has_them(made: Made) -> None:
    written, ranked = made[1]["jglue_jnli"][1], made[1]["jglue_jnli_ranking"][1]
    assert (written["doc_id"], written["doc"]["sentence_pair_id"], written["doc"]["label"]) == (1, "8", "contradiction")
    assert (written["target"], written["resps"], written["filtered_resps"]) == ("矛盾", [["中立"]], ["中立"])
    assert written["arguments"]["gen_args_0"]["arg_0"] == "問：8\n答え："
    settings = written["arguments"]["gen_args_0"]["arg_1"]
    assert (settings["until"], settings["do_sample"], settings["temperature"]) == (["\n"], False, 0.0)
    assert ranked["target"] == "1"
    assert [ranked["arguments"][f"gen_args_{i}"]["arg_1"] for i in range(3)] == [" 含意", " 矛盾", " 中立"]
    assert ranked["filtered_resps"] == [["-2.0", "None"], ["-0.5", "None"], ["-1.0", "None"]]
    assert ranked["resps"] == [[pair] for pair in ranked["filtered_resps"]]
    assert (written["metrics"], written["filter"], written["acc"], ranked["acc"]) == (["acc"], "none", 0.0, 1.0)


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: f"{item.task}-{item.id}")
def test_a_document_is_a_row_that_the_subset_reads_as_the_same_item(item: Any) -> None:
    assert TASKS[item.task].item(json.loads(json.dumps(doc_of(item)))) == item


def test_what_answered_and_how_it_was_asked_is_told(made: Made) -> None:
    results = made[0]
    assert (results["model_name"], results["model_name_sanitized"]) == ("owner/model-1e3", "owner__model-1e3")
    assert results["config"]["model_args"] == (
        "pretrained=owner/model-1e3,revision=main,dtype=float16,load_in_8bit=True"
    )
    assert results["config"]["model_sha"] == "0123456789abcdef0123456789abcdef01234567"
    assert results["n-shot"]["jglue_jnli"] == 2
    told = results["configs"]["jglue_jnli"]["metadata"]
    assert (told["protocol"], told["prompt_style"], told["data_version"]) == ("official", "ja-labels", "v1.3")
    assert (told["label_version"], told["data_sha256"], told["data_split"]) == ("v1.3", "5e" * 32, "valid")
    assert results["produced_by"]["name"] == "jglue_app"
    assert "lm_eval_version" not in results


def test_a_protocol_that_ranks_has_rankings_alone(tmp_path: Path) -> None:
    done = exporters.export(stored(tmp_path / "runs"), tmp_path / "out", "lm-eval", "stability-jp")
    samples = read(tmp_path / "out")[1]
    assert list(samples) == ["jglue_jcommonsenseqa_ranking", "jglue_jnli_ranking", "jglue_jsquad"]
    assert done.notes == ("jsts is left out: the protocol has no such subset.",)


def test_samples_of_ours_are_never_called_jglue(tmp_path: Path) -> None:
    exporters.export(stored(tmp_path / "runs", tasks=("jnli",), source="sample"), tmp_path / "out", "lm-eval")
    results, samples = read(tmp_path / "out")
    assert list(samples) == ["jglue_sample_jnli", "jglue_sample_jnli_ranking"]
    assert {config["dataset_path"] for config in results["configs"].values()} == {"not JGLUE"}


def test_every_line_is_one_line_and_holds_no_broken_character(tmp_path: Path) -> None:
    exporters.export(stored(tmp_path / "runs"), tmp_path / "out", "lm-eval")
    for path in tmp_path.glob("out/*/*.jsonl"):
        text = path.read_bytes().decode("utf-8")
        assert text.count("\n") == len(text.splitlines())
        assert "ud83d" not in text
    (row,) = [row for row in read(tmp_path / "out")[1]["jglue_jcommonsenseqa"] if row["doc"]["q_id"] == "13"]
    assert row["resps"] == [["わからない\ufffd"]]


def test_a_repetition_penalty_is_told_where_a_subset_has_one(tmp_path: Path) -> None:
    run = stored(tmp_path / "runs", penalties=(("jnli", 1.2),), method="generate")
    exporters.export(run, tmp_path / "out", "lm-eval")
    results, samples = read(tmp_path / "out")
    settings = {name: rows[0]["arguments"]["gen_args_0"]["arg_1"] for name, rows in samples.items()}
    assert {name: found.get("repetition_penalty") for name, found in settings.items()} == {
        **dict.fromkeys(samples, None),
        "jglue_jnli": 1.2,
    }
    told = {name: config["metadata"]["decoding_repetition_penalty"] for name, config in results["configs"].items()}
    assert (told["jglue_jnli"], told["jglue_jsts"]) == ("1.2", "1.0")


def test_outputs_made_elsewhere_are_given_no_settings(tmp_path: Path) -> None:
    run = stored(tmp_path / "runs", backend="predictions", model="log.jsonl", method="generate")
    exporters.export(run, tmp_path / "out", "lm-eval")
    results, samples = read(tmp_path / "out")
    assert samples["jglue_jnli"][0]["arguments"]["gen_args_0"]["arg_1"] == {}
    told = results["configs"]["jglue_jnli"]["metadata"]
    assert told["outputs"].startswith("made elsewhere")
    assert not any(name.startswith(("prompt_", "decoding_", "model_")) for name in told)


def test_failed_items_are_left_out_and_counted(tmp_path: Path) -> None:
    run = stored(tmp_path / "runs", tasks=("jcommonsenseqa",), failed=(("jcommonsenseqa", "13"),), method="generate")
    exporters.export(run, tmp_path / "out", "lm-eval")
    results, samples = read(tmp_path / "out")
    assert [row["doc_id"] for row in samples["jglue_jcommonsenseqa"]] == [0, 1, 2]
    assert results["n-samples"]["jglue_jcommonsenseqa"] == {"original": 4, "effective": 3}
    assert results["results"]["jglue_jcommonsenseqa"]["acc,none"] == 1.0
    assert results["configs"]["jglue_jcommonsenseqa"]["metadata"]["items_failed"] == "1"


def test_a_folder_is_named_after_the_model_without_control_characters_and_no_longer_than_it_may_be(
    tmp_path: Path,
) -> None:
    run = stored(tmp_path / "runs", backend="imported", model="mo\x00d\x1bel" + "あ" * 300)
    exporters.export(run, tmp_path / "log", "lm-eval")
    (folder,) = (tmp_path / "log").iterdir()
    assert folder.name == "mo__d__el" + "あ" * 63
