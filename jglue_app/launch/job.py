"""This checkout → a job of W&B Launch, which `__main__.py` is the entry point of.

A code job is a copy of the files below; W&B's own command would take everything in the folder, caches and logs too. The
same files again make no new version.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jglue_app.child_process import OnMessage
from jglue_app.errors import InputError, StoreError, reason_of
from jglue_app.launch import form
from jglue_app.settings import ASSETS
from jglue_app.wandb_sink.login import Login
from jglue_app.wandb_sink.worker_process import WorkerProcess

ROOT = ASSETS.parent
FILES = (
    *("requirements.txt", "LICENSE", "NOTICE", "jglue_app/**/*.py", "jglue_app/messages/**/*.po"),
    *("assets/models.toml", "assets/prompts/*.toml", "assets/published/*", "assets/samples/*/*.json"),
    "assets/grids/*.toml",
)
"""What an evaluation needs, as patterns below the checkout. Nothing else is sent, whether git knows it or not."""
ENTRY_POINT = "python -m jglue_app.launch"
IMAGE = "jglue"
"""Name of the image that `assets/launch/README.md` builds."""
MAX_NAME = 128
"""Characters of the name of a job."""
MAX_QUOTED_CHARS = 140
"""Characters of a name that an error repeats."""


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
    on_message: OnMessage = lambda _: None,
) -> Job:
    """Make a job of the code here, or of an image that holds it; or a new version of the job of that name.

    Args:
        login: where, and the key.
        name: of the job; without it `jglue`, of an image `jglue-image`, since a job is of one kind or the other.
        image: for an image job, the image; its own entry point is run.
        base_image: for a code job, the image in which containers run the code: it has to hold the requirements. Not
            looked at where the code runs as a process.
        on_message: takes messages on the way.

    Raises:
        InputError: the key, entity, project or name is not accepted.
        NetworkError: W&B was not reached or did not answer properly.
        StoreError: files of this checkout are missing, or there is no room for a copy.
    """
    name = name or ("jglue-image" if image else "jglue")
    if not all(c.isascii() and (c.isalnum() or c in "._-") for c in name) or len(name) > MAX_NAME:
        raise InputError(
            "A job's name has letters, digits, '-', '_' and '.' only; not {name!r}.", name=name[:MAX_QUOTED_CHARS]
        )
    for image_name in (image, base_image):
        if image_name != "".join(image_name.split()):
            raise InputError("{image!r} is no name of an image. Write it as `docker pull` takes it.", image=image_name)
    with tempfile.TemporaryDirectory(prefix="jglue-job-") as folder:
        if not image:
            export(Path(folder))
        job = {
            "action": "job",
            "entity": login.target.entity,
            "project": login.target.project,
            "name": name,
            "schema": form.schema(),
            "entry_point": ENTRY_POINT,
            **({"image": image} if image else {"folder": folder, "base_image": base_image}),
        }
        with WorkerProcess(job, login) as worker:
            return Job(**worker.result(on_message))


def export(folder: Path) -> list[str]:
    """Copy the files of a code job.

    Returns:
        Their names below `folder`.

    Raises:
        StoreError: some are missing here, or cannot be copied.
    """
    names = []
    for path in _files():
        try:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, folder / path)
        except OSError as e:
            raise StoreError(
                "{file} could not be copied ({reason}). Free some space, or set TMPDIR.",
                file=path,
                reason=reason_of(e),
            ) from e
        names.append(path.as_posix())
    return names


def _files() -> Iterator[Path]:
    """The files of `FILES`, as paths below the checkout."""
    for pattern in FILES:
        paths = sorted(path.relative_to(ROOT) for path in ROOT.glob(pattern))
        if not paths:
            raise StoreError(
                "{folder} has no {pattern}. Make the job from a checkout of the whole repository.",
                folder=ROOT,
                pattern=pattern,
            )
        yield from paths
