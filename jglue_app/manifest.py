"""What a run directory says about itself: spec, data, model, machine."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import psutil

from jglue_app.plan import Plan
from jglue_app.report import run_label
from jglue_app.store import RunStore, RunWriter
from jglue_app.types import Backend, Dataset


def write_head(plan: Plan, store: RunStore, writer: RunWriter, backend: Backend | None = None) -> None:
    """Write manifest and items, keeping what an earlier session of the same run put there."""
    old = store.manifest() if store.exists() else {}
    items = {(item.task, item.id): item for item in store.items()}
    items |= {(name, item.id): item for name, chosen in plan.items.items() for item in chosen}
    model = dataclasses.asdict(backend.info) if backend else old.get("model")
    head = {
        "label": run_label(plan.spec),
        "created": old.get("created") or _now(),
        "spec_id": plan.spec.spec_id,
        "spec": plan.spec,
        "data": {name: _data_facts(plan, name) for name in plan.spec.tasks},
        "model": model,
        "machine": machine_facts(),
    }
    if head != {name: old.get(name) for name in head}:
        writer.items(items.values())
        writer.manifest(head)


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
    return found | ({"examples": facts(plan.pools[name])} if name in plan.pools else {})


def machine_facts() -> dict[str, Any]:
    """Processor, memory and versions, for the manifest. No names and no paths of the machine."""
    packages = ("torch", "transformers", "accelerate", "bitsandbytes", "gradio")
    versions = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": psutil.cpu_count(logical=True),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "packages": versions,
    }


def _now() -> str:
    """The present moment in UTC, to the second, ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
