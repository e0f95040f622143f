"""Where a model's files are: a package, a folder, a GGUF file, or the Hugging Face Hub.

Nothing is loaded here. Code of a repository is never run; pickled weights are refused unless asked for.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
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
from jglue_app.backends import gguf
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
from jglue_app.models import named_models
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec


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


def locate(spec: ModelSpec, settings: Settings, notify: Callable[[str], None]) -> ModelFiles:
    """Find a model's files, without downloading weights (but for GGUF, which is converted here).

    Raises:
        InputError: public mode, and the model is not in the registry, or not asked for as it is there.
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
    path = _path(spec.id)
    if not settings.public and path and spec.id.endswith(".gguf"):
        return _from_gguf(path, spec, settings, notify)
    return in_folder(spec, settings) or _on_hub(spec, settings, notify)


def in_folder(spec: ModelSpec, settings: Settings) -> ModelFiles | None:
    """The files of a model whose id is a folder; None if it is not one, or in public mode.

    Raises:
        ModelError: the folder holds no model, or one of a kind that is refused.
    """
    path = _path(spec.id)
    return _local(path, spec) if path and path.is_dir() and not settings.public else None


def _path(name: str) -> Path | None:
    """The id as a path; None if it cannot be one (blank, too long, somebody else's home, …)."""
    try:
        path = Path(name).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError):
        return None
    return path if name.strip() else None


def _from_gguf(file: Path, spec: ModelSpec, settings: Settings, notify: Callable[[str], None]) -> ModelFiles:
    """The converted folder, known by the checksum of the GGUF file: converting it anew does not make another model."""
    folder = gguf.converted(file, settings.cache_dir, notify)
    return replace(_local(folder, spec), commit=folder.name)


def _local(folder: Path, spec: ModelSpec) -> ModelFiles:
    config = folder / "config.json"
    if not config.is_file():
        raise ModelNotFoundError(f"The folder {folder} holds no config.json. Give a transformers model folder.")
    width = _stored_width(_read_config(spec.id, config))
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        _need_bin(spec, [f.name for f in folder.iterdir()])
        files = sorted(folder.glob("*.bin"))
    size = sum(f.stat().st_size for f in files)
    return ModelFiles(str(folder), None, _fingerprint([config, *files]), size, width, files[0].suffix == ".safetensors")


def _fingerprint(files: list[Path]) -> str:
    """A name for local weights that changes when they do: from names, sizes, and both ends of every file."""
    digest = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}:".encode())
        with path.open("rb") as file:
            digest.update(file.read(65_536))
            file.seek(max(0, size - 65_536))
            digest.update(file.read(65_536))
    return f"local-{digest.hexdigest()[:16]}"


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
        named = "config.json" in sizes
        config = (
            Path(hf_hub_download(spec.id, "config.json", revision=spec.revision, token=settings.hub_token))
            if named
            else None
        )
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
    if config is None:
        raise ModelNotFoundError(f"{spec.id} has no config.json: it is not a transformers model.")
    width = _stored_width(_read_config(spec.id, config))
    safe = [name for name in sizes if name.endswith(".safetensors")]
    if not safe:
        _need_bin(spec, list(sizes))
    weights = safe or [name for name in sizes if name.endswith(".bin")]
    total = sum(sizes[name] for name in weights)
    _check_disk(spec, total)
    notify(f"Fetching {spec.id} ({total / 1e9:.1f} GB) from the Hugging Face Hub, unless it is cached.")
    return ModelFiles(spec.id, commit, commit, total, width, bool(safe))


