"""Vectors of texts, and the cosine of two. Neither torch nor a model is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jglue_app.messages import Message
from jglue_app.types import RunError

Vector = NDArray[np.float64]

NON_FINITE = RunError(
    "non_finite",
    Message("The vector of a text holds NaN or infinite numbers. Try another dtype, such as float32."),
)
ZERO_VECTOR = RunError(
    "zero_vector", Message("The vector of a text is zero in every dimension: the cosine with it is undefined.")
)
NO_TOKENS = RunError("no_tokens", Message("A text has no token that could be embedded."))


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """The vector of a text."""

    vector: Vector | None
    """(dimensions,); None where the text is longer than the model takes: it is never cut."""
    tokens: int
    """Tokens of the text with its prefix and special tokens."""
    servers: tuple[str, ...] = ()
    """Address of the server of a pool that gave it."""


def as_vector(numbers: Sequence[float] | NDArray[np.floating]) -> Vector:
    """Numbers as a vector in float64."""
    return np.asarray(numbers, dtype=np.float64)


def cosine(a: Vector, b: Vector) -> float | RunError:
    """The dot product of two vectors over the product of their Euclidean lengths, in float64 and within −1 to 1.

    An error where a vector is not finite, or zero, so that there is none.
    """
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return NON_FINITE
    largest = float(np.abs(a).max(initial=0.0)), float(np.abs(b).max(initial=0.0))
    if 0.0 in largest:
        return ZERO_VECTOR
    # Of vectors whose largest number is 1 no square overflows, and none of those that matter vanishes.
    x, y = a / largest[0], b / largest[1]
    value = float(x @ y) / (float(np.linalg.norm(x)) * float(np.linalg.norm(y)))
    return min(1.0, max(-1.0, value))
