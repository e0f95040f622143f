"""JSON that every reader accepts, and files written atomically: a folder, a .zip file, or a single file."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jglue_app.errors import StoreError, reason_of
from jglue_app.results import surrogates
from jglue_app.runs.serialization import dumps
from jglue_app.whole_files import put_in_place, scratch_folder

SCRATCH = ".export-"
"""Beginning of the names of folders in which exports are made."""
ZIP_DATE = (1980, 1, 1, 0, 0, 0)
"""The earliest date of a .zip file, for every member, so that the same export gives the same bytes."""

LINE_ENDS = {ord(c): f"\\u{ord(c):04x}" for c in "\x85\u2028\u2029"}
"""Characters that some readers treat as a line end and JSON does not escape → their escapes."""


def replace_surrogates(value: Any) -> Any:
    """A value with every lone surrogate in its texts replaced by U+FFFD."""
    if isinstance(value, str):
        return surrogates.replace(value)
    if isinstance(value, Mapping):
        return {replace_surrogates(name): replace_surrogates(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [replace_surrogates(part) for part in value]
    return value


def json_line(value: Any) -> str:
    """A line of JSON Lines that is one line to every reader."""
    return dumps(replace_surrogates(value)).translate(LINE_ENDS) + "\n"


def json_file(value: Any) -> str:
    """A whole JSON file."""
    return dumps(replace_surrogates(value), indent=2) + "\n"


def check_target(to: Path) -> None:
    """Raise StoreError if there is something at a path already, or no folder to put it into."""
    try:
        exists = to.exists() or to.is_symlink()
        has_parent = to.absolute().parent.is_dir()
    except (OSError, ValueError) as e:
        raise StoreError(
            "{to} cannot be written ({reason}). Choose another place, or free some space.", to=to, reason=reason_of(e)
        ) from e
    if exists:
        raise StoreError("{to} is there already. Name a place where nothing is, or remove it first.", to=to)
    if not has_parent:
        raise StoreError(
            "There is no folder {parent} to write into. Make it first, or choose another.", parent=to.absolute().parent
        )


def write_files(files: Mapping[str, str], to: Path, *, single: bool = False) -> Path:
    """Write files atomically: all of them or none.

    Args:
        files: path below `to`, with `/` → content.
        to: where to; ending in `.zip` for an archive.
        single: write the only file at `to` itself.

    Returns:
        `to`.

    Raises:
        StoreError: there is something already, or it cannot be written.
    """
    check_target(to)
    try:
        with scratch_folder(to.absolute().parent, SCRATCH) as scratch:
            unfinished = scratch / "made"
            if single:
                (content,) = files.values()
                unfinished.write_text(content, "utf-8", newline="\n")
            elif to.suffix.lower() == ".zip":
                _pack(files, unfinished)
            else:
                for name, content in files.items():
                    path = unfinished / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(content, "utf-8", newline="\n")
            check_target(to)
            put_in_place(unfinished, to)
    except OSError as e:
        raise StoreError(
            "{to} cannot be written ({reason}). Choose another place, or free some space.", to=to, reason=reason_of(e)
        ) from e
    return to


def _pack(files: Mapping[str, str], to: Path) -> None:
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, ZIP_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            out.writestr(info, content.encode("utf-8"))
