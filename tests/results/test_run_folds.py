"""Which runs a list folds into one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from jglue_app.results.library import StoredRun
from jglue_app.results.run_folds import Fold, folds


def run(name: str, style: str, done: int = 20) -> StoredRun:
    spec = {"model": {"id": "m"}, "tasks": ["jnli"], "prompt": {"style": style}}
    return StoredRun(name, Path(), f"m · {style}", "", done, 20, spec, {}, made_as=f"m · {style}")


def test_a_run_that_somebody_named_stands_under_its_name() -> None:
    runs = {name: run(name, name) for name in ("a", "b", "c", "d")}
    assert folds(runs) == [Fold("sweep", ("a", "b", "c", "d"))]
    runs["b"] = replace(runs["b"], label="baseline")
    assert folds(runs) == [Fold("sweep", ("a", "c", "d"))]
    # Two that are left are no sweep.
    assert folds({name: one for name, one in runs.items() if name != "a"}) == []
    few = {name: run(name, name, done=3) for name in ("x", "y")}
    assert folds(few) == [Fold("fragments", ("x", "y"))]
    assert folds(few | {"y": replace(few["y"], label="mine")}) == []
