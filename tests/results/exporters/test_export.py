"""Where exports go and what is refused: everything or nothing is written, and one sentence says why not."""

from __future__ import annotations

import json
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from jglue_app import api
from jglue_app.cli import main
from jglue_app.errors import InputError, StoreError, UnknownNameError
from jglue_app.results import exporters
from jglue_app.settings import ASSETS
from jglue_app.types import ModelSpec
from tests.results.exporters.known import stored

Made = Callable[[Path], None]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "cache")


@pytest.mark.parametrize("format", exporters.FORMATS)
def test_an_archive_holds_what_a_folder_would(tmp_path: Path, format: str) -> None:
    run = stored(tmp_path / "runs", tasks=("jcommonsenseqa", "jsquad"))
    exporters.export(run, tmp_path / "out", format)
    exporters.export(run, tmp_path / "out.zip", format)
    files = {path.relative_to(tmp_path / "out").as_posix(): path for path in (tmp_path / "out").rglob("*")}
    with zipfile.ZipFile(tmp_path / "out.zip") as packed:
        assert sorted(packed.namelist()) == sorted(name for name, path in files.items() if path.is_file())
        assert packed.testzip() is None
        if format != "every-eval-ever":  # It tells when it was written.
            assert all(packed.read(name) == files[name].read_bytes() for name in packed.namelist())


