"""What a push leaves at the server: every row, every score, the settings, the run folder."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jglue_app.api import open_run
from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.scoring.types import Estimate
from jglue_app.types import Decoding
from jglue_app.wandb_sink import run_payload
from tests.wandb_sink.conftest import Board
from tests.wandb_sink.known import (
    FILES,
    JNLI,
    JSQUAD,
    JSTS,
    KEY,
    OF_RANKING,
    OF_TEXT,
    ROOT,
    WORDS,
    Json,
    files,
    items,
    logprobs,
    other,
    ranked,
    records,
    said,
    similarity,
    span,
    spec_id,
    text,
)

TASKS = ("marc_ja", "jsts", "jnli", "jsquad", "jcommonsenseqa")


def test_the_stand_in_for_the_server_understood_everything(board: Board) -> None:
    assert board.server.unknown == []


# --- rows -----------------------------------------------------------------------------------------------


def row_of(id_: str, shift: int) -> Json:
    """What the table has to say of a JNLI item."""
    answer, gold, words = said(id_, shift), JNLI[id_], text(id_, shift)
    failed = words is None
    default = 1.0 if gold == "entailment" else 0.0
    right = 1.0 if ranked(id_, shift) == gold else 0.0
    marks = {name: default if answer.verdicts[name] == "default" else answer.verdicts[name] for name in OF_TEXT}
    marks |= dict.fromkeys(OF_RANKING, None if failed else right)
    named = {"gold": gold, "other": other(gold), None: None}
    return {
        "item_id": id_,
        # Half of a surrogate pair is spelled out.
        "raw": "\\ud83d" if words == "\ud83d" else words,
        "parsed": named[answer.parsed],
        "status": answer.status,
        "gold": gold,
        "correct": None if failed else answer.parsed == "gold",
        "outcome": answer.outcome,
        "accuracy": None if failed else float(answer.parsed == "gold"),
        "lenient": gold if answer.outcome in ("correct", "wrong_form") else named[answer.parsed],
        "choice": None if failed else ranked(id_, shift),
        **{f"verdict/{name}": mark for name, mark in marks.items()},
        "logprobs": None if failed else dict(zip(WORDS.values(), logprobs(id_, shift), strict=True)),
        "error": f"The table has no text for item {id_}." if failed else None,
        "new_tokens": None if failed else len(words or ""),
    }


@pytest.mark.parametrize(("name", "shift"), [("a", 0), ("b", 1)])
def test_a_choice_arrives_as_it_was_said_read_and_counted_by_every_protocol(
    board: Board, name: str, shift: int
) -> None:
    rows = board.server.table(board.run(name), "predictions/jnli")
    for row in rows:
        row["logprobs"] = json.loads(row["logprobs"]) if row["logprobs"] else None
    expected = [row_of(id_, shift) for id_ in JNLI]
    assert [{key: row[key] for key in expected[0]} for row in rows] == expected
    assert {row["outcome"] for row in rows} == {"correct", "wrong_form", "wrong", "unreadable", "empty", "error"}


@pytest.mark.parametrize(("name", "shift"), [("a", 0), ("b", 1)])
def test_a_similarity_arrives_as_the_number_that_each_protocol_reads(board: Board, name: str, shift: int) -> None:
    rows = board.server.table(board.run(name), "predictions/jsts")
    instead = {"official": None, "flexeval": 0.0, "llm-jp-eval": -2.0, "swallow-202411": -2.0}
    instead |= dict.fromkeys(("wandb-2023-0shot", "wandb-2023-4shot", "wandb-2023-10-0shot"), 2.0)
    for row, (id_, gold) in zip(rows, JSTS.items(), strict=True):
        value = similarity(id_, shift)
        assert (row["item_id"], row["gold"], row["correct"]) == (id_, f"{gold:g}", None)
        assert (row["raw"], row["parsed"]) == (("とても近い", None) if value is None else (f"{value:g}",) * 2)
        assert {key: row[key] for key in row if key.startswith("verdict/")} == {
            f"verdict/{protocol}": default if value is None else value for protocol, default in instead.items()
        }


@pytest.mark.parametrize("task", TASKS)
def test_every_record_of_a_real_run_is_a_row_to_the_character(board: Board, task: str) -> None:
    rows = board.server.table(board.run("gemma"), f"predictions/{task}")
    stored, asked = records(board.gemma, task), items(board.gemma, task)
    assert [row["item_id"] for row in rows] == list(asked)
    assert len(rows) == {"marc_ja": 44, "jsts": 48}.get(task, 45)
    for row in rows:
        record, item = stored[row["item_id"]], asked[row["item_id"]]
        prompt, output, gold = record["prompt"], record["output"], item["gold"]
        assert row["prompt"] == prompt["text"]
        assert row["raw"] == output["text"]
        assert row["gold"] == (f"{gold:g}" if isinstance(gold, float) else " / ".join(dict.fromkeys(gold)))
        found = ("finish", "prompt_tokens", "new_tokens", "seconds")
        assert {name: row[name] for name in found} == {name: output[name] for name in found}
        assert json.loads(row["examples"]) == prompt["shot_ids"]
        assert len(prompt["shot_ids"]) == 3
        said_of = dict(zip(prompt["answers"], output["choice_logprobs"] or (), strict=True)) or None
        assert (json.loads(row["logprobs"]) if row["logprobs"] else None) == said_of
        assert row["error"] is None
        for value in item["fields"].values():
            assert value in row["question"]


@pytest.mark.parametrize(("name", "shift"), [("a", 0), ("b", 1)])
def test_a_span_has_both_of_its_metrics_as_worked_out_by_hand(board: Board, name: str, shift: int) -> None:
    def f1(words: str, gold: str) -> float:
        common = sum((Counter(words) & Counter(gold)).values())
        return 2 * common / (len(words) + len(gold))

    rows = board.server.table(board.run(name), "predictions/jsquad")
    assert [row["item_id"] for row in rows] == list(JSQUAD)
    for row, golds in zip(rows, JSQUAD.values(), strict=True):
        assert (row["raw"], row["parsed"]) == (span(row["item_id"], shift),) * 2
        words = row["raw"].removesuffix("。")
        assert row["exact_match"] == row["verdict/official"] == float(words in golds)
        assert row["correct"] is (words in golds)
        assert math.isclose(row["f1"], max(f1(words, gold) for gold in golds))
        assert row["verdict/lm-eval-ja"] == float(row["raw"] == golds[0])
    assert {(row["exact_match"], row["f1"]) for row in rows} >= {(1.0, 1.0), (0.0, 1.0), (0.0, 0.0)}


# --- scores ---------------------------------------------------------------------------------------------


def scalars(run: Path, protocol: str) -> dict[str, Any]:
    """What has to stand below a protocol's name, from the report that is shown here."""
    report = open_run(run).report(protocol)
    found: dict[str, Any] = {}

    def put(key: str, estimate: Estimate) -> None:
        found.update({key: estimate.value, f"{key}/low": estimate.low, f"{key}/high": estimate.high})
        found[f"{key}/n"] = estimate.n

    for name, task in report.tasks.items():
        for metric, estimate in (task.metrics or task.choose).items():
            put(f"{name}/{metric}", estimate)
        for reading, estimates in (("lenient", task.lenient), ("choose", task.choose), ("imputed", task.imputed)):
            for metric, estimate in estimates.items():
                put(f"{name}/{reading}/{metric}", estimate)
        for metric in task.metrics:
            found[f"{name}/{metric}/unreadable"] = task.unreadable
        found |= {f"{name}/{metric}/floor": floor for metric, floor in task.floors.items()}
        found |= {f"{name}/{metric}/default_floor": floor for metric, floor in task.default_floors.items()}
    put("average", report.average)
    return {key: value for key, value in found.items() if value is not None}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", ["a", "gemma", "half"])
