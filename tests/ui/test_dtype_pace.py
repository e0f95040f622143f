"""What bfloat16 saves is told only where both dtypes were measured with the same settings, and in measured numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from jglue_app.runs.request import RunRequest, Side
from jglue_app.ui.dtype_pace import DtypePaces
from jglue_app.ui.job import Job, PlannedRun

REQUEST = RunRequest(("jnli", "jsts"), a=Side("m"), data="sample", limit=10)
"""20 items."""


def measured(runs_dir: Path, paces: DtypePaces, request: RunRequest, dtype: str, seconds: float, device: str) -> None:
    """A job of this request has answered 8 items, in so many seconds."""
    (runs_dir / dtype).mkdir(parents=True, exist_ok=True)
    manifest = {"format": 1, "model": {"dtype": dtype, "device": device}}
    (runs_dir / dtype / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    job = Job("1", "me", "compare", request)
    job.runs["a"] = PlannedRun(dtype, {})
    job.pace.counts["a"], job.pace.seconds["a"] = 8, seconds
    paces.learn(job)


@pytest.mark.parametrize(
    ("slow", "says"),
    [
        (16.0, "20 items take about 5.0 seconds in bfloat16 and 40.0 in float32."),
        (48.0, "20 items take about 0.1 minutes in bfloat16 and 2.0 in float32."),
    ],
)
def test_times_are_those_of_the_items_that_are_asked_for(tmp_path: Path, slow: float, says: str) -> None:
    paces = DtypePaces(tmp_path)
    in_bfloat16 = replace(REQUEST, a=replace(REQUEST.a, dtype="bfloat16"), limit=5)
    measured(tmp_path, paces, in_bfloat16, "bfloat16", 2.0, "cpu")
    assert paces.hint(REQUEST, REQUEST.a) is None
    measured(tmp_path, paces, REQUEST, "float32", slow, "cpu")
    for request in (REQUEST, replace(in_bfloat16, limit=10)):
        hint = paces.hint(request, request.a)
        assert hint is not None
        assert says in hint
    other = replace(REQUEST, a=replace(REQUEST.a, shots=3))
    assert paces.hint(other, other.a) is None


def test_a_gpu_says_nothing_about_a_cpu(tmp_path: Path) -> None:
    paces = DtypePaces(tmp_path)
    for dtype, device in (("bfloat16", "cuda:0"), ("float32", "cpu")):
        request = replace(REQUEST, a=replace(REQUEST.a, dtype=dtype))
        measured(tmp_path, paces, request, dtype, 4.0, device)
    assert paces.hint(REQUEST, REQUEST.a) is None
