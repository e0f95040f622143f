"""GGUF weights → a safetensors folder in the cache, once.

transformers reads GGUF by expanding it, which takes about a minute for a small model; the converted folder loads in
under a second. Folders are named by the file's checksum and appear atomically.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import shutil
import struct
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import BinaryIO

import torch
from filelock import FileLock
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from jglue_app.backends.free_memory import ADDRESSES, free_memory
from jglue_app.backends.hf.checkpoint.gguf_parts import float32_bytes, write_by_parts
from jglue_app.backends.hf.checkpoint.gguf_progress import conversion_progress
from jglue_app.backends.hf.memory import is_out_of_memory, release_unused
from jglue_app.errors import DeviceError, ModelError, ModelNotFoundError, first_line
from jglue_app.messages import Joined, Message

_FORMAT_VERSION = "v1"
ENTRY_BYTES = 1_200
"""Memory that the reader takes for an entry of a list, of which a vocabulary has some hundred thousand: measured with
two files, of 150,000 and 790,000 entries."""
PARTS_BYTES = 160 * 2**20
"""Memory of what is expanded at a time, and of the libraries that do it."""
TIMES_WHOLE = 3
"""Memory of a conversion that expands all weights at once, as a multiple of the weights in float32: measured."""


def packaged_file(package: str, cache_dir: Path | None = None) -> Path:
    """The GGUF file of a Python package.

    Raises:
        ModelNotFoundError: the package is not installed.
        ModelError: the file cannot be written, neither where the package puts it nor into the cache folder.
    """
    try:
        module = importlib.import_module(package)
    except ImportError as e:
        raise ModelNotFoundError(
            "The package {package} is not installed. Run `pip install -r requirements.txt`.",
            package=package.replace("_", "-"),
        ) from e
    try:
        return Path(module.assemble())
    except (OSError, RuntimeError, ValueError) as e:  # Its own folder is below the home folder.
        failure: Exception = e
    try:
        if cache_dir is not None:
            return Path(module.assemble(cache_dir / package / module.MODEL_NAME))
    except (OSError, ValueError) as e:
        failure = e
    raise ModelError(
        "The model file of the package {package} could not be written ({reason}). Free some space, "
        "delete what is left of the file, or set JGLUE_CACHE_DIR to a folder that can be written "
        "to.",
        package=package.replace("_", "-"),
        reason=first_line(failure),
    ) from failure


def convert_once(path: Path, cache_dir: Path, notify: Callable[[str], None]) -> Path:
    """The folder with the converted weights and tokenizer of a GGUF file; converts it if need be.

    Raises:
        ModelNotFoundError: there is no such file.
        ModelError: the file cannot be read as a model, or the folder cannot be written.
    """
    if not path.is_file():
        raise ModelNotFoundError("There is no file {path}. Give the path of a .gguf file.", path=path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    folder = cache_dir / "converted" / f"{path.stem}-{digest[:16]}-{_FORMAT_VERSION}"
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                notify(
                    Message(
                        "Converting {file} to safetensors. This happens once and takes about a minute.", file=path.name
                    )
                )
                require_memory(path.name, ENTRY_BYTES * list_entries(path) + PARTS_BYTES, path.stat().st_size)
                with conversion_progress(path.name, notify):
                    _convert_to(path, folder)
    except MemoryError as e:
        raise DeviceError(
            "There is not enough memory to convert {file} to safetensors. Free some memory, or convert it on another "
            "machine and copy the folder {folder}.",
            file=path.name,
            folder=folder,
        ) from e
    except (OSError, SafetensorError) as e:
        raise ModelError(
            "The converted weights of {file} could not be written to {folder} ({reason}). Free "
            "some space there, or set JGLUE_CACHE_DIR to another folder.",
            file=path.name,
            folder=folder.parent,
            reason=first_line(e),
        ) from e
    return folder


def require_memory(file: str, needed: int, mapped: int = 0) -> None:
    """Raise DeviceError if a conversion needs more memory than there is.

    Args:
        file: its name, for the message.
        needed: bytes.
        mapped: bytes of the file, which take addresses and no memory of their own.
    """
    free = free_memory()
    if free.limited_by == ADDRESSES:
        needed += mapped
    if needed <= free.bytes:
        return
    raise DeviceError(
        "Converting {file} to safetensors needs about {need:.2f} GB of memory and {free:.2f} GB are free within "
        "{limit}. Allow more, or convert it on another machine.",
        file=file,
        need=needed / 1e9,
        free=free.bytes / 1e9,
        limit=free.limit,
    )


_VALUE_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Type of a value in a GGUF file → its bytes; 8 is a text and 9 a list."""
_UNQUANTIZED = ("ALL_F32", "MOSTLY_F16", "MOSTLY_BF16", "GUESSED")


