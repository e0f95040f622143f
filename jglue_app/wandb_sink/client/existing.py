"""In the worker process: the W&B run that a push updates, as it is there before."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import wandb

from jglue_app.errors import InputError
from jglue_app.wandb_sink import membership
from jglue_app.wandb_sink.client.connection import api
from jglue_app.wandb_sink.grid_payload import FACTORS
from jglue_app.wandb_sink.paths import RunPath
from jglue_app.wandb_sink.payload import EVALUATION, GRID, Payload, usable_tags


def run_at_wandb(job: Mapping[str, Any], id_: str) -> Any:
    """The W&B run with an id; None if there is none."""
    client = api()
    try:
        return client.run(str(RunPath(str(job.get("entity") or client.default_entity), job["project"], id_)))
    except wandb.errors.CommError as e:
        if "could not find" in str(e).lower():
            return None
        raise


def reject_smaller(existing: Any, payload: Payload, job: Mapping[str, Any]) -> None:
    """Raise InputError if a push would replace a run by a smaller part of it: runs of one spec have the same id for any
    limit."""
    n_stored = int(existing.summary.get("push/items") or 0) if existing is not None else 0
    n_local = int(payload.summary["push/items"])
    if n_stored > n_local and not job.get("replace"):
        raise InputError(
            "W&B has {there:,} items of this run already, and here it has {here:,}. Nothing was sent. Extend the run "
            "(the same settings with more items), or pull the larger one; `push --replace` sends the smaller. ({run})",
            there=n_stored,
            here=n_local,
            run=payload.name,
        )


def reject_other_grid(existing: Any, payload: Payload, job: Mapping[str, Any]) -> None:
    """Raise InputError if the tables of a grid would replace those of another one of its name, or of more runs."""
    members = existing.config.get("members") if existing is not None and payload.job_type == GRID else None
    gone = len({*members} - {*payload.config["members"]}) if isinstance(members, list) else 0
    if gone and not job.get("replace"):
        raise InputError(
            "W&B has a grid of the name {name} with {count:,} runs that are not in this one. Nothing was sent. "
            "Give the grid another name, or another project; `push --replace` puts its tables in place of those.",
            name=payload.group,
            count=gone,
        )


def joined(payload: Payload, existing: Any) -> Payload:
    """The payload, with the comparisons and grids to which the W&B run belongs already.

    Their tags are added too: an offline copy may have replaced them.
    """
    if existing is None:
        return payload
    before = membership.membership_of_run(existing.config, existing.group, existing.tags or ())
    config = payload.config
    if payload.job_type == EVALUATION and isinstance(levels := existing.config.get(FACTORS), dict):
        # The client keeps no order of keys, and the checksum of a payload has one.
        config = config | {FACTORS: dict(sorted({**levels, **config.get(FACTORS, {})}.items()))}
    joins = membership.united(before, payload.joins)
    tags = usable_tags([*payload.tags, *itertools.chain.from_iterable(joins.values())])
    return replace(payload, joins=joins, tags=tags, config=config)


def has_all(existing: Any, payload: Payload) -> bool:
    """Whether a W&B run has all that a payload would send."""
    if existing is None or existing.summary.get("push/state") != "complete":
        return False
    held = membership.membership_of_config(existing.config)
    joins = all(set(ids) <= set(held.get(key, ())) for key, ids in payload.joins.items())
    return joins and existing.summary.get("push/digest") == payload.digest and set(payload.tags) <= set(existing.tags)


def unchanged_result(existing: Any, payload: Payload) -> dict[str, Any]:
    """The result of a push that has nothing to send; as that of `send`."""
    rows = {key: len(table.rows) for key, table in payload.tables.items()}
    path = str(RunPath(existing.entity, existing.project, existing.id))
    sent = {"id": existing.id, "path": path, "url": existing.url or "", "tables": rows, "unchanged": True}
    return sent | {"scalars": len(payload.summary), "offline": "", "name": existing.name or ""}
