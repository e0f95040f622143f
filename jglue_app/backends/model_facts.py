"""What is known of models that can be chosen, without asking a server and without loading anything.

A fact that is not known is None or empty, and is not shown.
"""

from __future__ import annotations

import glob
import importlib
import importlib.util
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from jglue_app.backends import backend_for, backend_module
from jglue_app.backends.endpoint_settings import ServedModel
from jglue_app.backends.endpoints import served_model, served_models
from jglue_app.backends.hub_copy import cached_snapshot
from jglue_app.backends.library_imports import import_library, is_importing
from jglue_app.backends.named_models import NamedModel, named_models
from jglue_app.backends.zero_gpu import space as zero_gpu
from jglue_app.errors import JglueAppError
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec

MAX_CACHED = 50
"""Models of the local copy of the Hub that are offered beside those of the registry."""
WEIGHTS = ("*.safetensors", "*.bin", "*.gguf")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json")


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One model that can be chosen."""

    id: str
    parameters: int | None = None
    """Millions of weights."""
    follows_instructions: bool | None = None
    """Whether it was trained to follow instructions or to chat; else it is a base model."""
    gated: bool = False
    """Whether the Hub asks for consent first."""
    here: bool | None = None
    """Whether its weights are on this machine."""
    memory_needed: int | None = None
    """Bytes that its weights take in memory, as it is loaded without a quantization."""
    served: ServedModel | None = None
    """Where it answers, if that is on a server."""


def known_models(settings: Settings) -> list[ModelFacts]:
    """Every model that can be chosen by name: those on this machine, those on servers, then those of the Hub.

    Raises:
        InputError: endpoints.toml cannot be used.
    """
    named = [_of_registry(entry) for entry in named_models().values()]
    served = [ModelFacts(id_, served=model) for id_, model in served_models(settings).items()]
    cached = [] if settings.public else list(_in_cache({facts.id for facts in named}))
    return [
        *(facts for facts in named if facts.here),
        *cached,
        *served,
        *(facts for facts in named if not facts.here),
    ]


def _of_registry(entry: NamedModel) -> ModelFacts:
    here = _is_installed(entry.package) if entry.package else _has_weights(entry.id)
    return ModelFacts(entry.id, entry.parameters, entry.follows_instructions, entry.gated, here)


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _has_weights(model: str) -> bool:
    snapshot = cached_snapshot(ModelSpec(model))
    try:
        return snapshot is not None and any(next(snapshot.glob(kind), None) for kind in WEIGHTS)
    except OSError:
        return False


def _in_cache(known: set[str]) -> Iterator[ModelFacts]:
    """Models in the local copy of the Hub that write text and are none of the registry's."""
    from huggingface_hub import constants

    try:
        names = sorted(path.name for path in Path(constants.HF_HUB_CACHE).glob("models--*"))
    except OSError:
        return
    ids = [name.removeprefix("models--").replace("--", "/") for name in names]
    for model in [id_ for id_ in ids if id_ not in known][:MAX_CACHED]:
        snapshot = cached_snapshot(ModelSpec(model))
        if snapshot is not None and _has_weights(model) and _writes_text(snapshot):
            yield ModelFacts(model, follows_instructions=has_chat_template(snapshot) or None, here=True)


def _writes_text(folder: Path) -> bool:
    architectures = _settings_in(folder / "config.json").get("architectures")
    return isinstance(architectures, list) and any("CausalLM" in str(name) for name in architectures)


def has_chat_template(folder: Path) -> bool:
    """Whether the tokenizer in a folder has a chat template."""
    return (folder / "chat_template.jinja").is_file() or bool(
        _settings_in(folder / "tokenizer_config.json").get("chat_template")
    )


def _settings_in(file: Path) -> dict[str, object]:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):  # Reported when the model is opened.
        return {}
    return found if isinstance(found, dict) else {}


# --- memory ---------------------------------------------------------------------------------------------


def is_memory_known() -> bool:
    """Whether the memory can be told at once: what it is asked of takes seconds to import."""
    return "torch" in sys.modules and not is_importing()


def with_memory(models: list[ModelFacts], settings: Settings, device: str) -> list[ModelFacts]:
    """The same with the memory that each of them needs, as far as that is known without fetching anything."""
    return [replace(facts, memory_needed=_memory_needed(facts, settings, device)) for facts in models]


