"""The parts of an import as a run folder, written atomically."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jglue_app.data import files as data
from jglue_app.errors import StoreError, reason_of
from jglue_app.results.importers.build import Part
from jglue_app.results.importers.log import Log
from jglue_app.results.importers.log_files import sha256
from jglue_app.results.importers.scores import ReportedScore
from jglue_app.runs.manifest import dataset_facts
from jglue_app.runs.serialization import facts_of
from jglue_app.runs.store import RunStore
from jglue_app.types import IMPORTED, Decoding, ModelSpec, PromptSpec, RunData, RunSpec
from jglue_app.version import __version__
from jglue_app.whole_files import put_in_place, scratch_folder

UNKNOWN_MODEL = "unknown model"
MAX_NAME_CHARS = 200
"""Longest model name, in characters."""


def run_spec(logs: Sequence[Log], parts: Sequence[Part], model: str, split: str) -> RunSpec:
    """The spec that identifies the run: the content of the logs, the data, and what the logs say of model and
    prompts."""
    sums = sorted(sha256(log.path) for log in logs)
    outputs = [output for part in parts for output in part.outputs]
    ranked = any(getattr(output, "choice_logprobs", None) for output in outputs)
    generated = any(getattr(output, "text", None) is not None for output in outputs)
    shots = {part.dataset.task: part.shots for part in parts if part.shots is not None}
    versions = {part.dataset.version for part in parts}
    return RunSpec(
        model=ModelSpec(
            model or _one_line(logs[0].model) or UNKNOWN_MODEL,
            backend=IMPORTED,
            files_sha256=hashlib.sha256(" ".join(sums).encode()).hexdigest(),
        ),
        tasks=tuple(part.dataset.task for part in parts),
        data_version=data.OFFICIAL_VERSION if data.OFFICIAL_VERSION in versions else min(versions),
        data_sha256={f"{part.dataset.task}/{part.dataset.split}": part.dataset.sha256 for part in parts},
        prompt=PromptSpec(
            style=logs[0].name,
            format="unknown",
            shots=max(shots.values(), default=0),
            shots_by_task=tuple(shots.items()) if len(set(shots.values())) > 1 else (),
        ),
        style_sha256="",
        decoding=Decoding(method="both" if ranked and generated else "choose" if ranked else "generate"),
        code_version=__version__,
        split=split,
    )


def _one_line(text: str) -> str:
    """A model name on one line, cut to `MAX_NAME_CHARS`: a log may hold anything there."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:MAX_NAME_CHARS]


def write_run(
    runs_dir: Path, run: RunData, logs: Sequence[Log], parts: Sequence[Part], reported: Sequence[ReportedScore]
) -> Path:
    """Write the run into a temporary folder and move it into place when it is complete."""
    items = [item for part in parts for item in part.items]
    answered = sum(record.output is not None for record in run.records)
    spec = run.spec
    manifest: dict[str, Any] = {
        "label": spec.label,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "spec_id": spec.spec_id,
        "spec": spec,
        "data": {part.dataset.task: dataset_facts(part.dataset) for part in parts},
        "model": None,
        "machine": {},
        "items": facts_of(items),
        "records": {"answered": answered, "tried": len(run.records)},
        "imported": {
            "harness": logs[0].harness,
            "version": logs[0].version,
            "tasks": {
                part.dataset.task: {"name": part.task, "version": part.version, "shots": part.shots} for part in parts
            },
            "files": [_file_facts(path) for log in logs for path in (log.path, *log.other_files)],
            "printed": [{"same": score.same, **_score_facts(score)} for score in reported],
            "notices": list(run.assumed),
        },
    }
    target = runs_dir / spec.spec_id
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
        with scratch_folder(runs_dir, ".import-") as scratch:
            store = RunStore(scratch / "run")
            with store.writing() as writer:
                writer.items(items)
                writer.append(run.records)
                writer.manifest(manifest)
            (store.path / ".lock").unlink(missing_ok=True)
            store.data()
            if target.exists():
                raise StoreError(
                    "The run {spec_id} is here already: this log was imported before. Delete it "
                    "first, or look at the one that is here.",
                    spec_id=spec.spec_id,
                )
            put_in_place(store.path, target)
    except OSError as e:
        raise StoreError(
            "The run cannot be stored in {runs_dir} ({reason}). Check permissions and free space.",
            runs_dir=runs_dir,
            reason=reason_of(e),
        ) from e
    return target


def _file_facts(path: Path) -> dict[str, Any]:
    return {"name": path.name, "sha256": sha256(path), "bytes": path.stat().st_size}


def _score_facts(score: ReportedScore) -> dict[str, Any]:
    return {
        "task": score.task,
        "metric": score.metric,
        "printed": score.reported,
        "protocol": score.protocol,
        "here": score.recomputed,
    }
