"""W&B paths `ENTITY/PROJECT` and `ENTITY/PROJECT/RUN`: the only place that parses and formats them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from jglue_app.errors import InputError

MAX_QUOTED_CHARS = 200
"""Characters of an invalid path that an error quotes."""


@dataclass(frozen=True, slots=True)
class RunPath:
    """A run at W&B."""

    entity: str
    """User or team; never empty."""
    project: str
    run: str
    """Id of the W&B run, of a model or of a comparison."""

    def __str__(self) -> str:
        return f"{project_path(self.entity, self.project)}/{self.run}"


def project_path(entity: str | None, project: str) -> str:
    """`entity/project`, or the project alone where the entity is the key's default one."""
    return f"{entity}/{project}" if entity else project


def path_of_job(job: Mapping[str, Any]) -> str:
    """The project of a job for the worker process, which has the keys `entity` and `project`."""
    return project_path(job.get("entity"), str(job["project"]))


def split_project(text: str) -> tuple[str, str]:
    """The entity and the project of `ENTITY/PROJECT`, or an empty entity and the text of a `PROJECT`.

    Raises:
        InputError: there is nothing before the '/'.
    """
    entity, slash, project = text.partition("/")
    if not slash or "/" in project:
        return "", text  # A text with several slashes is not a project; the check of the name rejects it.
    if not entity:
        raise InputError("{text!r} names no entity before the '/'. Write ENTITY/PROJECT, or PROJECT alone.", text=text)
    return entity, project


def parse_run_path(text: str) -> RunPath:
    """A run from `ENTITY/PROJECT/RUN` or the address of its page.

    Raises:
        InputError: the text is neither.
    """
    try:
        path = urlsplit(text).path if "://" in text else text
    except ValueError:  # Of a host in brackets that is none.
        path = ""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    if len(parts) >= 4 and parts[2] == "runs":
        parts = [*parts[:2], parts[3]]
    if len(parts) != 3 or not all(parts):
        raise InputError(
            "{text!r} names no run at W&B. Write ENTITY/PROJECT/RUN, where RUN is the id at the end of the address of "
            "the run's page, or that address.",
            text=text[:MAX_QUOTED_CHARS],
        )
    return RunPath(*parts)
