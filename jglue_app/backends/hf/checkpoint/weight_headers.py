"""Headers of weight files: keys, types and shapes of the tensors in them, read without the weights themselves."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from jglue_app.errors import ModelError

MAX_HEADER_BYTES = 100_000_000
"""Bytes that the list of tensors in a safetensors file may take."""
_LFS_POINTER = b"version https://git-lfs"
"""The beginning of what Git LFS has in place of a file that was not fetched."""
_DTYPE_NAMES = {
    **{torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"},
    **{torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8"},
    **{torch.uint8: "U8", torch.bool: "BOOL"},
}


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """Type and shape of one tensor in a file."""

    dtype: str
    """As safetensors calls it, such as `BF16`."""
    shape: tuple[int, ...]


def read_headers(paths: Iterable[Path], name: str) -> dict[str, TensorHeader]:
    """Key → header of all tensors in some files.

    Of pickled files only those that torch can list without reading the weights.

    Args:
        paths: of safetensors and pickled files.
        name: of the model, for the message.

    Raises:
        ModelError: a file is empty, cut off, damaged, or a pointer of Git LFS.
    """
    headers: dict[str, TensorHeader] = {}
    for path in paths:
        reject_placeholder(path, name)
        headers |= _safetensors_headers(path, name) if path.suffix == ".safetensors" else _pickled_headers(path, name)
    return headers


def keys_of(path: Path) -> tuple[str, ...]:
    """The keys of a safetensors file; empty if it cannot be read."""
    try:
        return tuple(_safetensors_headers(path, ""))
    except (ModelError, OSError):
        return ()


def reject_placeholder(path: Path, name: str) -> None:
    """Reject a file that a download left without its content.

    Args:
        path: of the file.
        name: of the model, for the message.

    Raises:
        ModelError: it is empty, or a pointer of Git LFS.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(_LFS_POINTER))
    except OSError:  # Reported where it is read.
        return
    if not start:
        raise ModelError(
            "{file} of {name} is empty. Fetch the model again: a download or copy may have broken off.",
            file=path.name,
            name=name,
        )
    if start == _LFS_POINTER:
        raise ModelError(
            "{file} of {name} is a pointer of Git LFS and not the file itself. Run `git lfs pull` "
            "in the folder, or fetch the model again.",
            file=path.name,
            name=name,
        )


def _safetensors_headers(path: Path, name: str) -> dict[str, TensorHeader]:
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > MAX_HEADER_BYTES:
                raise _damaged(path, name)
            if length + 8 > size:
                raise _cut_off(path, name, size, length + 8)
            header: dict[str, dict[str, Any]] = json.loads(file.read(length))
        header.pop("__metadata__", None)
        headers = {key: TensorHeader(str(t["dtype"]), tuple(map(int, t["shape"]))) for key, t in header.items()}
        end = max((int(t["data_offsets"][1]) for t in header.values()), default=0)
    except (
        *(OSError, ValueError, KeyError, IndexError, TypeError, AttributeError),
        *(OverflowError, RecursionError),
    ) as e:
        raise _damaged(path, name) from e
    if 8 + length + end > size:
        raise _cut_off(path, name, size, 8 + length + end)
    return headers


def _pickled_headers(path: Path, name: str) -> dict[str, TensorHeader]:
    try:
        with path.open("rb") as file:
            is_zip = file.read(2) == b"PK"
        if not is_zip:  # Written before torch 1.6; it has no list of its tensors.
            return {}
        if not zipfile.is_zipfile(path):  # Its directory is at its end.
            raise ModelError("{file} of {name} is cut off. Fetch the model again.", file=path.name, name=name)
        table = torch.load(path, map_location="meta", mmap=True, weights_only=True)
        return {
            str(key): TensorHeader(_DTYPE_NAMES.get(value.dtype, str(value.dtype)), tuple(value.shape))
            for key, value in table.items()
            if isinstance(value, torch.Tensor)
        }
    except ModelError:
        raise
    except Exception:  # Of torch or pickle, of any kind: reported when the file is loaded.
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
