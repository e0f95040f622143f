"""Checksums of files, which are cached for large ones.

Cached with the checksum of a large file are its size, its times of modification and of change of the inode, and a
checksum of blocks spread over it. While all of these are the same, the file counts as unchanged. On POSIX systems a
program cannot set the inode's time, so this misses nothing that was written through the file system. Where that time
means something else (Windows) or is not kept (some network file systems), a change is missed that keeps the size,
restores the time of modification, and is outside the blocks.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jglue_app.backends.relevant_files import json_object
from jglue_app.errors import ModelError
from jglue_app.whole_files import write_atomically

CACHE_FILE = "model-files.json"
"""File in the cache folder with the checksums of large files."""
SMALL = 1 << 20
"""Bytes up to which a file is read as a whole each time."""
CHUNK = 32 << 20
"""Bytes of a file that are hashed in one piece; the pieces of a larger file are hashed in parallel."""
BLOCK, BLOCKS = 64 << 10, 24
"""Bytes and number of the blocks of a large file that are compared."""
SETTLE_S = 2.0
"""A file that was changed less than this ago is not cached: a second change may leave its times as they are."""
MAX_CACHED = 4_096
MAX_READS = 3
"""How often a file is read that changes meanwhile."""
SHA256 = "sha256:"
"""What the name of a file begins with in that cache, where its checksum is the SHA-256 of the whole."""
UNREADABLE = "unreadable"
"""In place of the checksum of a file that cannot be read. It cannot be loaded either, so no output depends on it."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class _Entry:
    """A large file as it was when its checksum was computed."""

    stamp: tuple[int, int, int]
    """Size, time of modification, time of the inode's change; nanoseconds."""
    blocks: str
    """Checksum of the blocks spread over it."""
    digest: str


_process_cache: dict[str, _Entry] = {}
"""Files that this process has hashed; their blocks are not compared again while the stamp is the same."""
_lock = threading.Lock()


def checksums(paths: Iterable[Path], cache_dir: Path) -> dict[Path, str]:
    """Path → checksum of the content. Up to `CHUNK` bytes it is the SHA-256 of the file, beyond that the SHA-256 of
    the SHA-256 of its pieces, which can be computed in parallel.

    Raises:
        ModelError: a file is being written.
    """
    digests: dict[Path, str] = {}
    cached = _Cached(cache_dir, _digest_of_content)
    for path in paths:
        try:
            digests[path] = cached.digest(path)
        except OSError:
            digests[path] = UNREADABLE
    cached.save()
    return digests


def sha256(path: Path, cache_dir: Path) -> str:
    """The SHA-256 of a file, whatever its size, cached in the same way.

    Raises:
        ModelError: the file is being written.
        OSError: it cannot be read.
    """
    cached = _Cached(cache_dir, lambda path, _: _sha256(path), SHA256)
    digest = cached.digest(path)
    cached.save()
    return digest


class _Cached:
    """Checksums of one kind, by the files of earlier processes and by this one.

    Args:
        cache_dir: the folder with the checksums of earlier processes.
        compute: file and its size → its checksum.
        kind: what the file's name in the cache begins with.
    """

    def __init__(self, cache_dir: Path, compute: Callable[[Path, int], str], kind: str = "") -> None:
        self._cache_dir, self._compute, self._kind = cache_dir, compute, kind
        self._earlier: dict[str, _Entry] | None = None
        self._new: dict[str, _Entry] = {}

    def digest(self, path: Path) -> str:
        """The checksum of a file; raises OSError, and ModelError while it is written."""
        stamp = _stamp(path)
        if stamp[0] <= SMALL:
            return _stable_digest(path, self._compute)[1]
        key = f"{self._kind}{path.resolve()}"
        with _lock:
            entry = _process_cache.get(key)
        if entry is None or entry.stamp != stamp:
            entry = self._entry(path, key, stamp)
            if _settled(entry.stamp):
                with _lock:
                    _process_cache[key] = entry
        return entry.digest

    def _entry(self, path: Path, key: str, stamp: tuple[int, int, int]) -> _Entry:
        if self._earlier is None:
            self._earlier = _load_cache(self._cache_dir)
        entry = self._earlier.get(key)
        if entry is not None and entry.stamp == stamp and entry.blocks == _block_digest(path, stamp[0]):
            return entry
        stamp, digest = _stable_digest(path, self._compute)
        entry = _Entry(stamp, _block_digest(path, stamp[0]), digest)
        if _settled(stamp):
            self._new[key] = entry
        return entry

    def save(self) -> None:
        """Keep what was computed for later processes."""
        if self._new:
            _add_to_cache(self._cache_dir, self._new)


def _stamp(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _settled(stamp: tuple[int, int, int]) -> bool:
    now = time.time_ns()
    return all(abs(now - moment) > SETTLE_S * 1e9 for moment in stamp[1:])


def _stable_digest(path: Path, compute: Callable[[Path, int], str]) -> tuple[tuple[int, int, int], str]:
    """Stamp and checksum of a file that did not change while it was read."""
    for _ in range(MAX_READS):
        before = _stamp(path)
        digest = compute(path, before[0])
        if _stamp(path) == before:
            return before, digest
    raise ModelError("{file} is being written. Wait until that is done, and start again.", file=path.name)


def _digest_of_content(path: Path, size: int) -> str:
    if size <= CHUNK:
        return _sha256(path)
    whole = hashlib.sha256()
    with concurrent.futures.ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as executor:
        for digest in executor.map(lambda start: _chunk_digest(path, start), range(0, size, CHUNK)):
            whole.update(digest)
    return whole.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _chunk_digest(path: Path, start: int) -> bytes:
    digest, left, buffer = hashlib.sha256(), CHUNK, memoryview(bytearray(SMALL))
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while left > 0 and (count := file.readinto(buffer[: min(left, len(buffer))])):
            digest.update(buffer[:count])
            left -= count
    return digest.digest()


def _block_digest(path: Path, size: int) -> str:
    """Checksum of the first and the last block and of others at equal distances."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        for k in range(BLOCKS):
            file.seek((size - BLOCK) * k // (BLOCKS - 1))
            digest.update(file.read(BLOCK))
    return digest.hexdigest()


def _load_cache(cache_dir: Path) -> dict[str, _Entry]:
    """Entries of earlier processes, without damaged ones."""
    entries = {}
    for key, row in json_object(cache_dir / CACHE_FILE).items():
        if isinstance(row, list) and len(row) == 5 and all(isinstance(number, int) for number in row[:3]):
            blocks, digest = row[3:]
            if all(isinstance(text, str) and _DIGEST.fullmatch(text) for text in (blocks, digest)):
                entries[key] = _Entry((row[0], row[1], row[2]), blocks, digest)
    return entries


def _add_to_cache(cache_dir: Path, new: Mapping[str, _Entry]) -> None:
    """Add entries to the cache file. Those of one of two simultaneous processes may be lost, and a folder may be
    read-only: the files are hashed again then.
    """
    rows = {**_load_cache(cache_dir), **new}
    if len(rows) > MAX_CACHED:
        rows = {key: entry for key, entry in rows.items() if key in new or Path(key.removeprefix(SHA256)).exists()}
    table = {key: [*entry.stamp, entry.blocks, entry.digest] for key, entry in list(rows.items())[-MAX_CACHED:]}
    with contextlib.suppress(OSError, ValueError):  # A path may not be UTF-8.
        cache_dir.mkdir(parents=True, exist_ok=True)
        write_atomically(cache_dir / CACHE_FILE, json.dumps(table))