def test_the_scores_of_every_protocol_are_those_of_the_report(board: Board, name: str, protocol: str) -> None:
    run = {"a": board.ada, "gemma": board.gemma, "half": board.half}[name]
    summary = board.run(name).summary
    expected = scalars(run, protocol)
    assert len(expected) > 5
    # The process that sends may sum in another order: libraries choose by the environment.
    found = {key: summary.get(f"protocols/{protocol}/{key}") for key in expected}
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)
    numbers = {"n", "low", "high", "unreadable", "floor", "default_floor"}
    there = {key.removeprefix(f"protocols/{protocol}/") for key in summary if key.startswith(f"protocols/{protocol}/")}
    beside = {key for key in there - set(expected) if key.rsplit("/", 1)[-1] in numbers}
    assert {key for key in beside if summary[f"protocols/{protocol}/{key}"] != 0} == set()


@pytest.mark.parametrize(("name", "protocol"), [("a", "official"), ("gemma", "stability-jp"), ("half", "flexeval")])
def test_the_scores_of_the_chosen_protocol_stand_first(board: Board, name: str, protocol: str) -> None:
    summary = board.run(name).summary
    first = {key.removeprefix("jglue/"): value for key, value in summary.items() if key.startswith("jglue/")}
    at = f"protocols/{protocol}/"
    assert first == {key.removeprefix(at): value for key, value in summary.items() if key.startswith(at)}
    assert f"jnli/{PROTOCOLS[protocol].metrics['jnli'][0]}" in first
    assert summary["push/protocol"] == protocol == board.run(name).config["protocol"]


