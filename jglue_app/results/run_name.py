"""The name and the description that people give a stored run: the file `about.json` in its folder. Neither is part of
the run's identity."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from jglue_app.errors import InputError, StoreError, reason_of
from jglue_app.results.control_characters import CONTROLS
from jglue_app.runs.serialization import dumps
from jglue_app.whole_files import write_atomically

FILE = "about.json"
MAX_NAME = 100
"""Characters of a name."""
MAX_DESCRIPTION = 2_000
MAX_BYTES = 64_000
"""Bytes of the file: more than these characters can take."""
LOCK_SECONDS = 10


@dataclass(frozen=True, slots=True)
class RunName:
    """What a run is called; both are empty where nobody has said it."""

    name: str = ""
    description: str = ""


UNNAMED = RunName()


def checked(name: str, description: str = "") -> RunName:
    """A name on one line, and a description, as they are written.

    Raises:
        InputError: one is too long, or has characters that are not seen.
    """
    name, description = " ".join(name.split()), description.replace("\r\n", "\n").replace("\r", "\n").strip()
    if len(name) > MAX_NAME:
        raise InputError(
            "A name has at most {most} characters, and this one has {count:,}. Shorten it.",
            most=MAX_NAME,
            count=len(name),
        )
    if len(description) > MAX_DESCRIPTION:
        raise InputError(
            "A description has at most {most:,} characters, and this one has {count:,}. Shorten it.",
            most=MAX_DESCRIPTION,
            count=len(description),
        )
    if unseen := CONTROLS.search(name + description):
        raise _refused(unseen[0][0])
    return RunName(name, description)


def _refused(character: str) -> InputError:
    return InputError(
        "A name and a description have no characters that are not seen, and this one has U+{code}. Remove it.",
        code=f"{ord(character):04X}",
    )


def read_name(run: Path) -> RunName:
    """What the run in a folder is called; empty where the file is missing or holds nothing that can be shown."""
    try:
        if not (run / FILE).is_file():  # A pipe would be waited for.
            return UNNAMED
        with (run / FILE).open("rb") as file:
            table = json.loads(file.read(MAX_BYTES + 1))
        return checked(str(table.get("name") or ""), str(table.get("description") or ""))
    except (OSError, ValueError, AttributeError, RecursionError, InputError):
        return UNNAMED


def write_name(run: Path, name: str | None = None, description: str | None = None) -> RunName:
    """Name or describe the run in a folder; what is None stays as it is, what is empty is removed.

    Several processes may do so at the same time: each change is kept.

    Raises:
        InputError: see `checked`.
        StoreError: there is no run, or the file cannot be written.
    """
    # The lock is beside the run's folder, not in it: a lock file would bring back a folder that was just deleted.
    lock = FileLock(run.parent / ".about.lock", timeout=LOCK_SECONDS, thread_local=False)
    # What is given is refused before anything is touched.
    checked(name or "", description or "")
    path = run / FILE
    try:
        if not (run / "manifest.json").is_file():
            raise _gone(run)
        with lock:
            before = read_name(run)
            new = checked(
                before.name if name is None else name, before.description if description is None else description
            )
            if not (run / "manifest.json").is_file():
                raise _gone(run)
            if new == UNNAMED:
                path.unlink(missing_ok=True)
            else:
                write_atomically(path, dumps({"name": new.name, "description": new.description}, indent=2) + "\n")
    except Timeout as e:
        raise StoreError("Names are being written by another process for too long. Try again.") from e
    except OSError as e:
        raise StoreError(
            "{path} cannot be written ({reason}). Check its permissions and the free space.",
            path=path,
            reason=reason_of(e),
        ) from e
    return new


def _gone(run: Path) -> StoreError:
    return StoreError("There is no run {name!r} here. Choose one of the list, or run it again.", name=run.name[:100])
