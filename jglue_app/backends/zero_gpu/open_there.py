"""What has to be done here before a model is loaded on a borrowed GPU: everything that needs none.

Its files are fetched or converted, its tokenizer is loaded, and what cannot work is refused, before a second of
anybody's quota is used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch
from huggingface_hub import hf_hub_download
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

from jglue_app.backends.fingerprint import require_unchanged
from jglue_app.backends.hf.checkpoint.find_weights import find_model
from jglue_app.backends.hf.checkpoint.model_folder import ModelFiles
from jglue_app.backends.hf.devices import quantization_config, resolve_device, resolve_dtype
from jglue_app.backends.hf.load import memory_free, memory_needed
from jglue_app.backends.hf.tokenization.tokenizer import open_tokenizer, require_template
from jglue_app.backends.zero_gpu.backend import ZeroGpuBackend
from jglue_app.errors import DeviceError, NetworkError, first_line
from jglue_app.settings import Settings
from jglue_app.types import ModelInfo, ModelSpec


def open_there(
    spec: ModelSpec, settings: Settings, notify: Callable[[str], None], *, needs_template: bool = False
) -> ZeroGpuBackend:
    """Prepare a model for a borrowed GPU; its weights are not loaded.

    Raises:
        ModelError: one of its kinds, when there is no such model, it does not fit, or a setting cannot be used.
        NetworkError: the Hub cannot be reached.
    """
    device = resolve_device("cuda") if torch.cuda.is_available() else "cpu"
    dtype = resolve_dtype(spec, device)
    quantization_config(spec, device)  # Raises before anything is fetched.
    files = find_model(spec, settings, notify)
    weight_bytes = memory_needed(spec, settings, device)
    _require_room(spec, weight_bytes, device)
    _fetch(spec, files, settings)
    _import_class(files, settings)
    tokenizer = open_tokenizer(spec, settings, notify)
    if needs_template:
        require_template(tokenizer.tokenizer, spec.id)
    require_unchanged(spec, settings, files.commit if files.revision is not None else "")
    facts = tokenizer.facts
    info = ModelInfo(
        name=spec.id,
        commit=files.commit,
        dtype=str(dtype).removeprefix("torch."),
        device=device,
        context_length=tokenizer.info.context_length,
        bos=tokenizer.info.bos,
        adds_bos=facts.adds_bos,
        eos=tokenizer.info.eos,
        has_chat_template=tokenizer.info.has_chat_template,
        memory_bytes=weight_bytes or 0,
        prefix=facts.prefix,
        tokenizer_source=facts.source,
        tokenizer_round_trip=facts.round_trip,
        tokenizer_unknown=facts.unknown,
    )
    return ZeroGpuBackend(spec, settings, tokenizer, info, weight_bytes, needs_template=needs_template)


def _require_room(spec: ModelSpec, needed: int | None, device: str) -> None:
    if needed is not None and needed > (free := memory_free(device)):
        raise DeviceError(
            "{model} needs about {need:.1f} GB and {free:.1f} GB are free. Choose 8-bit or 4-bit, or a smaller model.",
            model=spec.id,
            need=needed / 1e9,
            free=free / 1e9,
        )


def _fetch(spec: ModelSpec, files: ModelFiles, settings: Settings) -> None:
    """Have the weights of a repository of the Hub in the cache."""
    if files.revision is None:
        return
    for name in files.names:
        try:
            hf_hub_download(files.path, name, revision=files.revision, token=settings.hub_token)
        except Exception as e:  # Of the HTTP library, which differs between versions of huggingface_hub.
            raise NetworkError(
                "The download of {name} broke off ({reason}). Try again.", name=name, reason=first_line(e)
            ) from e


def _import_class(files: ModelFiles, settings: Settings) -> None:
    """Import the code of the model's architecture here, as every process that is forked would else do it again."""
    location = {"revision": files.revision, "trust_remote_code": False, "token": settings.hub_token}
    # What is wrong with it is said where the model is loaded.
    with contextlib.suppress(Exception):
        MODEL_FOR_CAUSAL_LM_MAPPING[type(AutoConfig.from_pretrained(files.path, **location))]
