"""The Dockerfile and what is sent to its builder, as far as that can be told without building it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINES = re.sub(r"\\\n\s*", " ", (ROOT / ".github" / "Dockerfile").read_text("utf-8")).splitlines()
IGNORE = (ROOT / ".dockerignore").read_text("utf-8").splitlines()


def of(instruction: str) -> list[str]:
    """What follows an instruction, in order."""
    return [line.split(maxsplit=1)[1] for line in LINES if line.startswith(f"{instruction} ")]


def test_the_builder_is_sent_what_it_copies_and_no_more() -> None:
    copied = {source for line in of("COPY") for source in line.split()[:-1]}
    assert [source for source in copied if not (ROOT / source).exists()] == []
    rules = [line for line in IGNORE if line and not line.startswith("#")]
    assert rules[0] == "*"
    sent = {rule.removeprefix("!") for rule in rules if rule.startswith("!") and "screenshots" not in rule}
    assert sent == copied
    assert "!assets/screenshots/preview.png" in rules
    assert {"assets/launch", "assets/guide"} <= set(rules), "of no use to whoever runs it"


def test_it_runs_without_rights_and_writes_to_its_volume_and_temporary_files_alone() -> None:
    user = LINES.index("USER 1000")
    assert not [line for line in LINES[user:] if line.startswith(("RUN ", "COPY ", "USER root"))]
    variables = dict(re.findall(r"(\w+)=(\S+)", " ".join(of("ENV"))))
    places = {name: value for name, value in variables.items() if value.startswith("/")}
    assert {"JGLUE_CACHE_DIR", "JGLUE_RUNS_DIR", "HF_HOME"} <= places.keys()
    assert [name for name, value in places.items() if not value.startswith(("/data", "/tmp"))] == []
    # Whoever only starts it serves strangers.
    assert variables["JGLUE_MODE"] == "public"
    assert variables["GRADIO_SERVER_PORT"] in of("EXPOSE")
    assert "'/health'" in of("HEALTHCHECK")[0]
    assert of("CMD") == ['["python", "app.py"]']


def test_its_python_is_the_one_of_the_space() -> None:
    version = re.search(r'^python_version: "(.+)"$', (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert version is not None
    assert of("ARG")[0] == f"BASE=python:{version[1]}-slim"
