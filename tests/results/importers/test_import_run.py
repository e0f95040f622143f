"""A log becomes a run like any other: stored whole, opened again, compared, exported, shown on the command line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from jglue_app import api
from jglue_app.cli import main
from jglue_app.results import archive
from jglue_app.results.importers.import_run import Items, import_logs
from jglue_app.results.library import Library
from jglue_app.results.table_files import FORMATS, rows, write
from jglue_app.runs.store import RunStore
from jglue_app.scoring.comparison import compare_runs
from jglue_app.scoring.notices import sentence
from jglue_app.scoring.report import report_run
from jglue_app.settings import Settings
from jglue_app.wandb_sink.run_payload import run_payload
from tests.results.importers.logs import JNLI, dump, jnli_ranked, results, samples, taken, written_sample

TASK = "ja_leaderboard_jnli"
SUMS = {"entailment": (-1.0, -2.0, -3.0), "contradiction": (-1.0, -2.0, -3.0), "neutral": (-5.0, -4.0, -0.5)}
OTHER = {"entailment": (-1.0, -2.0, -3.0), "contradiction": (-3.0, -2.0, -3.0), "neutral": (-5.0, -4.0, -0.5)}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    results(tmp_path, {TASK: {"acc": 30 / 45}})
    return samples(tmp_path, TASK, jnli_ranked(SUMS))


def test_a_stored_import_opens_again_as_it_was(log: Path, settings: Settings) -> None:
    found = taken(log)
    again = RunStore(found.path).data()
    assert again.spec == found.data.spec and again.items == found.data.items
    assert list(again.records) == list(found.data.records)
    assert again.assumed == found.notices
    (stored,) = Library(settings.runs_dir).all()
    assert (stored.label, stored.done, stored.planned) == ("model-1b · lm-eval 0.4.13", 45, 45)
    assert sorted(path.name for path in settings.runs_dir.iterdir()) == [found.path.name]
    assert sorted(path.name for path in found.path.iterdir()) == ["items.jsonl", "manifest.json", "records.jsonl"]


def test_the_manifest_says_what_was_imported(log: Path) -> None:
    manifest = RunStore(taken(log).path).manifest()
    told = manifest["imported"]
    assert (told["harness"], told["version"]) == ("lm-eval", "0.4.13")
    assert told["tasks"] == {"jnli": {"name": TASK, "version": "1.0", "shots": 3}}
    sums = {file["name"]: file["sha256"] for file in told["files"]}
    assert sums[log.name] == hashlib.sha256(log.read_bytes()).hexdigest()
    assert len(sums) == 2
    assert told["printed"] == [
        {"same": True, "task": "jnli", "metric": "acc", "printed": 30 / 45, "protocol": "lm-eval-ja", "here": 30 / 45}
    ]


def test_what_has_to_be_said_is_said_of_its_subset_whenever_the_run_is_scored(tmp_path: Path) -> None:
    found = taken(samples(tmp_path, TASK, jnli_ranked(SUMS)[:40]), partial=True)
    report = report_run(RunStore(found.path).data(), "lm-eval-ja")
    assert [(n.kind, n.facts["k"]) for n in report.tasks["jnli"].notices if n.kind.startswith("imported")] == [
        ("imported_missing", 5)
    ]


def test_counts_are_whole_numbers_after_they_were_stored_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = taken(samples(tmp_path, TASK, jnli_ranked(SUMS)[:40]), partial=True)
    (notice,) = RunStore(found.path).data().assumed
    assert sentence(notice).startswith("5 of 45 items of the data have no answer in the log of lm-eval (")
    assert (type(notice.facts["k"]), type(notice.facts["n"])) == (int, int)
    assert run(monkeypatch, "rescore", found.path.name, "--protocol", "official,lm-eval-ja", "--json") == 0
    said = json.loads(capsys.readouterr().out)["protocols"]["official"]["notices"]
    assert "5 of 45 items of the data have no answer" in " ".join(one["text"] for one in said)


def test_the_command_that_other_outputs_need_names_no_model_that_is_not_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results(tmp_path, {TASK: {}})
    written = [written_sample(row, f"{row['sentence1']}\n{row['sentence2']}", "neutral", row["label"]) for row in JNLI]
    path = taken(samples(tmp_path, TASK, written)).path
    assert RunStore(path).data().spec.model.id == "some/model-1b"
    assert run(monkeypatch, "rescore", path.name, "--explain", "official", "wandb-2023-4shot") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "run --protocol wandb-2023-4shot --tasks jnli --data sample --model MODEL" in said
    assert "some/model" not in said


def test_an_import_is_compared_item_by_item_with_another(tmp_path: Path) -> None:
    a = taken(samples(tmp_path / "a", TASK, jnli_ranked(SUMS)))
    b = taken(samples(tmp_path / "b", TASK, jnli_ranked(OTHER)))
    flips = compare_runs(a.data, b.data, "lm-eval-ja").flips["jnli"]["strict"]
    # B has the 15 contradictions right, and nothing else is another.
    assert (flips.n, flips.to_right, flips.to_wrong) == (45, 15, 0)
    assert api.compare(a.path, b.path, "lm-eval-ja").flips["jnli"]["strict"] == flips


def test_an_import_is_packed_exported_and_pushed_like_any_run(log: Path, tmp_path: Path, settings: Settings) -> None:
    found = taken(log)
    for format in FORMATS:
        write(rows(found.data), tmp_path / f"out.{format}", format)
        assert (tmp_path / f"out.{format}").stat().st_size > 0
    packed = archive.pack(found.path, tmp_path / "run.zip")
    assert archive.is_run(packed)
    assert archive.unpack(packed, tmp_path / "there").name == found.path.name
    payload = run_payload(RunStore(found.path).data(), RunStore(found.path).manifest(), "lm-eval-ja")
    assert payload.summary["jglue/jnli/accuracy"] == pytest.approx(2 / 3)
    assert payload.name.startswith("model-1b · lm-eval 0.4.13")


def test_the_function_takes_a_path_and_its_run_opens(log: Path) -> None:
    found = api.import_log(log, data="sample")
    assert api.open_run(found.path).report("lm-eval-ja").tasks["jnli"].metrics["accuracy"].value == pytest.approx(2 / 3)
    assert api.rescore(found.path).items == {"jnli": 45}


def test_a_users_own_file_may_be_what_was_answered(tmp_path: Path, settings: Settings) -> None:
    own = [{**row, "sentence_pair_id": f"u{k}"} for k, row in enumerate(JNLI[:3])]
    file = dump(tmp_path / "own.json", own)
    log = samples(tmp_path, TASK, jnli_ranked(SUMS)[:3])
    found = import_logs(settings, [log], tasks=["jnli"], items=Items(str(file)))
    assert list(found.data.items["jnli"]) == ["u0", "u1", "u2"]
    assert found.data.sources == {"jnli": "user"}


def test_the_model_can_be_named_where_the_log_does_not(tmp_path: Path) -> None:
    found = taken(samples(tmp_path / "maker__model-2b", TASK, jnli_ranked(SUMS)))
    assert (found.data.spec.model.id, found.data.spec.label) == ("maker/model-2b", "model-2b · lm-eval")
    found = taken(dump(tmp_path / "out.jsonl", jnli_ranked(SUMS)), model="mine")
    assert found.data.spec.label == "mine · lm-eval"


# --- the command line -------------------------------------------------------------------------------------------


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["jglue_app", *map(str, arguments)])
    try:
        main()
    except SystemExit as e:
        return int(e.code or 0)
    return 0


def test_the_command_prints_the_run_and_tells_the_rest(
    log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], settings: Settings
) -> None:
    assert run(monkeypatch, "import", log, "--data", "sample") == 0
    said = capsys.readouterr()
    path = Path(said.out.strip())
    assert path.parent == settings.runs_dir
    assert "JNLI: items imported: 45." in said.err
    assert "JNLI: acc 0.6667 as the harness printed it, and 0.6667 here (lm-eval-ja)." in said.err
    assert run(monkeypatch, "rescore", path.name, "--protocol", "lm-eval-ja", "--json") == 0
    table: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert table["protocols"]["lm-eval-ja"]["metrics"]["accuracy"]["value"] == pytest.approx(2 / 3)


def test_the_command_gives_json_and_refuses_a_part_unless_it_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = samples(tmp_path, TASK, jnli_ranked(SUMS)[:40])
    assert run(monkeypatch, "import", log, "--data", "sample", "--json") == 2
    assert "Accept a log of only some of the items” (--partial)" in capsys.readouterr().err
    assert run(monkeypatch, "import", log, "--data", "sample", "--partial", "--task", "jnli", "--json") == 0
    table = json.loads(capsys.readouterr().out)
    assert (table["label"], table["items"]) == ("unknown model · lm-eval", {"jnli": 40})
    assert [notice["kind"] for notice in table["notices"]] == ["imported_missing"]
    assert run(monkeypatch, "show-prompt", "--help") == 0


def test_a_models_name_is_one_line_without_what_a_terminal_would_obey(tmp_path: Path) -> None:
    names = {"model_args": {"pretrained": "own\x1b[31mer/mo\ndel\x00 " + "あ" * 300}}
    results(tmp_path, {TASK: {"acc": 30 / 45}}, config=names)
    found = taken(samples(tmp_path, TASK, jnli_ranked(SUMS)))
    assert found.data.spec.model.id == "own [31mer/mo del " + "あ" * 182
