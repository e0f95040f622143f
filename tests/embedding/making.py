"""Runs of embeddings over the sample items."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from jglue_app.runs.embedding import make_embedding_plan, run_embedding
from jglue_app.runs.plan import Plan
from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec

N = 12
"""Items of a run, unless another number is asked for."""


def never() -> bool:
    return False


def plan_of(folder: Path, settings: Settings, *, limit: int | None = N, prefix: str | None = None) -> Plan:
    """A plan of a model of sentence-transformers."""
    spec = ModelSpec(str(folder), "sentence_transformers")
    return make_embedding_plan(settings, spec, data_kind="sample", limit=limit, prefix=prefix)


def make(plan: Plan, settings: Settings, should_stop: Callable[[], bool] = never) -> Path:
    """Run a plan; the folder of the run."""
    for _ in run_embedding(plan, settings, device="cpu", should_stop=should_stop):
        pass
    return RunStore.of(settings.runs_dir, plan.spec).path
