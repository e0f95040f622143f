"""Which stored runs belong to a grid: a small file beside the runs, `grids/NAME.json`.

    {"format": 1, "name": …, "created": …, "protocol": …, "factors": [{"name", "group", "replicate", "levels"}],
     "questions": [{"jnli": [ids]}], "runs": [{"run", "levels", "questions", "begun", "failed"}]}

Runs stay as they are and may belong to several grids. What a grid's file does not know of a run, the run's own folder
says.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from filelock import FileLock, Timeout
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from jglue_app.errors import StoreError, UnknownNameError, reason_of
from jglue_app.grid.factors import Group
from jglue_app.grid.grid_file import NAME
from jglue_app.messages import as_json, from_json
from jglue_app.runs.serialization import dumps
from jglue_app.settings import Settings
from jglue_app.whole_files import write_atomically

if TYPE_CHECKING:
    from jglue_app.grid.grid_plan import GridPlan

FOLDER = "grids"
FORMAT_VERSION = 1
MAX_BYTES = 2**27
"""Size of a file that is read."""
LOCK_SECONDS = 10
_CONFIG = ConfigDict(extra="ignore")
RunFolder = Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z_-]{0,99}$")]


@checked_dataclass(frozen=True, config=_CONFIG)
class StoredFactor:
    """A factor of a stored grid."""

    name: str
    group: Group
    replicate: bool
    """Whether its levels are a sample of those that might have been taken (wordings, seeds)."""
    levels: tuple[str, ...]


@checked_dataclass(frozen=True, config=_CONFIG)
class Member:
    """A run of a stored grid."""

    run: RunFolder
    """Its folder's name, below the folder for runs; it may be gone."""
    levels: Mapping[str, str | None]
    """Factor → level; None where the factor does not concern it."""
    questions: int = 0
    """Which of the grid's `questions` it is asked."""
    begun: bool = False
    """Whether it was there when the grid was run."""
    failed: Any = None
    """Why it could not be made, as `messages.as_json` has it; None if it could, or was not tried."""

    @property
    def failure(self) -> str:
        """Why it could not be made, in a sentence; empty if it could, or was not tried."""
        return "" if self.failed is None else from_json(self.failed)


@checked_dataclass(frozen=True, config=_CONFIG)
class StoredGrid:
    """A grid that was begun."""

    format: Literal[1]
    name: str
    created: str
    """When it was begun last, ISO 8601, UTC."""
    protocol: str
    """Whose settings filled what was not named."""
    factors: tuple[StoredFactor, ...]
    questions: tuple[Mapping[str, tuple[str, ...]], ...]
    """Subset → ids of the items that runs are asked."""
    runs: tuple[Member, ...]

    def items_of(self, member: Member) -> dict[str, frozenset[str]]:
        """Subset → ids of the items that a run of the grid is asked; its folder may have more."""
        return {task: frozenset(ids) for task, ids in self.questions[member.questions].items()}


@dataclass(frozen=True, slots=True)
class GridNames:
    """The stored grids."""

    names: tuple[str, ...]
    """The one begun last first."""
    damaged: Mapping[str, str]
    """Name → what is wrong with its file."""


def folder_of(settings: Settings) -> Path:
    """Where the files of grids are: beside the runs."""
    return settings.runs_dir / FOLDER


def write(planned: GridPlan, settings: Settings, failed: Mapping[str, str] | None = None) -> Path:
    """Remember which runs belong to a grid, in place of what was remembered of one of its name; and of each run,
    whether it was ever there, and why it could not be made (`failed`; what earlier sessions said of others stays).

    Raises:
        StoreError: the file cannot be written.
    """
    path = folder_of(settings) / f"{planned.grid.name}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock"), timeout=LOCK_SECONDS):
            begun, why = _before(path, settings, planned.grid.name)
            here = {run for run in _runs(planned) if (settings.runs_dir / run / "manifest.json").is_file()}
            why |= {run: as_json(sentence) for run, sentence in (failed or {}).items()}
            why = {run: sentence for run, sentence in why.items() if run not in here}
            write_atomically(path, dumps(_table(planned, begun | here, why)) + "\n")
    except (OSError, Timeout) as e:
        raise StoreError(
            "{path} cannot be written ({reason}). Check the permissions and the free space.",
            path=path,
            reason=reason_of(e),
        ) from e
    return path


