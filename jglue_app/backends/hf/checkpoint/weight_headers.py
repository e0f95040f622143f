"""What weight files hold, read from their heads: keys, types and shapes; and what is wrong with a file without."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from jglue_app.errors import ModelError

MOST_HEAD = 100_000_000
"""Bytes that the list of tensors in a safetensors file may take."""
_POINTER = b"version https://git-lfs"
"""What Git LFS puts in the place of a file that was not fetched."""
_TYPES = {
    **{torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"},
    **{torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8"},
    **{torch.uint8: "U8", torch.bool: "BOOL"},
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a file."""

    dtype: str
    """As safetensors calls it, such as `BF16`."""
    shape: tuple[int, ...]


def tensors_of(paths: Iterable[Path], name: str) -> dict[str, Tensor]:
    """Key → tensor of all weights in some files.

    Pickled files count as far as torch tells what they hold without reading the weights themselves.

    Args:
        paths: of safetensors and pickled files.
        name: of the model, for the message.

    Raises:
        ModelError: a file is empty, cut off, damaged, or only a pointer to where the file is.
    """
    found: dict[str, Tensor] = {}
    for path in paths:
        refuse_placeholder(path, name)
        found |= _safe(path, name) if path.suffix == ".safetensors" else _pickled(path, name)
    return found


def keys_of(path: Path) -> tuple[str, ...]:
    """The keys of a safetensors file; empty if it cannot be read."""
    try:
        return tuple(_safe(path, ""))
    except (ModelError, OSError):
        return ()


def refuse_placeholder(path: Path, name: str) -> None:
    """Refuse a file that a download left without its content.

    Args:
        path: of the file.
        name: of the model, for the message.

    Raises:
        ModelError: it is empty, or a pointer of Git LFS; or it cannot be read at all.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(_POINTER))
    except OSError:  # Said by what reads it.
        return
    if not start:
        raise ModelError(
            "{file} of {name} is empty. Fetch the model again: a download or copy may have broken off.",
            file=path.name,
            name=name,
        )
    if start == _POINTER:
        raise ModelError(
            "{file} of {name} is a pointer of Git LFS and not the file itself. Run `git lfs pull` "
            "in the folder, or fetch the model again.",
            file=path.name,
            name=name,
        )


def _safe(path: Path, name: str) -> dict[str, Tensor]:
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > MOST_HEAD:
                raise _damaged(path, name)
            if length + 8 > size:
                raise _cut_off(path, name, size, length + 8)
            header: dict[str, dict[str, Any]] = json.loads(file.read(length))
        header.pop("__metadata__", None)
        found = {key: Tensor(str(t["dtype"]), tuple(map(int, t["shape"]))) for key, t in header.items()}
        end = max((int(t["data_offsets"][1]) for t in header.values()), default=0)
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as e:
        raise _damaged(path, name) from e
    if 8 + length + end > size:
        raise _cut_off(path, name, size, 8 + length + end)
    return found


def _pickled(path: Path, name: str) -> dict[str, Tensor]:
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"PK"
        if not packed:  # Of before torch 1.6; what it holds is not told without reading all of it.
            return {}
        if not zipfile.is_zipfile(path):  # The list of what is in it stands at its end.
            raise ModelError("{file} of {name} is cut off. Fetch the model again.", file=path.name, name=name)
        table = torch.load(path, map_location="meta", mmap=True, weights_only=True)
        return {
            str(key): Tensor(_TYPES.get(value.dtype, str(value.dtype)), tuple(value.shape))
            for key, value in table.items()
            if isinstance(value, torch.Tensor)
        }
    except ModelError:
        raise
    except Exception:  # Of torch or pickle, of any kind: said when the file is loaded.
        return {}


def _damaged(path: Path, name: str) -> ModelError:
    return ModelError(
        "{file} of {name} is no safetensors file, or a damaged one. Fetch or export the model again.",
        file=path.name,
        name=name,
    )


def _cut_off(path: Path, name: str, size: int, whole: int) -> ModelError:
    return ModelError(
        "{file} of {name} is cut off: {size:,} of {whole:,} bytes are there. Fetch the model again.",
        file=path.name,
        name=name,
        size=size,
        whole=whole,
    )
