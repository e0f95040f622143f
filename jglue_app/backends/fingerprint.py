"""Which files a model is loaded from, and their checksums: they distinguish runs of models of one name.

Computed when a run is planned and again when its model is loaded, so it has to be cheap: neither torch nor transformers
is imported, and large files are hashed only when they may have changed (`file_checksums`).

- A folder: every file of it that can change an output (`relevant_files`).
- A GGUF file, the package with the embedded model, a table of answers: that file. Of a GGUF file that a user names, how
  it is converted counts too.
- A folder of sentence-transformers: those files of the folders in it too.
- A repository of the Hugging Face Hub: its commit. When the Hub does not answer, that of the local copy. Small files of
  the local copy that were edited count too; its weights are assumed to be what was downloaded.
- A model on a server: what the handshake with it gave, as it is kept.

An adapter on a model counts with its own files or commit (`adapter: …`). A folder that holds an adapter alone counts
with the base model that it names, if that is a folder on this machine. The device, and the number
format that `auto` selects on it, do not count here: `runner` refuses to mix number formats.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from jglue_app.backends import endpoints
from jglue_app.backends.adapter_fingerprint import ADAPTER, adapter_file_checksums
from jglue_app.backends.file_checksums import checksums
from jglue_app.backends.hub_copy import cached_commit, current_commit, edited_files, is_commit
from jglue_app.backends.named_models import named_models
from jglue_app.backends.relevant_files import json_object, relevant_files, relevant_files_below
from jglue_app.errors import ModelError
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec

ON_HUB = ("hf", "sentence_transformers")
"""Backends whose models may be repositories of the Hub."""
COMMIT = "commit"
"""In place of the files of a repository of the Hub, with its commit as their checksum."""
CONVERSION = {"conversion of GGUF": "2"}
"""How GGUF files are converted. To be counted up when some file becomes another model by it: what was answered before
is then another run."""


@dataclass(frozen=True, slots=True)
class ModelFingerprint:
    """The files that a model is loaded from."""

    files: Mapping[str, str]
    """Name within the folder → checksum of the content, 64 hex digits. Of a repository of the Hub, `commit` → 40 hex
    digits, and files of the local copy that were edited. Of a model on a server, what it can do → as a text."""

    @property
    def digest(self) -> str:
        """A checksum over names and contents of all files, 64 hex digits."""
        return hashlib.sha256(json.dumps(dict(self.files), sort_keys=True).encode()).hexdigest()


def without_adapter(spec: ModelSpec) -> ModelSpec:
    """The model that an adapter is applied to, its files not checked."""
    return replace(spec, adapter=None, files_sha256=None)


def fingerprint_model(spec: ModelSpec, settings: Settings) -> ModelFingerprint | None:
    """The files that a model would be loaded from now, with those of its adapter; None if there are none, which loading
    reports. A server is asked what it can do, where that is not known or known for a day.

    Raises:
        InputError: the server of the model is not described.
        ModelError: the files are being written, or the server cannot be used.
        NetworkError: the server does not answer.
    """
    if spec.backend == endpoints.BACKEND:
        module = importlib.import_module("jglue_app.backends.openai_api.backend")
        return ModelFingerprint(module.identity(spec, settings, verify=True))
    if spec.adapter is not None:
        base = fingerprint_model(without_adapter(spec), settings)
        return _with_adapter(base, _adapter_files(spec.adapter, settings, current_commit)) if base else None
    fingerprint = _local_fingerprint(spec, settings)
    if fingerprint is not None or spec.backend not in ON_HUB or not _hub_allowed(spec, settings):
        return fingerprint
    commit = current_commit(spec, settings)
    return _repository_fingerprint(spec, commit) if commit else None


def _with_adapter(base: ModelFingerprint | None, adapter: Mapping[str, str] | None) -> ModelFingerprint | None:
    return ModelFingerprint({**base.files, **adapter}) if base and adapter else None


def _adapter_files(
    adapter: str, settings: Settings, commit_of: Callable[[ModelSpec, Settings], str | None] | None
) -> dict[str, str] | None:
    """The files of an adapter, or its commit on the Hub; None if they are not known.

    Args:
        adapter: a folder or a Hub id.
        settings: mode and folders.
        commit_of: gives the commit of a repository; None to know that of no repository.
    """
    path = as_path(adapter)
    if path is None or settings.public:
        return None
    if path.is_dir():
        return adapter_file_checksums(path, settings)
    repository = ModelSpec(adapter)
    commit = commit_of(repository, settings) if commit_of else None
    if commit is None:
        return None
    files = {COMMIT: commit} | edited_files(repository, commit)
    return {f"{ADAPTER}{name}": digest for name, digest in files.items()}


def require_unchanged(spec: ModelSpec, settings: Settings, loaded: str = "") -> None:
    """Raise ModelError if the files of a model are not those that a run was planned with.

    Args:
        spec: of a plan; one without `files_sha256` is not checked.
        settings: mode and folders.
        loaded: the commit that was loaded, for a repository of the Hub; empty before it is loaded.

    Raises:
        ModelError: they have changed since, or are being written.
    """
    if spec.files_sha256 is None:
        return
    if spec.backend == endpoints.BACKEND:
        module = importlib.import_module("jglue_app.backends.openai_api.backend")
        if ModelFingerprint(module.identity(spec, settings)).digest != spec.files_sha256:
            raise ModelError(
                "The server of {model} answers otherwise than when the run was planned. Start it again: that makes "
                "another run.",
                model=spec.id,
            )
        return
    base = without_adapter(spec)
    fingerprint = _local_fingerprint(base, settings)
    if fingerprint is None and loaded and spec.backend in ON_HUB:
        commit = loaded if is_commit(loaded) else cached_commit(base)
        fingerprint = _repository_fingerprint(base, commit) if commit else None
    if spec.adapter is not None:
        # What was fetched is what the local copy of its branch is at.
        adapter_commit = (lambda repository, _: cached_commit(repository)) if loaded else None
        fingerprint = _with_adapter(fingerprint, _adapter_files(spec.adapter, settings, adapter_commit))
    if fingerprint is not None and fingerprint.digest != spec.files_sha256:
        raise ModelError(
            "The files of {model} have changed since the run was planned. Start it again: that makes another run.",
            model=spec.id,
        )


def local_commit(spec: ModelSpec, settings: Settings) -> str:
    """A short name for the content of a model folder, shown and stored in manifests."""
    digest = spec.files_sha256
    if digest is None:
        fingerprint = _local_fingerprint(spec, settings)
        digest = fingerprint.digest if fingerprint else "unknown"
    return f"local-{digest[:16]}"


def as_path(name: str) -> Path | None:
    """A model's id as a path; None if it cannot be one (blank, too long, an unknown home folder, …)."""
    try:
        path = Path(name).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError):
        return None
    return path if name.strip() else None


