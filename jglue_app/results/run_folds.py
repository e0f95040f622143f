"""Stored runs that a list folds into one line: those of a grid, failed ones, fragments, and the members of a sweep."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jglue_app.results.library import StoredRun
from jglue_app.scoring.comparison import MIN_PAIRED

LEAST_OF_SWEEP = 3
"""Fewer runs than this that differ in their prompt alone are no sweep."""

Kind = Literal["grid", "failed", "sweep", "fragments"]


@dataclass(frozen=True, slots=True)
class Fold:
    """Runs that stand in one line."""

    kind: Kind
    """`grid`: runs of one grid. `failed`: nothing was answered. `sweep`: one model on one subset under several prompts,
    perhaps in other settings too. `fragments`: fewer items of a subset than any verdict needs."""
    names: tuple[str, ...]
    grid: str = ""
    """Its name."""


def folds(runs: Mapping[str, StoredRun], grids: Mapping[str, Collection[str]] | None = None) -> list[Fold]:
    """The folds of some runs; a run is in one at most.

    Args:
        runs: name → run.
        grids: name of a grid → its runs; of several grids with the same run, the first has it.
    """
    of_grid: list[Fold] = []
    left = dict(runs)
    for grid, members in (grids or {}).items():
        mine = tuple(name for name in left if name in members)
        if len(mine) > 1:
            of_grid.append(Fold("grid", mine, grid))
            left = {name: run for name, run in left.items() if name not in members}
    return [*of_grid, *_others(left)]


def _others(runs: Mapping[str, StoredRun]) -> list[Fold]:
    failed = tuple(name for name, run in runs.items() if run.done == 0)
    sweeps: dict[str, list[str]] = {}
    for name, run in runs.items():
        # Who names a run looks for it under its name.
        if run.done and not run.is_named and len(run.spec.get("tasks") or ()) == 1:
            sweeps.setdefault(_beside_prompt(run.spec), []).append(name)
    found = [Fold("sweep", tuple(names)) for names in sweeps.values() if _is_sweep(names, runs)]
    folded = {*failed, *(name for fold in found for name in fold.names)}
    fragments = tuple(
        name for name, run in runs.items() if name not in folded and is_fragment(run) and not run.is_named
    )
    others = [Fold("fragments", fragments)] if len(fragments) > 1 else []
    return [*found, *others, *([Fold("failed", failed)] if failed else [])]


def is_fragment(run: StoredRun) -> bool:
    """Whether a run has answered fewer items of its subsets, on average, than any verdict needs."""
    return run.done < MIN_PAIRED * max(1, len(run.spec.get("tasks") or ()))


def _is_sweep(names: list[str], runs: Mapping[str, StoredRun]) -> bool:
    prompts = {json.dumps(runs[name].spec.get("prompt"), sort_keys=True, default=str) for name in names}
    return len(prompts) >= LEAST_OF_SWEEP


def _beside_prompt(spec: Mapping[str, Any]) -> str:
    """What the runs of a sweep have in common: an adapter may be one of its sides, and token limits are those of the
    wording style."""
    model = {key: value for key, value in (spec.get("model") or {}).items() if not key.startswith("adapter")}
    decoding = spec.get("decoding") or {}
    same = [model, spec.get("tasks"), spec.get("data_version"), spec.get("split", "valid"), spec.get("seed", 0)]
    return json.dumps([*same, spec.get("limit"), decoding.get("method")], sort_keys=True, default=str)
