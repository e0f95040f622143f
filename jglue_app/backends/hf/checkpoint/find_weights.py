"""Where a model's files are: a package, a folder, a GGUF file, or the Hugging Face Hub.

Nothing is loaded here. Code of a repository is never run; pickled weights are refused unless asked for.
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
from jglue_app.backends.hf.checkpoint import model_kind as checkpoint
from jglue_app.backends.hf.checkpoint.model_kind import Quantized
from jglue_app.backends.hf.checkpoint.weight_headers import keys_of, refuse_placeholder, tensors_of
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

TOKENIZERS = frozenset(("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "merges.txt"))
"""Files of tokenizers that may be large enough to be kept outside git."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Where the files of a model are."""

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
    quantized: Quantized | None = None
    """How they are quantized already; None if they are not."""
    names: tuple[str, ...] = ()
    """Of the weight files."""
    gguf: str = ""
    """The type of the GGUF file that they are from, such as `GGUF Q4_K_M`; empty if they are from none."""


def locate(spec: ModelSpec, settings: Settings, notify: Callable[[str], None]) -> ModelFiles:
    """Find a model's files, without downloading weights (but for GGUF, which is converted here).

    Raises:
        InputError: public mode, and the model is not in the registry, or not asked for as it is there; or its weights
            are quantized already, and another quantization is asked for.
        ModelNotFoundError, ModelAccessError, ModelError: no such model, gated, or of a kind that is refused.
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
    return in_folder(spec, settings) or _on_hub(spec, settings, notify)


def in_folder(spec: ModelSpec, settings: Settings) -> ModelFiles | None:
    """The files of a model whose id is a folder; None if it is not one, or in public mode.

    Raises:
        ModelError: the folder holds no model, or one of a kind that is refused.
        InputError: its weights are quantized already, and another quantization is asked for.
    """
    path = as_path(spec.id)
    if not path or not path.is_dir() or settings.public:
        return None
    return replace(_local(path, spec), commit=local_commit(spec, settings))


def _from_gguf(file: Path, spec: ModelSpec, settings: Settings, notify: Callable[[str], None]) -> ModelFiles:
    """The converted folder, known by the checksum of the GGUF file: converting it anew does not make another model."""
    folder = gguf.converted(file, settings.cache_dir, notify)
    kind = gguf.file_type(file)
    return replace(_local(folder, spec), commit=folder.name, gguf=f"GGUF {kind}" if kind else "")


def _local(folder: Path, spec: ModelSpec) -> ModelFiles:
    """The files of a folder, but for the commit, which is for the caller to name."""
    config, names = folder / "config.json", _names_in(folder)
    checkpoint.refuse_adapter(spec.id, names, lambda name: checkpoint.read_table(folder / name, spec.id))
    if not config.is_file():
        raise ModelNotFoundError(
            "The folder {folder} holds no config.json. Give a transformers model folder.", folder=folder
        )
    table = _read_config(spec.id, config)
    chosen, quantized = _checked(spec, table, names, lambda name: checkpoint.read_table(folder / name, spec.id), folder)
    files = [folder / name for name in chosen]
    safe = files[0].suffix == ".safetensors"
    count, width = (checkpoint.in_files(files) if safe else None) or (None, _stored_width(table))
    size = sum(f.stat().st_size for f in files)
    return ModelFiles(str(folder), None, "", size, width, safe, count, quantized, chosen)


def _names_in(folder: Path) -> list[str]:
    """The names of the files of a folder and of the folders in it, with `/` between them."""
    return [path.relative_to(folder).as_posix() for path in (*folder.glob("*"), *folder.glob("*/*")) if path.is_file()]


def _checked(
    spec: ModelSpec,
    config: Mapping[str, Any],
    names: Collection[str],
    read: Callable[[str], Mapping[str, Any]],
    folder: Path | None = None,
) -> tuple[tuple[str, ...], Quantized | None]:
    """The weight files to load and how they are quantized; raises if the checkpoint is not one that can be compared.

    `folder` is where the weights lie; None if they are not on this machine yet.
    """
    if spec.id not in named_models():  # Of those it is known, however their files name it.
        checkpoint.refuse_embedding(spec.id, names)
        checkpoint.refuse_kind(spec.id, config)
    if folder is not None:
        for name in TOKENIZERS & set(names):
            refuse_placeholder(folder / name, spec.id)
    checkpoint.refuse_settings(spec.id, names, config, read)
    files = checkpoint.weight_files(spec.id, names, read, config)
    if not files or any(not name.endswith(".safetensors") for name in files):
        _need_bin(spec, files, names)
    checkpoint.refuse_beside(spec.id, names, files, lambda name: keys_of(folder / name) if folder else ())
    quantized = checkpoint.quantization_of(spec.id, config, names)
    checkpoint.refuse_quantized_twice(spec.id, quantized, spec.quantization)
    if folder is not None:
        stored = tensors_of([folder / name for name in files], spec.id)
        checkpoint.refuse_stored(spec.id, stored, quantized, config)
    checkpoint.need_packages(spec.id, quantized)
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
        # By the name of the revision, so that the cache knows the commit by it when the Hub is away.
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
        return checkpoint.read_table(path, spec.id)

    checkpoint.refuse_adapter(spec.id, sizes, read)
    if config is None:
        raise ModelNotFoundError("{model} has no config.json: it is not a transformers model.", model=spec.id)
    table = _read_config(spec.id, config)
    weights, quantized = _checked(spec, table, sizes, read)
    total = sum(sizes[name] for name in weights)
    _check_disk(spec, total)
    notify(
        Message(
            "Fetching {model} ({total:.1f} GB) from the Hugging Face Hub, unless it is cached.",
            model=spec.id,
            total=total / 1e9,
        )
    )
    safe = weights[0].endswith(".safetensors")
    return ModelFiles(spec.id, commit, commit, total, _stored_width(table), safe, None, quantized, weights)


def _check_disk(spec: ModelSpec, need: int) -> None:
    cache = Path(constants.HF_HUB_CACHE)
    there = next(path for path in (cache, *cache.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if need > free and try_to_load_from_cache(spec.id, "model.safetensors") is None:
        raise DeviceError(
            "{model} is {need:.1f} GB to download and {free:.1f} GB of disk are free. Free some "
            "space, or set HF_HOME to another disk.",
            model=spec.id,
            need=need / 1e9,
            free=free / 1e9,
        )


def _gguf_on_hub(
    spec: ModelSpec, settings: Settings, notify: Callable[[str], None], sizes: dict[str, int]
) -> ModelFiles:
    assert spec.gguf_file
    if spec.gguf_file not in sizes:
        known = ", ".join(name for name in sizes if name.endswith(".gguf")) or "none"
        raise ModelNotFoundError(
            "{model} has no file {gguf_file!r}. Its GGUF files: {known}.",
            model=spec.id,
            gguf_file=spec.gguf_file,
            known=known,
        )
    notify(
        Message(
            "Downloading {gguf_file} ({sizes:.1f} GB).", gguf_file=spec.gguf_file, sizes=sizes[spec.gguf_file] / 1e9
        )
    )
    try:
        file = Path(hf_hub_download(spec.id, spec.gguf_file, revision=spec.revision, token=settings.hub_token))
    except Exception as e:  # As above.
        raise NetworkError(
            "The download of {gguf_file} broke off ({reason}). Try again.",
            gguf_file=spec.gguf_file,
            reason=first_line(e),
        ) from e
    return _from_gguf(file, spec, settings, notify)


def _from_cache(spec: ModelSpec, settings: Settings, notify: Callable[[str], None], error: Exception) -> ModelFiles:
    """A model that was fetched before, when the Hub does not answer now."""
    fetch = functools.partial(hf_hub_download, spec.id, revision=spec.revision, local_files_only=True)
    away = (LocalEntryNotFoundError, OSError, HFValidationError)
    try:
        file = Path(fetch(spec.gguf_file or "config.json"))
    except away:
        try:
            file = Path(fetch("adapter_config.json"))
        except away:
            raise _unreachable(spec, error) from error
    if spec.gguf_file:
        return _from_gguf(file, spec, settings, notify)
    folder = file.parent
    names = _names_in(folder)

    def read(name: str) -> Mapping[str, Any]:
        return checkpoint.read_table(folder / name, spec.id)

    checkpoint.refuse_adapter(spec.id, names, read)
    table = _read_config(spec.id, file)
    if not any(name.endswith((".safetensors", ".bin")) for name in names):
        raise _unreachable(spec, error) from error
    try:
        weights, quantized = _checked(spec, table, names, read, folder)
    except ModelNotFoundError:  # Not all of it was fetched.
        raise _unreachable(spec, error) from error
    safe = weights[0].endswith(".safetensors")
    return ModelFiles(str(folder), None, folder.name, None, _stored_width(table), safe, None, quantized, weights)


def _unreachable(spec: ModelSpec, error: Exception) -> JglueAppError:
    if isinstance(error, InputError):  # It says by itself what stands in the way.
        return error
    return NetworkError(
        "{model} is not on this machine and {endpoint} cannot be reached ({name}). Check the "
        "connection, or use the embedded model gemma-3-270m.",
        model=spec.id,
        endpoint=constants.ENDPOINT,
        name=type(error).__name__,
    )


def _need_bin(spec: ModelSpec, files: Collection[str], names: Collection[str]) -> None:
    if files:
        if not spec.allow_bin:
            raise ModelError(
                "{model} has only pickled .bin weights. Add --allow-bin to read them (weights only, in local mode).",
                model=spec.id,
            )
        return
    ggufs = [name for name in names if name.endswith(".gguf")]
    remedy = f" It has GGUF files: add --gguf-file {ggufs[0]}." if ggufs else ""
    raise ModelNotFoundError("{model} has no safetensors weights.{remedy}", model=spec.id, remedy=remedy)


def _read_config(name: str, config: Path) -> dict[str, Any]:
    """The table of a config.json, which must not ask for code of the repository."""
    table = dict(checkpoint.read_table(config, name))
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
    """Bytes per weight; without a word about it, a checkpoint is in float32."""
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