def _memory_needed(facts: ModelFacts, settings: Settings, device: str) -> int | None:
    if facts.served is not None:
        return None
    spec = ModelSpec(facts.id, backend_for(facts.id))
    try:
        needed: int | None = backend_module(spec).memory_needed(spec, settings, _device_of_models(device))
    except JglueAppError:
        return None
    return needed


def memory_free(device: str) -> int:
    """Bytes that are free where models are loaded."""
    free: int = backend_module(ModelSpec("")).memory_free(_device_of_models(device))
    return free


def device_kind(model: ModelSpec, device: str) -> str | None:
    """`cpu`, `cuda` or `mps`, where a model would be loaded; None of one that this machine does not load.

    Raises:
        DeviceError: this machine does not have the device.
        UnknownNameError: there is no such device.
    """
    if model.backend != "hf":
        return None
    devices = import_library("jglue_app.backends.hf.devices")
    return str(devices.resolve_device(_device_of_models(device))).split(":")[0]


def _device_of_models(device: str) -> str:
    """Where models are loaded: on ZeroGPU not in this process, but on a GPU whose size `spaces` has torch tell."""
    return "cuda" if device == "auto" and zero_gpu.is_active() else device


# --- the tokenizer ----------------------------------------------------------------------------------------


def tokenizer_is_here(spec: ModelSpec, settings: Settings) -> bool:
    """Whether the tokenizer of a model can be opened without fetching or converting anything."""
    if spec.adapter is not None or spec.revision is not None or spec.gguf_file is not None:
        return False
    if spec.backend == "openai_api":
        try:
            named = served_model(spec.id, settings).facts.tokenizer
        except JglueAppError:
            return False
        return named is not None and tokenizer_is_here(ModelSpec(named), settings)
    if spec.backend != "hf":
        return False
    entry = named_models().get(spec.id)
    if entry is not None and entry.package:
        name = getattr(importlib.import_module(entry.package), "MODEL_NAME", "") if _is_installed(entry.package) else ""
        return bool(name) and _is_converted(Path(name), settings)
    if spec.id.endswith(".gguf"):
        return not settings.public and _is_converted(Path(spec.id), settings)
    folder = None if settings.public and entry is None else _folder_of(spec.id)
    return folder is not None and any((folder / name).is_file() for name in TOKENIZERS)


def _is_converted(file: Path, settings: Settings) -> bool:
    """Whether a GGUF file, as its name says, has been converted."""
    converted = settings.cache_dir / "converted"
    return any(path.is_dir() and path.suffix != ".part" for path in converted.glob(f"{glob.escape(file.stem)}-*"))


# --- the format that suits a model ------------------------------------------------------------------------


def usual_format(model: str, settings: Settings) -> str | None:
    """The prompt format that a model was trained with, as far as that is known without fetching anything: that of the
    registry; `chat` for a model that chats on its server or has a chat template here; else `plain`. None where nothing
    is known of the model."""
    if (entry := named_models().get(model)) is not None:
        return entry.format
    if backend_for(model) == "openai_api":
        try:
            served = served_models(settings).get(model)
        except JglueAppError:
            return None
        return ("chat" if "chat" in served.endpoint.interfaces else "plain") if served else None
    folder = None if settings.public else _folder_of(model)
    if folder is None or not (folder / "config.json").is_file():
        return None
    return "chat" if has_chat_template(folder) else "plain"


def lacks_template(spec: ModelSpec, settings: Settings) -> bool:
    """Whether a model is known to have no chat template, from its files here; False where that is not known."""
    if spec.backend != "hf" or spec.gguf_file or spec.adapter or spec.revision or settings.public:
        return False
    folder = _folder_of(spec.id)
    if folder is None or not (folder / "config.json").is_file() or not (folder / "tokenizer_config.json").is_file():
        return False
    return not has_chat_template(folder) and not (folder / "additional_chat_templates").is_dir()


def _folder_of(model: str) -> Path | None:
    """The folder that a name is the path of, or that holds the local copy of a repository of this name."""
    try:
        if model and Path(model).is_dir():
            return Path(model)
    except (OSError, ValueError):  # Too long for a path.
        return None
    return cached_snapshot(ModelSpec(model))
