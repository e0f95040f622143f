"""In the worker process: read from W&B through its public API."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jglue_app.child_process import OnMessage
from jglue_app.errors import InputError
from jglue_app.messages import Message
from jglue_app.wandb_sink.client.connection import TRY_LATER, api, translated_errors
from jglue_app.wandb_sink.client.send import Lines
from jglue_app.wandb_sink.membership import members_of, membership_of_run
from jglue_app.wandb_sink.paths import RunPath, parse_run_path, path_of_job, project_path
from jglue_app.wandb_sink.payload import COMPARISON, EVALUATION, FORMAT, PROTOCOLS_KEY, RUN_ARTIFACT, artifact_name

RUNS_PER_PAGE = 200
"""Runs in one response of the API."""


def standings(job: Mapping[str, Any], on_message: OnMessage, _: Lines) -> dict[str, Any]:
    """The evaluated runs of a project: `{entity, project}` → `{runs, left_out}` as `leaderboard.Standings` has them."""
    runs: dict[str, dict[str, Any]] = {}
    left_out = 0
    with translated_errors(path_of_job(job), remedy=TRY_LATER):
        client = api()
        path = project_path(job["entity"] or client.default_entity, job["project"])
        filters = {"jobType": EVALUATION}
        for run in client.runs(path, filters=filters, order="-created_at", per_page=RUNS_PER_PAGE, lazy=False):
            summary = dict(run.summary)
            if summary.get("push/state") != "complete" or int(summary.get("push/format", 0)) > FORMAT:
                left_out += 1
                continue
            spec_id = str(run.config.get("jglue", {}).get("spec_id", run.id))
            # Of several W&B runs of one spec, take the most complete one, then the newest.
            if spec_id not in runs or summary.get("push/items", 0) > runs[spec_id]["summary"].get("push/items", 0):
                runs[spec_id] = _run_entry(run, spec_id, summary)
    return {"runs": list(runs.values()), "left_out": left_out}


def _run_entry(run: Any, spec_id: str, summary: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": run.id,
        "name": run.name,
        "url": run.url,
        "created": run.created_at,
        "state": run.state,
        "spec_id": spec_id,
        "member_of": membership_of_run(run.config, run.group, run.tags or ()),
        "data_kind": run.config.get("data_kind", "official"),
        "summary": {key: value for key, value in summary.items() if key.startswith((f"{PROTOCOLS_KEY}/", "push/"))},
    }


def pull(job: Mapping[str, Any], on_message: OnMessage, _: Lines) -> dict[str, Any]:
    """Download run folders: `{path, into}` → `{folders}`, names below `into`."""
    with translated_errors(job["path"], remedy=TRY_LATER):
        client = api()
        run = client.run(job["path"])
        if run.job_type == COMPARISON:
            comparison = parse_run_path(job["path"])
            paths = (RunPath(comparison.entity, comparison.project, id_) for id_ in members_of(run.config))
            runs = [client.run(str(path)) for path in paths]
        else:
            runs = [run]
        return {"folders": [_download(client, side_run, Path(job["into"]), on_message) for side_run in runs]}


def _download(client: Any, run: Any, into: Path, on_message: OnMessage) -> str:
    artifacts = [artifact for artifact in run.logged_artifacts() if artifact.type == RUN_ARTIFACT]
    spec_id = run.config.get("jglue", {}).get("spec_id")
    if not artifacts and spec_id and run.summary.get("push/state") == "complete":
        # W&B stores equal content once, and lists it only for the first run that logged it.
        artifacts = [client.artifact(f"{project_path(run.entity, run.project)}/{artifact_name(spec_id)}:latest")]
    if not artifacts:
        raise InputError(
            "The W&B run {run} holds no run folder: it was not pushed by this application, or its push did not come to "
            "an end. Ask its owner to push it again.",
            run=run.id,
        )
    newest = max(artifacts, key=lambda artifact: int(artifact.version.removeprefix("v")))
    name = str(newest.name).split(":")[0]
    on_message(
        Message("Downloading {artifact} ({mib:,.1f} MiB).", artifact=newest.qualified_name, mib=newest.size / 2**20)
    )
    newest.download(root=str(into / name))
    return name
