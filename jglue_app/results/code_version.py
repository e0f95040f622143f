"""What identifies the code that makes numbers of stored runs: numbers on disk that other code has made are not used."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import platform
import time
import unicodedata
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent.parent
ROOMS = ("types.py", "tasks", "data", "prompts", "scoring", "runs", "results")
"""What the numbers of a stored run depend on."""
LIBRARIES = ("numpy", "scipy", "rapidfuzz", "fugashi", "unidic-lite", "neologdn", "emoji")
"""Other packages with which outputs are read and scored, where they are installed."""
_IMPORTED = time.time()


@cache
def code_version() -> str:
    """A checksum over source files and versions of libraries; empty where it cannot be told, as where the files were
    changed since they were imported: then nothing may be kept on disk, nor read from there."""
    checksum = hashlib.sha256(f"{platform.python_version()} {unicodedata.unidata_version}".encode())
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            checksum.update(f"{name} {importlib.metadata.version(name)}".encode())
    try:
        files = [path for room in ROOMS for path in _sources(PACKAGE / room)]
        for path in files:
            if path.stat().st_mtime > _IMPORTED:
                return ""
            checksum.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    except OSError:
        return ""
    return checksum.hexdigest() if files else ""


def _sources(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.rglob("*.py"))
