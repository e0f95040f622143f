"""What a run directory says about itself: spec, data, model, machine."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Any

import psutil

from jglue_app.plan import Plan
from jglue_app.store import RunStore, RunWriter, dumps
from jglue_app.types import Backend, Dataset, Prompt

PACKAGES = (
    *("torch", "transformers", "tokenizers", "sentencepiece", "accelerate", "bitsandbytes"),
    *("safetensors", "gguf", "huggingface-hub", "gradio"),
)


def write_head(plan: Plan, store: RunStore, writer: RunWriter, backend: Backend, prompt: Prompt | None = None) -> None:
    """Write manifest and items, keeping what an earlier session of the same run put there.

    With one of its prompts the manifest says what they do with thoughts, if they do anything.
    """
    old = store.manifest() if store.exists() else {}
    before = store.items()
    kept = {(item.task, item.id) for item in before}
    kept |= {(name, item.id) for name, chosen in plan.items.items() for item in chosen}
    # In the order of the file, however often the limit was raised: intervals drawn by resampling depend on the order.
    items = [item for name in plan.spec.tasks for item in plan.datasets[name].items if (name, item.id) in kept]
    machine = machine_facts()
    head = {
        "label": plan.spec.label,
        "created": old.get("created") or _now(),
        "spec_id": plan.spec.spec_id,
        "spec": plan.spec,
        "data": {name: _data_facts(plan, name) for name in plan.spec.tasks},
        "model": _model_facts(old.get("model"), backend),
        "model_files": dict(plan.files),
        "machine": machine,
    }
    if earlier := _earlier_machines(old, machine):
        head["earlier_machines"] = earlier
    if prompt and (prompt.thought or prompt.ranked_text):
        ranked = "after the closed thought" if prompt.ranked_text else "after the prompt"
        head["thought"] = {"opened": prompt.thought, "ranked": ranked}
    elif "thought" in old:
        head["thought"] = old["thought"]
    if items != before:
        writer.items(items)
    if json.loads(dumps(head)) != {name: old.get(name) for name in head}:
        writer.manifest(head)


def _model_facts(old: dict[str, Any] | None, backend: Backend) -> dict[str, Any]:
    """What answered: as it was when the run began, but for how prompts go through it, which longer ones may change."""
    now = dataclasses.asdict(backend.info)
    return now if not old else old | {name: now[name] for name in ("engine", "engine_reason")}


def _earlier_machines(old: dict[str, Any], machine: dict[str, Any]) -> list[Any]:
    """The machines and versions with which earlier parts of the run were made, where they were others."""
    earlier: list[Any] = list(old.get("earlier_machines") or [])
    before = old.get("machine")
    return earlier + ([before] if before and before != machine else [])


def _data_facts(plan: Plan, name: str) -> dict[str, Any]:
    def facts(dataset: Dataset) -> dict[str, Any]:
        return {
            "source": dataset.source,
            "version": dataset.version,
            "split": dataset.split,
            "file": Path(dataset.path).name,
            "sha256": dataset.sha256,
            "items": len(dataset.items),
        }

    found = facts(plan.datasets[name])
    if name not in plan.pools:
        return found
    pool = plan.pools[name]
    return found | {"examples": facts(pool) | {"left_out": pool.left_out}}


def machine_facts() -> dict[str, Any]:
    """Processor, memory and versions, for the manifest. No names and no paths of the machine."""
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": psutil.cpu_count(logical=True),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "packages": package_versions(),
    }


def package_versions() -> dict[str, str]:
    """Package → its version here, of those that models are loaded and read with."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _now() -> str:
    """The present moment in UTC, to the second, ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
