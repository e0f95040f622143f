"""GGUF weights → a safetensors folder in the cache, once.

Expanding a GGUF file takes some seconds for a small model, and reading it through transformers several times as long;
the converted folder loads in under a second. Folders are named by the file's checksum and appear atomically.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import re
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import torch
from filelock import FileLock
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from jglue_app.backends.file_checksums import checksums, sha256
from jglue_app.backends.free_memory import ADDRESSES, free_memory
from jglue_app.backends.hf.checkpoint import gguf_header
from jglue_app.backends.hf.checkpoint.gguf_kind import reject_other_kinds
from jglue_app.backends.hf.checkpoint.gguf_parts import (
    float32_bytes,
    reject_other_sizes,
    reject_without_place,
    write_by_parts,
)
from jglue_app.backends.hf.checkpoint.gguf_progress import conversion_progress
from jglue_app.backends.hf.checkpoint.gguf_reader import read_once
from jglue_app.backends.hf.checkpoint.gguf_settings import reject_unknown_architecture, take_settings
from jglue_app.backends.hf.checkpoint.gguf_tokenizer import correct_tokenizer, reject_unknown_rule
from jglue_app.backends.hf.checkpoint.gguf_unread import (
    needs_correction,
    put_right,
    reject_left_out,
    reject_other_settings,
    reject_unread,
)
from jglue_app.backends.hf.checkpoint.model_sizes import reject_impossible_gguf
from jglue_app.backends.hf.memory import is_out_of_memory, release_unused
from jglue_app.backends.relevant_files import json_object
from jglue_app.errors import DeviceError, JglueAppError, ModelError, ModelNotFoundError, first_line
from jglue_app.messages import Joined, Message
from jglue_app.whole_files import put_in_place

_FORMAT_VERSION = 3
"""Of converted folders: those of earlier versions are not used, and are deleted when their file is converted anew."""
CHECKSUMS = ".checksums"
"""File in the folder of converted weights: name of each other file → its checksum, as JSON."""
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
        # The package puts it together from its parts, and reads it as a whole each time to verify it.
        path = Path(module.default_output_path())
        if cache_dir is not None and path.is_file() and sha256(path, cache_dir) == module.EXPECTED_SHA256:
            return path
        return Path(module.assemble())
    except (OSError, RuntimeError, ValueError, ModelError) as e:  # Its own folder is below the home folder.
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
        ModelError: the file cannot be read as a model, is of another kind, says what transformers does not read, or
            the folder cannot be written.
    """
    if not path.is_file():
        raise ModelNotFoundError("There is no file {path}. Give the path of a .gguf file.", path=path)
    header = gguf_header.read_header(path)
    reject_other_kinds(path.name, header)
    reject_unknown_architecture(path.name, header)
    reject_unread(path.name, header)
    reject_unknown_rule(path, header)
    name = f"{path.stem}-{sha256(path, cache_dir)[:16]}-"
    folder = cache_dir / "converted" / f"{name}v{_FORMAT_VERSION}"
    if is_whole(folder, cache_dir):
        return folder
    reject_impossible_gguf(path.name, gguf_header.numbers(path))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not is_whole(folder, cache_dir):
                shutil.rmtree(folder, ignore_errors=True)  # Damaged since it was converted.
                notify(Message("Converting {file} to safetensors. This happens once.", file=path.name))
                require_memory(
                    path.name, ENTRY_BYTES * gguf_header.list_entries(path) + PARTS_BYTES, path.stat().st_size
                )
                with read_once(), conversion_progress(path.name, notify):
                    _convert_to(path, header, folder, cache_dir)
                for other in folder.parent.iterdir():
                    version = re.fullmatch(re.escape(name) + r"v(\d+)", other.name)
                    if version and int(version[1]) < _FORMAT_VERSION:
                        shutil.rmtree(other, ignore_errors=True)
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


_UNQUANTIZED = ("ALL_F32", "MOSTLY_F16", "MOSTLY_BF16", "GUESSED")


def file_type(path: Path) -> str:
    """How most weights of a GGUF file are quantized, such as `Q4_K_M`; empty if they are not, or it does not say."""
    from gguf import LlamaFileType

    number = next((value for key, value in gguf_header.numbers(path) if key == "general.file_type"), None)
    if number is None or number not in set(LlamaFileType):
        return ""
    name = LlamaFileType(number).name
    return "" if name in _UNQUANTIZED else name.removeprefix("MOSTLY_")


def is_whole(folder: Path, cache_dir: Path) -> bool:
    """Whether a model was converted and its files are as they were written. One without a list of checksums,
    such as a copy without hidden files, counts as whole."""
    if not folder.is_dir():
        return False
    listed = json_object(folder / CHECKSUMS)
    if not listed:
        return not (folder / CHECKSUMS).exists()
    found = checksums([folder / name for name in listed], cache_dir)
    return all(found[folder / name] == digest for name, digest in listed.items())


def _convert_to(path: Path, header: gguf_header.Header, folder: Path, cache_dir: Path) -> None:
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # Left by a process that was killed.
    part.mkdir()
    try:
        _write(path, header, part)
        digests = checksums(sorted(part.iterdir()), cache_dir)
        (part / CHECKSUMS).write_text(json.dumps({file.name: digest for file, digest in digests.items()}), "utf-8")
        put_in_place(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write(path: Path, header: gguf_header.Header, folder: Path) -> None:
    source = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    try:
        # The progress bar of the conversion cannot be switched off; `notify` was called already.
        with contextlib.redirect_stderr(io.StringIO()):
            tokenizer = AutoTokenizer.from_pretrained(**source)
            correct_tokenizer(tokenizer, path, header)
            release_unused()
            config = AutoConfig.from_pretrained(**source)
            release_unused()
            if header.tensor_count is None:  # Nothing would be corrected or refused by it.
                raise ValueError("its header cannot be read to its end")
            take_settings(path, header, config)
            reject_other_settings(path.name, header, config)
            model, report = None, {}
            if not write_by_parts(path, header, config, folder):
                require_memory(path.name, TIMES_WHOLE * float32_bytes(config))
                reject_without_place(path.name, header, config)
                model, report = AutoModelForCausalLM.from_pretrained(
                    **source,
                    config=config,
                    dtype=torch.float32,
                    output_loading_info=True,
                    ignore_mismatched_sizes=True,  # These are rejected below.
                )
    except (OSError, MemoryError, JglueAppError):
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
        reject_other_sizes(path.name, model, config, report)
        reject_missing_weights(path.name, report)
        reject_left_out(path.name, header, sorted(report["unexpected_keys"]))
        # The weights are plain float32 now; left in place, the GGUF marker would forbid saving them.
        model.config.__dict__.pop("quantization_config", None)
        model.hf_quantizer = None
        model.is_quantized = False
        model.save_pretrained(folder)
    if needs_correction(header):
        put_right(path, header, folder)
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
