"""A log that was exported, brought in again: the same outputs have the same scores under every protocol."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from jglue_app import api
from jglue_app.cli import main
from jglue_app.protocols import PROTOCOLS
from jglue_app.settings import ASSETS
from jglue_app.types import ModelSpec

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("jglue_app.importers") is None, reason="logs of other harnesses cannot be imported here"
)
SAID = ("含意", "「矛盾」", "中立です", "entailment", "", "答え：矛盾", "わからない\ud83d")


@pytest.mark.parametrize("method", ["generate", "choose"])
def test_scores_are_the_same_after_export_and_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], method: str
) -> None:
    lines = (ASSETS / "samples" / "jnli" / "valid.json").read_text("utf-8").splitlines()
    answers = [
        {
            "item_id": json.loads(line)["sentence_pair_id"],
            "text": SAID[place % len(SAID)],
            "choice_logprobs": [-1.0 - place % 2, -1.5, -1.25 - place % 3],
        }
        for place, line in enumerate(lines)
    ]
    table = tmp_path / "table.jsonl"
    table.write_text("".join(json.dumps(answer) + "\n" for answer in answers), "utf-8")
    before = api.evaluate(ModelSpec(str(table), "scripted"), ["jnli"], data="sample", method=method)
    api.export(before, tmp_path / "log", "lm-eval")
    (log,) = (tmp_path / "log").rglob("samples_*.jsonl")
    arguments = ["import", str(log), "--data", "sample", "--runs-dir", str(tmp_path / "brought")]
    monkeypatch.setattr(sys, "argv", ["jglue_app", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, capfd.readouterr().err
    (path,) = (path.parent for path in (tmp_path / "brought").glob("*/manifest.json"))
    after = api.open_run(path)
    compared = 0
    for protocol in PROTOCOLS:
        one, two = (run.report(protocol).tasks["jnli"] for run in (before, after))
        assert (one.metrics, one.lenient, one.choose, one.n) == (two.metrics, two.lenient, two.choose, two.n), protocol
        compared += bool(one.metrics or one.choose)
    assert compared >= 3
