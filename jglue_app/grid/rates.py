"""How long an item takes here: measured on stored runs of the same model on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jglue_app.backends.model_facts import device_kind
from jglue_app.errors import StoreError
from jglue_app.runs.manifest import machine_facts
from jglue_app.runs.plan import Plan
from jglue_app.runs.store import RunStore
from jglue_app.types import ModelSpec, RunSpec

MAX_READ = 12
"""Stored runs of one model whose records are read: the newest."""
MIN_ITEMS = 3
"""Items of a subset that a rate rests on."""
SAME_MACHINE = ("system", "processor", "cores", "memory_gb")

Key = tuple[str, str, int | None]
"""(Method, subset, number of examples; None for any)."""


@dataclass(slots=True)
class Rates:
    """Seconds that an item of one model took, by method, subset and number of examples."""

    seconds: dict[Key, float] = field(default_factory=dict)
    items: dict[Key, int] = field(default_factory=dict)
    runs: int = 0
    """Stored runs that were measured."""

    def add(self, key: Key, seconds: float) -> None:
        """Count an item."""
        for each in (key, (*key[:2], None)):
            self.seconds[each] = self.seconds.get(each, 0.0) + seconds
            self.items[each] = self.items.get(each, 0) + 1

    def of(self, method: str, task: str, shots: int) -> float | None:
        """Seconds an item takes: as measured with so many examples, else with any number; None where nothing was."""
        for key in ((method, task, shots), (method, task, None)):
            if self.items.get(key, 0) >= MIN_ITEMS:
                return self.seconds[key] / self.items[key]
        return None


def model_key(model: ModelSpec) -> ModelSpec:
    """What has the same speed: a model whatever its files' checksum and revision are."""
    return replace(model, files_sha256=None, revision=None, allow_bin=False)


def measured(models: Sequence[ModelSpec], runs_dir: Path, device: str = "auto") -> dict[ModelSpec, Rates]:
    """Model (see `model_key`) → its rates, of the newest runs that were made on this machine, and on the same kind of
    device as `device` is here.

    Raises:
        DeviceError: this machine does not have the device.
        UnknownNameError: there is no such device.
    """
    wanted = {model_key(model): device_kind(model, device) for model in models}
    here = _machine(machine_facts())
    found: dict[ModelSpec, Rates] = {}
    newest = sorted(_specs(runs_dir, here), key=lambda one: one[0].path.stat().st_mtime, reverse=True)
    for store, spec, loaded_on in newest:
        key = model_key(spec.model)
        if key not in wanted or wanted[key] not in (None, loaded_on):
            continue
        rates = found.setdefault(key, Rates())
        if rates.runs < MAX_READ and _count(store, spec, rates):
            rates.runs += 1
    return found


def _specs(runs_dir: Path, here: dict[str, Any]) -> Iterator[tuple[RunStore, RunSpec, str]]:
    """The stored runs of this machine that have answers, with the kind of the device that they began on; those that
    cannot be read are passed over."""
    for path in runs_dir.glob("[!.]*/manifest.json"):
        store = RunStore(path.parent)
        try:
            manifest = store.manifest()
            if _machine(manifest.get("machine")) == here and store.has_records():
                model = manifest.get("model")
                device = str(model.get("device", "")) if isinstance(model, dict) else ""
                yield store, store.spec(), device.split(":")[0]
        except StoreError:
            continue


def _machine(facts: object) -> dict[str, Any]:
    return {name: facts.get(name) if isinstance(facts, dict) else None for name in SAME_MACHINE}


def _count(store: RunStore, spec: RunSpec, rates: Rates) -> bool:
    """Count the answers of a run; whether there were any that took time."""
    try:
        records = store.records()
    except StoreError:
        return False
    counted = False
    for record in records:
        if record.output is not None and record.output.seconds > 0:
            shots = spec.prompt.for_task(record.task).shots
            rates.add((spec.decoding.method, record.task, shots), record.output.seconds)
            counted = True
    return counted


def seconds_for(plan: Plan, left: dict[str, int], rates: Rates | None) -> float | None:
    """Seconds for the items that are left of a plan (subset → number); None where a subset was not measured."""
    total = 0.0
    for task, count in left.items():
        rate = rates.of(plan.spec.decoding.method, task, plan.spec.prompt.for_task(task).shots) if rates else None
        if count and rate is None:
            return None
        total += count * (rate or 0.0)
    return total