@pytest.mark.parametrize("name", ["out", "out.zip", "out.yaml"])
@pytest.mark.parametrize("there", [Path.mkdir, Path.touch, lambda path: path.symlink_to("nowhere")])
def test_what_is_there_already_is_kept(tmp_path: Path, name: str, there: Made) -> None:
    there(tmp_path / name)
    with pytest.raises(StoreError, match="is there already"):
        exporters.export(stored(tmp_path / "runs"), tmp_path / name, "hub-eval-results")
    assert names(tmp_path) == sorted([name, "runs"])
    assert not (tmp_path / name).is_dir() or not any((tmp_path / name).iterdir())


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    run = stored(tmp_path / "runs")
    for to in (tmp_path / "no" / "out", run / "manifest.json" / "out"):
        with pytest.raises(StoreError, match=r"There is no folder|cannot be written"):
            exporters.export(run, to, "lm-eval")
    with pytest.raises(StoreError, match="cannot be written"):
        exporters.export(run, tmp_path / ("x" * 300), "lm-eval")
    assert names(tmp_path) == ["runs"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(StoreError, match=r"cannot be written \(Permission denied\)"):
        exporters.export(stored(tmp_path / "runs"), tmp_path / "closed" / "out", "lm-eval")


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    # A model's name that no file can have: the folder is made and its first file is refused.
    run = stored(tmp_path / "runs", model="m" * 300, commit="ab" * 32)
    with pytest.raises(StoreError, match="File name too long"):
        exporters.export(run, tmp_path / "out", "every-eval-ever")
    assert names(tmp_path) == ["runs"]


@pytest.mark.parametrize(
    ("format", "ending"), [("lm-eval", ".json"), ("lm-eval", ".jsonl"), ("every-eval-ever", ".yaml")]
)
def test_an_ending_of_another_format_is_refused(tmp_path: Path, format: str, ending: str) -> None:
    with pytest.raises(InputError, match=rf"{format} cannot be a \{ending} file"):
        exporters.export(stored(tmp_path / "runs"), tmp_path / f"out{ending}", format)
    assert names(tmp_path) == ["runs"]


def test_names_that_do_not_exist_and_runs_that_are_none_are_refused(tmp_path: Path) -> None:
    run = stored(tmp_path / "runs")
    with pytest.raises(UnknownNameError, match="Did you mean 'lm-eval'"):
        exporters.export(run, tmp_path / "out", "lmeval")
    with pytest.raises(UnknownNameError, match="Unknown protocol 'stability'"):
        exporters.export(run, tmp_path / "out", "lm-eval", "stability")
    with pytest.raises(StoreError, match="is not a run"):
        exporters.export(tmp_path, tmp_path / "out", "lm-eval")
    assert names(tmp_path) == ["runs"]


@pytest.mark.parametrize("format", exporters.FORMATS)
def test_a_run_that_is_not_complete_goes_out_in_no_format(tmp_path: Path, format: str) -> None:
    run = stored(tmp_path / "runs", unanswered=(("jnli", "8"), ("jsts", "0")))
    with pytest.raises(InputError, match="is not complete: 9 of 11 items are answered"):
        exporters.export(run, tmp_path / "out", format)
    assert names(tmp_path) == ["runs"]


def test_a_protocol_that_scores_nothing_of_a_run_says_why(tmp_path: Path) -> None:
    run = stored(tmp_path / "runs", tasks=("jsts", "jnli"), method="generate")
    with pytest.raises(
        InputError,
        match=r"The protocol stability-jp gives this run no score \(JSTS: the protocol has no such subset; "
        r"JNLI: it ranks by log-likelihood, and there are none\)",
    ):
        exporters.export(run, tmp_path / "out", "lm-eval", "stability-jp")
    ranked = stored(tmp_path / "more", tasks=("jnli",), method="choose")
    with pytest.raises(InputError, match=r"\(it reads generated text, and there is none\)"):
        exporters.export(ranked, tmp_path / "out", "lm-eval", "wandb-2023-0shot")


# --- of a run that was really made ------------------------------------------------------------------------


def test_a_run_over_our_samples_goes_out_with_the_scores_that_its_answers_have(tmp_path: Path) -> None:
    words = {"entailment": "含意", "contradiction": "矛盾", "neutral": "中立"}
    lines = (ASSETS / "samples" / "jnli" / "valid.json").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines][:20]
    answers = [
        {"item_id": row["sentence_pair_id"], "text": words[row["label"]] if place >= 6 else "わかりません"}
        for place, row in enumerate(rows)
    ]
    table = tmp_path / "表.jsonl"
    table.write_text("".join(json.dumps(answer) + "\n" for answer in answers), "utf-8")
    every = api.evaluate(ModelSpec(str(table), "scripted"), ["jnli"], data="sample")
    # Items without an answer in the table fail, and are left out of the score.
    done = api.export(every, tmp_path / "out", "lm-eval")
    (path,) = (tmp_path / "out").rglob("results_*.json")
    found = json.loads(path.read_text("utf-8"))
    assert done.notes == ()
    assert found["model_name"] == "表" and str(tmp_path) not in path.read_text("utf-8")
    task = found["results"]["jglue_sample_jnli"]
    (file,) = (tmp_path / "out").rglob("*.jsonl")
    samples = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    told = {row["doc"]["sentence_pair_id"]: row["acc"] for row in samples}
    assert told == {row["sentence_pair_id"]: float(place >= 6) for place, row in enumerate(rows)}
    assert (task["acc,none"], task["sample_len"]) == (14 / 20, 20)
    assert found["n-samples"]["jglue_sample_jnli"] == {"original": len(lines), "effective": 20}


def test_the_command_writes_what_is_asked_for_and_says_what_is_not_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run = str(stored(tmp_path / "runs"))

    def export(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["jglue_app", "export", run, *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capfd.readouterr()
        return ended.value.code or 0, told.out.strip(), told.err.strip()

    out = str(tmp_path / "out")
    assert export(out, "--as", "lm-eval", "--protocol", "stability-jp") == (
        *(0, out),
        "jsts is left out: the protocol has no such subset.",
    )
    assert export(out, "--as", "lm-eval")[0] == 5
    code, said, why = export(str(tmp_path / "x"), "--as", "hub-eval-results", "--protocol", "nobody")
    assert (code, said) == (2, "") and why.startswith("error: Unknown protocol 'nobody'.")
    code, said, why = export(str(tmp_path / "x.csv"), "--protocol", "official")
    assert (code, said) == (2, "") and why.startswith("error: --protocol belongs to --as")
    assert export(str(tmp_path / "x.csv")) == (0, str(tmp_path / "x.csv"), "")
    assert names(tmp_path) == ["out", "runs", "x.csv"]
