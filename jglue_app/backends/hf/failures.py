"""Errors for whatever a model's own code raises, as sentences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from jglue_app import messages
from jglue_app.backends.hf.engine.equivalence import NotCausalError, StopRequested
from jglue_app.backends.hf.memory import is_out_of_memory
from jglue_app.errors import DeviceError, JglueAppError, ModelError, first_line
from jglue_app.types import ModelSpec


@contextmanager
def model_failures(name: str, template: str, *, quantized: bool) -> Iterator[None]:
    """Raise our own errors for those of a model's code.

    Args:
        name: of the model.
        template: of the sentence for an unexpected error, with `{name}`, `{error}` and `{reason}`.
        quantized: whether the model is quantized.

    Raises:
        DeviceError: memory ran out.
        ModelError: the code failed in another way.
        StopRequested: the caller asked to stop.
    """
    try:
        yield
    except (JglueAppError, StopRequested):
        raise
    except NotCausalError as e:
        raise not_causal(name, e) from e
    except Exception as e:  # Of any kind: architectures differ in all they do.
        if is_out_of_memory(e):
            raise not_enough_memory(name, quantized=quantized) from e
        raise ModelError(template, name=name, error=type(e).__name__, reason=first_line(e)) from e


def not_causal(name: str, error: NotCausalError) -> ModelError:
    """The error of a model in which later tokens change the predictions after earlier ones."""
    return ModelError(
        "In {name}, later tokens change what is said of earlier ones ({reason}): it writes no "
        "text from left to right, or this version of transformers does not run it as one. Choose "
        "another model.",
        name=name,
        reason=messages.of(error),
    )


def first_pass_failed(spec: ModelSpec, error: Exception) -> ModelError:
    """The error of a model whose code does not run at all; the quantization of its own files cannot be left out."""
    reason = f"{type(error).__name__}: {first_line(error)}"
    if spec.quantization != "none":
        return ModelError(
            "{model} fails on a first short text ({reason}). Leave the quantization out, or try "
            "another version of transformers.",
            model=spec.id,
            reason=reason,
        )
    return ModelError(
        "{model} fails on a first short text ({reason}). Try another dtype or device, or try another "
        "version of transformers.",
        model=spec.id,
        reason=reason,
    )


def not_enough_memory(name: str, *, quantized: bool) -> DeviceError:
    """The error when memory ran out; quantizing is no remedy for what is quantized already."""
    if quantized:
        return DeviceError("There is not enough memory for {name}. Choose a smaller model.", name=name)
    return DeviceError("There is not enough memory for {name}. Choose 8-bit or 4-bit, or a smaller model.", name=name)
