"""Members of an untrusted zip archive, read within size limits; Zstandard is supported.

The sizes that an archive states are not trusted: no more than the limits is ever unpacked.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from jglue_app.errors import DataError
from jglue_app.results.importers.log_files import read_bounded

MAX_MEMBER = 2**26
"""Bytes of one member, unpacked: a sample with all its events."""
MAX_TOTAL = 2**33
"""Bytes of all members that are read, unpacked."""
MAX_MEMBERS = 500_000
ZSTANDARD = 93
"""Compression method that Python's `zipfile` cannot read before version 3.14."""
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, ZSTANDARD)
"""How members may be packed. Unpacking by other methods may take any memory."""
_MARK = b"PK\x03\x04"
_LOCAL = struct.Struct("<4s22xHH")
"""The local file header: signature, and the lengths of the name and of the extra field."""


def is_zip(path: Path) -> bool:
    """Whether a file begins with a zip signature, even if it is truncated; raises OSError if it cannot be read."""
    with path.open("rb") as file:
        return file.read(len(_MARK)) == _MARK


class Archive:
    """A zip archive that is open for reading. Use as a context manager.

    Raises:
        DataError: it is damaged, or has too many members.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0
        with self._whole():
            self._file = path.open("rb")
            try:
                self._zip = zipfile.ZipFile(self._file)
            except BaseException:
                self._file.close()
                raise
        self.names = self._zip.namelist()
        if len(self.names) > MAX_MEMBERS:
            self._file.close()
            raise DataError(
                "{path}: holds more than {max_members:,} files. Give a smaller log.", path=path, max_members=MAX_MEMBERS
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()
        self._file.close()

    def read(self, name: str) -> bytes:
        """A member, unpacked.

        Raises:
            DataError: damaged, packed in an unknown way, or more than the limits.
        """
        with self._whole():
            info = self._zip.getinfo(name)
            if info.flag_bits & 1:
                raise zipfile.BadZipFile(f"{name} is encrypted")
            max_bytes = min(MAX_MEMBER, MAX_TOTAL - self._read)
            if info.compress_type not in METHODS:
                raise NotImplementedError(f"{name} is packed in an unknown way")
            if info.compress_type == ZSTANDARD:
                content = self._zstandard(info, max_bytes)
            else:
                with self._zip.open(info) as member:
                    content = read_bounded(member, self.path, max_bytes)
            self._read += len(content)
            return content

    def _zstandard(self, info: zipfile.ZipInfo, max_bytes: int) -> bytes:
        import pyarrow as pa

        self._file.seek(info.header_offset)
        mark, name, extra = _LOCAL.unpack(self._file.read(_LOCAL.size))
        if mark != _MARK:
            raise zipfile.BadZipFile("no member where one should be")
        self._file.seek(name + extra, io.SEEK_CUR)
        packed = pa.BufferReader(self._file.read(min(info.compress_size, max_bytes)))
        with pa.CompressedInputStream(packed, "zstd") as member:
            content = read_bounded(member, self.path, max_bytes)
        if zlib.crc32(content) != info.CRC:
            raise zipfile.BadZipFile(f"the checksum of {info.filename} is another")
        return content

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Turn the errors of a damaged archive into one DataError."""
        try:
            yield
        except (
            *(OSError, ValueError, KeyError, EOFError, RuntimeError, NotImplementedError),
            *(zipfile.BadZipFile, zlib.error, struct.error),
        ) as e:
            raise DataError(
                "{path}: is not a readable .eval archive ({reason}). It is truncated or damaged: "
                "copy it again, or convert it with `inspect log convert --to json`.",
                path=self.path,
                reason=e,
            ) from e
