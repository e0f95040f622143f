"""What is stored, and copies of it to work in."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compatibility.interface import Page, served
from tests.compatibility.requests import ENVIRONMENT

STORED = Path(__file__).parent / "stored"


def read_stored(name: str) -> Any:
    """A JSON file of those that are stored."""
    raw = (STORED / name).read_bytes()
    return json.loads(gzip.decompress(raw) if name.endswith(".gz") else raw)


RUNS: dict[str, str] = read_stored("index.json")["runs"]
"""Name → id of the stored runs."""
VERSION: str = read_stored("index.json")["version"]
"""Of the application that has made them."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what is stored; the working folder of the test."""
    copy = tmp_path / "stored"
    shutil.copytree(STORED, copy)
    monkeypatch.chdir(copy)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return copy


@pytest.fixture(scope="package")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page over a copy of the stored runs."""
    copy = tmp_path_factory.mktemp("page") / "runs"
    shutil.copytree(STORED / "runs", copy)
    with served(copy) as page:
        yield page
