"""In the process of `worker.py`: a job of W&B Launch, made of an image or of a copy of the code."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from jglue_app.errors import NetworkError
from jglue_app.messages import Message
from jglue_app.wandb_sink.client.send import LATER, TIMEOUT_S, Lines, Say, mapped, settings


def create(job: Mapping[str, Any], say: Say, _: Lines) -> dict[str, Any]:
    """`{entity, project, name, schema, entry_point, image | folder + base_image}` → the fields of a `Job`."""
    import wandb
    from wandb.sdk.launch.api import LaunchApi
    from wandb.sdk.launch.create_job import _create_job

    where = f"{job['entity']}/{job['project']}" if job["entity"] else str(job["project"])
    with mapped(where, then=LATER):
        wandb.setup(settings=settings(offline=False))
        api = wandb.Api(timeout=TIMEOUT_S)
        entity = str(job["entity"] or api.default_entity)
        # What follows only prints that a key or a team is not accepted; this raises.
        api.create_project(job["project"], entity)
        image = job.get("image")
        say(
            Message(
                "Making {entity}/{project}/{name} of {image}.",
                entity=entity,
                project=job["project"],
                name=job["name"],
                image=image or "the code here",
            )
        )
        artifact, action, _aliases = _create_job(
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
        if artifact is None:
            raise NetworkError("W&B did not take the job {name}. Try again.", name=job["name"])
        path = f"{entity}/{job['project']}/{job['name']}"
        made = api.artifact(f"{path}:latest", type="job")
        wanted = {"input_schemas": {"@wandb.config": job["schema"]}}
        if {key: made.metadata.get(key) for key in wanted} != wanted:
            # W&B tells versions apart by their files, and the form is none: an image job would keep an old one.
            made.metadata = {**made.metadata, **wanted}
            made.save()
        return {"path": path, "version": made.version, "changed": not action.startswith("No changes")}
