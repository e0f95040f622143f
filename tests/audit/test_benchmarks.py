"""What is taken for known of data and systems."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from jglue_app.audit.benchmarks import BENCHMARKS, METRICS, SYSTEMS, benchmark, metric_of, scope, system_of
from jglue_app.errors import UnknownNameError
from jglue_app.scoring.metric_names import METRIC_NAMES
from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.tasks import TASKS

REAL = os.environ.get("JGLUE_DATA_DIR")


@pytest.mark.skipif(not REAL, reason="JGLUE_DATA_DIR names no official files")
@pytest.mark.parametrize(("task", "edition"), [("jnli", "JGLUE v1.3"), ("jcommonsenseqa", "JGLUE v1.1–v1.3")])
def test_label_counts_are_those_of_the_official_files(task: str, edition: str) -> None:
    lines = (Path(str(REAL)) / f"{task}-v1.3" / "valid-v1.3.json").read_text("utf-8").splitlines()
    counts = Counter(str(json.loads(line)["label"]) for line in lines)
    found = next(e for e in BENCHMARKS[task].editions if e.name == edition)
    assert dict(found.counts) == dict(counts)
    assert found.n == len(lines)


@pytest.mark.skipif(not REAL, reason="JGLUE_DATA_DIR names no official files")
@pytest.mark.parametrize(("task", "n"), [("jsts", 1457), ("jnli", 2434), ("jcommonsenseqa", 1119)])
def test_sizes_are_those_of_the_official_files(task: str, n: int) -> None:
    lines = (Path(str(REAL)) / f"{task}-v1.3" / "valid-v1.3.json").read_text("utf-8").splitlines()
    assert len(lines) == n == BENCHMARKS[task].editions[0].n


@pytest.mark.skipif(not REAL, reason="JGLUE_DATA_DIR names no official files")
def test_sizes_of_jsquad_are_all_items_and_those_that_pass_the_filter_of_wandb() -> None:
    text = (Path(str(REAL)) / "jsquad-v1.3" / "valid-v1.3.json").read_text("utf-8")
    questions = [q for d in json.loads(text)["data"] for p in d["paragraphs"] for q in p["qas"]]
    assert len(questions) == 4442
    assert sum(len(max(a["text"] for a in q["answers"])) <= 37.5 for q in questions) == 4422
    assert [e.n for e in BENCHMARKS["jsquad"].editions[:2]] == [4442, 4422]


def test_the_old_labels_of_jnli_are_the_new_ones_without_the_changes() -> None:
    # Of 29 items: entailment to neutral 16, neutral to entailment 12, neutral to contradiction 1.
    old, new = BENCHMARKS["jnli"].editions[:2]
    assert new.counts["entailment"] + 16 - 12 == old.counts["entailment"] == 353
    assert new.counts["contradiction"] - 1 == old.counts["contradiction"] == 734
    assert new.counts["neutral"] - 16 + 12 + 1 == old.counts["neutral"] == 1347


def test_label_counts_add_up_to_the_number_of_items() -> None:
    for found in BENCHMARKS.values():
        for edition in found.editions:
            assert not edition.counts or sum(edition.counts.values()) == edition.n
            assert not edition.counts or tuple(edition.counts) == found.labels


def test_every_subset_and_every_default_of_a_protocol_is_known() -> None:
    assert set(TASKS) <= set(BENCHMARKS)
    compared = 0
    for name, protocol in PROTOCOLS.items():
        system = SYSTEMS[system_of(name)]
        for task, default in protocol.defaults.items():
            if TASKS[task].kind == "choice" and BENCHMARKS[task].labels and task in system.defaults:
                assert system.defaults[task] == str(default), (name, task)
                compared += 1
    assert compared >= 6


@pytest.mark.parametrize(
    ("name", "task"),
    [
        *(("JNLI", "jnli"), ("MARC-ja", "marc_ja"), ("marcja", "marc_ja"), ("JComQA", "jcommonsenseqa")),
        *(("JCommonsenseQA", "jcommonsenseqa"), ("JSQuAD", "jsquad"), ("ｊｓｔｓ", "jsts"), ("JCoLA", "jcola")),
    ],
)
def test_subsets_are_known_in_many_spellings(name: str, task: str) -> None:
    assert benchmark(name).name == task


@pytest.mark.parametrize(
    ("name", "task", "metric"),
    [
        *(("acc", "jnli", "accuracy"), ("EM", "jsquad", "exact_match"), ("em", "jcommonsenseqa", "accuracy")),
        *(("balanced acc", "jnli", "balanced_accuracy"), ("F1", "jsquad", "f1"), ("f1", "jnli", "macro_f1")),
        *(("Spearman", "jsts", "spearman"), ("char_f1", "jsquad", "char_f1"), ("MCC", "jcola", "mcc")),
    ],
)
def test_metrics_are_known_in_many_spellings(name: str, task: str, metric: str) -> None:
    assert metric_of(name, BENCHMARKS[task]) == metric


def test_an_unknown_name_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(UnknownNameError, match="Unknown task 'xnli'"):
        benchmark("xnli")
    with pytest.raises(UnknownNameError, match="metrics of JSTS"):
        metric_of("accuracy", BENCHMARKS["jsts"])
    with pytest.raises(UnknownNameError, match="Unknown system"):
        system_of("mmlu")


def test_a_variant_goes_by_its_system() -> None:
    assert system_of("wandb-2023-0shot") == "wandb-2023"
    assert system_of("Swallow") == "swallow-202411"
    assert system_of("nejumi-4") == "nejumi-4"


def test_a_system_narrows_what_comes_into_question() -> None:
    jnli, jsquad = BENCHMARKS["jnli"], BENCHMARKS["jsquad"]
    assert [e.name for e in scope(jnli, "wandb-2023")] == ["JGLUE v1.1"]
    assert [e.n for e in scope(jsquad, "wandb-2023")] == [4422]
    # The labels of a corrected copy are not known.
    assert not any(e.counts for e in scope(BENCHMARKS["jcommonsenseqa"], "flexeval"))
    assert [e.n for e in scope(jnli, None, 50)] == [50]
    assert set(METRIC_NAMES) == set(METRICS)
