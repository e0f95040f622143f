"""A short form of `python -m tests.load`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.ui.conftest import ROOT


@pytest.mark.harness
def test_a_few_visitors_at_once_and_a_flood() -> None:
    command = [sys.executable, "-m", "tests.load", "--short", "many", "stop", "flood"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "9 figures, 0 missed" in told.stdout
