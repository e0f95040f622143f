"""The header of a GGUF file: its settings, read in bounded time and memory before anything else reads the file.

The format: magic, version, number of tensors and of settings; then each setting as a key, the type of its value and the
value. Texts have their length before them, lists their type and number.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

MAX_KEY_BYTES = 2**16
"""Bytes of a key; the format allows no more."""
MAX_DEPTH = 4
"""Lists in lists; no known file has any."""
_BLOCK_BYTES = 2**20
"""Of the file that are read at a time, to move behind many texts."""
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Type of a value → its form for `struct`."""
_TEXT, _LIST = 8, 9


def numbers(path: Path) -> Iterator[tuple[str, int | float | bool]]:
    """Key and value of each setting that is a single number, in the order of the file; ends where it is damaged."""
    return ((key, value) for key, kind, value in _settings(path) if kind in _NUMBERS)


def list_entries(path: Path) -> int:
    """Entries of all lists in the header, as far as it can be read: tokens, their scores and kinds."""
    return sum(int(value) for _, kind, value in _settings(path) if kind == _LIST)


def _settings(path: Path) -> Iterator[tuple[str, int, int | float | bool]]:
    """Key and type of each setting with its value if that is a number, or its number of entries if it is a list."""
    try:
        with path.open("rb") as file:
            magic, _, _, count = struct.unpack("<4sIQQ", file.read(24))
            if magic != b"GGUF":
                return
            for _ in range(count):
                length = _number(file, "Q")
                if length > MAX_KEY_BYTES:
                    return
                key, kind = file.read(length).decode("utf-8", "replace"), int(_number(file, "I"))
                if kind in _NUMBERS:
                    yield key, kind, _number(file, _NUMBERS[kind])
                    continue
                begin = file.tell()
                _skip(file, kind, MAX_DEPTH)
                if kind == _LIST:
                    end = file.tell()
                    file.seek(begin + 4)
                    yield key, kind, _number(file, "Q")
                    file.seek(end)
    except (OSError, struct.error, ValueError, OverflowError):  # Reported when it is converted.
        return


def _number(file: BinaryIO, form: str) -> int:
    value: int = struct.unpack(f"<{form}", file.read(struct.calcsize(f"<{form}")))[0]
    return value


def _skip(file: BinaryIO, kind: int, depth: int) -> None:
    """Move behind a text, or a list in at most `depth` lists; raises ValueError for another type."""
    if kind == _TEXT:
        file.seek(_number(file, "Q"), 1)
    elif kind == _LIST and depth:
        item_kind, count = _number(file, "I"), _number(file, "Q")
        if item_kind in _NUMBERS:
            file.seek(struct.calcsize(f"<{_NUMBERS[item_kind]}") * count, 1)
        elif item_kind == _TEXT:
            _skip_texts(file, count)
        else:
            for _ in range(count):
                _skip(file, item_kind, depth - 1)
    else:
        raise ValueError(kind)


def _skip_texts(file: BinaryIO, count: int) -> None:
    """Move behind some texts; raises ValueError where the file ends before the length of one."""
    length_at = struct.Struct("<Q").unpack_from
    while count:
        start, block, at = file.tell(), file.read(_BLOCK_BYTES), 0
        if len(block) < 8:
            raise ValueError(count)
        while count and at <= len(block) - 8:
            at += 8 + length_at(block, at)[0]
            count -= 1
        file.seek(start + at)
