"""Models through transformers: loading a model and its tokenizer, and the memory that it needs.

A loaded model is in `backend`; its prompts run in `packed_engine`, or in `padded_engine` where its attention cannot be
exchanged.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import try_to_load_from_cache
from transformers import AutoConfig, AutoModelForCausalLM

from jglue_app.backends.fingerprint import without_adapter
from jglue_app.backends.free_memory import ADDRESSES, MACHINE, free_memory
from jglue_app.backends.hf.ablation import ALL, Optimizations
from jglue_app.backends.hf.adapter.adapter_files import find_adapter
from jglue_app.backends.hf.adapter.open_adapter import open_adapter
from jglue_app.backends.hf.backend import HFBackend
from jglue_app.backends.hf.checkpoint.file_pages import release_copied_pages
from jglue_app.backends.hf.checkpoint.find_weights import find_model
from jglue_app.backends.hf.checkpoint.gguf import reject_missing_weights
from jglue_app.backends.hf.checkpoint.model_folder import ModelFiles, model_in_folder
from jglue_app.backends.hf.checkpoint.weight_checks import (
    reject_other_head,
    reject_other_shapes,
    reject_stored_otherwise,
    reject_unexpected,
    reject_unquantized,
)
from jglue_app.backends.hf.checkpoint.weight_headers import TensorHeader, read_headers
from jglue_app.backends.hf.devices import quantization_config, resolve_device, resolve_dtype
from jglue_app.backends.hf.failures import model_failures, not_enough_memory
from jglue_app.backends.hf.memory import (
    free_bytes,
    is_out_of_memory,
    release_freed,
    release_unused,
    search_only_new_objects,
)
from jglue_app.backends.hf.tokenization.tokenizer import require_template
from jglue_app.backends.hf.tokenization.tokenizer_loading import load_tokenizer
from jglue_app.backends.named_models import named_models
from jglue_app.errors import DeviceError, ModelError, first_line
from jglue_app.messages import Message, mark
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec

ADDRESSES_OF_WEIGHTS = 2.6
"""Addresses that loading takes for each byte of weights: they are mapped from their file, and copied as they are packed
for the processor. Measured with a model of 1.1 GB."""
WORKING_BYTES = 128 * 2**20
"""Memory to work in without which a model is not loaded where a limit ends the process that exceeds it."""

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
# Else loading .bin weights would have a service convert them, unasked, and fetch the result for next time.
os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"


def open_model(
    spec: ModelSpec,
    settings: Settings,
    device: str,
    notify: Callable[[str], None],
    optimizations: Optimizations = ALL,
    *,
    needs_template: bool = False,
) -> HFBackend:
    """Load a model and its tokenizer, and apply its adapter if it has one; see `backends.open_backend`."""
    if spec.adapter is not None:
        files = find_adapter(spec, settings, notify)
        base = open_model(without_adapter(spec), settings, device, notify, optimizations)
        try:
            adapted = open_adapter(files, base, spec, settings, notify, needs_template=needs_template)
        except BaseException:
            base.close()
            raise
        adapted.close_with(base)
        return adapted
    dtype = resolve_dtype(spec, resolve_device(device))
    quantization_config(spec, device)  # Raises before anything is fetched.
    model_files = find_model(spec, settings, notify)
    _check_memory(spec, model_files, device, dtype)
    notify(Message("Loading {model}.", model=spec.id))
    with search_only_new_objects():
        model, tokenizer = _load(spec, settings, model_files, device, needs_template=needs_template)
        quantization_label = model_files.quantized.label if model_files.quantized else model_files.gguf
        quantized = bool(quantization_label) or spec.quantization != "none"
        failed = mark(
            "{name} failed while it was set up ({error}: {reason}). Try another dtype or device, or choose another "
            "model."
        )
        with model_failures(spec.id, failed, quantized=quantized):
            backend = HFBackend(
                spec,
                model_files.commit,
                model,
                tokenizer,
                optimizations=optimizations,
                memory=settings.memory_bytes,
                max_prompt_tokens=settings.max_prompt_tokens,
                quantized=quantization_label,
            )
        release_unused()
    notify(
        Message(
            "{model} works in up to {budget:.1f} GiB beside its weights.",
            model=spec.id,
            budget=backend.memory.budget / 2**30,
        )
    )
    return backend


def _load(
    spec: ModelSpec, settings: Settings, files: ModelFiles, device: str, *, needs_template: bool
) -> tuple[Any, Any]:
    """The model and the tokenizer of transformers, as far as they can be checked before the model runs."""
    # False, not merely left out: transformers would ask at the terminal whether to run a repository's code.
    location = {
        "pretrained_model_name_or_path": files.path,
        "revision": files.revision,
        "trust_remote_code": False,
        "token": settings.hub_token,
    }
    try:
        config = AutoConfig.from_pretrained(**location)
        tokenizer = load_tokenizer(spec.id, location)
        release_freed()  # Reading a large vocabulary takes twice the memory that it needs afterwards.
        if needs_template:
            require_template(tokenizer, spec.id)
        with release_copied_pages():
            model, report = AutoModelForCausalLM.from_pretrained(
                **location,
                config=config,
                dtype=resolve_dtype(spec, resolve_device(device)),
                device_map="balanced" if device == "balanced" else {"": resolve_device(device)},
                use_safetensors=files.use_safetensors,
                weights_only=True,
                quantization_config=quantization_config(spec, device),
                output_loading_info=True,
            )
    except ModelError:
        raise
    except Exception as e:  # Of transformers, safetensors, pickle, the tokenizer, the network: of any kind.
        if is_out_of_memory(e):
            quantized = files.quantized is not None or spec.quantization != "none"
            raise not_enough_memory(spec.id, quantized=quantized) from e
        if "ignore_mismatched_sizes" in str(e):
            reject_other_shapes(spec.id, _stored_tensors(spec, files), _shapes(config))
        raise _not_loaded(spec, files, e) from e
    if files.revision is not None:  # Those of a folder were checked before.
        reject_stored_otherwise(spec.id, _stored_tensors(spec, files), files.quantized, config.to_dict())
    reject_unexpected(spec.id, report, config)
    reject_missing_weights(spec.id, report)
    reject_unquantized(spec.id, model, files.quantized)
    reject_other_head(spec.id, model)
    _decompress(model)
    return model, tokenizer


def _decompress(model: Any) -> None:
    """Expand weights in the format of compressed-tensors now, which else happens in the first forward pass: the engine
    looks at the layers, and memory is counted, as they are from then on."""
    compressor = getattr(getattr(model, "hf_quantizer", None), "compressor", None)
    if compressor is not None and hasattr(model, "ct_decompress_hook"):
        compressor.decompress_model(model)


def _not_loaded(spec: ModelSpec, files: ModelFiles, error: Exception) -> ModelError:
    if files.quantized:
        return ModelError(
            "{model} is quantized ({label}) and could not be loaded here ({reason}). Try "
            "another device, or choose an unquantized copy.",
            model=spec.id,
            label=files.quantized.label,
            reason=first_line(error),
        )
    return ModelError(
        "{model} could not be loaded ({reason}). Check that it is a text-generation model that "
        "transformers supports without code of its own.",
        model=spec.id,
        reason=first_line(error),
    )


def _stored_tensors(spec: ModelSpec, files: ModelFiles) -> dict[str, TensorHeader]:
    """Key → header of the tensors in the weight files, as far as they are on this machine."""
    if files.revision is None:
        return read_headers([Path(files.path) / name for name in files.names], spec.id)
    cached = [try_to_load_from_cache(files.path, name, revision=files.revision) for name in files.names]
    return read_headers([Path(path) for path in cached if isinstance(path, str)], spec.id)


def _shapes(config: Any) -> dict[str, tuple[int, ...]]:
    """Key → shape of the weights that a configuration describes, without allocating them."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}