def test_accuracy_is_the_share_of_right_answers_among_those_given(board: Board) -> None:
    answered = [id_ for id_ in JNLI if text(id_) is not None]
    right = sum(said(id_).parsed == "gold" for id_ in answered)
    summary = board.run("a").summary
    assert summary["jglue/jnli/accuracy/n"] == len(answered) == 41
    assert summary["jglue/jnli/accuracy"] == right / len(answered)
    assert summary["jglue/jnli/accuracy/unreadable"] == sum(said(id_).parsed is None for id_ in answered)
    majority = max(Counter(JNLI[id_] for id_ in answered).values())
    assert math.isclose(summary["jglue/jnli/accuracy/floor"], majority / len(answered))
    by_ranking = sum(ranked(id_) == JNLI[id_] for id_ in answered)
    assert summary["protocols/stability-jp/jnli/accuracy"] == by_ranking / len(answered)
    to_the_character = sum(said(id_).verdicts["flexeval"] == 1.0 for id_ in answered)
    assert summary["protocols/flexeval/jnli/exact_match"] == to_the_character / len(answered)


def test_the_failure_picture_counts_what_became_of_the_items(board: Board) -> None:
    outcomes = Counter(said(id_).outcome for id_ in JNLI)
    summary = board.run("a").summary
    counted = {key.rsplit("/", 1)[-1]: value for key, value in summary.items() if key.startswith("outcomes/jnli/")}
    assert {name: n for name, n in counted.items() if n} == dict(outcomes)
    assert set(counted) - set(outcomes) == {"truncated", "unfinished_thought", "overflow", "unscored"}
    rows = [row for row in board.server.table(board.run("a"), "failure_picture") if row["subset"] == "JNLI"]
    assert {row["outcome"]: row["items"] for row in rows} == dict(outcomes)
    assert all(math.isclose(row["share"], row["items"] / 45) for row in rows)


def test_notices_arrive_as_sentences_with_the_protocols_they_are_about(board: Board) -> None:
    rows = board.server.table(board.run("gemma"), "notices")
    assert any(row["subset"] == "JSTS" and row["notice"].startswith("pearson 0.067 cannot be told") for row in rows)
    assert {name for row in rows for name in row["protocols"].split(", ")} == set(PROTOCOLS)


