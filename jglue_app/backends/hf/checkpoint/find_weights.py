"""Where a model's files are: a package, a folder, a GGUF file, or the Hugging Face Hub.

Nothing is loaded here. Code of a repository is never run; pickled weights are rejected unless they are allowed.
"""

from __future__ import annotations

from collections.abc import Callable

from jglue_app.backends.fingerprint import as_path
from jglue_app.backends.hf.checkpoint import gguf
from jglue_app.backends.hf.checkpoint.hub_weights import model_on_hub
from jglue_app.backends.hf.checkpoint.model_folder import ModelFiles, model_from_gguf, model_in_folder
from jglue_app.backends.named_models import named_models
from jglue_app.errors import (
    InputError,
    UnknownNameError,
)
from jglue_app.messages import Message
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec


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
        raise UnknownNameError("model", spec.id, named_models(), Message("This server runs the listed models only."))
    if settings.public and (spec.revision or spec.gguf_file or spec.allow_bin):
        # Anyone can propose a revision or a file to a repository on the Hub.
        raise InputError(
            "This server runs the listed models as they are: leave out revision, GGUF file and .bin weights."
        )
    if named and named.package:
        return model_from_gguf(gguf.packaged_file(named.package, settings.cache_dir), spec, settings, notify)
    path = as_path(spec.id)
    if not settings.public and path and spec.id.endswith(".gguf"):
        return model_from_gguf(path, spec, settings, notify)
    return model_in_folder(spec, settings) or model_on_hub(spec, settings, notify)
