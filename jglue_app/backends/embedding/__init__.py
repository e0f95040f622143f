"""Embeddings of texts: what turns a text into a vector. A source is a file in this folder and a line in `EMBEDDERS`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from jglue_app.backends import Notify, backend_for, endpoints
from jglue_app.backends.embedding.sentence_files import is_sentence_model
from jglue_app.backends.embedding.vectors import Embedding
from jglue_app.backends.fingerprint import ModelFingerprint, fingerprint_model, require_unchanged
from jglue_app.backends.library_imports import import_library
from jglue_app.backends.named_models import named_models
from jglue_app.errors import InputError, ModelError, UnknownNameError
from jglue_app.messages import mark
from jglue_app.settings import Settings
from jglue_app.types import ModelInfo, ModelSpec, RunError

# Modules with a function `open_embedder(spec, settings, device, notify)`, imported on first use.
EMBEDDERS = {
    "sentence_transformers": "jglue_app.backends.embedding.sentence_encoder",
    "hf": "jglue_app.backends.embedding.hidden_states",
    "openai_api": "jglue_app.backends.embedding.endpoint",
}
SOURCES = {"sentence-transformers": "sentence_transformers", "hidden-states": "hf", "endpoint": "openai_api"}
"""Name of a source on the command line → the backend in the spec of its model."""


class Embedder(Protocol):
    """A source of vectors with its model loaded."""

    @property
    def info(self) -> ModelInfo:
        """Facts about the model, for the manifest; `engine` says how a vector is made."""
        ...

    @property
    def items_at_once(self) -> int:
        """How many items to hand over together: more than one where each call costs time, as with a server."""
        ...

    def embed(
        self, texts: Sequence[str], prefix: str, should_stop: Callable[[], bool] = lambda: False
    ) -> list[Embedding | RunError]:
        """The vector of each text with the prefix before it; none at all if it was stopped meanwhile."""
        ...

    def close(self) -> None:
        """Give memory back. Calling it twice is fine."""
        ...


def with_source(spec: ModelSpec, source: str | None, settings: Settings) -> ModelSpec:
    """The spec with the backend that embeds.

    Args:
        spec: the model; its backend is not looked at.
        source: a key of `SOURCES`; None to choose by the model: an endpoint for `ENDPOINT:MODEL`, sentence-transformers
            for a folder or repository with a modules.json, else the hidden states.
        settings: mode and folders.

    Raises:
        InputError: no such source, or the model is of a kind that has no vectors.
        ModelError, NetworkError: whether the repository is one of sentence-transformers cannot be found out.
    """
    if source is not None and source not in SOURCES:
        raise UnknownNameError(mark("source"), source, SOURCES)
    usual = backend_for(spec.id)
    if usual == "scripted":
        raise InputError(
            "{model} is a table of answers, which embeds nothing. Name a model: a Hub id, a folder or a .gguf file.",
            model=spec.id,
        )
    if source is None:
        sentence = usual == "hf" and is_sentence_model(spec, settings)
        return replace(spec, backend="sentence_transformers" if sentence else usual)
    if (usual == "openai_api") != (source == "endpoint"):
        raise InputError(
            "{model} cannot be embedded by {source}: the source endpoint is for ENDPOINT:MODEL, and for nothing else. "
            "Leave --source out.",
            model=spec.id,
            source=source,
        )
    named = named_models().get(spec.id)
    if source == "sentence-transformers" and (spec.id.endswith(".gguf") or (named and named.package)):
        raise InputError(
            "{model} is no model of sentence-transformers. Leave --source out: its hidden states are used.",
            model=spec.id,
        )
    return replace(spec, backend=SOURCES[source])


def fingerprint_embedder(spec: ModelSpec, settings: Settings) -> ModelFingerprint | None:
    """What distinguishes the vectors of a model from those of others of its name: its files, or of a server its address
    and dimensions; None if there is nothing, which loading reports.

    Raises:
        InputError: the server is not described.
        ModelError, NetworkError: the files are being written, or the server gives no vector.
    """
    if spec.backend == endpoints.BACKEND:
        return ModelFingerprint(importlib.import_module(EMBEDDERS[spec.backend]).identity(spec, settings))
    return fingerprint_model(spec, settings)


def open_embedder(
    spec: ModelSpec, settings: Settings, *, device: str = "auto", notify: Notify = lambda _: None
) -> Embedder:
    """Load what embeds, by the backend of a spec.

    Args:
        spec: the model.
        settings: mode and folders.
        device: see `backends.open_backend`.
        notify: called with what takes long.

    Raises:
        UnknownNameError: no such backend.
        InputError: public mode; in it nothing is embedded.
        ModelError: one of its kinds, when the model cannot be loaded, or its files have changed since it was planned.
        NetworkError: the Hub or the server cannot be reached.
    """
    if settings.public:
        raise InputError("A public server embeds nothing. Run the application on your own machine.")
    if spec.backend not in EMBEDDERS:
        raise UnknownNameError("backend", spec.backend, EMBEDDERS)
    if spec.backend == endpoints.BACKEND:  # Its identity is not that of a model that writes.
        module = importlib.import_module(EMBEDDERS[spec.backend])
        served: Embedder = module.open_embedder(spec, settings, device, notify)
        return served
    module = import_library(EMBEDDERS[spec.backend])
    require_unchanged(spec, settings)
    embedder: Embedder = module.open_embedder(spec, settings, device, notify)
    try:
        require_unchanged(spec, settings, embedder.info.commit)
    except ModelError:
        embedder.close()
        raise
    return embedder
