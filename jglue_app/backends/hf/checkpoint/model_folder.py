"""The files of a model in a folder, or converted from a GGUF file; and the checks of any model's files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from jglue_app.backends.fingerprint import as_path, local_commit
from jglue_app.backends.hf.checkpoint import gguf
from jglue_app.backends.hf.checkpoint.adapters import reject_adapter, reject_additional_weights
from jglue_app.backends.hf.checkpoint.checkpoint_files import (
    count_weights,
    files_to_load,
    read_json_object,
    reject_damaged_settings,
)
from jglue_app.backends.hf.checkpoint.model_kind import reject_embedding_model, reject_unless_causal
from jglue_app.backends.hf.checkpoint.model_sizes import reject_impossible_config
from jglue_app.backends.hf.checkpoint.stored_quantization import (
    QuantizedWeights,
    reject_quantized_twice,
    require_packages,
    stored_quantization,
)
from jglue_app.backends.hf.checkpoint.weight_checks import reject_stored_otherwise
from jglue_app.backends.hf.checkpoint.weight_headers import keys_of, read_headers, reject_placeholder
from jglue_app.backends.named_models import named_models
from jglue_app.errors import (
    ModelError,
    ModelNotFoundError,
)
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec

TOKENIZER_FILES = frozenset(
    ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "merges.txt")
)
"""Files of tokenizers that may be large enough to be kept outside git."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Where the files of a model are, and what is known of its weights."""

    path: str
    """Local folder or Hub id."""
    revision: str | None
    commit: str
    weight_bytes: int | None
    """Bytes of the weight files; None if not known."""
    stored_width: int
    """Bytes of one weight in those files."""
    use_safetensors: bool
    count: int | None = None
    """Number of the weights; None if not known."""
    quantized: QuantizedWeights | None = None
    """How they are quantized in the files; None if they are not."""
    names: tuple[str, ...] = ()
    """Of the weight files."""
    gguf: str = ""
    """The type of the GGUF file that they were converted from, such as `GGUF Q4_K_M`; empty if they were not."""


def model_in_folder(spec: ModelSpec, settings: Settings) -> ModelFiles | None:
    """The files of a model whose id is a folder; None if it is not one, or in public mode.

    Raises:
        ModelError: the folder holds no model, or one of a kind that cannot be compared.
        InputError: a quantization is requested for weights that are quantized already.
    """
    path = as_path(spec.id)
    if not path or not path.is_dir() or settings.public:
        return None
    return replace(_files_in(path, spec), commit=local_commit(spec, settings))


def model_from_gguf(file: Path, spec: ModelSpec, settings: Settings, notify: Callable[[str], None]) -> ModelFiles:
    """The converted folder, named by the checksum of the GGUF file: converting it again does not make another model."""
    folder = gguf.convert_once(file, settings.cache_dir, notify)
    file_type = gguf.file_type(file)
    return replace(_files_in(folder, spec), commit=folder.name, gguf=f"GGUF {file_type}" if file_type else "")


def _files_in(folder: Path, spec: ModelSpec) -> ModelFiles:
    """The files of a folder, without a commit, which the caller adds."""
    config, names = folder / "config.json", names_in(folder)
    reject_adapter(spec.id, names, lambda name: read_json_object(folder / name, spec.id))
    if not config.is_file():
        raise ModelNotFoundError(
            "The folder {folder} holds no config.json. Give a transformers model folder.", folder=folder
        )
    table = read_config(spec.id, config)
    names_to_load, quantized = check_files(
        spec, table, names, lambda name: read_json_object(folder / name, spec.id), folder
    )
    files = [folder / name for name in names_to_load]
    is_safe = files[0].suffix == ".safetensors"
    packed_bits = quantized.expanded_bits if quantized else None
    count, width = (count_weights(files, packed_bits) if is_safe else None) or (None, stored_width(table))
    size = sum(f.stat().st_size for f in files)
    return ModelFiles(str(folder), None, "", size, width, is_safe, count, quantized, names_to_load)


def names_in(folder: Path) -> list[str]:
    """The names of the files of a folder and of the folders in it, with `/` between them."""
    return [path.relative_to(folder).as_posix() for path in (*folder.glob("*"), *folder.glob("*/*")) if path.is_file()]


def check_files(
    spec: ModelSpec,
    config: Mapping[str, Any],
    names: Collection[str],
    read: Callable[[str], Mapping[str, Any]],
    folder: Path | None = None,
) -> tuple[tuple[str, ...], QuantizedWeights | None]:
    """The weight files to load and how they are quantized; raises if the checkpoint cannot be compared.

    Args:
        spec: the model.
        config: the table of its config.json.
        names: of its files, with `/` between folders.
        read: a file's name → its table.
        folder: with the weights; None if they are not on this machine yet.
    """
    if spec.id not in named_models():  # Of listed models it is known, whatever their files say.
        reject_embedding_model(spec.id, names)
        reject_unless_causal(spec.id, config)
        reject_impossible_config(spec.id, config)
    if folder is not None:
        for name in TOKENIZER_FILES & set(names):
            reject_placeholder(folder / name, spec.id)
    reject_damaged_settings(spec.id, names, config, read)
    files = files_to_load(spec.id, names, read, config)
    if not files or any(not name.endswith(".safetensors") for name in files):
        _require_allowed(spec, files, names)
    reject_additional_weights(spec.id, names, files, lambda name: keys_of(folder / name) if folder else ())
    quantized = stored_quantization(spec.id, config, names)
    reject_quantized_twice(spec.id, quantized, spec.quantization)
    if folder is not None:
        stored = read_headers([folder / name for name in files], spec.id)
        reject_stored_otherwise(spec.id, stored, quantized, config)
    require_packages(spec.id, quantized)
    return files, quantized


def _require_allowed(spec: ModelSpec, files: Collection[str], names: Collection[str]) -> None:
    if files:
        if not spec.allow_bin:
            raise ModelError(
                "{model} has only pickled .bin weights. In local mode “Read .bin weights of models without "
                "safetensors” (--allow-bin) has them read, the weights alone.",
                model=spec.id,
            )
        return
    ggufs = [name for name in names if name.endswith(".gguf")]
    if ggufs:
        raise ModelNotFoundError(
            "{model} has no safetensors weights. It has GGUF files: name {file} as the “GGUF file” (--gguf-file).",
            model=spec.id,
            file=ggufs[0],
        )
    raise ModelNotFoundError("{model} has no safetensors weights.", model=spec.id)


def read_config(name: str, config: Path) -> dict[str, Any]:
    """The table of a config.json, which must not ask for code of the repository."""
    table = dict(read_json_object(config, name))
    # MPT and others came with code before transformers had them; a listed model of a built-in type needs none of it.
    built_in = name in named_models() and table.get("model_type") in CONFIG_MAPPING
    if "auto_map" in table and not built_in:
        raise ModelError(
            "{name} needs to run code from its repository, which this application never does. "
            "Choose a model that transformers supports by itself.",
            name=name,
        )
    return table


def stored_width(config: dict[str, Any]) -> int:
    """Bytes per weight by config.json; the default is float32."""
    return {"bfloat16": 2, "float16": 2, "float64": 8}.get(str(config.get("dtype") or config.get("torch_dtype")), 4)
