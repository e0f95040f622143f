"""What the Hugging Face Hub reads at the top of README.md: keys and values that it knows, and what the rest says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import SpaceHardware
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from PIL import Image

from jglue_app.ui import preview

ROOT = Path(__file__).parents[1]
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
KINDS: dict[str, type] = {
    **dict.fromkeys(("title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "python_version"), str),
    **dict.fromkeys(("app_file", "base_path", "header", "license", "short_description", "thumbnail"), str),
    **dict.fromkeys(("suggested_hardware", "startup_duration_timeout"), str),
    **dict.fromkeys(("models", "datasets", "tags", "hf_oauth_scopes", "preload_from_hub"), list),
    **dict.fromkeys(("hf_oauth", "disable_embedding", "fullWidth", "pinned"), bool),
    **dict.fromkeys(("app_port", "hf_oauth_expiration_minutes"), int),
}
"""What the reference of the Hub's documentation lists (docs/hub/spaces-config-reference), without what only other kinds
of Spaces have."""
SCOPES = {
    *("email", "read-billing", "read-repos", "contribute-repos", "write-repos", "manage-repos", "inference-api"),
    *("jobs", "webhooks", "write-discussions"),
}
"""What an application may ask for (docs/hub/oauth); `openid` and `profile` are always included."""
WIDER_SCOPES = {"read-repos", "write-repos", "manage-repos"}
"""Which reach repositories that this application has not made."""


@pytest.fixture(scope="module")
def space() -> dict[str, Any]:
    """The block at the top of README.md."""
    match = re.match(r"---\n(.*?)\n---\n", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert match is not None
    values = yaml.safe_load(match[1])
    assert isinstance(values, dict)
    return values


def test_the_hub_knows_each_key_and_its_kind_of_value(space: dict[str, Any]) -> None:
    assert {key: type(value) for key, value in space.items()} == {key: KINDS.get(key) for key in space}
    assert {space["colorFrom"], space["colorTo"]} <= COLOURS
    assert space["sdk"] == "gradio"
    assert space["suggested_hardware"] in {hardware.value for hardware in SpaceHardware}
    assert len(space["short_description"]) <= 60
    names = [*space["models"], *space["datasets"]]
    assert [name for name in names if not re.fullmatch(r"[\w.-]+/[\w.-]+", name)] == []
    assert len(names) == len(set(names))


def test_it_asks_visitors_for_the_least_that_a_repository_of_their_own_takes(space: dict[str, Any]) -> None:
    scopes = set(space["hf_oauth_scopes"])
    assert space["hf_oauth"] is True
    assert scopes <= SCOPES
    assert not scopes & WIDER_SCOPES
    assert len(scopes) == 1


def test_its_versions_are_among_those_that_are_required(space: dict[str, Any]) -> None:
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    gradio = next(Requirement(line) for line in lines if line.startswith("gradio"))
    assert space["sdk_version"] in gradio.specifier
    # For `hf_oauth`.
    assert "oauth" in gradio.extras
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert re.fullmatch(r"3\.\d+", space["python_version"])
    assert space["python_version"] in SpecifierSet(project["requires-python"])
    assert f"Programming Language :: Python :: {space['python_version']}" in project["classifiers"]
    assert space["license"] == project["license"].lower()


def test_it_lists_the_models_that_can_be_chosen(space: dict[str, Any]) -> None:
    rows = tomllib.loads((ROOT / "assets" / "models.toml").read_text("utf-8"))["model"]
    # Weights of the first come with a package; on the Hub they are Google's.
    assert space["models"] == ["google/gemma-3-270m", *(row["id"] for row in rows if "/" in row["id"])]


def test_its_files_are_there(space: dict[str, Any]) -> None:
    assert (ROOT / space["app_file"]).is_file()
    address = re.fullmatch(r"https://huggingface\.co/spaces/[^/]+/[^/]+/resolve/main/(.+)", space["thumbnail"])
    assert address is not None
    picture = ROOT / address[1]
    assert picture.name == preview.NAME
    with Image.open(picture) as opened:
        assert (opened.format, opened.size) == ("PNG", preview.SIZE)