def memory_free(device: str) -> int:
    """Bytes that are free on a device as the user names it."""
    resolved = resolve_device(device)
    if device == "balanced":
        return sum(free_bytes(f"cuda:{k}") for k in range(torch.cuda.device_count()))
    if resolved.startswith("cuda"):
        return free_bytes(resolved)
    free = free_memory()
    return int(free.bytes / ADDRESSES_OF_WEIGHTS) if free.limited_by == ADDRESSES else free.bytes


def memory_needed(spec: ModelSpec, settings: Settings, device: str = "auto") -> int | None:
    """An estimate of the bytes of a model's weights in memory, from the registry or local files; None if unknown. An
    adapter, which is small, does not count.

    Raises:
        InputError: a quantization is requested for weights that are quantized already.
    """
    resolved = resolve_device(device)
    dtype = resolve_dtype(spec, resolved)
    named = named_models().get(spec.id)
    if named:
        return int(named.parameters * 1e6 * _bytes_per_weight(spec, dtype))
    try:
        files = model_in_folder(spec, settings)
    except ModelError:  # Raised when the model is opened.
        return None
    return _bytes_needed(spec, files, dtype, resolved) if files else None


def _bytes_per_weight(spec: ModelSpec, dtype: torch.dtype) -> float:
    """Bytes of one weight in memory."""
    return {"8bit": 1.0, "4bit": 0.5}.get(spec.quantization, dtype.itemsize)


