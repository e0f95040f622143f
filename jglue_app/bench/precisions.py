"""Precisions of the weights by name, for comparing a model with itself."""

from __future__ import annotations

from dataclasses import replace

from jglue_app.errors import InputError, UnknownNameError
from jglue_app.runs.request import DTYPES, QUANTIZATIONS
from jglue_app.types import ModelSpec

BASE = "float32"
"""What others are compared with, if it is among them."""
NAMES = (*(name for name in DTYPES if name != "auto"), *(name for name in QUANTIZATIONS if name != "none"))


def precision_names(text: str) -> tuple[str, ...]:
    """Precisions separated by commas; the one that others are compared with comes first. One empty name for no text.

    Raises:
        UnknownNameError: there is no such precision.
        InputError: there are fewer than two.
    """
    if not text:
        return ("",)
    names = tuple(dict.fromkeys(name for part in text.split(",") if (name := part.strip())))
    for name in names:
        if name not in NAMES:
            raise UnknownNameError("precision", name, NAMES)
    if len(names) < 2:
        raise InputError("--precision takes two or more to compare, such as float32,bfloat16.")
    return tuple(sorted(names, key=lambda name: name != BASE))


def in_precision(model: ModelSpec, name: str) -> ModelSpec:
    """The same model with its weights in that precision; the model itself for an empty name."""
    if not name:
        return model
    return replace(model, dtype=name) if name in DTYPES else replace(model, quantization=name)
