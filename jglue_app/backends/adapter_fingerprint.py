"""The files of an adapter, with checksums: a part of the fingerprint of a model that has one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from jglue_app.backends.file_checksums import checksums
from jglue_app.backends.relevant_files import relevant_files
from jglue_app.settings import Settings

ADAPTER = "adapter: "
"""Before the names of its files in a fingerprint."""


def adapter_file_checksums(folder: Path, settings: Settings) -> dict[str, str] | None:
    """`adapter: ` and the name of a file → its checksum, for all that can change an output; None without an adapter.

    Raises:
        ModelError: the files are being written.
    """
    try:
        names = relevant_files(folder)
    except OSError:
        return None
    if "adapter_config.json" not in names:
        return None
    # Of a whole model that the folder may hold as well, nothing is loaded but the tokenizer.
    names = [name for name in names if name.startswith("adapter_model.") or not name.endswith((".safetensors", ".bin"))]
    digests = checksums([folder / name for name in names], settings.cache_dir)
    return {f"{ADAPTER}{name}": digests[folder / name] for name in names}


def adapter_digest(folder: Path, settings: Settings) -> str:
    """A checksum over names and contents of an adapter's files, 64 hex digits."""
    files = adapter_file_checksums(folder, settings) or {}
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
