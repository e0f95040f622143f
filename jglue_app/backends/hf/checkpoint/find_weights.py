"""Where a model's files are: a package, a folder, a GGUF file, or the Hugging Face Hub.

Nothing is loaded here. Code of a repository is never run; pickled weights are rejected unless they are allowed.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from jglue_app import environment
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
    DeviceError,
    InputError,
    JglueAppError,
    ModelAccessError,
    ModelError,
    ModelNotFoundError,
    NetworkError,
    UnknownNameError,
    first_line,
)
from jglue_app.messages import Message
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


def find_model(spec: ModelSpec, settings: Settings, notify: Callable[[str], None]) -> ModelFiles:
    """Find a model's files, without downloading weights (except GGUF, which is converted here).

    Raises:
        InputError: public mode, and the model is not in the registry, or with another revision or file than there; or
            a quantization is requested for weights that are quantized already.
        ModelNotFoundError, ModelAccessError, ModelError: no such model, gated, or of a kind that cannot be compared.
        NetworkError: the Hub cannot be reached and the model is not cached.
    """
    named = named_models().get(spec.id)
    if settings.public and named is None:
        raise UnknownNameError("model", spec.id, named_models(), "This server runs the listed models only.")
    if settings.public and (spec.revision or spec.gguf_file or spec.allow_bin):
        # Anyone can propose a revision or a file to a repository on the Hub.
        raise InputError(
            "This server runs the listed models as they are: leave out revision, GGUF file and .bin weights."
        )
    if named and named.package:
        return _from_gguf(gguf.packaged_file(named.package, settings.cache_dir), spec, settings, notify)
    path = as_path(spec.id)
    if not settings.public and path and spec.id.endswith(".gguf"):
        return _from_gguf(path, spec, settings, notify)
    return model_in_folder(spec, settings) or _on_hub(spec, settings, notify)


def model_in_folder(spec: ModelSpec, settings: Settings) -> ModelFiles | None:
    """The files of a model whose id is a folder; None if it is not one, or in public mode.

    Raises:
        ModelError: the folder holds no model, or one of a kind that cannot be compared.
        InputError: a quantization is requested for weights that are quantized already.
    """
    path = as_path(spec.id)
    if not path or not path.is_dir() or settings.public:
        return None
    return replace(_local(path, spec), commit=local_commit(spec, settings))


def _from_gguf(file: Path, spec: ModelSpec, settings: Settings, notify: Callable[[str], None]) -> ModelFiles:
    """The converted folder, named by the checksum of the GGUF file: converting it again does not make another model."""
    folder = gguf.convert_once(file, settings.cache_dir, notify)
    file_type = gguf.file_type(file)
    return replace(_local(folder, spec), commit=folder.name, gguf=f"GGUF {file_type}" if file_type else "")


def _local(folder: Path, spec: ModelSpec) -> ModelFiles:
    """The files of a folder, without a commit, which the caller adds."""
    config, names = folder / "config.json", _names_in(folder)
    reject_adapter(spec.id, names, lambda name: read_json_object(folder / name, spec.id))
    if not config.is_file():
        raise ModelNotFoundError(
            "The folder {folder} holds no config.json. Give a transformers model folder.", folder=folder
        )
    table = _read_config(spec.id, config)
    names_to_load, quantized = _check_files(
        spec, table, names, lambda name: read_json_object(folder / name, spec.id), folder
    )
    files = [folder / name for name in names_to_load]
    is_safe = files[0].suffix == ".safetensors"
    count, width = (count_weights(files) if is_safe else None) or (None, _stored_width(table))
    size = sum(f.stat().st_size for f in files)
    return ModelFiles(str(folder), None, "", size, width, is_safe, count, quantized, names_to_load)


def _names_in(folder: Path) -> list[str]:
    """The names of the files of a folder and of the folders in it, with `/` between them."""
    return [path.relative_to(folder).as_posix() for path in (*folder.glob("*"), *folder.glob("*/*")) if path.is_file()]


def _check_files(
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


def _on_hub(spec: ModelSpec, settings: Settings, notify: Callable[[str], None]) -> ModelFiles:
    try:
        if not constants.HF_HUB_OFFLINE:
            environment.check_network(constants.ENDPOINT)
        info = HfApi(token=settings.hub_token).model_info(
            spec.id, revision=spec.revision, files_metadata=True, timeout=20
        )
        sizes = {f.rfilename: f.size or 0 for f in info.siblings or []}
        commit = info.sha or "unknown"
        # By the name of the revision, so that the cache has its commit when the Hub does not answer.
        fetch = functools.partial(hf_hub_download, spec.id, revision=spec.revision, token=settings.hub_token)
        config = Path(fetch("config.json")) if "config.json" in sizes else None
    except (LocalEntryNotFoundError, InputError) as e:
        return _from_cache(spec, settings, notify, e)
    except GatedRepoError as e:
        raise _gated(spec) from e
    except (HFValidationError, RepositoryNotFoundError, RevisionNotFoundError, EntryNotFoundError) as e:
        raise _not_found(spec, e) from e
    except Exception as e:  # Of the HTTP library, which differs between versions of huggingface_hub; of a proxy's page.
        if isinstance(e, HfHubHTTPError) and e.response is not None and e.response.status_code in (401, 403):
            raise _gated(spec) from e
        return _from_cache(spec, settings, notify, e)
    if spec.gguf_file:
        return _gguf_on_hub(spec, settings, notify, sizes)

    def read(name: str) -> Mapping[str, Any]:
        try:
            path = Path(fetch(name))
        except Exception as e:  # As above.
            raise NetworkError(
                "The download of {name} broke off ({reason}). Try again.", name=name, reason=first_line(e)
            ) from e
        return read_json_object(path, spec.id)

    reject_adapter(spec.id, sizes, read)
    if config is None:
        raise ModelNotFoundError("{model} has no config.json: it is not a transformers model.", model=spec.id)
    table = _read_config(spec.id, config)
    weights, quantized = _check_files(spec, table, sizes, read)
    total = sum(sizes[name] for name in weights)
    _check_disk(spec, total)
    notify(
        Message(
            "Fetching {model} ({total:.1f} GB) from the Hugging Face Hub, unless it is cached.",
            model=spec.id,
            total=total / 1e9,
        )
    )
    is_safe = weights[0].endswith(".safetensors")
    return ModelFiles(spec.id, commit, commit, total, _stored_width(table), is_safe, None, quantized, weights)


def _check_disk(spec: ModelSpec, needed: int) -> None:
    cache = Path(constants.HF_HUB_CACHE)
    existing = next(path for path in (cache, *cache.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needed > free and try_to_load_from_cache(spec.id, "model.safetensors") is None:
        raise DeviceError(
            "{model} is {need:.1f} GB to download and {free:.1f} GB of disk are free. Free some "
            "space, or set HF_HOME to another disk.",
            model=spec.id,
            need=needed / 1e9,
            free=free / 1e9,
        )


def _gguf_on_hub(
    spec: ModelSpec, settings: Settings, notify: Callable[[str], None], sizes: dict[str, int]
) -> ModelFiles:
    assert spec.gguf_file
    if spec.gguf_file not in sizes:
        known = ", ".join(name for name in sizes if name.endswith(".gguf")) or Message("none")
        raise ModelNotFoundError(
            "{model} has no file {file!r}. Its GGUF files: {known}.",
            model=spec.id,
            file=spec.gguf_file,
            known=known,
        )
    notify(Message("Downloading {file} ({size:.1f} GB).", file=spec.gguf_file, size=sizes[spec.gguf_file] / 1e9))
    try:
        file = Path(hf_hub_download(spec.id, spec.gguf_file, revision=spec.revision, token=settings.hub_token))
    except Exception as e:  # As above.
        raise NetworkError(
            "The download of {name} broke off ({reason}). Try again.",
            name=spec.gguf_file,
            reason=first_line(e),
        ) from e
    return _from_gguf(file, spec, settings, notify)


def _from_cache(spec: ModelSpec, settings: Settings, notify: Callable[[str], None], error: Exception) -> ModelFiles:
    """A model that was fetched before, when the Hub does not answer now."""
    fetch = functools.partial(hf_hub_download, spec.id, revision=spec.revision, local_files_only=True)
    unavailable = (LocalEntryNotFoundError, OSError, HFValidationError)
    try:
        file = Path(fetch(spec.gguf_file or "config.json"))
    except unavailable:
        try:
            file = Path(fetch("adapter_config.json"))
        except unavailable:
            raise _unreachable(spec, error) from error
    if spec.gguf_file:
        return _from_gguf(file, spec, settings, notify)
    folder = file.parent
    names = _names_in(folder)

    def read(name: str) -> Mapping[str, Any]:
        return read_json_object(folder / name, spec.id)

    reject_adapter(spec.id, names, read)
    table = _read_config(spec.id, file)
    if not any(name.endswith((".safetensors", ".bin")) for name in names):
        raise _unreachable(spec, error) from error
    try:
        weights, quantized = _check_files(spec, table, names, read, folder)
    except ModelNotFoundError:  # Not all of it was fetched.
        raise _unreachable(spec, error) from error
    is_safe = weights[0].endswith(".safetensors")
    return ModelFiles(str(folder), None, folder.name, None, _stored_width(table), is_safe, None, quantized, weights)


def _unreachable(spec: ModelSpec, error: Exception) -> JglueAppError:
    if isinstance(error, InputError):  # It says what is wrong.
        return error
    return NetworkError(
        "{model} is not on this machine and {endpoint} cannot be reached ({error}). Check the "
        "connection, or use the embedded model gemma-3-270m.",
        model=spec.id,
        endpoint=constants.ENDPOINT,
        error=type(error).__name__,
    )


def _require_allowed(spec: ModelSpec, files: Collection[str], names: Collection[str]) -> None:
    if files:
        if not spec.allow_bin:
            raise ModelError(
                "{model} has only pickled .bin weights. Add --allow-bin to read them (weights only, in local mode).",
                model=spec.id,
            )
        return
    ggufs = [name for name in names if name.endswith(".gguf")]
    if ggufs:
        raise ModelNotFoundError(
            "{model} has no safetensors weights. It has GGUF files: add --gguf-file {file}.",
            model=spec.id,
            file=ggufs[0],
        )
    raise ModelNotFoundError("{model} has no safetensors weights.", model=spec.id)


def _read_config(name: str, config: Path) -> dict[str, Any]:
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


def _stored_width(config: dict[str, Any]) -> int:
    """Bytes per weight by config.json; the default is float32."""
    return {"bfloat16": 2, "float16": 2, "float64": 8}.get(str(config.get("dtype") or config.get("torch_dtype")), 4)


def _not_found(spec: ModelSpec, error: Exception) -> ModelError:
    if isinstance(error, RevisionNotFoundError):
        return ModelNotFoundError(
            "{model} has no revision {revision!r}. Leave it out, or correct it.", model=spec.id, revision=spec.revision
        )
    names = ", ".join(list(named_models())[:4])
    return ModelNotFoundError(
        "There is no model {model!r} on this machine or on the Hugging Face Hub (or it is "
        "private). An id looks like owner/name, or is one of {names} …; see `python -m jglue_app "
        "models`.",
        model=spec.id,
        names=names,
    )


def _gated(spec: ModelSpec) -> ModelAccessError:
    return ModelAccessError(
        "{model} is gated or private. Accept its terms on its page on the Hugging Face Hub and "
        "set HF_TOKEN, or choose another model.",
        model=spec.id,
    )
