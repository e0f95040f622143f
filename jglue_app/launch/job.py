"""This checkout → a job of W&B Launch, which `launch.py` is the entry point of.

A code job is a copy of the files below; W&B's own command would take everything in the folder, caches and logs too. The
same files again make no new version.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jglue_app.errors import InputError, StoreError
from jglue_app.launch import form
from jglue_app.settings import ASSETS
from jglue_app.wandb_sink.login import Login
from jglue_app.wandb_sink.process import Worker

ROOT = ASSETS.parent
FILES = (
    *("requirements.txt", "LICENSE", "NOTICE", "jglue_app/**/*.py"),
    *("assets/models.toml", "assets/prompts/*.toml", "assets/published/*", "assets/samples/*/*.json"),
)
"""What an evaluation needs, as patterns below the checkout. Nothing else is sent, whether git knows it or not."""
ENTRY_POINT = "python -m jglue_app.launch"
IMAGE = "jglue"
"""What `assets/launch/README.md` names the image that it builds."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job at W&B."""

    path: str
    """`entity/project/name`; with `:latest` behind it, what `wandb launch --job` takes."""
    version: str
    """Such as `v0`."""
    changed: bool
    """False when the latest version was the same already."""


def create_job(
    login: Login,
    *,
    name: str = "",
    image: str = "",
    base_image: str = IMAGE,
    say: Callable[[str], None] = lambda _: None,
) -> Job:
    """Make a job of the code here, or of an image that holds it; or a new version of the job of that name.

    Args:
        login: where, and the key.
        name: of the job; by itself `jglue`, of an image `jglue-image`, since a job is either of one kind or the other.
        image: for an image job, the image; its own entry point is run.
        base_image: for a code job, the image in which containers run the code: it has to hold the requirements. Not
            looked at where the code runs as a process.
        say: takes sentences on the way.

    Raises:
        InputError: the key, entity, project or name is not accepted.
        NetworkError: W&B was not reached or did not answer properly.
        StoreError: files of this checkout are missing, or there is no room for a copy.
    """
    name = name or ("jglue-image" if image else "jglue")
    if not all(c.isascii() and (c.isalnum() or c in "._-") for c in name) or len(name) > 128:
        raise InputError("A job's name has letters, digits, '-', '_' and '.' only; not {name!r}.", name=name[:140])
    for asked in (image, base_image):
        if asked != "".join(asked.split()):
            raise InputError("{asked!r} is no name of an image. Write it as `docker pull` takes it.", asked=asked)
    target = login.target
    where = {
        "entity": target.entity,
        "project": target.project,
        "name": name,
        "schema": form.schema(),
        "entry_point": ENTRY_POINT,
    }
    with tempfile.TemporaryDirectory(prefix="jglue-job-") as folder:
        if not image:
            export(Path(folder))
        source = {"image": image} if image else {"folder": folder, "base_image": base_image}
        with Worker({"action": "job", **where, **source}, login) as worker:
            return Job(**worker.result(say))


def export(folder: Path) -> list[str]:
    """Copy the files of a code job.

    Returns:
        Their names below `folder`.

    Raises:
        StoreError: some are missing here, or cannot be copied.
    """
    names = []
    for pattern in FILES:
        found = sorted(path.relative_to(ROOT) for path in ROOT.glob(pattern))
        if not found:
            raise StoreError(
                "{root} has no {pattern}. Make the job from a checkout of the whole repository.",
                root=ROOT,
                pattern=pattern,
            )
        for path in found:
            try:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / path, folder / path)
            except OSError as e:
                raise StoreError(
                    "{path} could not be copied ({reason}). Free some space, or set TMPDIR.",
                    path=path,
                    reason=e.strerror,
                ) from e
            names.append(path.as_posix())
    return names
