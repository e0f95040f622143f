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
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from jglue_app.errors import ModelError, ModelNotFoundError, first_line

_LAYOUT = "v1"


def packaged_file(package: str, cache_dir: Path | None = None) -> Path:
    """The GGUF file that a Python package carries.

    Raises:
        ModelNotFoundError: the package is not installed.
        ModelError: the file cannot be written, neither where the package puts it nor into the cache folder.
    """
    try:
        module = importlib.import_module(package)
    except ImportError as e:
        raise ModelNotFoundError(
            f"The package {package.replace('_', '-')} is not installed. Run `pip install -r requirements.txt`."
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
        f"The model file of the package {package.replace('_', '-')} could not be written ({first_line(failure)}). "
        "Free some space, delete what is left of the file, or set JGLUE_CACHE_DIR to a folder that can be written to."
    ) from failure


def converted(path: Path, cache_dir: Path, notify: Callable[[str], None]) -> Path:
    """The folder with the converted weights and tokenizer of a GGUF file, made if need be.

    Raises:
        ModelNotFoundError: there is no such file.
        ModelError: the file cannot be read as a model, or the folder not be written.
    """
    if not path.is_file():
        raise ModelNotFoundError(f"There is no file {path}. Give the path of a .gguf file.")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    folder = cache_dir / "converted" / f"{path.stem}-{digest[:16]}-{_LAYOUT}"
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                notify(f"Converting {path.name} to safetensors. This happens once and takes about a minute.")
                _convert(path, folder)
    except (OSError, SafetensorError) as e:
        raise ModelError(
            f"The converted weights of {path.name} could not be written to {folder.parent} ({first_line(e)}). "
            "Free some space there, or set JGLUE_CACHE_DIR to another folder."
        ) from e
    return folder


def _convert(path: Path, folder: Path) -> None:
    model, tokenizer = _read(path)
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # Left by a process that was killed.
    part.mkdir()
    try:
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _read(path: Path) -> tuple[Any, Any]:
    source = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    try:
        # The progress bar of the conversion cannot be switched off; one sentence was told already.
        with contextlib.redirect_stderr(io.StringIO()):
            tokenizer = AutoTokenizer.from_pretrained(**source)
            model, report = AutoModelForCausalLM.from_pretrained(
                **source, dtype=torch.float32, output_loading_info=True
            )
    except Exception as e:  # A damaged file makes the reader fail in any way.
        raise ModelError(
            f"{path.name} cannot be read as a GGUF model ({first_line(e)}). "
            "Check the download, or use a safetensors repository."
        ) from e
    refuse_missing(path.name, report)
    # The weights are plain float32 now; left in place, the GGUF marker would forbid saving them.
    model.config.__dict__.pop("quantization_config", None)
    model.hf_quantizer = None
    model.is_quantized = False
    return model, tokenizer


def refuse_missing(name: str, report: Mapping[str, Collection[str]]) -> None:
    """Raise ModelError if transformers found weights missing, which it fills with random numbers.

    Args:
        name: of the model, for the message.
        report: what `from_pretrained` tells with `output_loading_info`.
    """
    if report["missing_keys"]:
        some = ", ".join(sorted(report["missing_keys"])[:3])
        raise ModelError(f"The files of {name} lack some weights ({some}). Fetch or export the model again.")
