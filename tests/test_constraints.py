"""The versions of the constraints file cover what is required."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / ".github" / "constraints.txt"


def names(path: Path) -> set[str]:
    """The distributions that a file of requirements names on lines of their own, normalized as pip does."""
    lines = (line.strip() for line in path.read_text("utf-8").splitlines())
    found = (re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", line) for line in lines)
    return {re.sub("[-_.]+", "-", match[0]).lower() for match in found if match}


@pytest.mark.parametrize(("file", "one"), [("requirements.txt", "gradio"), ("tests/requirements.txt", "pytest")])
def test_every_requirement_has_a_version_among_the_constraints(file: str, one: str) -> None:
    required = names(ROOT / file)
    assert one in required
    missing = sorted(required - names(CONSTRAINTS))
    assert missing == [], "Add to .github/constraints.txt the versions that passed, as `pip freeze` prints them"


def test_every_constraint_is_one_version() -> None:
    lines = CONSTRAINTS.read_text("utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[^\s=]+", line)] == []


def test_every_requirement_has_a_lowest_version_for_the_checks_to_try() -> None:
    lines = (line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines())
    assert [line for line in lines if line and not re.search(r"[>=]=\d", line)] == []


def test_the_checks_run_with_each_python_that_is_promised() -> None:
    promised = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text("utf-8"))
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "checks.yml").read_text("utf-8"))
    assert workflow["jobs"]["run"]["strategy"]["matrix"]["python"] == promised == ["3.11", "3.12", "3.13"]
