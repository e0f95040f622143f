"""Exports for model cards: whole official splits of a model's own answers, one number a subset, every text a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries
from scipy import stats

import jglue_app
from jglue_app.errors import InputError
from jglue_app.results import exporters
from jglue_app.types import PromptSpec
from tests.results.exporters.known import COMMIT, CREATED, SAID, stored


def read(path: Path) -> list[dict[str, Any]]:
    found = yaml.safe_load(path.read_text("utf-8"))
    assert isinstance(found, list)
    return found


def test_each_subset_is_one_entry_with_its_main_metric(tmp_path: Path) -> None:
    said = {**SAID, ("jsts", "3"): "0.5"}
    done = exporters.export(stored(tmp_path / "runs", said=said), tmp_path / "out", "hub-eval-results")
    (path,) = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert path.relative_to(tmp_path / "out").as_posix() == ".eval_results/jglue.yaml"
    found = read(path)
    assert {entry["dataset"]["task_id"]: entry["value"] for entry in found} == {
        "JCommonsenseQA": 0.75,
        "JSTS": pytest.approx(stats.pearsonr([4.5, 2.0, 2.5, 0.5], [4.0, 1.0, 3.5, 0.0]).statistic),
        "JSQuAD": 1.0,
    }
    for entry in found:
        assert set(entry) == {"dataset", "value", "date", "notes"}
        assert set(entry["dataset"]) == {"id", "task_id"}
        assert (entry["dataset"]["id"], entry["date"]) == ("shunk031/JGLUE", CREATED)
    assert done.notes == (
        "jnli is left out: shunk031/JGLUE has the labels of v1.1, and these scores rest on those of v1.3.",
        "The Hub shows these values once shunk031/JGLUE is registered there as a Benchmark with these task ids. No "
        "copy of JGLUE is known to be.",
    )


def test_the_hubs_own_client_reads_the_file(tmp_path: Path) -> None:
    exporters.export(stored(tmp_path / "runs"), tmp_path / "card.yaml", "hub-eval-results")
    first = parse_eval_result_entries(read(tmp_path / "card.yaml"))[0]
    assert (first.dataset_id, first.task_id, first.value) == ("shunk031/JGLUE", "JCommonsenseQA", 0.75)
    assert (first.date, first.verify_token, first.source_url) == (CREATED, None, None)


def test_notes_say_what_the_value_depends_on(tmp_path: Path) -> None:
    exporters.export(stored(tmp_path / "runs"), tmp_path / "card.yaml", "hub-eval-results", "llm-jp-eval")
    exporters.export(stored(tmp_path / "runs2"), tmp_path / "two.yaml", "hub-eval-results")
    notes = read(tmp_path / "two.yaml")[0]["notes"]
    assert "\n" not in notes
    for part in (
        *("accuracy=0.75 (n=4, 95% interval 0.3006 to 0.9544, standard error 0.2500)", "protocol=official"),
        *("decided_by=text", "data_version=v1.3", "label_version=v1.3", "data_split=valid", f"data_sha256={'5e' * 32}"),
        *("prompt_style=ja-labels", "prompt_format=plain", "prompt_shots=2", "decoding_strategy=greedy"),
        *("model=owner/model-1e3", f"model_commit={COMMIT}", "model_dtype=float16", "model_quantization=8bit"),
        *("made_with=jglue_app 0.0.7", f"scored_with=jglue_app {jglue_app.__version__}"),
    ):
        assert part in notes.split("; "), part
    assert "protocol=llm-jp-eval" in read(tmp_path / "card.yaml")[0]["notes"]


def test_every_text_is_in_quotes_so_that_no_reader_takes_it_for_something_else(tmp_path: Path) -> None:
    run = stored(tmp_path / "runs", tasks=("jcommonsenseqa",), prompt=PromptSpec("1e3.toml", "plain", system='on: "'))
    exporters.export(run, tmp_path / "card.yaml", "hub-eval-results")
    lines = (tmp_path / "card.yaml").read_text("utf-8").splitlines()
    values = {line.split(": ", 1)[0].strip("- "): line.split(": ", 1)[1] for line in lines if ": " in line}
    assert {name for name, value in values.items() if value.startswith('"')} == {"id", "task_id", "date", "notes"}
    assert values["value"] == "0.75"
    (entry,) = read(tmp_path / "card.yaml")
    assert {type(value) for value in (*entry["dataset"].values(), entry["date"], entry["notes"])} == {str}
    assert "prompt_style=1e3.toml" in entry["notes"] and 'prompt_system=on: "' in entry["notes"]


ONE = ("jcommonsenseqa",)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ({"source": "sample"}, "samples of this application, not JGLUE"),
        ({"source": "user"}, "from a file of one's own, not from JGLUE"),
        ({"totals": {"jcommonsenseqa": 1119}}, "4 of 1,119 items were asked"),
        ({"split": "train"}, "it is the train split"),
        ({"split": "test"}, "it is the test split"),
        ({"failed": (("jcommonsenseqa", "13"),)}, "1 item failed"),
        ({"tasks": ("jsts",)}, "its score rests on 3 of 4 items"),
        ({"tasks": ("jsquad",), "oracle_length": True}, "cut at the length of the right ones"),
        ({"backend": "scripted"}, "read from a table"),
        ({"unanswered": (("jcommonsenseqa", "13"),)}, "is not complete: 3 of 4 items are answered"),
        ({"tasks": ("jnli",)}, "the labels of v1.1, and these scores rest on those of v1.3"),
    ],
)
def test_what_a_model_card_must_not_claim_is_refused(tmp_path: Path, made: dict[str, Any], why: str) -> None:
    run = stored(tmp_path / "runs", **{"tasks": ONE, **made})
    with pytest.raises(InputError, match=why):
        exporters.export(run, tmp_path / "card.yaml", "hub-eval-results")
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["runs"]


def test_one_subset_that_cannot_stand_there_leaves_the_others(tmp_path: Path) -> None:
    run = stored(tmp_path / "runs", tasks=("jcommonsenseqa", "jsquad"), totals={"jsquad": 4442})
    done = exporters.export(run, tmp_path / "card.yaml", "hub-eval-results")
    assert [entry["dataset"]["task_id"] for entry in read(tmp_path / "card.yaml")] == ["JCommonsenseQA"]
    assert done.notes[0] == "jsquad is left out: 1 of 4,442 items were asked."


def test_scores_against_the_labels_that_the_data_set_has_may_stand_there(tmp_path: Path) -> None:
    """`lm-eval-ja` reads the labels of v1.1; it ranks, and the right answers of both pairs are the likeliest."""
    run = stored(tmp_path / "runs", tasks=("jnli",))
    exporters.export(run, tmp_path / "card.yaml", "hub-eval-results", "lm-eval-ja")
    (entry,) = read(tmp_path / "card.yaml")
    assert (entry["dataset"]["task_id"], entry["value"]) == ("JNLI", 1.0)
    assert "label_version=v1.1; " in entry["notes"] and "decided_by=log_likelihood; " in entry["notes"]


def test_outputs_made_elsewhere_say_so(tmp_path: Path) -> None:
    run = stored(tmp_path / "runs", tasks=ONE, backend="predictions", model="log.jsonl", method="generate")
    exporters.export(run, tmp_path / "card.yaml", "hub-eval-results")
    (entry,) = read(tmp_path / "card.yaml")
    assert "outputs=made elsewhere; prompt and decoding are those of their maker" in entry["notes"]
    assert "prompt_style" not in entry["notes"]
