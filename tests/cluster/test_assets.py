"""The files in assets/cluster: what of them can be tried without Kubernetes and Slurm."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import yaml
from typer.main import get_command

from jglue_app.cli import app
from jglue_app.cluster import RayOptions
from jglue_app.settings import ASSETS

FOLDER = ASSETS / "cluster"


def test_the_job_file_runs_a_command_there_is() -> None:
    job = yaml.safe_load((FOLDER / "rayjob.yaml").read_text("utf-8"))
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    words = shlex.split(job["spec"]["entrypoint"])
    assert words[:4] == ["python", "-m", "jglue_app", "run"]
    given = dict(zip(words[4::2], words[5::2], strict=True))
    command = get_command(app).commands["run"]  # type: ignore[attr-defined]
    known = {name for parameter in command.params for name in parameter.opts}
    assert given.keys() <= known
    options = RayOptions.parse(given["--ray"], given["--ray-workers"], None, given["--device"])
    cluster = job["spec"]["rayClusterSpec"]
    (group,) = cluster["workerGroupSpecs"]
    assert options.max_workers == group["maxReplicas"] and group["minReplicas"] >= 1
    for pod in (cluster["headGroupSpec"], group):
        spec = pod["template"]["spec"]
        mounted = {mount["name"] for mount in spec["containers"][0]["volumeMounts"]}
        assert mounted == {volume["name"] for volume in spec["volumes"]}


def test_the_slurm_script_is_a_script() -> None:
    path = FOLDER / "slurm.sh"
    subprocess.run(["bash", "-n", str(path)], check=True)
    assert re.search(r"^python -m jglue_app run --ray \"\$address:\$port\"", path.read_text("utf-8"), re.MULTILINE)


def test_both_say_what_was_tried_and_what_was_not() -> None:
    for path in sorted(Path(FOLDER).iterdir()):
        assert re.search(r"^# Tried: .*Not tried: ", path.read_text("utf-8"), re.MULTILINE | re.DOTALL), path
