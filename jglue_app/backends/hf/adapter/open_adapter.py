"""A loaded model with an adapter, as a backend of its own that shares the model's weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from jglue_app.backends.hf.adapter.adapted_model import apply_adapter
from jglue_app.backends.hf.adapter.adapter_files import AdapterFiles
from jglue_app.backends.hf.adapter.adapter_settings import label
from jglue_app.backends.hf.adapter.adapter_tokenizer import choose_tokenizer
from jglue_app.backends.hf.adapter.base_match import base_of, reject_other_base
from jglue_app.backends.hf.adapter.shared_model import keep_flags, share_weights
from jglue_app.backends.hf.backend import HFBackend
from jglue_app.backends.hf.checkpoint.weight_checks import embedding_rows
from jglue_app.backends.hf.engine.equivalence import use_attention
from jglue_app.backends.hf.failures import model_failures
from jglue_app.backends.hf.tokenization.tokenizer import require_template
from jglue_app.errors import ModelError, first_line
from jglue_app.messages import Message, mark
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec


def open_adapter(
    files: AdapterFiles,
    base: HFBackend,
    spec: ModelSpec,
    settings: Settings,
    notify: Callable[[str], None],
    *,
    needs_template: bool = False,
) -> HFBackend:
    """Apply an adapter to a loaded model, which stays as it is.

    The adapted model passes the checks that every model passes when it is loaded.

    Args:
        files: the adapter.
        base: the model; its weights are shared, and must stay in memory as long as the result is used.
        spec: of the model with its adapter.
        settings: where checksums are cached, and how much memory may be used.
        notify: called with what takes long, and with what cannot be known.
        needs_template: reject a tokenizer without a chat template.

    Raises:
        ModelError: the adapter was made for another model, does not fit it, or cannot be applied. If it changed the
            model itself, that is closed.
        DeviceError: there is not enough memory.
    """
    made_for = base_of(files.settings)
    reject_other_base(files.name, made_for, spec, str(base.model.config._name_or_path), settings)
    if not made_for:
        notify(Message("The adapter {adapter} does not say for which model it was made.", adapter=files.name))
    tokenizer = choose_tokenizer(files, base.tokenizer, spec.id, embedding_rows(base.model))
    if needs_template:
        require_template(tokenizer, spec.id)
    notify(Message("Applying the adapter {adapter} to {model}.", adapter=files.name, model=spec.id))
    failed = mark(
        "{name} failed with its adapter while it was set up ({error}: {reason}). Choose another adapter, or merge it "
        "and name the merged folder as the model."
    )
    before = base.probe()
    try:
        with model_failures(spec.id, failed, quantized=base.is_quantized):
            with keep_flags(base.model):
                model = apply_adapter(_shared(files, base, spec), files, spec.id)
            memory_bytes = base.info.memory_bytes + _own_bytes(model, base.model)
            backend = HFBackend(
                spec,
                base.info.commit,
                model,
                tokenizer,
                optimizations=base.optimizations,
                memory=settings.memory_bytes,
                max_prompt_tokens=settings.max_prompt_tokens,
                quantized=base.info.quantized,
            )
    finally:
        if not torch.equal(before, base.probe()):
            base.close()
            raise ModelError(
                "The adapter {adapter} cannot be applied without a change of {model} itself. Merge it and name the "
                "merged folder as the model.",
                adapter=files.name,
                model=spec.id,
            )
    if torch.equal(before, backend.probe()):
        sentence = Message(
            "On a first text the adapter {adapter} changes nothing: see that it is a trained one.", adapter=files.name
        )
        notify(sentence)
    backend.info = replace(
        backend.info,
        adapter=label(files.settings),
        adapter_commit=files.commit,
        memory_bytes=memory_bytes,
    )
    return backend


def _shared(files: AdapterFiles, base: HFBackend, spec: ModelSpec) -> Any:
    """A copy of the model's modules on its weights, with the attention that it was loaded with."""
    try:
        model = share_weights(base.model)
    except Exception as e:  # Modules of any architecture may hold what cannot be copied.
        raise ModelError(
            "The adapter {adapter} cannot be applied to {model} beside it ({reason}). Merge it and name the merged "
            "folder as the model.",
            adapter=files.name,
            model=spec.id,
            reason=first_line(e),
        ) from e
    use_attention(model, base.attention)
    return model


def _own_bytes(model: Any, base: Any) -> int:
    """Bytes of the parameters that are not those of the base."""
    shared = {id(parameter) for parameter in base.parameters()}
    return sum(p.numel() * p.element_size() for p in model.parameters() if id(p) not in shared)
