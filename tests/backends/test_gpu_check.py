"""The command that is run on a GPU works: it is tried on a CPU, as there is rarely a GPU to try it on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import gpu_check, random_llama

TinyModel = Callable[..., Path]


def test_a_model_is_timed_and_compared(tiny_model: TinyModel, tmp_path: Path) -> None:
    random_llama.make(tmp_path, **gpu_check.SIZES["tiny"], tokenizer_folder=tiny_model("llama"))
    row = gpu_check.check(tmp_path, "4bit", "cpu", tiny=True)
    assert json.loads(json.dumps(row)) == row
    assert (row["engine"], row["engine_reason"]) == ("packed", "")
    assert [(work["task"], work["method"]) for work in row["work"]] == [
        ("jnli", "choose"),
        ("jcommonsenseqa", "choose"),
        ("jsquad", "generate"),
    ]
    assert all(work["items"] == gpu_check.TINY_ITEMS and not work["failed"] for work in row["work"])
    assert 0 < row["prefill_fraction"] < 1
    assert 0 < row["difference"]["worst"] < 0.1
    lines = gpu_check.table([{"size": "tiny", "kind": "4bit", "error": None} | row]).splitlines()
    assert len(lines) == 3 and len({line.count("|") for line in lines}) == 1


def test_a_model_that_fails_leaves_the_others(tmp_path: Path) -> None:
    result = gpu_check.run_one(str(tmp_path), "8bit", "no such device", 60, tiny=True)
    assert "no such device" in result["error"]
    rows = [{"size": "1B", "kind": "8bit"} | result]
    assert len({line.count("|") for line in gpu_check.table(rows).splitlines()}) == 1


@pytest.mark.harness
def test_the_command(tiny_model: TinyModel, tmp_path: Path) -> None:
    line = ["--tiny", "--device", "cpu", "--tokenizer", str(tiny_model("llama")), "--out", str(tmp_path)]
    gpu_check.main(line)
    rows = json.loads((tmp_path / "gpu_check.json").read_text("utf-8"))
    assert [(row["kind"], row["error"]) for row in rows] == [("bfloat16", None), ("8bit", None), ("4bit", None)]
    assert (tmp_path / "gpu_check.md").read_text("utf-8").count("\n") == 5
