"""In the worker process: stored runs and comparisons → W&B runs with tables and artifacts.

A W&B run's history has only the progress of `follow`. Scores and tables are in its summary, so that a second push
replaces those of the first, and W&B's checksums keep equal artifacts from being stored twice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import wandb

from jglue_app.child_process import OnMessage, ProgressMessage
from jglue_app.messages import Message
from jglue_app.results import archive, marks, run_name
from jglue_app.results.local_paths import folder_notice
from jglue_app.runs.store import RunStore
from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.wandb_sink.client.connection import settings, translated_errors
from jglue_app.wandb_sink.client.existing import (
    has_all,
    joined,
    reject_other_grid,
    reject_smaller,
    run_at_wandb,
    unchanged_result,
)
from jglue_app.wandb_sink.client.wait import (
    WaitLimit,
    confirm_summary,
    finish,
    finish_failed,
    wait_for_artifact,
    wait_for_tables,
)
from jglue_app.wandb_sink.comparison_payload import check_common_items, comparison_payload
from jglue_app.wandb_sink.grid_payload import in_grid
from jglue_app.wandb_sink.membership import as_mappings
from jglue_app.wandb_sink.paths import RunPath, path_of_job, project_path
from jglue_app.wandb_sink.payload import MANAGED_KEYS, MANAGED_TABLES, RUN_ARTIFACT, Payload
from jglue_app.wandb_sink.run_payload import run_payload
from jglue_app.wandb_sink.tables import Table

Lines = Iterator[dict[str, Any]]


def push(job: Mapping[str, Any], on_message: OnMessage, _: Lines) -> dict[str, Any]:
    """Send one stored run: `{folder, protocol, group, grid, replace, also, joined, unless_same, entity, project,
    offline}` → as `send`.

    With `unless_same` nothing is sent where W&B has all of it, which `unchanged` says. `grid` is `{name, levels}`.
    `also` are folders of runs that will be sent next, and `joined` is whether they will be compared: all of that is
    checked before the first run is sent.
    """
    offline = bool(job.get("offline"))
    store = RunStore(Path(job["folder"]))
    payload = run_payload(
        store.data(),
        store.manifest(),
        job["protocol"],
        job.get("group"),
        marks=marks.read(Path(job.get("marks") or store.path)),
        called=run_name.read_name(store.path),
    )
    if grid := job.get("grid"):
        payload = in_grid(payload, grid["name"], grid["levels"])
    others = [RunStore(Path(folder)) for folder in job.get("also", ())]
    payloads = [run_payload(other.data(), other.manifest(), job["protocol"]) for other in others]
    for other in others if job.get("joined") else ():
        check_common_items(store.data(), other.data())
    if not payload.summary["push/finished"]:
        on_message(
            Message(
                "This run has {done:,} of its {planned:,} items: it is sent as it is and tagged 'unfinished'.",
                done=payload.summary["push/items"],
                planned=payload.summary["push/planned"],
            )
        )
    with translated_errors(path_of_job(job), offline):
        existing = None if offline else run_at_wandb(job, payload.id)
        reject_smaller(existing, payload, job)
        payload = joined(payload, existing)
        if job.get("unless_same") and has_all(existing, payload):
            return unchanged_result(existing, payload)
        for following in payloads:
            reject_smaller(run_at_wandb(job, following.id), following, job)
        if notice := folder_notice(store.spec()):
            on_message(notice)
        on_message(_size_message(payload, store))
        with open_run(payload, job, existing) as run:
            return send(run, payload, store.path, offline, on_message)


def _size_message(payload: Payload, store: RunStore) -> ProgressMessage:
    rows = sum(len(table.rows) for table in payload.tables.values())
    size = sum((store.path / name).stat().st_size for name in archive.MEMBERS if (store.path / name).is_file())
    return ProgressMessage(
        Message(
            "Sending {rows:,} rows and a run folder of {mib:,.1f} MiB.",
            rows=rows,
            mib=max(0.1, size / 2**20),
        )
    )


def push_comparison(job: Mapping[str, Any], on_message: OnMessage, _: Lines) -> dict[str, Any]:
    """Send two stored runs side by side: `{a, b, protocol, links, entity, project, offline}` → as `send`."""
    offline = bool(job.get("offline"))
    folders = Path(job["a"]), Path(job["b"])
    a, b = (RunStore(folder).data() for folder in folders)
    marked_a, marked_b = (marks.read(Path(job.get(f"marks_{side}") or job[side])) for side in "ab")
    payload = comparison_payload(a, b, job["protocol"], job["links"], (marked_a, marked_b))
    with (
        translated_errors(path_of_job(job), offline),
        open_run(payload, job, None if offline else run_at_wandb(job, payload.id)) as run,
    ):
        return send(run, payload, None, offline, on_message)


@contextlib.contextmanager
def open_run(payload: Payload, job: Mapping[str, Any], existing: Any) -> Iterator[wandb.Run]:
    """The W&B run of a payload, new or resumed; it is ended as failed if the body raises.

    An existing run keeps its name, which users may have changed, and its group: a run is in one only, and another
    comparison must not take it out of the first.
    """
    new = existing is None
    run = wandb.init(
        entity=job.get("entity") or None,
        project=job["project"],
        id=payload.id,
        name=payload.name if new else None,
        group=payload.group if new or not existing.group else None,
        job_type=payload.job_type,
        resume="allow",
        settings=settings(bool(job.get("offline"))),
    )
    try:
        yield run
    except BaseException:
        finish_failed(run)
        raise


def push_payload(job: Mapping[str, Any], on_message: OnMessage, _: Lines) -> dict[str, Any]:
    """Send a payload that is complete, without a folder: `{payload, replace, entity, project, offline}` → as `send`.

    The tables of a grid do not replace those of another grid of its name, unless `replace` says so.
    """
    offline = bool(job.get("offline"))
    payload = Payload.from_json(job["payload"])
    with translated_errors(path_of_job(job), offline):
        existing = None if offline else run_at_wandb(job, payload.id)
        reject_other_grid(existing, payload, job)
        with open_run(payload, job, existing) as run:
            return send(run, joined(payload, existing), None, offline, on_message)


def check_payload(job: Mapping[str, Any], on_message: OnMessage, _: Lines) -> dict[str, Any]:
    """Raise what `push_payload` would, before anything else is sent: its job → `{}`."""
    payload = Payload.from_json(job["payload"])
    with translated_errors(path_of_job(job)):
        reject_other_grid(run_at_wandb(job, payload.id), payload, job)
    return {}


def run_path(run: wandb.Run) -> str:
    """`entity/project/id` of an open run."""
    return str(RunPath(run.entity, run.project, run.id))


def send(run: wandb.Run, payload: Payload, folder: Path | None, offline: bool, on_message: OnMessage) -> dict[str, Any]:
    """Fill a W&B run, finish it, and wait until everything has arrived.

    Returns:
        `{id, path, url, tables: {key: rows}, scalars, offline, name}`; url is empty offline, and `offline` names the
        folder to synchronise.

    Raises:
        NetworkError: a part has not arrived.
    """
    fill(run, payload, folder, on_message, offline)
    sent: dict[str, Any] = {
        "id": run.id,
        "path": run_path(run),
        "url": "" if offline else run.url or "",
        "tables": {key: len(table.rows) for key, table in payload.tables.items()},
        "scalars": len(payload.summary),
        "offline": str(Path(run.settings.sync_dir)) if offline else "",
        "name": run.name or "",
    }
    finish(run)
    if not offline:
        confirm_summary(sent["path"], payload)
    return sent


def fill(run: wandb.Run, payload: Payload, folder: Path | None, on_message: OnMessage, offline: bool = False) -> None:
    """Put a payload into an open W&B run; tags and other content that users have added there stay.

    An offline copy has no lists of memberships: they would replace those at W&B.

    Raises:
        NetworkError: a file is not stored in the time that its size takes on a slow connection.
    """
    summary: Any = run.summary  # The client has no types for these.
    config: Any = run.config
    summary["push/state"] = "sending"
    other_tags = [tag for tag in run.tags or () if tag not in ("unfinished", *PROTOCOLS)]
    run.tags = tuple(dict.fromkeys((*other_tags, *payload.tags)))
    lists = {} if offline else {key: list(ids) for key, ids in payload.joins.items()}
    config.update({**payload.config, **lists, **as_mappings(payload.joins)}, allow_val_change=True)
    _delete_old_keys(summary, payload)
    for name in payload.uses:
        if not offline:
            with contextlib.suppress(wandb.errors.CommError, ValueError):  # A run that was not pushed.
                run.use_artifact(f"{project_path(run.entity, run.project)}/{name}:latest")
    for key, table in payload.tables.items():
        summary[key] = as_table(table)
    if payload.artifact and folder is not None:
        _log_folder(run, payload, folder, on_message, offline)
    if not offline:
        wait_for_tables(run_path(run), {key: summary[key] for key in payload.tables}, on_message)
    summary.update({**payload.summary, "push/digest": payload.digest, "push/state": "complete"})


def _delete_old_keys(summary: Any, payload: Payload) -> None:
    """Delete summary keys of an earlier push that this one does not have."""
    new = {*payload.summary, *payload.tables, "push/state", "push/digest"}
    for key in list(summary.keys()):
        if key not in new and (key in MANAGED_TABLES or key.startswith(MANAGED_KEYS)):
            del summary[key]


def as_table(table: Table) -> wandb.Table:
    """A table with every row: the client's limits, meant for training loops, would silently drop rows."""
    wandb.Table.MAX_ROWS = wandb.Table.MAX_ARTIFACT_ROWS = max(len(table.rows), 200_000)
    kinds = [
        next((type(row[column]) for row in table.rows if row[column] is not None), str)
        for column in range(len(table.columns))
    ]
    # Explicit types: inferring them row by row takes longer than sending the table.
    data: list[Any] = list(table.rows)
    return wandb.Table(columns=list(table.columns), data=data, dtype=kinds, optional=True)


