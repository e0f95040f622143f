"""What has changed since earlier runs: other files of a model, other versions of the libraries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jglue_app.backends import endpoints
from jglue_app.backends.fingerprint import COMMIT, CONVERSION, ON_HUB, changed_files
from jglue_app.backends.hf.checkpoint.stored_quantization import distributions
from jglue_app.errors import StoreError
from jglue_app.messages import Joined, Message
from jglue_app.runs.manifest import package_versions
from jglue_app.runs.plan import Plan
from jglue_app.runs.serialization import spec_from
from jglue_app.runs.store import RunStore
from jglue_app.types import RunSpec

MAX_NAMED = 3
"""Files that a sentence names."""
RELEVANT_PACKAGES = ("torch", "transformers", "tokenizers", "sentencepiece", "bitsandbytes", "gguf")
"""Packages on whose versions an answer may depend; with an adapter on peft's too, of models of sentence-transformers on
that package's, and where weights are quantized in their files on those that read them."""


def changes_since(plan: Plan, runs_dir: Path) -> Iterator[Message]:
    """A note on an earlier run that differs from this one in the files of the model alone, and on library versions that
    have changed since this run was begun.

    Args:
        plan: the run that is to be made, continued or shown.
        runs_dir: where runs are stored.

    Raises:
        StoreError: the run's own manifest cannot be read.
    """
    spec, store = plan.spec, RunStore.of(runs_dir, plan.spec)
    begun = store.exists()
    others = sorted(_with_other_files(spec, runs_dir), key=lambda table: str(table.get("created")))
    if others and plan.files:
        yield from _changed_files(plan, others[-1], begun)
    if begun and spec.model.backend in ON_HUB and len(store.finished_of(plan.items)) < plan.total:
        machine, model = (store.manifest().get(name) for name in ("machine", "model"))
        before = machine.get("packages") if isinstance(machine, dict) else None
        here = package_versions()
        quantized = isinstance(model, dict) and model.get("quantized")
        more = [*(distributions() if quantized else ()), *(("peft",) if spec.model.adapter else ())]
        more += ["sentence-transformers"] if spec.model.backend == "sentence_transformers" else []
        relevant = dict.fromkeys((*RELEVANT_PACKAGES, *more))
        pairs = [(name, str((before or {}).get(name) or ""), here.get(name, "not installed")) for name in relevant]
        pairs = [(name, old, new) for name, old, new in pairs if old and old != new]
        if pairs:
            old, new = (Joined(", ", [f"{pair[0]} {pair[k]}" for pair in pairs]) for k in (1, 2))
            yield Message(
                "This run was begun with {old} and goes on with {new}: some answers may differ from "
                "those of one version alone. To have all of one, delete run {spec_id} first.",
                old=old,
                new=new,
                spec_id=spec.spec_id,
            )


def _changed_files(plan: Plan, other: Mapping[str, Any], begun: bool) -> Iterator[Message]:
    model, run = plan.spec.model.id, other.get("spec_id")
    before = other.get("model_files")
    if not isinstance(before, dict):
        if not begun:  # Nothing is known of it, and that need not be said each time.
            yield Message(
                "Run {run} of the same settings does not say with which files of {model} it was made: "
                "this is another run, and that one is kept.",
                run=run,
                model=model,
            )
        return
    names = changed_files(before, plan.files)
    if names == [COMMIT] and COMMIT in before and COMMIT in plan.files:
        old, new = str(before[COMMIT])[:12], plan.files[COMMIT][:12]
        yield Message(
            "{model} is at another commit than in run {run} of the same settings ({old} then, {new} "
            "now): this is another run, and that one is kept.",
            model=model,
            run=run,
            old=old,
            new=new,
        )
        return
    if names == list(CONVERSION):
        yield Message(
            "This version converts the GGUF file of {model} otherwise than the one that made run {run} of the same "
            "settings: this is another run, and that one is kept.",
            model=model,
            run=run,
        )
        return
    more = [Message("{count} more", count=len(names) - MAX_NAMED)] if len(names) > MAX_NAMED else []
    files = Joined(", ", [*names[:MAX_NAMED], *more])
    if plan.spec.model.backend == endpoints.BACKEND:
        yield Message(
            "The server of {model} answers otherwise than in run {run} of the same settings ({changes}): this is "
            "another run, and that one is kept.",
            model=model,
            run=run,
            changes=files,
        )
        return
    yield Message(
        "The files of {model} have changed since run {run} of the same settings ({files}): this is "
        "another run, and that one is kept.",
        model=model,
        run=run,
        files=files,
    )


def _with_other_files(spec: RunSpec, runs_dir: Path) -> Iterator[dict[str, Any]]:
    """Manifests of the stored runs whose specs differ from one in the files of the model, and in nothing else."""
    # The latest last, also of those that were made in one second.
    for path in sorted(runs_dir.glob("[!.]*/manifest.json"), key=_changed_at):
        try:
            table = RunStore(path.parent).manifest()
            if table["spec"]["model"]["id"] == spec.model.id:
                other = spec_from(table["spec"])
                if (
                    _without_files(other) == _without_files(spec)
                    and other.model.files_sha256 != spec.model.files_sha256
                ):
                    yield table
        except (StoreError, KeyError, TypeError, ValueError):  # Damaged, or of another version; opening it says so.
            continue


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # Deleted meanwhile.
        return 0


def _without_files(spec: RunSpec) -> RunSpec:
    return replace(spec, model=replace(spec.model, files_sha256=None), limit=None)
