"""What a run directory says about itself: spec, data, model, machine."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import importlib.metadata
import json
import platform
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import psutil

from jglue_app.backends.hf.checkpoint.stored_quantization import distributions
from jglue_app.errors import StoreError
from jglue_app.messages import Message
from jglue_app.prompts.thoughts import is_ignored
from jglue_app.runs.plan import Plan
from jglue_app.runs.serialization import FLOAT32, dumps, facts_of
from jglue_app.runs.store import RunStore
from jglue_app.runs.writer import RunWriter, has_zeros, is_unfinished
from jglue_app.types import Dataset, Item, ModelInfo, Prompt

PACKAGES = (
    *("torch", "transformers", "tokenizers", "sentencepiece", "accelerate", "bitsandbytes", "peft"),
    *("safetensors", "gguf", "huggingface-hub", "gradio", "sentence-transformers"),
)


class Described(Protocol):
    """What says which model is loaded."""

    @property
    def info(self) -> ModelInfo:
        """Facts about it."""
        ...


def write_head(
    plan: Plan,
    store: RunStore,
    writer: RunWriter,
    backend: Described,
    prompt: Prompt | None = None,
    machine: Mapping[str, Any] | None = None,
) -> None:
    """Write manifest and items, keeping what an earlier session of the same run put there.

    `machine` has the facts of the machine that answers, where that is not this one. With one of its prompts the
    manifest says what they do with thoughts, if they do anything, and whether thinking that was asked for is turned on
    by them.
    """
    old = store.manifest() if store.exists() else {}
    before = store.items()
    items = _in_order(plan, {(item.task, item.id) for item in before})
    # A smaller limit of a later session leaves the run as large as it is.
    limits = [plan.spec.limit, store.spec().limit if old else plan.spec.limit]
    spec = dataclasses.replace(plan.spec, limit=None if None in limits else max(n for n in limits if n is not None))
    machine = dict(machine) if machine is not None else machine_facts()
    head = {
        "label": plan.spec.label,
        "created": old.get("created") or _now(),
        "spec_id": plan.spec.spec_id,
        "spec": spec,
        "data": {name: _data_facts(plan, name) for name in plan.spec.tasks},
        "model": _model_facts(old.get("model"), backend),
        "model_files": dict(plan.files),
        "machine": machine,
        "items": facts_of(items),
    } | {name: old[name] for name in ("records", "cost", FLOAT32) if name in old}
    if earlier := _earlier_machines(old, machine):
        head["earlier_machines"] = earlier
    if engines := _earlier_engines(old, backend):
        head["earlier_engines"] = engines
    thinking = plan.spec.prompt.thinking == "on"
    if prompt and (prompt.thought or prompt.ranked_text or thinking):
        ranked = "after the closed thought" if prompt.ranked_text else "after the prompt"
        turned_on = {"turned_on": not is_ignored(prompt)} if thinking else {}
        head["thought"] = {"opened": prompt.thought, "ranked": ranked, **turned_on}
    elif "thought" in old:
        head["thought"] = old["thought"]
    _write_items(items, before, store, writer)
    if json.loads(dumps(head)) != {name: old.get(name) for name in head}:
        writer.manifest(head)


def _model_facts(old: dict[str, Any] | None, backend: Described) -> dict[str, Any]:
    """What answered: as it was when the run began, but for how prompts go through it, which longer ones may change."""
    now = dataclasses.asdict(backend.info)
    if not backend.info.left_out:
        del now["left_out"]
    changing = ("engine", "engine_reason", "answered_by", "left_out")
    return now if not old else old | {name: now[name] for name in changing if name in now}


def _earlier_engines(old: dict[str, Any], backend: Described) -> list[Any]:
    """Other ways in which earlier prompts of the run went through the model, with the reasons."""
    before: dict[str, Any] = old.get("model") or {}
    now = {"engine": backend.info.engine, "engine_reason": backend.info.engine_reason}
    engines = [*(old.get("earlier_engines") or []), {name: before.get(name, "") for name in now}]
    return [
        engine for k, engine in enumerate(engines) if engine["engine"] and engine != now and engine not in engines[:k]
    ]


def _earlier_machines(old: dict[str, Any], machine: dict[str, Any]) -> list[Any]:
    """The machines and versions with which earlier parts of the run were made, where they were others."""
    earlier: list[Any] = list(old.get("earlier_machines") or [])
    before = old.get("machine")
    return earlier + ([before] if before and before != _as_known_to(before, machine) else [])


def _as_known_to(before: Any, machine: dict[str, Any]) -> dict[str, Any]:
    """A machine without the packages for quantized weights of which an earlier manifest says nothing: it is of a
    version that did not note them, or they were not there and so have read no weights of the run."""
    known = before.get("packages") if isinstance(before, dict) else None
    if not isinstance(known, dict):
        return machine
    packages = {name: version for name, version in machine["packages"].items() if name in PACKAGES or name in known}
    return machine | {"packages": packages}


def _in_order(plan: Plan, kept: set[tuple[str, str]]) -> list[Item]:
    """The items of a plan and others that are kept, in the order of the data files, however often the limit was
    raised: intervals drawn by resampling depend on the order."""
    kept = kept | {(name, item.id) for name, chosen in plan.items.items() for item in chosen}
    return [item for name in plan.spec.tasks for item in plan.datasets[name].items if (name, item.id) in kept]


def _write_items(items: list[Item], before: list[Item], store: RunStore, writer: RunWriter) -> None:
    """Replace the items of a run. Between the two files the manifest knows the old items and the new ones: killed at
    any moment, what is there is whole."""
    if items == before:
        return
    if store.exists():
        writer.manifest({**store.manifest(), "items": [facts_of(before), facts_of(items)]})
    writer.items(items)


def repair(plan: Plan, store: RunStore) -> list[Message]:
    """Prepare a stored run to be continued. Items that are missing or damaged are rewritten from the plan's data files,
    whose checksums are part of the run's identity; lost answers are no longer counted in the manifest, so that their
    items are answered again.

    Returns:
        A note on each of these that was done.

    Raises:
        StoreError: a damaged manifest or record; or answers without a manifest, which alone tells the weights they are
            from.
        RunBusyError: another process is writing to the run.
    """
    notes = []
    if zeroed := has_zeros(store.path):
        notes.append(
            Message(
                "Answers of this run were lost in a power failure before they were on the disk: they are given again."
            )
        )
    if zeroed or is_unfinished(store.path):
        with store.writing():
            pass  # Opening it removes what a killed process or a power failure has left.
    if not store.exists():
        if store.finished():
            raise StoreError(
                "{path} holds answers and no manifest.json, which tells what weights gave them. "
                "Restore it from a copy, or delete the folder to start over.",
                path=store.path,
            )
        return notes
    manifest = store.manifest()
    if manifest.get("spec_id") != plan.spec.spec_id or store.spec().spec_id != plan.spec.spec_id:
        raise StoreError(
            "{path} describes another run. Restore it from a copy, or delete the folder to start over.",
            path=store.path / "manifest.json",
        )
    store.check_own(plan.spec.spec_id, store.records())
    try:
        store.check_items(manifest, store.items())
    except StoreError:
        with store.writing() as writer:
            items = _in_order(plan, {(record.task, record.item_id) for record in store.records()})
            manifest = {**manifest, "items": facts_of(items)}
            writer.manifest(manifest)
            writer.items(items)
        notes.append(
            Message("The items of this run were missing or damaged: they are written again from the data files.")
        )
    open_items = plan.total - len(store.finished_of(plan.items))
    # Lost answers to items outside this plan stay in the manifest: they remain a fault of the run.
    if 0 < (lost := store.count_lost(manifest, store.records())) <= open_items:
        with store.writing() as writer:
            writer.manifest({name: value for name, value in manifest.items() if name != "records"})
        notes.append(
            Message("{lost:,} stored answers of this run are lost: their items are answered again.", lost=lost)
        )
    return notes


def note_records(store: RunStore, writer: RunWriter) -> None:
    """Note in the manifest how many answers are stored, so that a reader can tell when some are lost, and of a pool of
    servers which of them answered how many."""
    manifest, records = store.manifest(), store.records()
    counts: dict[str, Any] = {
        "answered": sum(record.output is not None for record in records),
        "tried": len(records),
    }
    if servers := Counter(address for r in records if r.output is not None for address in r.output.servers):
        counts["servers"] = dict(sorted(servers.items()))
    if manifest.get("records") != counts:
        writer.manifest({**manifest, "records": counts})


def dataset_facts(dataset: Dataset) -> dict[str, Any]:
    """What a manifest says of a file of items."""
    return {
        "source": dataset.source,
        "version": dataset.version,
        "split": dataset.split,
        "file": Path(dataset.path).name,
        "sha256": dataset.sha256,
        "items": len(dataset.items),
    }


def _data_facts(plan: Plan, name: str) -> dict[str, Any]:
    facts = dataset_facts(plan.datasets[name])
    if name not in plan.pools:
        return facts
    pool = plan.pools[name]
    return facts | {"examples": dataset_facts(pool) | {"left_out": pool.left_out}}


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
    """Package → its version here, of those that models are loaded and read with. Packages for weights that are
    quantized in their files are named where they are installed."""
    versions = {}
    for package in PACKAGES:
        versions[package] = _version(package) or "not installed"
    for package in distributions():
        if package not in versions and (version := _version(package)):
            versions[package] = version
    return versions


def _version(package: str) -> str | None:
    """The version of a package, which is the one that this process met first; None if it is not installed."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return _installed_version(package)
    return None


@functools.cache
def _installed_version(package: str) -> str:
    """Kept, as all that a package says of itself is read for it."""
    return importlib.metadata.version(package)


def _now() -> str:
    """The present moment in UTC, to the second, ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
