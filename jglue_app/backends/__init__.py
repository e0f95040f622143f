"""Backends: what produces outputs for prompts. A new one is a file in this folder and a line in `BACKENDS`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType

from jglue_app.backends import endpoints
from jglue_app.backends.fingerprint import require_unchanged
from jglue_app.backends.library_imports import import_library
from jglue_app.errors import InputError, ModelError, UnknownNameError
from jglue_app.settings import Settings
from jglue_app.types import Backend, ModelSpec, Tokenizer

Notify = Callable[[str], None]
"""Called with one sentence about what takes long: a download, a conversion, loading."""

# Modules with the functions `open_model(spec, settings, device, notify, *, needs_template)`,
# `memory_needed(spec, settings, device)` and `memory_free(device)`. Imported on first use: torch and transformers take
# seconds, for which neither the page nor --help must wait.
BACKENDS = {
    "hf": "jglue_app.backends.hf.load",
    "openai_api": "jglue_app.backends.openai_api.backend",
    "scripted": "jglue_app.backends.scripted",
}
WITH_ADAPTERS = frozenset({"hf"})
"""Backends that apply adapters: their modules have `find_adapter` and `open_adapter` too."""


SERVERS = ("openai_api",)
"""Those whose models answer elsewhere: they are opened without weights, and their requests may cost money."""


def backend_for(model: str) -> str:
    """The backend of a model id: `scripted` for a .jsonl file, `openai_api` for `ENDPOINT:MODEL`, else `hf`."""
    if model.endswith(".jsonl"):
        return "scripted"
    return endpoints.BACKEND if endpoints.is_served(model) else "hf"


def open_backend(
    spec: ModelSpec,
    settings: Settings,
    *,
    device: str = "auto",
    notify: Notify = lambda _: None,
    needs_template: bool = False,
) -> Backend:
    """Load a model.

    Args:
        spec: the model.
        settings: mode and folders.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps` … or `balanced` (spread over all accelerators).
        notify: called with what takes long.
        needs_template: refuse a model without a chat template, before its weights are loaded.

    Raises:
        UnknownNameError: no such backend.
        InputError: an adapter for a backend that applies none.
        ModelError: one of its kinds, when the model cannot be loaded, or its files have changed since it was planned.
        NetworkError: the Hub cannot be reached.
    """
    require_no_adapter_elsewhere(spec)
    require_unchanged(spec, settings)
    backend: Backend = backend_module(spec).open_model(spec, settings, device, notify, needs_template=needs_template)
    try:
        require_unchanged(spec, settings, backend.info.commit)
    except ModelError:
        backend.close()
        raise
    return backend


def open_tokenizer(spec: ModelSpec, settings: Settings, notify: Notify = lambda _: None) -> Tokenizer:
    """Load a model's tokenizer without its weights.

    Raises:
        InputError: the model is a table of answers, which has no tokenizer.
        ModelError, NetworkError: the tokenizer cannot be loaded, or the model's files have changed.
    """
    if spec.backend == endpoints.BACKEND:
        served = endpoints.served_model(spec.id, settings)
        if served.facts.tokenizer is None:
            raise InputError(
                "The tokenizer of {model} is on its server. Name it in endpoints.toml (tokenizer = a Hub id or a "
                "folder) to look at prompts token by token.",
                model=spec.id,
            )
        spec = ModelSpec(served.facts.tokenizer)
    if spec.backend != "hf":
        raise InputError(
            "{model} has no tokenizer to look at. Name a model: a Hub id, a folder or a .gguf file.", model=spec.id
        )
    module = import_library("jglue_app.backends.hf.tokenization.tokenizer")
    tokenizer: Tokenizer = module.open_tokenizer(spec, settings, notify)
    require_unchanged(spec, settings)
    return tokenizer


def require_no_adapter_elsewhere(spec: ModelSpec) -> None:
    """Raise InputError if an adapter is to be applied to what is no model on this machine."""
    if spec.adapter is not None and spec.backend not in WITH_ADAPTERS:
        raise InputError(
            "An adapter is applied to a model that runs here, and {model} does not. Leave the adapter out; a server "
            "that holds it gives it a name of its own, to be used as the model's.",
            model=spec.id,
        )


def can_rank(spec: ModelSpec, settings: Settings, prompt_format: str) -> bool:
    """Whether answers can be ranked by log-likelihood: by every model that runs here, and by some servers, which are
    asked.

    Raises:
        InputError, ModelError, NetworkError: the server cannot be used.
    """
    if spec.backend != endpoints.BACKEND:
        return True
    module = importlib.import_module(BACKENDS[endpoints.BACKEND])
    return bool(module.can_rank(spec, settings, prompt_format))


def backend_module(spec: ModelSpec) -> ModuleType:
    """The module of a model's backend; raises UnknownNameError if there is no such backend."""
    if spec.backend not in BACKENDS:
        raise UnknownNameError("backend", spec.backend, BACKENDS)
    name = BACKENDS[spec.backend]
    return import_library(name) if spec.backend == "hf" else importlib.import_module(name)
