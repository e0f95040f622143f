"""Exports as Every Eval Ever 0.3.0 asks for them. Its schema is not ours to ship: what it requires stands here."""

from __future__ import annotations

import hashlib
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

import jglue_app
from jglue_app.results import exporters
from tests.results.exporters.known import COMMIT, CREATED, stored

UUID4 = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
TOP = {
    *("schema_version", "evaluation_id", "retrieved_timestamp", "source_metadata", "model_info", "eval_library"),
    "evaluation_results",
}
TOP_OPTIONAL = {"evaluation_timestamp", "detailed_evaluation_results"}
RESULT = {"evaluation_name", "source_data", "metric_config", "score_details"}
ROW = {
    *("schema_version", "evaluation_id", "model_id", "evaluation_name", "sample_id", "interaction_type", "input"),
    *("answer_attribution", "evaluation"),
}
ROW_OPTIONAL = {"evaluation_result_id", "sample_hash", "output", "token_usage", "performance", "metadata", "error"}
ARGUMENTS = {"temperature", "top_p", "top_k", "max_tokens", "execution_command", "reasoning", "prompt_template"}


def strict(text: str) -> Any:
    """JSON as the format's own reader takes it: no NaN, no key twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({name for name, _ in pairs}) == len(pairs)
        return dict(pairs)

    def refuse(name: str) -> None:
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse, object_pairs_hook=once)


def read(folder: Path) -> tuple[Path, dict[str, Any], list[dict[str, Any]]]:
    """Path of the scores below the folder, the scores, the rows of items."""
    (path,) = folder.rglob("*.json")
    rows = [strict(line) for file in folder.rglob("*.jsonl") for line in file.read_text("utf-8").splitlines()]
    return path.relative_to(folder), strict(path.read_text("utf-8")), rows


def texts_alone(table: Any) -> bool:
    return isinstance(table, dict) and all(isinstance(value, str) for value in table.values())


def check_scores(table: dict[str, Any]) -> None:
    """What `eval.schema.json` requires: fields, types, closed lists."""
    assert TOP <= set(table) <= TOP | TOP_OPTIONAL
    assert table["schema_version"] == "0.3.0"
    assert {type(table[name]) for name in ("evaluation_id", "retrieved_timestamp", "evaluation_timestamp")} == {str}
    source = table["source_metadata"]
    assert (source["source_type"], source["evaluator_relationship"]) == ("evaluation_run", "other")
    assert isinstance(source["source_organization_name"], str) and texts_alone(source["additional_details"])
    assert texts_alone(table["eval_library"]) and set(table["eval_library"]) == {"name", "version"}
    model = table["model_info"]
    assert {"name", "id", "additional_details"} <= set(model) and texts_alone(model["additional_details"])
    assert model["additional_details"]["deployment_type"] in ("self_deployed", "externally_managed", "unknown")
    assert model["additional_details"]["model_availability"] in ("open_weights", "closed_weights", "unknown")
    for result in table["evaluation_results"]:
        assert set(result) >= RESULT
        metric, details, data = result["metric_config"], result["score_details"], result["source_data"]
        assert (metric["score_type"], metric["lower_is_better"]) == ("continuous", False)
        assert metric["min_score"] <= details["score"] <= metric["max_score"] == 1.0
        assert isinstance(details["score"], float) and texts_alone(details["details"])
        assert data["source_type"] in ("url", "other") and texts_alone(data["additional_details"])
        assert (data["source_type"] == "url") == (data.get("url") == ["https://github.com/yahoojapan/JGLUE"])
        assert set(result["generation_config"].get("generation_args", {})) <= ARGUMENTS
        assert texts_alone(result["generation_config"]["additional_details"])
    ids = [result["evaluation_result_id"] for result in table["evaluation_results"]]
    assert len(set(ids)) == len(ids)


def check_rows(rows: list[dict[str, Any]], table: dict[str, Any]) -> None:
    """What `instance_level_eval.schema.json` requires."""
    ids = {result["evaluation_result_id"] for result in table["evaluation_results"]}
    for row in rows:
        assert ROW <= set(row) <= ROW | ROW_OPTIONAL
        assert (row["evaluation_id"], row["model_id"]) == (table["evaluation_id"], table["model_info"]["id"])
        assert row["interaction_type"] == "single_turn" and isinstance(row["sample_id"], str)
        assert isinstance(row["input"]["raw"], str) and isinstance(row["input"]["reference"], list)
        assert isinstance(row["output"]["raw"], list)
        assert isinstance(row["evaluation"]["score"], float) and isinstance(row["evaluation"]["is_correct"], bool)
        assert {"turn_idx", "source", "extracted_value", "extraction_method", "is_terminal"} == {
            name for part in row["answer_attribution"] for name in part
        } or not row["answer_attribution"]
        assert texts_alone(row["metadata"]) and row["evaluation_result_id"] in ids


@pytest.mark.parametrize("method", ["generate", "choose", "both"])
@pytest.mark.parametrize("protocol", ["official", "stability-jp", "wandb-2023-0shot"])
def test_whatever_is_written_has_the_fields_and_types_of_the_schema(tmp_path: Path, method: str, protocol: str) -> None:
    tasks = ("jcommonsenseqa", "jsts", "jnli", "jsquad") if method != "choose" else ("jcommonsenseqa", "jnli")
    if (method, protocol) == ("choose", "wandb-2023-0shot"):
        return  # It reads text alone.
    run = stored(tmp_path / "runs", tasks=tasks, method=method)
    exporters.export(run, tmp_path / "out", "every-eval-ever", protocol)
    _, table, rows = read(tmp_path / "out")
    check_scores(table)
    check_rows(rows, table)
    assert table["evaluation_results"] and rows


def test_scores_are_the_known_ones_with_their_intervals(tmp_path: Path) -> None:
    exporters.export(stored(tmp_path / "runs"), tmp_path / "out", "every-eval-ever")
    table = read(tmp_path / "out")[1]
    found = {result["evaluation_result_id"]: result["score_details"] for result in table["evaluation_results"]}
    scores = {name: details["score"] for name, details in found.items()}
    assert scores == {
        "jglue/jcommonsenseqa/accuracy": 0.75,
        "jglue/jcommonsenseqa/ranking/accuracy": 0.5,
        "jglue/jsts/pearson": pytest.approx(stats.pearsonr([4.5, 2.0, 2.5], [4.0, 1.0, 3.5]).statistic),
        "jglue/jsts/spearman": pytest.approx(1.0),
        "jglue/jnli/accuracy": 0.5,
        "jglue/jnli/ranking/accuracy": 1.0,
        "jglue/jsquad/exact_match": 1.0,
        "jglue/jsquad/f1": 1.0,
    }
    sure = found["jglue/jcommonsenseqa/accuracy"]["uncertainty"]
    low, high = proportion_confint(3, 4, method="wilson")
    interval = sure["confidence_interval"]
    assert (interval["lower"], interval["upper"]) == (pytest.approx(low), pytest.approx(high))
    assert (interval["confidence_level"], interval["method"], sure["num_samples"]) == (0.95, "Wilson score", 4)
    assert sure["standard_error"] == {"value": pytest.approx(0.25), "method": "analytic"}
    assert found["jglue/jsts/pearson"]["uncertainty"]["num_samples"] == 3
    assert "standard_error" not in found["jglue/jsts/pearson"]["uncertainty"]


def test_items_and_scores_name_each_other_as_the_datastore_asks(tmp_path: Path) -> None:
    before = time.time()
    exporters.export(stored(tmp_path / "runs"), tmp_path / "out", "every-eval-ever")
    path, table, rows = read(tmp_path / "out")
    assert re.fullmatch(rf"data/jglue/owner/model-1e3/{UUID4}\.json", path.as_posix())
    told = table["detailed_evaluation_results"]
    assert told["file_path"] == f"{path.as_posix().removesuffix('.json')}_samples.jsonl"
    content = (tmp_path / "out" / told["file_path"]).read_bytes()
    assert (told["format"], told["hash_algorithm"]) == ("jsonl", "sha256")
    assert (told["checksum"], told["total_rows"]) == (hashlib.sha256(content).hexdigest(), len(rows))
    assert (table["model_info"]["id"], table["evaluation_timestamp"]) == ("owner/model-1e3", CREATED)
    assert table["evaluation_id"] == f"jglue/owner/model-1e3/{table['retrieved_timestamp']}"
    assert before <= float(table["retrieved_timestamp"]) <= time.time()


def test_items_bear_the_score_of_each_metric_and_what_was_read(tmp_path: Path) -> None:
    exporters.export(stored(tmp_path / "runs"), tmp_path / "out", "every-eval-ever")
    rows = read(tmp_path / "out")[2]
    by = {(row["evaluation_result_id"], row["sample_id"]): row for row in rows}
    # Four questions and two pairs, written and ranked, one span by two metrics; of a similarity no item is right.
    assert len(rows) == len(by) == 4 * 2 + 2 * 2 + 2
    wrong, right = by["jglue/jnli/accuracy", "8"], by["jglue/jnli/ranking/accuracy", "8"]
    assert (wrong["output"]["raw"], wrong["evaluation"]) == (["中立"], {"score": 0.0, "is_correct": False})
    assert (right["output"]["raw"], right["evaluation"]) == ([], {"score": 1.0, "is_correct": True})
    assert [wrong["answer_attribution"][0]["extracted_value"], right["answer_attribution"][0]["extracted_value"]] == [
        *("neutral", "contradiction")
    ]
    assert (wrong["input"]["reference"], wrong["input"]["choices"]) == (["contradiction"], ["含意", "矛盾", "中立"])
    assert wrong["input"]["formatted"] == "問：8\n答え："
    assert json.loads(right["metadata"]["choice_logprobs"]) == [-2.0, -0.5, -1.0]
    assert wrong["token_usage"] == {"input_tokens": 12, "output_tokens": 3, "total_tokens": 15}
    broken = by["jglue/jcommonsenseqa/accuracy", "13"]
    assert (broken["output"]["raw"], broken["answer_attribution"]) == (["わからない\ufffd"], [])
    assert by["jglue/jsquad/f1", "q1"]["input"]["reference"] == ["町", "町である"]


def test_what_scores_depend_on_goes_with_them(tmp_path: Path) -> None:
    exporters.export(stored(tmp_path / "runs"), tmp_path / "out", "every-eval-ever")
    table = read(tmp_path / "out")[1]
    first = table["evaluation_results"][0]
    told = first["generation_config"]["additional_details"] | first["source_data"]["additional_details"]
    expected = {
        **{"protocol": "official", "decided_by": "text", "n": "4", "prompt_style": "ja-labels", "prompt_shots": "2"},
        **{"prompt_format": "plain", "decoding_method": "both", "data_version": "v1.3", "data_split": "valid"},
        **{
            "data_sha256": "5e" * 32,
            "label_version": "v1.3",
            "made_with": "jglue_app 0.0.7",
            "scored_with": f"jglue_app {jglue_app.__version__}",
        },
        **{"items_asked": "4", "items_of_split": "4"},
    }
    assert expected.items() <= told.items()
    assert first["source_data"]["dataset_name"] == "JGLUE v1.3 JCommonsenseQA (valid)"
    assert first["generation_config"]["generation_args"]["temperature"] == 0.0
    model = table["model_info"]
    assert model["inference_engine"] == {"name": "transformers", "version": "5.99.0"}
    assert {
        **{"model_commit": COMMIT, "model_revision": "main", "model_dtype": "float16", "model_quantization": "8bit"},
        **{"model_device": "cuda", "deployment_type": "self_deployed"},
    }.items() <= model["additional_details"].items()


def test_samples_of_ours_a_table_and_outputs_made_elsewhere_say_what_they_are(tmp_path: Path) -> None:
    run = stored(tmp_path / "a", model="/home/who/表.jsonl", backend="scripted", commit="ff" * 32, source="sample")
    exporters.export(run, tmp_path / "table", "every-eval-ever")
    path, table, _ = read(tmp_path / "table")
    assert path.parts[:4] == ("data", "not-jglue", "not-stated", "表")
    assert "/home" not in json.dumps(table) and "who" not in table["model_info"]["id"]
    assert {result["source_data"]["source_type"] for result in table["evaluation_results"]} == {"other"}
    assert all("not JGLUE" in result["source_data"]["dataset_name"] for result in table["evaluation_results"])
    assert table["model_info"]["additional_details"]["answers"] == "read from a table, not given by a model"
    assert table["model_info"]["additional_details"]["deployment_type"] == "unknown"
    run = stored(tmp_path / "b", model="log.jsonl", backend="predictions", method="generate")
    exporters.export(run, tmp_path / "log", "every-eval-ever")
    table = read(tmp_path / "log")[1]
    assert table["model_info"]["additional_details"]["answers"] == "made elsewhere, and scored here"
    assert all("generation_args" not in result["generation_config"] for result in table["evaluation_results"])
    check_scores(table)


def test_a_folder_of_a_model_is_named_without_its_path(tmp_path: Path) -> None:
    # Shaped like an id of the Hub, but what was loaded is no commit of one.
    exporters.export(stored(tmp_path / "a", model="models/con", commit="ab" * 32), tmp_path / "out", "every-eval-ever")
    path, table, _ = read(tmp_path / "out")
    assert (table["model_info"]["id"], table["model_info"]["developer"]) == ("model-con", "not-stated")
    assert path.parts[:4] == ("data", "jglue", "not-stated", "model-con")


def test_a_metric_without_a_value_is_left_out(tmp_path: Path) -> None:
    constant = {("jsts", str(i)): "3" for i in range(4)} | {("jnli", "7"): "含意", ("jnli", "8"): "矛盾"}
    run = stored(tmp_path / "runs", tasks=("jsts", "jnli"), said=constant, method="generate")
    done = exporters.export(run, tmp_path / "out", "every-eval-ever")
    names = [result["evaluation_result_id"] for result in read(tmp_path / "out")[1]["evaluation_results"]]
    assert names == ["jglue/jnli/accuracy"]
    assert done.notes == ("jsts is left out: the metric is undefined for these answers.",)


def test_scores_alone_are_one_file_that_points_at_no_other(tmp_path: Path) -> None:
    exporters.export(stored(tmp_path / "runs"), tmp_path / "out.json", "every-eval-ever")
    table = strict((tmp_path / "out.json").read_text("utf-8"))
    check_scores(table)
    assert "detailed_evaluation_results" not in table
