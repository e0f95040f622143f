"""`embed` and what other commands say of its runs, as a script sees them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from jglue_app.cli import main
from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings
from tests.embedding.making import make, plan_of
from tests.embedding.sentence_model import save_static_model

SAMPLE = ("--data", "sample", "--device", "cpu")


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


class Command:
    """Runs a command in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: str | Path) -> Said:
        self._monkeypatch.setattr(sys, "argv", ["jglue_app", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = self._capsys.readouterr()
        return Said(int(stopped.value.code or 0), out, err)


def test_the_scores_the_prefix_and_where_it_is_stored_are_printed(command: Command, sentence_model: Path) -> None:
    said = command("embed", "--model", sentence_model, *SAMPLE, "--limit", "12")
    assert said.code == 0
    assert "stores the prefix '類似：' (STS)." in said.err
    head, *_ = said.out.splitlines()
    assert head.startswith('tiny · sentence embeddings · prefix "類似："  (run ')
    assert "JSTS (sample)  pearson" in said.out
    assert "not 0–5" in said.out
    assert "lenient" not in said.out
    assert "stored in " in said.out


def test_json_and_another_run_has_it_as_a_reference(command: Command, sentence_model: Path, tmp_path: Path) -> None:
    said = command("embed", "--model", sentence_model, *SAMPLE, "--limit", "12", "--prefix", "", "--json")
    table = json.loads(said.out)
    assert table["report"]["tasks"]["jsts"]["metrics"]["pearson"]["n"] == 12
    assert "embeddings" not in table
    run = Path(table["run"])
    items = RunStore(run).data().items["jsts"]
    answers = tmp_path / "numbers.jsonl"
    answers.write_text("".join(json.dumps({"item_id": i, "text": f"{x.gold:.1f}"}) + "\n" for i, x in items.items()))
    written = command("run", "--model", answers, "--tasks", "jsts", "--data", "sample", "--limit", "12", "--json")
    (reference,) = json.loads(written.out)["embeddings"]
    assert reference["run"] == run.name
    assert reference["label"] == "tiny · sentence embeddings"
    assert reference["spearman"] == table["report"]["tasks"]["jsts"]["metrics"]["spearman"]
    both = command("compare", run, json.loads(written.out)["run"])
    assert both.code == 0
    assert "embeddings of the same items" not in both.out
    plain = command("run", "--model", answers, "--tasks", "jsts", "--data", "sample", "--limit", "12")
    assert "embeddings of the same items" in plain.out
    assert "tiny · sentence embeddings" in plain.out


def test_an_item_that_fails_makes_the_run_incomplete(command: Command, tmp_path: Path) -> None:
    folder = save_static_model(tmp_path / "static", {"[UNK]": [0, 0], "station": [1, 1]})
    said = command("embed", "--model", folder, *SAMPLE, "--limit", "3")
    assert said.code == 6
    assert "zero in every dimension" in said.err
    assert "3 items have no output" in said.err
    assert "cosine" not in said.out.split("outcomes in")[0]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--model", "owner/absent"), 4, "owner/absent"),
        (("--source", "magic"), 2, "source"),
        (("--limit", "0"), 2, "at least 1"),
        (("--split", "dev"), 2, "split"),
        (("--model", "answers.jsonl"), 2, "table of answers"),
        (("--source", "sentence-transformers"), 2, "gemma-3-270m is no model of sentence-transformers"),
        (("--project", "p"), 2, "--wandb"),
    ],
)
def test_bad_input_is_a_sentence(command: Command, arguments: tuple[str, ...], code: int, says: str) -> None:
    said = command("embed", *SAMPLE, *arguments)
    assert said.err.splitlines()[-1].startswith("error: ")
    assert says in said.err
    assert said.code == code


def test_it_can_be_written_for_wandb_offline(command: Command, sentence_model: Path, tmp_path: Path) -> None:
    said = command("embed", "--model", sentence_model, *SAMPLE, "--limit", "12", "--wandb", "--offline")
    assert said.code == 0, said.err
    assert "wandb sync" in said.err


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(sentence_model: Path, settings: Settings) -> None:
    plan = plan_of(sentence_model, settings, limit=None)
    records = settings.runs_dir / plan.spec.spec_id / "records.jsonl"
    environment = {**os.environ, "JGLUE_RUNS_DIR": str(settings.runs_dir), "OMP_NUM_THREADS": "1"}
    embed = [sys.executable, "-m", "jglue_app", "embed", "--model", str(sentence_model), *SAMPLE]
    with subprocess.Popen(embed, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while process.poll() is None and not (records.is_file() and records.stat().st_size > 3_000):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    before = records.read_bytes()
    whole = before[: before.rfind(b"\n") + 1]
    assert whole
    path = make(plan, settings)
    assert records.read_bytes().startswith(whole)
    ids = [record.item_id for record in RunStore(path).records()]
    assert len(ids) == len(set(ids)) == plan.total
