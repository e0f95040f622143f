"""The names of failed tests, which `.ci/run` takes to run them again."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import pytest_terminal_summary


def written(file: Path, **stats: list[str]) -> str:
    reports: dict[str, Any] = {kind: [SimpleNamespace(nodeid=name) for name in names] for kind, names in stats.items()}
    reporter: Any = SimpleNamespace(stats=reports)
    config: Any = SimpleNamespace(getoption={"--write-failed": str(file)}.__getitem__)
    pytest_terminal_summary(reporter, config)
    return file.read_text("utf-8")


def test_each_test_that_failed_or_whose_fixtures_did_is_named_once_and_no_other(tmp_path: Path) -> None:
    names = written(tmp_path / "failed", failed=["a.py::x[1 - 日]", "a.py::y"], error=["a.py::y", "b.py"], passed=["c"])
    assert names == "a.py::x[1 - 日]\na.py::y\nb.py\n"
    assert written(tmp_path / "failed", passed=["c"]) == ""


def test_nothing_is_written_unless_it_is_asked_for(pytestconfig: pytest.Config) -> None:
    assert pytestconfig.getoption("--write-failed", default="unknown") in (None, ".venv/default-failed")
