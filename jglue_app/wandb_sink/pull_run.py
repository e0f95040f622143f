"""A run at W&B → a run folder here, from the artifact that a push has left."""

from __future__ import annotations

import filecmp
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from jglue_app.errors import DataError, InputError, StoreError
from jglue_app.messages import Message
from jglue_app.results import archive
from jglue_app.wandb_sink.login import Login
from jglue_app.wandb_sink.process import Worker


@dataclass(frozen=True, slots=True)
class Source:
    """A run at W&B."""

    entity: str
    project: str
    run: str
    """Id of the W&B run, of a model or of a comparison."""


def source(text: str) -> Source:
    """A run from `ENTITY/PROJECT/RUN` or the address of its page.

    Raises:
        InputError: it is neither.
    """
    path = urlsplit(text).path if "://" in text else text
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if len(parts) >= 4 and parts[2] == "runs":
        parts = [*parts[:2], parts[3]]
    if len(parts) != 3 or not all(parts):
        raise InputError(
            "{text!r} names no run at W&B. Write ENTITY/PROJECT/RUN, where RUN is the id at the "
            "end of the address of the run's page, or that address.",
            text=text[:200],
        )
    return Source(*parts)


def pull(found: Source, login: Login, runs_dir: Path, *, say: Callable[[str], None] = lambda _: None) -> list[Path]:
    """Restore the run folder of a W&B run; of a comparison both.

    Args:
        found: which.
        login: the server and the key; its project is not looked at.
        runs_dir: where run folders lie.
        say: takes sentences on the way.

    Returns:
        The folders, those included that were here already.

    Raises:
        InputError: there is no such run, or it holds no run folder.
        NetworkError: W&B was not reached.
        StoreError: the folder cannot be written, or another state of the run is here already.
    """
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise StoreError(
            "{runs_dir} cannot be made ({reason}). Choose another folder for runs.",
            runs_dir=runs_dir,
            reason=e.strerror,
        ) from e
    with tempfile.TemporaryDirectory(dir=runs_dir, prefix=".pull-") as scratch:
        job = {
            "action": "pull",
            "path": f"{found.entity}/{found.project}/{found.run}",
            "into": str(Path(scratch).resolve()),
        }
        with Worker(job, login) as worker:
            names = worker.result(say)["folders"]
        out = []
        for name in names:
            try:
                out.append(archive.unpack(Path(scratch) / name, runs_dir))
            except DataError as e:
                raise DataError(str(e).replace(str(Path(scratch) / name), name)) from e
            except StoreError:
                here = runs_dir / name.removeprefix("jglue-run-")
                if not here.is_dir() or not _same(here, Path(scratch) / name):
                    raise
                say(Message("{here} is here already, and was left as it is.", here=here))
                out.append(here)
        return out


def _same(here: Path, there: Path) -> bool:
    """Whether two run folders hold the same run to the byte."""
    names = [name for name in archive.MEMBERS if (there / name).is_file()]
    return all((here / name).is_file() and filecmp.cmp(here / name, there / name, shallow=False) for name in names)
