"""In the process of `worker.py`: what is at W&B already, through its public API."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb

from jglue_app.errors import InputError
from jglue_app.messages import Message
from jglue_app.wandb_sink.client.send import LATER, TIMEOUT_S, Lines, Say, mapped
from jglue_app.wandb_sink.payload import COMPARISON, EVALUATION, FORMAT, PROTOCOLS_KEY, RUN_ARTIFACT, artifact_name

PAGE = 200
"""Runs asked for at a time."""


def standings(job: Mapping[str, Any], say: Say, _: Lines) -> dict[str, Any]:
    """The evaluated runs of a project: `{entity, project}` → `{runs, left_out}` as `leaderboard.Standings` has them."""
    found: dict[str, dict[str, Any]] = {}
    left_out = 0
    with mapped(_project(job), then=LATER):
        api = wandb.Api(timeout=TIMEOUT_S)
        path = f"{job['entity'] or api.default_entity}/{job['project']}"
        for run in api.runs(path, filters={"jobType": EVALUATION}, order="-created_at", per_page=PAGE, lazy=False):
            summary = dict(run.summary)
            if summary.get("push/state") != "complete" or int(summary.get("push/format", 0)) > FORMAT:
                left_out += 1
                continue
            spec_id = str(run.config.get("jglue", {}).get("spec_id", run.id))
            # Of several W&B runs of one spec the most complete counts, then the newest.
            if spec_id not in found or summary.get("push/items", 0) > found[spec_id]["summary"].get("push/items", 0):
                found[spec_id] = {
                    "id": run.id,
                    "name": run.name,
                    "url": run.url,
                    "created": run.created_at,
                    "state": run.state,
                    "spec_id": spec_id,
                    "data_kind": run.config.get("data_kind", "official"),
                    "summary": {
                        key: value for key, value in summary.items() if key.startswith((f"{PROTOCOLS_KEY}/", "push/"))
                    },
                }
    return {"runs": list(found.values()), "left_out": left_out}


def _project(job: Mapping[str, Any]) -> str:
    return f"{job['entity']}/{job['project']}" if job["entity"] else str(job["project"])


def pull(job: Mapping[str, Any], say: Say, _: Lines) -> dict[str, Any]:
    """Download run folders: `{path, into}` → `{folders}`, names below `into`."""
    with mapped(job["path"], then=LATER):
        api = wandb.Api(timeout=TIMEOUT_S)
        run = api.run(job["path"])
        if run.job_type == COMPARISON:
            entity, project, _id = job["path"].split("/")
            runs = [api.run(f"{entity}/{project}/{run.config[side]['run_id']}") for side in ("a", "b")]
        else:
            runs = [run]
        return {"folders": [_download(api, each, Path(job["into"]), say) for each in runs]}


def _download(api: Any, run: Any, into: Path, say: Say) -> str:
    held = [artifact for artifact in run.logged_artifacts() if artifact.type == RUN_ARTIFACT]
    spec_id = run.config.get("jglue", {}).get("spec_id")
    if not held and spec_id and run.summary.get("push/state") == "complete":
        # W&B stores equal content once, and names the first run that logged it alone.
        held = [api.artifact(f"{run.entity}/{run.project}/{artifact_name(spec_id)}:latest")]
    if not held:
        raise InputError(
            "The W&B run {id} holds no run folder: it was not pushed by this application, or its "
            "push did not come to an end. Ask whoever made it to push it again.",
            id=run.id,
        )
    newest = max(held, key=lambda artifact: int(artifact.version.removeprefix("v")))
    name = str(newest.name).split(":")[0]
    say(
        Message(
            "Downloading {qualified_name} ({size:,.1f} MiB).",
            qualified_name=newest.qualified_name,
            size=newest.size / 2**20,
        )
    )
    newest.download(root=str(into / name))
    return name
