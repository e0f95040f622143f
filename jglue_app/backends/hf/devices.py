"""Which device, dtype and quantization a model is loaded with, and whether this machine has them."""

from __future__ import annotations

import logging

import torch
from transformers import BitsAndBytesConfig

from jglue_app.backends.zero_gpu import space as zero_gpu
from jglue_app.errors import DeviceError, UnknownNameError
from jglue_app.types import ModelSpec

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
QUANTIZATIONS = ("none", "8bit", "4bit")

# Logs features that are not used here, when it is imported and when a model is loaded.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def resolve_device(device: str) -> str:
    """The device as torch names it: `auto` is the accelerator if there is one, `balanced` begins with `cuda`.

    On ZeroGPU the package `spaces` has torch say that there is a GPU, and there is none in this process.

    Raises:
        DeviceError: this machine does not have it.
        UnknownNameError: there is no such device.
    """
    if device == "auto" and zero_gpu.is_active():
        return "cpu"
    if device == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    kind = device.split(":")[0]
    if kind in ("balanced", "cuda"):
        if not torch.cuda.is_available():
            raise DeviceError(
                "The device {device!r} needs a CUDA GPU, and none was found. Start the command, or the application, "
                "with `--device cpu`.",
                device=device,
            )
        count = torch.cuda.device_count()
        if device not in ("balanced", "cuda", *(f"cuda:{i}" for i in range(count))):
            raise DeviceError(
                "There is no device {device!r}: this machine has cuda:0 to cuda:{last}.", device=device, last=count - 1
            )
        return device if kind == "cuda" else "cuda"
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(
            "The device 'mps' needs an Apple GPU, and none was found. Start the command, or the application, with "
            "`--device cpu`."
        )
    if device not in ("cpu", "mps"):
        raise UnknownNameError("device", device, ("auto", "cpu", "cuda", "cuda:0", "mps", "balanced"))
    return device


def resolve_dtype(spec: ModelSpec, device: str) -> torch.dtype:
    """The dtype of a model; `auto` is float32 on a CPU, else bfloat16 or float16.

    Args:
        spec: the model.
        device: of `resolve_device`.

    Raises:
        UnknownNameError: there is no such dtype.
    """
    if spec.dtype == "auto":
        if device == "cpu":
            return torch.float32
        has_bfloat16 = device == "mps" or torch.cuda.is_bf16_supported()
        return torch.bfloat16 if has_bfloat16 else torch.float16
    if spec.dtype not in DTYPES:
        raise UnknownNameError("dtype", spec.dtype, ("auto", *DTYPES))
    return DTYPES[spec.dtype]


def quantization_config(spec: ModelSpec, device: str) -> BitsAndBytesConfig | None:
    """How transformers is to quantize a model while loading it; None if it is not.

    Args:
        spec: the model.
        device: as the user names it.

    Raises:
        UnknownNameError: there is no such quantization.
        DeviceError: this machine cannot run it.
    """
    if spec.quantization not in QUANTIZATIONS:
        raise UnknownNameError("quantization", spec.quantization, QUANTIZATIONS)
    if spec.quantization == "none":
        return None
    try:
        import bitsandbytes  # noqa: F401  # only to know that it is installed
    except ImportError as e:
        raise DeviceError(
            "8-bit and 4-bit need the package bitsandbytes. Run `pip install bitsandbytes`, or choose none."
        ) from e
    resolved = resolve_device(device)
    if resolved.startswith("mps"):
        raise DeviceError(
            "8-bit and 4-bit do not run on Apple GPUs. Choose none, or start the command, or the application, with "
            "`--device cpu`."
        )
    if spec.quantization == "8bit":
        if resolved.startswith("cuda") and torch.cuda.get_device_capability(resolved) < (7, 5):
            raise DeviceError("8-bit needs a GPU of compute capability 7.5 or later. Choose 4-bit or none.")
        return BitsAndBytesConfig(load_in_8bit=True)
    compute_dtype = torch.float32 if resolved == "cpu" else torch.bfloat16
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=compute_dtype)