@pytest.mark.parametrize("task", TASKS)
def test_speed_is_items_and_tokens_by_the_seconds_they_took(board: Board, task: str) -> None:
    outputs = [record["output"] for record in records(board.gemma, task).values()]
    seconds = math.fsum(output["seconds"] for output in outputs)
    summary = board.run("gemma").summary
    assert math.isclose(summary[f"speed/{task}/items_per_s"], len(outputs) / seconds)
    assert math.isclose(summary[f"speed/{task}/new_tokens_per_s"], sum(o["new_tokens"] for o in outputs) / seconds)
    assert math.isclose(summary["speed/weights_mib"], 1072394756 / 2**20)


def test_a_run_without_times_has_no_speed(board: Board) -> None:
    assert [key for key in board.run("a").summary if key.startswith("speed/jnli")] == []


# --- settings, names ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "gemma", "half"])
def test_the_config_is_the_manifest_with_the_usual_columns_beside_it(board: Board, name: str) -> None:
    run = {"a": board.ada, "gemma": board.gemma, "half": board.half}[name]
    manifest = json.loads((run / "manifest.json").read_text("utf-8"))
    config, spec = board.run(name).config, manifest["spec"]
    if name == "a":  # A file of this machine, whose folder concerns nobody.
        assert spec["model"]["id"].startswith("/")
        spec["model"]["id"] = "ada.jsonl"
    kept = ("spec_id", "spec", "label", "created", "data", "model", "machine")
    assert config["jglue"] == {key: manifest[key] for key in kept}
    assert (
        config
        | {
            "model": spec["model"]["id"],
            "format": spec["prompt"]["format"],
            "style": spec["prompt"]["style"],
            "shots": spec["prompt"]["shots"],
            "repetition_penalty": 1.0,
            "method": "both",
            "quantization": "none",
            "data_kind": "sample",
            "split": "valid",
            "tasks": spec["tasks"],
        }
        == config
    )


def test_penalties_that_differ_between_subsets_stand_in_the_config_one_by_one(board: Board) -> None:
    data = open_run(board.ada).data()
    assert {"jnli", "jsts"} <= set(data.spec.tasks)
    spec = replace(data.spec, tasks=("jsts", "jnli"), decoding=Decoding(repetition_penalty_by_task=(("jnli", 1.2),)))
    config = run_payload._config(replace(data, spec=spec), {}, "official")
    assert config["repetition_penalty"] is None
    assert config["repetition_penalty_by_task"] == {"jsts": 1.0, "jnli": 1.2}


def test_ids_names_and_types_are_those_of_the_run(board: Board) -> None:
    for name, run in (("a", board.ada), ("b", board.ben), ("gemma", board.gemma), ("half", board.half)):
        found = board.run(name)
        assert found.path == f"team/jglue/jglue-{spec_id(run)}" == board.sent[name].path
        assert found.job_type == "evaluation"
        assert found.state == "finished"
        assert found.keys == {KEY}
        assert board.sent[name].url == f"{board.server.url}/team/jglue/runs/jglue-{spec_id(run)}"
    assert board.run("gemma").display_name == "gemma-3-270m · plain · ja-labels · 3-shot"
    assert board.run("half").display_name == "日本語-モデル · plain · ja-labels · 0-shot"
    assert board.run("half").config["model"] == "会社/日本語-モデル"
    assert board.run("gemma").group is None


def test_tags_tell_protocol_format_style_and_data(board: Board) -> None:
    assert board.run("gemma").tags == ["jglue", "stability-jp", "plain", "ja-labels", "sample", "GGUF Q4_K_M"]


def test_what_the_push_tells_is_what_arrived(board: Board) -> None:
    for name, sent in board.sent.items():
        run = board.run(name)
        assert {key: len(board.server.table(run, key)) for key in sent.tables} == dict(sent.tables)
        own = [k for k, v in run.summary.items() if not isinstance(v, dict) and not k.startswith("_")]
        assert len(own) == sent.scalars + len({"push/digest", "push/state"})