def list_entries(path: Path) -> int:
    """Entries of all lists in the header of a GGUF file, as far as it can be read: tokens, their scores and kinds."""
    entries = 0
    with contextlib.suppress(OSError, struct.error, ValueError, KeyError, OverflowError), path.open("rb") as file:
        magic, _, _, count = struct.unpack("<4sIQQ", file.read(24))
        for _ in range(count if magic == b"GGUF" else 0):
            file.seek(_number(file, "<Q"), 1)
            kind = _number(file, "<I")
            if kind == 9:
                here = file.tell()
                _, length = _number(file, "<I"), _number(file, "<Q")
                entries += length
                file.seek(here)
            _skip(file, kind)
    return entries


def file_type(path: Path) -> str:
    """How most weights of a GGUF file are quantized, such as `Q4_K_M`; empty if they are not, or it does not say."""
    from gguf import LlamaFileType

    try:
        with path.open("rb") as file:
            magic, _, _, count = struct.unpack("<4sIQQ", file.read(24))
            if magic != b"GGUF":
                return ""
            for _ in range(count):
                key = file.read(_number(file, "<Q"))
                kind = _number(file, "<I")
                if key == b"general.file_type" and kind == 4:
                    name = LlamaFileType(_number(file, "<I")).name
                    return "" if name in _UNQUANTIZED else name.removeprefix("MOSTLY_")
                _skip(file, kind)
    except (OSError, struct.error, ValueError, KeyError, OverflowError):  # Reported when it is converted.
        return ""
    return ""


def _number(file: BinaryIO, form: str) -> int:
    return int(struct.unpack(form, file.read(struct.calcsize(form)))[0])


def _skip(file: BinaryIO, kind: int) -> None:
    """Move behind a value."""
    if kind == 8:
        file.seek(_number(file, "<Q"), 1)
    elif kind == 9:
        item_kind, count = _number(file, "<I"), _number(file, "<Q")
        if item_kind in _VALUE_BYTES:
            file.seek(_VALUE_BYTES[item_kind] * count, 1)
        else:
            for _ in range(count):
                _skip(file, item_kind)
    else:
        file.seek(_VALUE_BYTES[kind], 1)


def _convert_to(path: Path, folder: Path) -> None:
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # Left by a process that was killed.
    part.mkdir()
    try:
        _write(path, part)
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write(path: Path, folder: Path) -> None:
    source = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    try:
        # The progress bar of the conversion cannot be switched off; `notify` was called already.
        with contextlib.redirect_stderr(io.StringIO()):
            tokenizer = AutoTokenizer.from_pretrained(**source)
            release_unused()
            config = AutoConfig.from_pretrained(**source)
            release_unused()
            model, report = None, {}
            if not write_by_parts(path, config, folder):
                require_memory(path.name, TIMES_WHOLE * float32_bytes(config))
                model, report = AutoModelForCausalLM.from_pretrained(
                    **source, dtype=torch.float32, output_loading_info=True
                )
    except (OSError, MemoryError, DeviceError):
        raise
    except Exception as e:  # A damaged file makes the reader fail in any way.
        if is_out_of_memory(e):
            raise MemoryError from e
        raise ModelError(
            "{file} cannot be read as a GGUF model ({reason}). Check the download, or use a safetensors repository.",
            file=path.name,
            reason=first_line(e),
        ) from e
    if model is not None:
        reject_missing_weights(path.name, report)
        # The weights are plain float32 now; left in place, the GGUF marker would forbid saving them.
        model.config.__dict__.pop("quantization_config", None)
        model.hf_quantizer = None
        model.is_quantized = False
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def reject_missing_weights(name: str, report: Mapping[str, Collection[str]]) -> None:
    """Raise ModelError if transformers found weights missing, which it fills with random numbers.

    Args:
        name: of the model, for the message.
        report: of `from_pretrained` with `output_loading_info`.
    """
    if report["missing_keys"]:
        keys = Joined(", ", sorted(report["missing_keys"])[:3])
        raise ModelError(
            "The files of {name} lack some weights ({keys}). Fetch or export the model again.", name=name, keys=keys
        )
