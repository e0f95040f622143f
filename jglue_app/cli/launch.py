"""`launch-job`: make the job that W&B Launch starts."""

from __future__ import annotations

import json
import shlex
from typing import Annotated

import typer

from jglue_app import wandb_sink
from jglue_app.cli.options import JsonOption
from jglue_app.cli.tables import print_json, print_lines
from jglue_app.cli.wandb import EntityOption, ProjectOption
from jglue_app.errors import InputError
from jglue_app.launch.job import IMAGE, Job, create_job
from jglue_app.runs.progress import ProgressView


def launch_job(
    project: ProjectOption = None,
    entity: EntityOption = None,
    name: Annotated[str, typer.Option(help="Name of the job; without it, jglue, or jglue-image with --image.")] = "",
    image: Annotated[str, typer.Option(help="Make an image job: an image made with assets/launch/Dockerfile.")] = "",
    base_image: Annotated[
        str | None, typer.Option(help=f"Image in which containers run the code; without it, {IMAGE}.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a job of W&B Launch from the code here: its form wants a model's name, and it evaluates that model."""
    if image and base_image:
        raise InputError("--base-image belongs to a code job, and --image makes an image job. Name one of them.")
    login = wandb_sink.log_in(wandb_sink.target(project, entity))
    with ProgressView() as view:
        job = create_job(login, name=name, image=image, base_image=base_image or IMAGE, on_message=view.say)
    if as_json:
        print_json(job)
        return
    print_lines([f"{job.path}:{job.version}{'' if job.changed else ' (unchanged)'}", *_start_command(job, bool(image))])


def _start_command(job: Job, image: bool) -> list[str]:
    path = wandb_sink.parse_run_path(job.path)
    config = json.dumps({"overrides": {"run_config": {"model_name": "gemma-3-270m"}}})
    where = ["-q", "QUEUE"] if image else ["-r", "local-process"]
    command = ["wandb", "launch", "-j", f"{job.path}:latest", *where, "-e", path.entity, "-p", path.project]
    command += ["-c", config]
    return ["To start it:", f"  {shlex.join(command)}"]
