"""What a reader finds in a folder of stored runs and files: the same state twice is the same result."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

from jglue_app.results import marks, run_name
from jglue_app.results.library import Library
from jglue_app.runs.serialization import dumps

NOW = re.compile(rb'(?<!\d)\d{10}\.\d{6}(?!\d)|"checksum": "[0-9a-f]{64}"')
"""A time in an export, and the checksum of a file that has one."""
NOT_STATE = ("model-files.json",)
"""Has times of files."""
TIMES = ("seconds", "created", "items_per_s", "date")
"""Names of values that differ from run to run."""


def without_times(value: Any, folder: Path) -> Any:
    """A value of JSON without what is a time, and without the folder it is about."""
    if isinstance(value, dict):
        return {name: without_times(part, folder) for name, part in value.items() if name not in TIMES}
    if isinstance(value, list):
        return [without_times(part, folder) for part in value]
    return value.replace(str(folder), "FOLDER") if isinstance(value, str) else value


def state_of(world: Path) -> dict[str, Any]:
    """Every run with its scores, marks and name, and every file that was written, without times."""
    library = Library(world / "runs")
    found: dict[str, Any] = {"damaged": library.damaged(), "runs": {}, "out": {}}
    for run in library.all():
        report = json.loads(dumps(dataclasses.asdict(library.report(run.path))))
        found["runs"][run.name] = {
            "report": report,
            "done": (run.done, run.planned),
            "marks": sorted(marks.read(run.path).items()),
            "name": run_name.read_name(run.path),
            "items": {task: list(items) for task, items in library.data(run.path).items.items()},
        }
    for path in sorted((world / "out").rglob("*")) if (world / "out").exists() else []:
        if path.is_file() and not _is_hidden(path, world):
            found["out"][str(path.relative_to(world / "out"))] = _content(path)
    found["cache"] = {
        str(path.relative_to(world)): _content(path)
        for path in sorted((world / "cache").rglob("*"))
        if path.is_file() and not _is_hidden(path, world) and path.name not in NOT_STATE
    }
    return without_times(json.loads(json.dumps(found, default=str, sort_keys=True)), world)  # type: ignore[no-any-return]


def _is_hidden(path: Path, world: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(world).parts)


def _content(path: Path) -> Any:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return {name: _checksum(name, archive.read(name)) for name in sorted(archive.namelist())}
    return _checksum(path.name, path.read_bytes())


def _checksum(name: str, content: bytes) -> str:
    # Some exports say when they were made.
    return hashlib.sha256(NOW.sub(b"", content) if name.endswith((".json", ".jsonl")) else content).hexdigest()


def finished_reports(state: dict[str, Any]) -> dict[str, Any]:
    """Run → what a reader takes for its final result, whatever the run is called."""
    return {name: scores(run["report"]) for name, run in state["runs"].items() if run["done"][0] >= run["done"][1]}


def scores(value: Any) -> Any:
    """A value of JSON without its texts: what is said of a run besides its numbers."""
    if isinstance(value, dict):
        return {name: scores(part) for name, part in value.items()}
    if isinstance(value, list):
        return [scores(part) for part in value]
    return None if isinstance(value, str) else value


def answers(world: Path) -> Counter[tuple[str, str, str]]:
    """(Run, task, item id) → how many answers are stored, in whole lines."""
    found: Counter[tuple[str, str, str]] = Counter()
    for path in (world / "runs").glob("[!.]*/records.jsonl"):
        for line in path.read_bytes().splitlines(keepends=True):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if line.endswith(b"\n") and isinstance(row, dict) and row.get("output") is not None:
                found[path.parent.name, str(row.get("task")), str(row.get("item_id"))] += 1
    return found


def temporary_files(world: Path) -> list[str]:
    """Files of writers that are gone; locks stay, as other processes may wait for them."""
    kept = (".lock", ".marks.lock", ".about.lock", ".checksums")
    return [
        str(path.relative_to(world))
        for path in sorted(world.rglob(".*"))
        if path.name not in kept and not path.name.endswith(".lock")
    ] + [str(path.relative_to(world)) for path in sorted(world.rglob("*.part"))]
