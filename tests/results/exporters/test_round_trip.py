"""A log that was exported, brought in again: the same outputs have the same scores under every protocol."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from jglue_app import api
from jglue_app.cli import main
from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.settings import ASSETS
from jglue_app.types import ModelSpec
from tests.results.importers.logs import NLI, jnli_ranked, results, samples, taken

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("jglue_app.results.importers") is None,
    reason="logs of other harnesses cannot be imported here",
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


@pytest.mark.parametrize("shots", [3, None])
def test_a_log_of_another_harness_goes_out_without_a_claim_on_how_it_was_made(
    tmp_path: Path, shots: int | None
) -> None:
    texts = [
        {
            **row,
            "resps": [["含意"]],
            "filtered_resps": ["含意"],
            "arguments": {"gen_args_0": {"arg_0": "p", "arg_1": {}}},
        }
        for row in jnli_ranked(dict.fromkeys(NLI, (-1.0, -2.0, -3.0)))
    ]
    if shots is not None:
        results(tmp_path, {"ja_jnli": {"exact_match": 1 / 3}})
    found = taken(samples(tmp_path, "ja_jnli", texts))
    run = api.open_run(found.path)
    api.export(run, tmp_path / "scores", "every-eval-ever")
    (path,) = (tmp_path / "scores").rglob("*.json")
    table = json.loads(path.read_text("utf-8"))
    details = table["model_info"]["additional_details"]
    assert details["deployment_type"] == "unknown"
    assert details["answers"] == "made elsewhere, and scored here"
    assert not [name for name in details if name.startswith(("model_r", "model_q", "model_f"))]
    generation = table["evaluation_results"][0]["generation_config"]
    assert "generation_args" not in generation
    assert not [name for name in generation["additional_details"] if name.startswith(("decoding_", "prompt_"))]
    assert generation["additional_details"]["harness"] == ("lm-eval 0.4.13" if shots else "lm-eval")
    api.export(run, tmp_path / "log", "lm-eval")
    (path,) = (tmp_path / "log").rglob("results_*.json")
    table = json.loads(path.read_text("utf-8"))
    assert table["n-shot"] == {"jglue_sample_jnli": shots}
    assert table["config"]["gen_kwargs"] is None
    (path,) = (tmp_path / "log").rglob("samples_*.jsonl")
    assert json.loads(path.read_text("utf-8").splitlines()[0])["arguments"] == {
        "gen_args_0": {"arg_0": "p", "arg_1": {}}
    }
