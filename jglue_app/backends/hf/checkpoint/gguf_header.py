"""The header of a GGUF file: its settings, read in bounded time and memory before anything else reads the file.

The format: magic, version, number of tensors and of settings; then each setting as a key, the type of its value and the
value. Texts have their length before them, lists their type and number.
"""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

MAX_KEY_BYTES = 2**16
"""Bytes of a key; the format allows no more."""
MAX_TEXT_BYTES = 1_000
"""Bytes of a text that is read; chat templates are longer."""
MAX_DIMENSIONS = 8
"""Of a tensor; known files have four at most."""
MAX_DEPTH = 4
"""Lists in lists; no known file has any."""
_BLOCK_BYTES = 2**20
"""Of the file that are read at a time, to move behind many texts."""
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Type of a value → its form for `struct`."""
_TEXT, _LIST = 8, 9
_FLOAT32 = 0
"""Type of a tensor of plain numbers of four bytes."""
_ALIGNMENT = 32
"""Bytes of which the place of the first tensor is a multiple, unless `general.alignment` says otherwise."""

Setting = int | float | bool | str
_DAMAGED = (OSError, struct.error, ValueError, OverflowError)
"""Errors of reading a header that is damaged, which is reported when the file is converted."""


@dataclass(slots=True)
class Header:
    """What a file says of itself, as far as it can be read."""

    settings: dict[str, Setting] = field(default_factory=dict)
    """Those that are a single number or a short text."""
    lists: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    """Those that are lists: the type of their entries, how many there are, and where they begin in the file."""
    tensors: dict[str, tuple[tuple[int, ...], int, int]] = field(default_factory=dict)
    """Name → its sizes, its type, and where it begins in the file."""
    tensor_count: int | None = None
    """How many tensors there should be; None if that cannot be read."""

    @property
    def architecture(self) -> str:
        """As the file names it, such as `llama`; empty if it does not."""
        return str(self.settings.get("general.architecture", ""))

    def own(self, key: str) -> Setting | None:
        """A setting of the architecture, such as `rope.freq_base`; None if there is none."""
        return self.settings.get(f"{self.architecture}.{key}")

    def text(self, key: str) -> str:
        """A setting that is a text; empty if there is none."""
        value = self.settings.get(key)
        return value if isinstance(value, str) else ""


def read_header(path: Path) -> Header:
    """The header of a file; what stands behind a damage is missing."""
    header = Header()
    try:
        with path.open("rb") as file:
            count, tensors = _counts(file)
            for key, kind, value, at in _settings(file, count):
                if kind == _LIST:
                    header.lists[key] = _list_head(file, at)
                else:
                    header.settings[key] = value
            header.tensors = _tensors(file, tensors, header.settings)
            header.tensor_count = tensors
    except _DAMAGED:
        pass
    return header


def float32(path: Path, header: Header, name: str) -> list[float] | None:
    """The numbers of a tensor; None if there is none of this name, or it is not of plain numbers of four bytes."""
    sizes, kind, start = header.tensors.get(name, ((), -1, 0))
    count = math.prod(sizes)
    if kind != _FLOAT32 or not 0 < count <= MAX_KEY_BYTES:
        return None
    with path.open("rb") as file:
        file.seek(start)
        values = array("f", file.read(4 * count))
    return values.tolist() if len(values) == count else None


def number_list(path: Path, header: Header, key: str) -> list[float]:
    """The numbers of a list; empty if there is none of this name, it holds no numbers, or the file ends before."""
    kind, count, start = header.lists.get(key, (-1, 0, 0))
    if kind not in _NUMBERS:
        return []
    form = struct.Struct(f"<{_NUMBERS[kind]}")
    if count > (path.stat().st_size - start) // form.size:
        return []
    with path.open("rb") as file:
        file.seek(start)
        return [value for (value,) in form.iter_unpack(file.read(form.size * count))]


def text_list(path: Path, header: Header, key: str) -> list[str]:
    """The texts of a list; empty if there is none of this name, or its entries are no texts."""
    kind, count, start = header.lists.get(key, (-1, 0, 0))
    if kind != _TEXT:
        return []
    with path.open("rb") as file:
        file.seek(start)
        return [file.read(_number(file, "Q")).decode("utf-8", "replace") for _ in range(count)]


def numbers(path: Path) -> Iterator[tuple[str, int | float | bool]]:
    """Key and value of each setting that is a single number, in the order of the file; ends where it is damaged."""
    found = ((key, value) for key, kind, value, _ in _settings_of(path) if kind in _NUMBERS)
    return ((key, value) for key, value in found if not isinstance(value, str))


def list_entries(path: Path) -> int:
    """Entries of all lists in the header, as far as it can be read: tokens, their scores and kinds."""
    return sum(int(value) for _, kind, value, _ in _settings_of(path) if kind == _LIST)


def _settings_of(path: Path) -> Iterator[tuple[str, int, Setting, int]]:
    """`_settings` of a file, up to where it is damaged."""
    try:
        with path.open("rb") as file:
            yield from _settings(file, _counts(file)[0])
    except _DAMAGED:
        return


def _counts(file: BinaryIO) -> tuple[int, int]:
    """Numbers of settings and of tensors; raises ValueError if it is no GGUF file."""
    magic, _, tensors, settings = struct.unpack("<4sIQQ", file.read(24))
    if magic != b"GGUF":
        raise ValueError(magic)
    return settings, tensors


def _settings(file: BinaryIO, count: int) -> Iterator[tuple[str, int, Setting, int]]:
    """Key and type of each setting, its value if that is a number or a short text, or its number of entries if it is a
    list; and where the value begins."""
    for _ in range(count):
        length = _number(file, "Q")
        if length > MAX_KEY_BYTES:
            raise ValueError(length)
        key, kind = file.read(length).decode("utf-8", "replace"), int(_number(file, "I"))
        if kind in _NUMBERS:
            begin = file.tell()
            yield key, kind, _number(file, _NUMBERS[kind]), begin
            continue
        begin = file.tell()
        _skip(file, kind, MAX_DEPTH)
        end = file.tell()
        if kind == _LIST:
            file.seek(begin + 4)
            yield key, kind, _number(file, "Q"), begin
        elif end - begin <= MAX_TEXT_BYTES:
            file.seek(begin + 8)
            yield key, kind, file.read(end - begin - 8).decode("utf-8", "replace"), begin
        file.seek(end)


def _list_head(file: BinaryIO, at: int) -> tuple[int, int, int]:
    """Type and number of the entries of a list that begins there, and where the first one is."""
    file.seek(at)
    return _number(file, "I"), _number(file, "Q"), at + 12


def _tensors(
    file: BinaryIO, count: int, settings: Mapping[str, Setting]
) -> dict[str, tuple[tuple[int, ...], int, int]]:
    """The table of tensors behind the settings."""
    found = {}
    for _ in range(count):
        length = _number(file, "Q")
        if length > MAX_KEY_BYTES:
            raise ValueError(length)
        name, dimensions = file.read(length).decode("utf-8", "replace"), _number(file, "I")
        if dimensions > MAX_DIMENSIONS:
            raise ValueError(dimensions)
        sizes = tuple(_number(file, "Q") for _ in range(dimensions))
        found[name] = sizes, _number(file, "I"), _number(file, "Q")
    alignment = int(settings.get("general.alignment", _ALIGNMENT)) or _ALIGNMENT
    begin = -(-file.tell() // alignment) * alignment
    return {name: (sizes, kind, begin + offset) for name, (sizes, kind, offset) in found.items()}


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
