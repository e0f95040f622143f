"""Whether an adapter was made for a model, by the names that both give."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache

from jglue_app.backends.file_checksums import checksums
from jglue_app.backends.fingerprint import as_path
from jglue_app.backends.relevant_files import json_object, relevant_files
from jglue_app.errors import ModelError
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec

_HUB_COPY = re.compile(r"models--[^/]+--([^/]+)/snapshots/")
"""The path of a repository's local copy, with the name of the repository."""
_REPACKED = re.compile(
    r"([-._](unsloth|bnb|4bit|8bit|int4|int8|gguf|gptq|awq|fp8|q\d(_[a-z0-9]+)*|f16|f32|bf16))+$", re.IGNORECASE
)
"""What the name of a copy with the same weights in another form ends with."""


def base_of(table: Mapping[str, Any]) -> str:
    """The model that adapter_config.json names; empty if it names none."""
    base = table.get("base_model_name_or_path")
    return base.strip() if isinstance(base, str) else ""


def reject_other_base(name: str, base: str, spec: ModelSpec, path: str, settings: Settings) -> None:
    """Reject an adapter of another model.

    Names of folders and repositories are compared without their owner, as copies have other owners, and without what
    tells of another form of the same weights; local folders by their files, also where they are called alike.

    Args:
        name: of the adapter, for the message.
        base: the model that it names; empty is accepted, as the shapes of the weights are compared later.
        spec: the model that it is to be applied to.
        path: the folder or the repository that the model was loaded from.
        settings: where checksums are cached.

    Raises:
        ModelError: it was made for another one.
    """
    names = {spec.id, path, str(_config_of(path, spec).get("_name_or_path") or "")} - {""}
    if not base or base in names:
        return
    folder, loaded = as_path(base), as_path(path)
    if folder is not None and loaded is not None and folder.is_dir() and loaded.is_dir():
        if _weights_of(folder, settings) == _weights_of(loaded, settings):
            return
        # Folders are called alike by accident, such as `base`; another form of the same weights is called otherwise.
        alike = _plain_name(base) == _plain_name(path)
    else:
        alike = False
    if not alike and {_last_part(base)} & {_last_part(other) for other in names}:
        return
    raise ModelError(
        "The adapter {adapter} was made for {base}, and not for {model}. Name that model, or correct "
        "base_model_name_or_path in its adapter_config.json if they have the same weights.",
        adapter=name,
        base=base,
        model=spec.id,
    )


def _plain_name(name: str) -> str:
    """The name of a folder, in lower case."""
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2].lower()


def _last_part(name: str) -> str:
    """The name of a folder, file or repository in lower case, without owner, and without the form of the weights."""
    name = name.replace("\\", "/").rstrip("/")
    if copy := _HUB_COPY.search(name + "/"):
        name = copy[1]
    return _REPACKED.sub("", name.rpartition("/")[2].lower().removesuffix(".gguf"))


def _config_of(path: str, spec: ModelSpec) -> Mapping[str, Any]:
    """The table of the model's config.json as it is stored; empty if it is not on this machine."""
    folder = as_path(path)
    if folder is not None and folder.is_dir():
        return json_object(folder / "config.json")
    try:
        cached = try_to_load_from_cache(path, "config.json", revision=spec.revision)
    except ValueError:  # A name that no repository can have.
        return {}
    return json_object(Path(cached)) if isinstance(cached, str) else {}


def _weights_of(folder: Path, settings: Settings) -> frozenset[str]:
    """Checksums of the weight files in a folder."""
    try:
        files = [folder / name for name in relevant_files(folder) if name.endswith(".safetensors")]
    except OSError:
        return frozenset()
    return frozenset(checksums(files, settings.cache_dir).values())
