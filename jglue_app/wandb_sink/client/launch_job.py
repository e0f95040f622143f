"""In the worker process: create a job of W&B Launch from an image or a copy of the code."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import wandb

from jglue_app.child_process import OnMessage
from jglue_app.errors import NetworkError
from jglue_app.messages import Message
from jglue_app.wandb_sink.client.connection import TRY_LATER, api, settings, translated_errors
from jglue_app.wandb_sink.client.send import Lines
from jglue_app.wandb_sink.paths import RunPath, path_of_job


def create(job: Mapping[str, Any], on_message: OnMessage, _: Lines) -> dict[str, Any]:
    """`{entity, project, name, schema, entry_point, image | folder + base_image}` → the fields of `launch.job.Job`."""
    with translated_errors(path_of_job(job), remedy=TRY_LATER):
        wandb.setup(settings=settings(offline=False))
        client = api()
        entity = str(job["entity"] or client.default_entity)
        # `_create` only prints that a key or a team is not accepted; this raises.
        client.create_project(job["project"], entity)
        path = str(RunPath(entity, job["project"], job["name"]))
        image = job.get("image") or Message("the code here")
        on_message(Message("Making {job} of {image}.", job=path, image=image))
        artifact, action, _aliases = _create(job, entity)
        if artifact is None:
            raise NetworkError("W&B did not take the job {name}. Try again.", name=job["name"])
        stored = client.artifact(f"{path}:latest", type="job")
        expected = {"input_schemas": {"@wandb.config": job["schema"]}}
        if {key: stored.metadata.get(key) for key in expected} != expected:
            # W&B distinguishes versions by their files, without the form: an image job would keep an old form.
            stored.metadata = {**stored.metadata, **expected}
            stored.save()
        return {"path": path, "version": stored.version, "changed": not action.startswith("No changes")}


def _create(job: Mapping[str, Any], entity: str) -> Any:
    from wandb.sdk.launch.api import LaunchApi
    from wandb.sdk.launch.create_job import _create_job

    image = job.get("image")
    return _create_job(
        LaunchApi(),
        "image" if image else "code",
        image or job["folder"],
        entity=entity,
        project=job["project"],
        name=job["name"],
        description="JGLUE of the model that the form names",
        runtime=None if image else f"3.{sys.version_info.minor}",
        entrypoint=None if image else job["entry_point"],
        base_image=None if image else job["base_image"],
        schema=job["schema"],
    )
