"""The commands of the README, run as they are printed."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")

NOT_RUN = {
    r"pip install ": "installs packages",
    r"python3 -m venv peer ": "installs packages",
    r".* --peer lm-eval ": "needs that environment",
    r"python -m jglue_app data (fetch|verify)\b": "official data come from the network",
    r"python -m jglue_app run --tasks jnli,jcommonsenseqa --limit 100$": "reads official data",
    r".* Qwen/Qwen3-0\.6B ": "a model from the Hub",
    r".* rinna/": "models from the Hub",
    r".* llm-jp/": "models from the Hub",
    r".* cl-nagoya/": "a model from the Hub",
    r".* openai:gpt": "an account at OpenAI; tests/backends/test_openai_api_backend.py has a server",
    r"export WANDB_API_KEY=": "an account at W&B; tests/wandb_sink has a server",
    r".* --wandb\b": "an account at W&B",
    r"python -m jglue_app pull TEAM/": "an account at W&B",
    r"python -m jglue_app push --(all|grid) ": "an account at W&B",
}
"""Commands that this machine cannot run alone, and why."""


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def reason(line: str) -> str | None:
    return next((why for pattern, why in NOT_RUN.items() if re.match(pattern, line)), None)


LINES = [line for block in blocks("bash") for line in block.splitlines()]


def test_every_command_that_is_not_run_is_printed_somewhere() -> None:
    for pattern in NOT_RUN:
        assert [line for line in LINES if re.match(pattern, line)], pattern
    assert len([line for line in LINES if reason(line) is None]) == 42


def test_extras_that_commands_need_are_named_beside_them() -> None:
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"])
    named = {name for names in re.findall(r"'\.\[([a-z,-]+)\]'", README) for name in names.split(",")}
    assert {"ray", "embeddings"} <= named <= extras


@pytest.mark.harness
def test_the_commands_do_what_the_text_beside_them_says(tmp_path: Path) -> None:
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "assets").symlink_to(ROOT / "assets", target_is_directory=True)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "WANDB_DIR": str(folder), "COLUMNS": "200"}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"

    def shell(line: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", line], cwd=folder, env=env, capture_output=True, encoding="utf-8"
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        assert "Traceback" not in done.stderr
        return done.stdout

    printed = {line: shell(line) for line in LINES if reason(line) is None}

    def output(beginning: str) -> str:
        (found,) = [text for line, text in printed.items() if line.startswith(f"python -m jglue_app {beginning}")]
        return found

    # "… the strict reading finds no label, the lenient one finds 矛盾, and wandb-2023-0shot takes it for entailment."
    (item,) = json.loads(output("score "))["disagreements"]
    read = {name: verdict["value"] for verdict in item["verdicts"] for name in verdict["protocols"]}
    assert read["official"] is None
    assert read["official, lenient"] == "contradiction"
    assert read["wandb-2023-0shot"] == "entailment"
    with (folder / "zero.csv").open(encoding="utf-8-sig", newline="") as file:
        assert len(list(csv.DictReader(file))) == 10
    zero = json.loads((folder / "zero.json").read_text("utf-8"))["run"]
    assert Path(zero).is_dir(), "deleted, and brought back from its archive"
    assert output("import zero.zip").strip() == zero
    assert len(list(folder.glob("three-log/**/samples_*.jsonl"))) == 1
    assert "wandb sync " in output("push ")
    # The example in Python, against the same kind of runs.
    (example,) = [block for block in blocks("python") if "evaluate(" in block]
    done = subprocess.run([sys.executable, "-c", example], cwd=folder, env=env, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Output(") == 10
