"""Files of an export put in their place all at once: a folder, a .zip file of it, or a single file."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from jglue_app.errors import StoreError

ZIP_DATE = (1980, 1, 1, 0, 0, 0)
"""The earliest that a .zip file can name: the same export is the same file whenever it is made."""


def check_free(to: Path) -> None:
    """Raise StoreError if there is something at a path already, or no folder to put it into."""
    try:
        taken = to.exists() or to.is_symlink()
        parent = to.absolute().parent.is_dir()
    except (OSError, ValueError) as e:
        why = getattr(e, "strerror", None) or e
        raise StoreError(f"{to} cannot be written ({why}). Choose another place, or free some space.") from e
    if taken:
        raise StoreError(f"{to} is there already. Name a place where nothing is, or remove it first.")
    if not parent:
        raise StoreError(f"{to} cannot be written (there is no folder {to.parent}). Choose another place.")


def place(files: Mapping[str, str], to: Path, *, single: bool = False) -> Path:
    """Write some files so that all of them are there or none.

    Args:
        files: path below `to`, with `/` → content.
        to: where to; ending in `.zip` for an archive.
        single: write the only file at `to` itself.

    Returns:
        `to`.

    Raises:
        StoreError: there is something already, or it cannot be written.
    """
    check_free(to)
    try:
        with tempfile.TemporaryDirectory(dir=to.absolute().parent, prefix=".export-") as scratch:
            made = Path(scratch) / "made"
            if single:
                (content,) = files.values()
                made.write_text(content, "utf-8", newline="\n")
            elif to.suffix.lower() == ".zip":
                _pack(files, made)
            else:
                for name, content in files.items():
                    path = made / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(content, "utf-8", newline="\n")
            check_free(to)
            made.rename(to)
    except OSError as e:
        raise StoreError(f"{to} cannot be written ({e.strerror}). Choose another place, or free some space.") from e
    return to


def _pack(files: Mapping[str, str], to: Path) -> None:
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, ZIP_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            out.writestr(info, content.encode("utf-8"))