def test_a_run_that_ended_early_is_tagged_and_says_how_far_it_came(board: Board) -> None:
    run = board.run("half")
    assert "unfinished" in run.tags
    assert "unfinished" not in board.run("gemma").tags
    told = {key: run.summary[f"push/{key}"] for key in ("state", "items", "planned", "finished")}
    # Of 48, 45 and 45 items; the model failed at four of the second and never came to 20 of the third.
    assert told == {"state": "complete", "items": 48 + 41 + 25, "planned": 138, "finished": False}
    assert run.summary["protocols/official/jsquad/exact_match/n"] == 25
    assert len(board.server.table(run, "predictions/jsquad")) == 25


def test_the_history_stays_empty_and_nothing_of_the_machine_is_sent(board: Board) -> None:
    for name in board.sent:
        run = board.run(name)
        assert run.history == []
        assert set(run.lines) <= {"wandb-history.jsonl"}, "neither console output nor system metrics"
        assert not {"commit", "repo"} & set(run.metadata)
        home = str(Path.home())
        assert home not in json.dumps(run.metadata)


# --- the folder -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "gemma", "half"])
def test_the_artifact_is_the_run_folder_byte_for_byte(board: Board, name: str) -> None:
    run = {"a": board.ada, "gemma": board.gemma, "half": board.half}[name]
    artifact = board.server.artifact(f"jglue-run-{spec_id(run)}")
    assert (artifact.type, artifact.version, artifact.state) == ("jglue-run", 0, "COMMITTED")
    assert artifact.files == files(run)
    assert set(artifact.files) == set(FILES)
    assert artifact.run == board.run(name).id


def test_its_metadata_has_the_checksums_of_data_prompts_and_protocols(board: Board) -> None:
    metadata = board.server.artifact(f"jglue-run-{spec_id(board.gemma)}").metadata
    manifest = json.loads((board.gemma / "manifest.json").read_text("utf-8"))
    assert metadata["data_sha256"] == manifest["spec"]["data_sha256"]
    for task in TASKS:
        file = ROOT / "assets" / "samples" / task / "valid.json"
        assert metadata["data_sha256"][f"{task}/valid"] == hashlib.sha256(file.read_bytes()).hexdigest()
    hashed = hashlib.sha256()
    shown = [(task, id_, row["prompt"]) for task in TASKS for id_, row in records(board.gemma, task).items()]
    for task, id_, prompt in sorted(shown, key=lambda row: row[:2]):
        assert prompt["sha256"] == hashlib.sha256(prompt["text"].encode()).hexdigest()
        hashed.update(f"{task} {id_} {prompt['sha256']}\n".encode())
    assert metadata["prompts_sha256"] == hashed.hexdigest()
    assert metadata["style_sha256"] == manifest["spec"]["style_sha256"]
    assert set(metadata["protocols_sha256"]) == set(PROTOCOLS)
    assert len(set(metadata["protocols_sha256"].values())) == len(PROTOCOLS)
    assert (metadata["spec_id"], metadata["items"], metadata["planned"]) == (spec_id(board.gemma), 227, 227)
    other_ = board.server.artifact(f"jglue-run-{spec_id(board.ada)}").metadata
    assert other_["prompts_sha256"] != metadata["prompts_sha256"]
    assert other_["protocols_sha256"] == metadata["protocols_sha256"]


def test_a_changed_decision_gives_a_protocol_another_checksum(monkeypatch: pytest.MonkeyPatch) -> None:
    before = run_payload.protocol_hashes()
    usual = PROTOCOLS["llm-jp-eval"]
    changed = {**usual.rules, "jsts": replace(usual.rules["jsts"], undefined="none")}
    monkeypatch.setitem(PROTOCOLS, "llm-jp-eval", replace(usual, rules=changed))
    after = run_payload.protocol_hashes()
    assert {name for name in PROTOCOLS if before[name] != after[name]} == {"llm-jp-eval"}


# --- other people's files -------------------------------------------------------------------------------


def test_no_file_of_a_run_at_the_server_holds_more_than_was_meant(board: Board) -> None:
    for name in board.sent:
        run = board.run(name)
        kinds = {Path(file).suffix if file.startswith("media/table/") else file for file in run.files}
        assert kinds <= {".json", "config.yaml", "wandb-summary.json", "requirements.txt", "wandb-metadata.json"}
