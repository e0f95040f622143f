"""The README and the pages of the guide: their commands, run as they are printed, their links and their length."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from jglue_app.backends.endpoint_settings import Endpoint, EndpointModel

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    path: path.read_text("utf-8") for path in (ROOT / "README.md", *sorted((ROOT / "assets" / "guide").glob("*.md")))
}
"""The README first: the pages of the guide repeat some of its commands, to be read alone."""
README = PAGES[ROOT / "README.md"]
TEXT = "\n".join(PAGES.values())
MOST_LINES = 330
"""Of the README: what is needed rarely stands in the guide."""

NOT_RUN = {
    r"pip install ": "installs packages",
    r"python3 -m venv peer ": "installs packages",
    r".* --peer lm-eval ": "needs that environment",
    r"python -m jglue_app data (fetch|verify)\b": "official data come from the network",
    r"python -m jglue_app run --tasks jnli,jcommonsenseqa --limit 100 --method both$": "reads official data",
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
    """The fenced blocks of one language on all pages, in their order, each once."""
    return list(dict.fromkeys(re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)))


def reason(line: str) -> str | None:
    return next((why for pattern, why in NOT_RUN.items() if re.match(pattern, line)), None)


LINES = list(dict.fromkeys(line for block in blocks("bash") for line in block.splitlines()))
"""Each command once, where it is printed first."""


def test_every_command_that_is_not_run_is_printed_somewhere() -> None:
    for pattern in NOT_RUN:
        assert [line for line in LINES if re.match(pattern, line)], pattern
    assert len([line for line in LINES if reason(line) is None]) == 42


def test_extras_that_commands_need_are_named_beside_them() -> None:
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"])
    named = {name for names in re.findall(r"'\.\[([a-z,-]+)\]'", TEXT) for name in names.split(",")}
    assert {"ray", "embeddings"} <= named <= extras


def test_the_readme_is_short_and_leads_to_every_page_of_the_guide() -> None:
    assert README.count("\n") <= MOST_LINES
    assert [path.name for path in PAGES if "guide" in path.parts and f"](assets/guide/{path.name})" not in README] == []
    first = re.search(r"^```bash$", README, re.MULTILINE)
    assert first is not None
    assert "assets/screenshots/compare-light.png" in README[: first.start()], "a picture before the first command"


def test_whatever_a_page_links_to_is_there() -> None:
    links = [
        (path, target)
        for path, text in PAGES.items()
        for target in re.findall(r"(?:\]\(|src=\")([^)\"#]+)", text)
        if "://" not in target
    ]
    assert len(links) > 30
    assert [(path.name, target) for path, target in links if not (path.parent / target).exists()] == []


def test_every_variable_and_every_setting_of_an_endpoint_is_explained() -> None:
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "jglue_app").rglob("*.py"))
    variables = set(re.findall(r'"(JGLUE_[A-Z_]+)"', sources)) - {"JGLUE_WORKER_HOME"}  # Is set for a worker here.
    assert len(variables) > 10
    settings, servers = (PAGES[ROOT / "assets" / "guide" / f"{name}.md"] for name in ("settings", "servers"))
    assert [name for name in sorted(variables) if f"`{name}" not in settings] == []
    fields = {field.name for kind in (Endpoint, EndpointModel) for field in dataclasses.fields(kind)}
    fields -= {"id", "hidden", "base_urls"}  # Not of the file.
    assert [name for name in sorted(fields) if not re.search(rf"\b{name}\b", servers)] == []


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
