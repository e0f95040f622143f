"""GGUF files that are no whole causal language model: parts, adapters, projectors, vocabularies, encoders."""

from __future__ import annotations

import re

from jglue_app.backends.hf.checkpoint.adapters import adapter_error
from jglue_app.backends.hf.checkpoint.gguf_header import Header
from jglue_app.backends.hf.checkpoint.model_kind import (
    CLASSIFIER,
    DIFFUSION,
    EMBEDDING,
    ENCODER,
    ENCODER_DECODER,
    NOT_TEXT,
    not_causal_lm,
)
from jglue_app.errors import ModelError

_PART = re.compile(r"-\d{5}-of-(\d{5})\.gguf$")
"""End of the name of one of several parts."""
_TYPE, _PARTS = "general.type", "split.count"
_PROJECTORS = ("mmproj", "clip")
_RANKING = 4
"""Kind of pooling of a model that gives a score to a text."""
_KINDS = {
    "t5": ENCODER_DECODER,
    "t5encoder": ENCODER,
    "dream": DIFFUSION,
    "llada": DIFFUSION,
    "llada-moe": DIFFUSION,
    "rnd1": DIFFUSION,
    "wavtokenizer-dec": NOT_TEXT,
    "gemma-embedding": EMBEDDING,
    "llama-embed": EMBEDDING,
}
"""Architecture → its kind, where that is not one of causal language models."""


def reject_other_kinds(file: str, header: Header) -> None:
    """Reject a file that is no whole causal language model, by its header alone.

    Args:
        file: its name, for messages.
        header: of the file.

    Raises:
        ModelError: it is a part of a file, an adapter, or another kind of model.
    """
    parts, type_, architecture = header.settings.get(_PARTS), header.text(_TYPE), header.architecture
    if isinstance(parts, int) and parts > 1:
        raise _part(file, parts)
    if type_ == "adapter":
        raise adapter_error(file, f"{_TYPE} = {type_}", header.text("general.base_model.0.name"))
    if type_ in _PROJECTORS or architecture in _PROJECTORS:
        raise not_causal_lm(file, NOT_TEXT, f"{_TYPE} = {type_}" if type_ in _PROJECTORS else architecture)
    if type_ not in ("", "model"):
        raise not_causal_lm(file, "", f"{_TYPE} = {type_}")
    if header.tensor_count == 0:
        raise ModelError(
            "{file} holds a vocabulary and no weights. Name the GGUF file with the whole model.", file=file
        )
    _reject_other_models(file, header)


def reject_part(file: str) -> None:
    """Raise ModelError if the name of a file says that it is a part, before it is downloaded."""
    if (parts := _PART.search(file)) and int(parts[1]) > 1:
        raise _part(file, int(parts[1]))


def _part(file: str, parts: int) -> ModelError:
    return ModelError(
        "{file} is one of {parts} parts of a GGUF file, which are not read one by one. Join them with "
        "`llama-gguf-split --merge`, or use a safetensors repository of this model.",
        file=file,
        parts=parts,
    )


def _reject_other_models(file: str, header: Header) -> None:
    """Raise ModelError for encoders, embedding models and others that write no text."""
    architecture = header.architecture
    if kind := ENCODER if "bert" in architecture else _KINDS.get(architecture, ""):
        raise not_causal_lm(file, kind, architecture)
    if header.own("attention.causal") is False:
        raise not_causal_lm(file, ENCODER, f"{architecture}.attention.causal = False")
    if f"{architecture}.classifier.output_labels" in header.lists:
        raise not_causal_lm(file, CLASSIFIER, f"{architecture}.classifier.output_labels")
    if pooling := header.own("pooling_type"):
        kind = CLASSIFIER if pooling == _RANKING else EMBEDDING
        raise not_causal_lm(file, kind, f"{architecture}.pooling_type = {pooling}")