def _log_folder(run: wandb.Run, payload: Payload, folder: Path, on_message: OnMessage, offline: bool) -> None:
    artifact = wandb.Artifact(payload.artifact, RUN_ARTIFACT, metadata=payload.metadata)
    for name in archive.MEMBERS:
        if (folder / name).is_file():
            artifact.add_file(str(folder / name), name=name)
    limit = WaitLimit(run_path(run), artifact.size, on_message)
    logged = run.log_artifact(artifact)
    if not offline:
        wait_for_artifact(logged, limit)


# --- progress -------------------------------------------------------------------------------------------


def follow(job: Mapping[str, Any], on_message: OnMessage, lines: Lines) -> dict[str, Any]:
    """Log `{"log": {…}}` lines to the W&B run until `{"end": exit code}` or the end of the input.

    Takes `{id, name, job_type, group, config, tags, entity, project}`. The x-axis is `progress/items`, not W&B's step,
    which must not decrease: a session that retries failed items starts before the end of the last one.
    """
    payload = Payload(job["id"], job["name"], job["job_type"], job.get("group"), tuple(job["tags"]), job["config"], {})
    with (
        translated_errors(path_of_job(job)),
        open_run(payload, job, run_at_wandb(job, payload.id)) as run,
    ):
        run.tags = tuple(dict.fromkeys((*(run.tags or ()), *payload.tags)))
        config: Any = run.config
        config.update(payload.config, allow_val_change=True)
        run.define_metric("progress/*", step_metric="progress/items")
        on_message(Message("Progress is at {url}", url=run.url))
        code = 1  # If there is no `end` line, the parent was killed.
        for line in lines:
            if "end" in line:
                code = int(line["end"])
                break
            run.log(line["log"])
        finish(run, code)
        return {"id": run.id, "path": run_path(run), "url": run.url or ""}
