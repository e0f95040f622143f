"""Files with what was computed from stored runs, kept for other processes: a header and arrays, each with a checksum.

They hold nothing that cannot be computed again. So a file that is missing, torn, changed, made by other code or for
other files is passed over, and one that cannot be written is no error. Several processes may write the same file: each
replaces it as a whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jglue_app.results.code_version import code_version

MAX_HEADER = 2**22
"""Bytes of a header: more than any has."""
TEMPORARY = ".writing-"
KINDS = ("|i1", "<u2", "<u4", "<i8", "<f8")
"""Types that arrays may have."""


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A header that was read, and where its arrays are."""

    path: Path
    values: Mapping[str, Any]
    """What was kept under a key."""
    _arrays: Mapping[str, Any]
    _start: int
    """Byte of the file at which the first array begins."""
    _inode: int

    def array(self, name: str) -> NDArray[Any] | None:
        """One of the arrays; None if the file is no longer the one that was read, or is damaged."""
        try:
            kind, offset, count, checksum = self._arrays[name]
            if kind not in KINDS:
                return None
            size = np.dtype(kind).itemsize * int(count)
            with self.path.open("rb") as file:
                if os.fstat(file.fileno()).st_ino != self._inode:
                    return None
                file.seek(self._start + int(offset))
                content = file.read(size)
        except (OSError, KeyError, TypeError, ValueError):
            return None
        if len(content) != size or zlib.crc32(content) != checksum:
            return None
        return np.frombuffer(content, kind)


def read(path: Path, key: Mapping[str, Any]) -> KeptFile | None:
    """A file that was kept under this key by the same code; None if there is none.

    Args:
        path: the file.
        key: what its content depends on, as JSON gives it back.
    """
    if not (version := code_version()):
        return None
    try:
        with path.open("rb") as file:
            line = file.readline(MAX_HEADER)
            inode = os.fstat(file.fileno()).st_ino
        checksum, _, header = line.partition(b" ")
        if int(checksum, 16) != zlib.crc32(header):
            return None
        table = json.loads(header)
        if table["code"] != version or table["key"] != key:
            return None
        return KeptFile(path, table["values"], table["arrays"], len(line), inode)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def write(
    path: Path, key: Mapping[str, Any], values: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None
) -> None:
    """Keep values and arrays under a key."""
    if not (version := code_version()):
        return
    places, parts, offset = {}, [], 0
    for array_name, array in (arrays or {}).items():
        content = np.ascontiguousarray(array).tobytes()
        places[array_name] = [array.dtype.str, offset, array.size, zlib.crc32(content)]
        parts.append(content)
        offset += len(content)
    header = json.dumps({"code": version, "key": key, "values": values, "arrays": places}).encode() + b"\n"
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.writelines((b"%08x " % zlib.crc32(header), header, *parts))
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            if temporary is not None:
                temporary.unlink()