def _runs(planned: GridPlan) -> list[str]:
    return [run.plan.spec.spec_id for run in planned.runs]


def _before(path: Path, settings: Settings, name: str) -> tuple[set[str], dict[str, Any]]:
    """The runs that were ever there, and why others could not be made, as a grid's file has it."""
    try:
        old = read(settings, name).runs if path.is_file() else ()
    except StoreError:  # It is written anew.
        return set(), {}
    return {one.run for one in old if one.begun}, {one.run: one.failed for one in old if one.failed is not None}


def _table(planned: GridPlan, begun: Collection[str], failed: Mapping[str, Any]) -> dict[str, Any]:
    questions: list[dict[str, list[str]]] = []
    places: dict[str, int] = {}
    runs = []
    for run in planned.runs:
        asked = {task: [item.id for item in items] for task, items in run.plan.items.items()}
        key = json.dumps(asked)
        if key not in places:
            places[key] = len(questions)
            questions.append(asked)
        name = run.plan.spec.spec_id
        known = {"begun": name in begun} | ({"failed": failed[name]} if name in failed else {})
        runs.append({"run": name, "levels": dict(run.levels), "questions": places[key], **known})
    return {
        "format": FORMAT_VERSION,
        "name": planned.grid.name,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "protocol": planned.grid.protocol,
        "factors": [
            {"name": f.name, "group": f.group, "replicate": f.is_replicate, "levels": list(f.levels)}
            for f in planned.grid.factors
        ],
        "questions": questions,
        "runs": runs,
    }


def names(settings: Settings) -> GridNames:
    """The stored grids; there are none where there is no folder of them."""
    found: dict[str, str] = {}
    damaged: dict[str, str] = {}
    for path in sorted(folder_of(settings).glob("[!.]*.json")):
        try:
            found[path.stem] = read(settings, path.stem).created
        except StoreError as e:
            damaged[path.stem] = e.message
    return GridNames(tuple(sorted(found, key=lambda name: (found[name], name), reverse=True)), damaged)


def read(settings: Settings, name: str) -> StoredGrid:
    """A stored grid by its name.

    Raises:
        UnknownNameError: there is none.
        StoreError: its file is damaged.
    """
    path = folder_of(settings) / f"{name}.json"
    if not NAME.fullmatch(name) or not path.is_file():
        known = sorted(one.stem for one in folder_of(settings).glob("[!.]*.json"))
        raise UnknownNameError("grid", name, known)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        grid = TypeAdapter(StoredGrid).validate_python(json.loads(raw))
        if any(not 0 <= member.questions < len(grid.questions) for member in grid.runs):
            raise ValueError("questions")
        for member in grid.runs:
            _ = member.failure  # Raises for what is no message.
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as e:
        reason = _first(e) if isinstance(e, ValidationError) else reason_of(e)
        raise StoreError(
            "{path} cannot be read ({reason}). Start the grid again, which writes it anew; its runs are kept.",
            path=path,
            reason=reason,
        ) from e
    return grid


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, on one line."""
    first = error.errors(include_url=False)[0]
    # Nothing in the file is at fault where all of it is.
    return ": ".join(part for part in (".".join(map(str, first["loc"])), first["msg"]) if part)


def members(settings: Settings, name: str) -> tuple[Member, ...]:
    """The runs of a stored grid, those that are gone among them; raises as `read` does."""
    return read(settings, name).runs


def summary(grid: StoredGrid) -> dict[str, Any]:
    """What a list of grids says of one, for programs."""
    return {
        "name": grid.name,
        "created": grid.created,
        "protocol": grid.protocol,
        "factors": {factor.name: list(factor.levels) for factor in grid.factors},
        "runs": [member.run for member in grid.runs],
    }
