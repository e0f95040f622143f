"""The files of a model on the Hugging Face Hub, or in its local cache when the Hub does not answer."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Mapping
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

from jglue_app import environment
from jglue_app.backends.hf.checkpoint.adapters import reject_adapter
from jglue_app.backends.hf.checkpoint.checkpoint_files import (
    read_json_object,
)
from jglue_app.backends.hf.checkpoint.gguf_kind import reject_part
from jglue_app.backends.hf.checkpoint.model_folder import (
    ModelFiles,
    check_files,
    model_from_gguf,
    names_in,
    read_config,
    stored_width,
)
from jglue_app.backends.named_models import named_models
from jglue_app.errors import (
    DeviceError,
    InputError,
    JglueAppError,
    ModelAccessError,
    ModelError,
    ModelNotFoundError,
    NetworkError,
    first_line,
)
from jglue_app.messages import Joined, Message
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec


def model_on_hub(spec: ModelSpec, settings: Settings, notify: Callable[[str], None]) -> ModelFiles:
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
        return _model_in_cache(spec, settings, notify, e)
    except GatedRepoError as e:
        raise gated(spec) from e
    except (HFValidationError, RepositoryNotFoundError, RevisionNotFoundError, EntryNotFoundError) as e:
        raise not_found(spec, e) from e
    except Exception as e:  # Of the HTTP library, which differs between versions of huggingface_hub; of a proxy's page.
        if isinstance(e, HfHubHTTPError) and e.response is not None and e.response.status_code in (401, 403):
            raise gated(spec) from e
        return _model_in_cache(spec, settings, notify, e)
    if spec.gguf_file:
        return _ggufmodel_on_hub(spec, settings, notify, sizes)

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
    table = read_config(spec.id, config)
    weights, quantized = check_files(spec, table, sizes, read)
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
    return ModelFiles(spec.id, commit, commit, total, stored_width(table), is_safe, None, quantized, weights)


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


def _ggufmodel_on_hub(
    spec: ModelSpec, settings: Settings, notify: Callable[[str], None], sizes: dict[str, int]
) -> ModelFiles:
    assert spec.gguf_file
    if spec.gguf_file not in sizes:
        known = Joined(", ", (name for name in sizes if name.endswith(".gguf"))) or Message("none")
        raise ModelNotFoundError(
            "{model} has no file {file!r}. Its GGUF files: {known}.",
            model=spec.id,
            file=spec.gguf_file,
            known=known,
        )
    reject_part(spec.gguf_file)
    notify(Message("Downloading {file} ({size:.1f} GB).", file=spec.gguf_file, size=sizes[spec.gguf_file] / 1e9))
    try:
        file = Path(hf_hub_download(spec.id, spec.gguf_file, revision=spec.revision, token=settings.hub_token))
    except Exception as e:  # As above.
        raise NetworkError(
            "The download of {name} broke off ({reason}). Try again.",
            name=spec.gguf_file,
            reason=first_line(e),
        ) from e
    return model_from_gguf(file, spec, settings, notify)


def _model_in_cache(spec: ModelSpec, settings: Settings, notify: Callable[[str], None], error: Exception) -> ModelFiles:
    """A model that was fetched before, when the Hub does not answer now."""
    fetch = functools.partial(hf_hub_download, spec.id, revision=spec.revision, local_files_only=True)
    unavailable = (LocalEntryNotFoundError, OSError, HFValidationError)
    try:
        file = Path(fetch(spec.gguf_file or "config.json"))
    except unavailable:
        try:
            file = Path(fetch("adapter_config.json"))
        except unavailable:
            raise unreachable(spec, error) from error
    if spec.gguf_file:
        return model_from_gguf(file, spec, settings, notify)
    folder = file.parent
    names = names_in(folder)

    def read(name: str) -> Mapping[str, Any]:
        return read_json_object(folder / name, spec.id)

    reject_adapter(spec.id, names, read)
    table = read_config(spec.id, file)
    if not any(name.endswith((".safetensors", ".bin")) for name in names):
        raise unreachable(spec, error) from error
    try:
        weights, quantized = check_files(spec, table, names, read, folder)
    except ModelNotFoundError:  # Not all of it was fetched.
        raise unreachable(spec, error) from error
    is_safe = weights[0].endswith(".safetensors")
    return ModelFiles(str(folder), None, folder.name, None, stored_width(table), is_safe, None, quantized, weights)


def unreachable(spec: ModelSpec, error: Exception) -> JglueAppError:
    if isinstance(error, InputError):  # It says what is wrong.
        return error
    return NetworkError(
        "{model} is not on this machine and {endpoint} cannot be reached ({error}). Check the "
        "connection, or use the embedded model gemma-3-270m.",
        model=spec.id,
        endpoint=constants.ENDPOINT,
        error=type(error).__name__,
    )


def not_found(spec: ModelSpec, error: Exception) -> ModelError:
    if isinstance(error, RevisionNotFoundError):
        return ModelNotFoundError(
            "{model} has no revision {revision!r}. Leave it out, or correct it.", model=spec.id, revision=spec.revision
        )
    names = Joined(", ", list(named_models())[:4])
    return ModelNotFoundError(
        "There is no model {model!r} on this machine or on the Hugging Face Hub (or it is "
        "private). An id looks like owner/name, or is one of {names} …; see `python -m jglue_app "
        "models`.",
        model=spec.id,
        names=names,
    )


def gated(spec: ModelSpec) -> ModelAccessError:
    return ModelAccessError(
        "{model} is gated or private. Accept its terms on its page on the Hugging Face Hub and "
        "set HF_TOKEN, or choose another model.",
        model=spec.id,
    )