def _check_disk(spec: ModelSpec, need: int) -> None:
    cache = Path(constants.HF_HUB_CACHE)
    there = next(path for path in (cache, *cache.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if need > free and try_to_load_from_cache(spec.id, "model.safetensors") is None:
        raise DeviceError(
            f"{spec.id} is {need / 1e9:.1f} GB to download and {free / 1e9:.1f} GB of disk are free. "
            "Free some space, or set HF_HOME to another disk."
        )


def _gguf_on_hub(
    spec: ModelSpec, settings: Settings, notify: Callable[[str], None], sizes: dict[str, int]
) -> ModelFiles:
    assert spec.gguf_file
    if spec.gguf_file not in sizes:
        known = ", ".join(name for name in sizes if name.endswith(".gguf")) or "none"
        raise ModelNotFoundError(f"{spec.id} has no file {spec.gguf_file!r}. Its GGUF files: {known}.")
    notify(f"Downloading {spec.gguf_file} ({sizes[spec.gguf_file] / 1e9:.1f} GB).")
    try:
        file = Path(hf_hub_download(spec.id, spec.gguf_file, revision=spec.revision, token=settings.hub_token))
    except Exception as e:  # As above.
        raise NetworkError(f"The download of {spec.gguf_file} broke off ({first_line(e)}). Try again.") from e
    return _from_gguf(file, spec, settings, notify)


def _from_cache(spec: ModelSpec, settings: Settings, notify: Callable[[str], None], error: Exception) -> ModelFiles:
    """A model that was fetched before, when the Hub does not answer now."""
    try:
        name = spec.gguf_file or "config.json"
        file = Path(hf_hub_download(spec.id, name, revision=spec.revision, local_files_only=True))
    except (LocalEntryNotFoundError, OSError, HFValidationError):
        raise _unreachable(spec, error) from error
    if spec.gguf_file:
        return _from_gguf(file, spec, settings, notify)
    width = _stored_width(_read_config(spec.id, file))
    names = [f.name for f in file.parent.iterdir()]
    safe = any(name.endswith(".safetensors") for name in names)
    if not safe and not any(name.endswith(".bin") for name in names):
        raise _unreachable(spec, error) from error
    if not safe:
        _need_bin(spec, names)
    return ModelFiles(str(file.parent), None, file.parent.name, None, width, safe)


def _unreachable(spec: ModelSpec, error: Exception) -> JglueAppError:
    if isinstance(error, InputError):  # It says by itself what stands in the way.
        return error
    return NetworkError(
        f"{spec.id} is not on this machine and {constants.ENDPOINT} cannot be reached "
        f"({type(error).__name__}). Check the connection, or use the embedded model gemma-3-270m."
    )


def _need_bin(spec: ModelSpec, names: list[str]) -> None:
    if any(name.endswith(".bin") for name in names):
        if not spec.allow_bin:
            raise ModelError(
                f"{spec.id} has only pickled .bin weights. Add --allow-bin to read them (weights only, in local mode)."
            )
        return
    ggufs = [name for name in names if name.endswith(".gguf")]
    remedy = f" It has GGUF files: add --gguf-file {ggufs[0]}." if ggufs else ""
    raise ModelNotFoundError(f"{spec.id} has no safetensors weights.{remedy}")


def _read_config(name: str, config: Path) -> dict[str, Any]:
    """The table of a config.json, which must not ask for code of the repository."""
    try:
        table = json.loads(config.read_text("utf-8"))
    except (OSError, ValueError) as e:
        raise ModelError(f"The config.json of {name} cannot be read ({first_line(e)}).") from e
    if not isinstance(table, dict):
        raise ModelError(f"The config.json of {name} holds no table. Fetch or export the model again.")
    # MPT and others came with code before transformers had them; a listed model of a built-in type needs none of it.
    built_in = name in named_models() and table.get("model_type") in CONFIG_MAPPING
    if "auto_map" in table and not built_in:
        raise ModelError(
            f"{name} needs to run code from its repository, which this application never does. "
            "Choose a model that transformers supports by itself."
        )
    return table


def _stored_width(config: dict[str, Any]) -> int:
    """Bytes per weight; without a word about it, a checkpoint is in float32."""
    return {"bfloat16": 2, "float16": 2, "float64": 8}.get(str(config.get("dtype") or config.get("torch_dtype")), 4)


def _not_found(spec: ModelSpec, error: Exception) -> ModelError:
    if isinstance(error, RevisionNotFoundError):
        return ModelNotFoundError(f"{spec.id} has no revision {spec.revision!r}. Leave it out, or correct it.")
    names = ", ".join(list(named_models())[:4])
    return ModelNotFoundError(
        f"There is no model {spec.id!r} on this machine or on the Hugging Face Hub (or it is private). "
        f"An id looks like owner/name, or is one of {names} …; see `python -m jglue_app models`."
    )


def _gated(spec: ModelSpec) -> ModelAccessError:
    return ModelAccessError(
        f"{spec.id} is gated or private. Accept its terms on its page on the Hugging Face Hub and set HF_TOKEN, "
        "or choose another model."
    )