def changed_files(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Names of the files that differ between two fingerprints, or are in one of them only, in order."""
    return sorted(name for name in {*old, *new} if old.get(name) != new.get(name))


def _local_fingerprint(spec: ModelSpec, settings: Settings) -> ModelFingerprint | None:
    """The fingerprint of a model whose files are on this machine, in the order in which `find_model` looks for them."""
    path = as_path(spec.id)
    if spec.backend == "scripted":
        table = Path(spec.id)
        return _file_fingerprint(table, settings) if path and not settings.public and table.is_file() else None
    if spec.backend == "sentence_transformers":
        return _modules_fingerprint(path, settings) if path and not settings.public and path.is_dir() else None
    if spec.backend != "hf":
        return None
    named = named_models().get(spec.id)
    if named and named.package:
        return _package_fingerprint(named.package)
    if settings.public or path is None:
        return None
    if spec.id.endswith(".gguf"):
        return ModelFingerprint({**_file_fingerprint(path, settings).files, **CONVERSION}) if path.is_file() else None
    return _folder_fingerprint(path, spec, settings) if path.is_dir() else None


def _package_fingerprint(package: str) -> ModelFingerprint | None:
    """The fingerprint of the file of a package, by the checksum with which the package verifies it."""
    try:
        module = importlib.import_module(package)
    except ImportError:
        return None
    digest = getattr(module, "EXPECTED_SHA256", None)
    return ModelFingerprint({str(getattr(module, "MODEL_NAME", package)): str(digest)}) if digest else None


def _file_fingerprint(path: Path, settings: Settings) -> ModelFingerprint:
    return ModelFingerprint({path.name: checksums([path], settings.cache_dir)[path]})


def _folder_fingerprint(folder: Path, spec: ModelSpec, settings: Settings) -> ModelFingerprint | None:
    try:
        names = relevant_files(folder, allow_bin=spec.allow_bin)
    except OSError:
        return None
    if not {"config.json", "adapter_config.json"} & set(names):
        return None
    digests = checksums([folder / name for name in names], settings.cache_dir)
    files = {name: digests[folder / name] for name in names} | (CONVERSION if spec.gguf_file else {})
    if "adapter_config.json" in names:
        files |= _base_files(json_object(folder / "adapter_config.json").get("base_model_name_or_path"), settings)
    return ModelFingerprint(files)


def _modules_fingerprint(folder: Path, settings: Settings) -> ModelFingerprint | None:
    """The fingerprint of a folder of sentence-transformers, whose modules have folders of their own."""
    try:
        names = relevant_files_below(folder)
    except OSError:
        return None
    digests = checksums([folder / name for name in names], settings.cache_dir)
    return ModelFingerprint({name: digests[folder / name] for name in names}) if names else None


def _base_files(base: object, settings: Settings) -> dict[str, str]:
    """The files of the model that an adapter is made for, if it is on this machine."""
    path = as_path(base) if isinstance(base, str) else None
    if path is None or not path.is_dir():
        return {}
    names = relevant_files(path)
    digests = checksums([path / name for name in names], settings.cache_dir)
    return {f"base model: {name}": digests[path / name] for name in names}


def _repository_fingerprint(spec: ModelSpec, commit: str) -> ModelFingerprint:
    return ModelFingerprint({COMMIT: commit} | edited_files(spec, commit) | (CONVERSION if spec.gguf_file else {}))


def _hub_allowed(spec: ModelSpec, settings: Settings) -> bool:
    """Whether loading would ask the Hub: in public mode only for listed models."""
    named = named_models().get(spec.id)
    if named and named.package:
        return False
    if settings.public:
        return named is not None and not (spec.revision or spec.gguf_file or spec.allow_bin)
    path = as_path(spec.id)
    return path is not None and not path.is_dir() and not spec.id.endswith(".gguf")
