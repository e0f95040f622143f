"""The content of a W&B run except its files, the names of its parts, and the format of its summary.

A run's summary has the scores of every protocol, each with what is needed to rank it:

    jglue/<subset>/<metric>                   the protocol that was chosen; …/low, …/high, …/n, …/unreadable,
                                              …/floor, …/default_floor next to it
    jglue/<subset>/lenient/<metric>           the lenient reading, choose/<metric> the ranking by log-likelihood
    jglue/average                             with …/low, …/high, …/n
    protocols/<name>/…                        the same of every protocol, the chosen one too: one key for all runs
    outcomes/<subset>/<outcome>               items with each outcome
    speed/<subset>/items_per_s                from the seconds that each item took
    cost/price                                of a paid model's answers, in cost/currency; with cost/requests and tokens

Names of keys are part of the format: `leaderboard.py` reads them back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from jglue_app.runs.serialization import dumps
from jglue_app.scoring.types import Estimate
from jglue_app.wandb_sink.membership import COMPARISON_PREFIX
from jglue_app.wandb_sink.tables import Table

FORMAT = 1
"""Version of the names below; readers reject a newer one."""
CHOSEN, PROTOCOLS_KEY = "jglue", "protocols"
MANAGED_KEYS = (
    f"{CHOSEN}/",
    f"{PROTOCOLS_KEY}/",
    "outcomes/",
    "speed/",
    "predictions/",
    "comparison/",
    "grid/",
    "push/",
)
"""Prefixes of the summary keys that a push manages: keys that a new push no longer has are deleted."""
MANAGED_TABLES = ("failure_picture", "notices")
"""Other summary keys that a push manages."""
MAX_NAME, MAX_TAG = 128, 64
"""Longest run name and tag that W&B accepts, in characters."""
EVALUATION, COMPARISON, GRID = "evaluation", "comparison", "grid"
"""W&B job types."""
RUN_ARTIFACT = "jglue-run"
"""W&B type of the artifact that holds a run folder."""

Summary = dict[str, str | float | int | bool]


@dataclass(frozen=True)
class Payload:
    """The content of a W&B run except its files."""

    id: str
    """The W&B run's id: the same for the same spec, so that a run is updated and never duplicated."""
    name: str
    job_type: str
    group: str | None
    """For a W&B run that has none yet."""
    tags: tuple[str, ...]
    config: dict[str, Any]
    summary: Summary
    tables: dict[str, Table] = field(default_factory=dict)
    """Summary key → table."""
    artifact: str = ""
    """Name of the artifact that holds the run folder; empty for none."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """Of the artifact."""
    uses: tuple[str, ...] = ()
    """Names of the input artifacts of this W&B run."""
    joins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Config key → ids of what the run belongs to; see `membership.py`. A push adds to them and takes none away."""

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Payload:
        """A payload from its fields as JSON has them, where tuples are lists."""
        tables = {key: Table(tuple(table["columns"]), table["rows"]) for key, table in stored["tables"].items()}
        joins = {key: tuple(ids) for key, ids in stored["joins"].items()}
        lists = {name: tuple(stored[name]) for name in ("tags", "uses")}
        return cls(**{**stored, "tables": tables, "joins": joins, **lists})

    @cached_property
    def digest(self) -> str:
        """Checksum of everything that is sent."""
        parts = [self.id, self.name, self.config, self.summary, self.artifact, self.metadata]
        digest = hashlib.sha256(dumps(parts).encode())
        for key, table in self.tables.items():
            digest.update(dumps([key, table.columns]).encode())
            for row in table.rows:
                digest.update(dumps(row).encode())
        return digest.hexdigest()


def run_id(spec_id: str) -> str:
    """Id of the W&B run of an evaluated model."""
    return f"jglue-{spec_id}"


def comparison_id(a: str, b: str) -> str:
    """Id of the W&B run that compares two runs, given by their spec ids; also the group of runs that had none."""
    return f"{COMPARISON_PREFIX}{hashlib.sha256(f'{a} {b}'.encode()).hexdigest()[:16]}"


def artifact_name(spec_id: str) -> str:
    """Name of the artifact with a run's folder: model names hold characters that an artifact's name must not."""
    return f"jglue-run-{spec_id}"


def estimate_keys(key: str, estimate: Estimate) -> dict[str, float | int | str | None]:
    """The scalars of an estimate: value, ends of its interval, number of items."""
    return {key: estimate.value, f"{key}/low": estimate.low, f"{key}/high": estimate.high, f"{key}/n": estimate.n}


def usable_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """The distinct tags, cut to `MAX_TAG` characters, without empty ones."""
    return tuple(dict.fromkeys(tag[:MAX_TAG] for tag in tags if tag and tag != "none"))
