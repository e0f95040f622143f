"""Whether this process is that of a Space on ZeroGPU, and the function that borrows a GPU there."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from typing import Any

from jglue_app.backends.named_models import named_models
from jglue_app.backends.zero_gpu.request import GpuRequest, Reply, serve
from jglue_app.errors import DeviceError, first_line
from jglue_app.types import ModelSpec

VARIABLE = "SPACES_ZERO_GPU"
"""Set by the Space; read as the package `spaces` reads it."""

GpuCall = Callable[[GpuRequest], Iterator[Reply]]

_gpu_call: GpuCall | None = None


def prepare() -> None:
    """On ZeroGPU, import `spaces` and decorate the function that borrows a GPU; elsewhere do nothing.

    To be called before anything else imports torch or gradio: `spaces` exchanges functions of both, and stops a Space
    that has no decorated function when its page is launched.

    Raises:
        DeviceError: `spaces` is missing or cannot be used.
    """
    if os.environ.get(VARIABLE, "").lower() not in ("1", "t", "true"):
        return
    # Imported by `spaces`, before our page could say so.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        spaces = importlib.import_module("spaces")
    except Exception as e:  # RuntimeError if CUDA was touched before, AssertionError without the service's address.
        raise DeviceError(
            "This Space runs on ZeroGPU, and the package spaces cannot be used ({reason}). Restart the Space with a "
            "factory rebuild, or choose other hardware in its settings.",
            reason=first_line(e),
        ) from e
    decorate(spaces.GPU)


def decorate(gpu: Callable[..., Any]) -> None:
    """Use a decorator with the interface of `spaces.GPU` from here on."""
    global _gpu_call
    _gpu_call = gpu(duration=seconds_of)(serve)


def seconds_of(request: GpuRequest) -> int:
    """How long a call may take; the decorator asks before each."""
    return request.seconds


def gpu_call() -> GpuCall | None:
    """The function that borrows a GPU; None where there is no ZeroGPU, and in a process that has borrowed one."""
    return _gpu_call


def leave() -> None:
    """Use whatever device this process has: called in a process that has borrowed a GPU."""
    global _gpu_call
    _gpu_call = None


def is_active() -> bool:
    """Whether models that need a GPU run elsewhere than in this process."""
    return _gpu_call is not None


def runs_there(spec: ModelSpec) -> bool:
    """Whether a model is run on a borrowed GPU: every one with weights but the embedded model, which is small enough
    for the processor, so that it can always be tried, whatever is left of a visitor's quota."""
    if not is_active() or spec.backend != "hf":
        return False
    named = named_models().get(spec.id)
    return not (named and named.package)


def embedded_model() -> str:
    """The name of the model that needs no GPU."""
    return next((model.id for model in named_models().values() if model.package), "")