def _bytes_needed(spec: ModelSpec, files: ModelFiles, dtype: torch.dtype, device: str) -> int | None:
    if files.weight_bytes is None:
        return None
    if files.quantized:
        on_gpu = device.startswith("cuda")
        return files.quantized.bytes_in_memory(files.weight_bytes, files.count, dtype.itemsize, on_gpu)
    count = files.weight_bytes / files.stored_width if files.count is None else files.count
    return int(count * _bytes_per_weight(spec, dtype))


def _check_memory(spec: ModelSpec, files: ModelFiles, device: str, dtype: torch.dtype) -> None:
    resolved = resolve_device(device)
    needed, free = _bytes_needed(spec, files, dtype, resolved), memory_free(device)
    if needed is not None and not resolved.startswith("cuda"):
        _check_limits(spec, needed, quantized=files.quantized is not None)
    if needed is not None and needed > free:
        if files.quantized:
            raise DeviceError(
                "{model} needs about {need:.1f} GB and {free:.1f} GB are free. Choose a smaller model.",
                model=spec.id,
                need=needed / 1e9,
                free=free / 1e9,
            )
        raise DeviceError(
            "{model} needs about {need:.1f} GB and {free:.1f} GB are free. Choose 8-bit or 4-bit, or a smaller model.",
            model=spec.id,
            need=needed / 1e9,
            free=free / 1e9,
        )


def _check_limits(spec: ModelSpec, needed: int, *, quantized: bool) -> None:
    """Within a limit that others set, the system ends a process that exceeds it: some memory to work in is counted."""
    free = free_memory()
    if free.limited_by == MACHINE:
        return
    needed = int(needed * (ADDRESSES_OF_WEIGHTS if free.limited_by == ADDRESSES else 1)) + WORKING_BYTES
    if needed <= free.bytes:
        return
    values = {"model": spec.id, "need": needed / 1e9, "free": free.bytes / 1e9, "limit": free.limit}
    if quantized or spec.quantization == "4bit":
        raise DeviceError(
            "{model} needs about {need:.2f} GB and {free:.2f} GB are free within {limit}. Allow more, or choose a "
            "smaller model.",
            **values,
        )
    raise DeviceError(
        "{model} needs about {need:.2f} GB and {free:.2f} GB are free within {limit}. Allow more, or choose 8-bit or "
        "4-bit, or a smaller model.",
        **values,
    )
