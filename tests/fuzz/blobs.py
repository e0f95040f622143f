"""Bytes: mutations of valid files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

NUMBERS = (
    b"\0" * 8,
    b"\xff" * 8,
    b"\x7f" + b"\xff" * 7,
    b"\xff" * 7 + b"\x7f",
    b"\1" + b"\0" * 7,
    b"\0\0\0\x80",
    b"\xff" * 4,
)
"""Counts and lengths that mean the end of memory, in either byte order."""


def blob_maker(examples: Sequence[bytes], pieces: Sequence[bytes] = ()) -> Callable[[Random], bytes]:
    """A maker of damaged files like the examples."""
    known = (*NUMBERS, *pieces)

    def make(rng: Random) -> bytes:
        data = bytearray(rng.choice(examples))
        for _ in range(rng.choice((1, 1, 2, 4, 16))):
            start = rng.randint(0, len(data))
            # Headers stand at the beginning: half of the changes are made there.
            if rng.random() < 0.5:
                start = min(start, rng.randint(0, 64))
            mutate(rng, data, start, known)
        return bytes(data)

    return make


def mutate(rng: Random, data: bytearray, start: int, known: Sequence[bytes]) -> None:
    end = min(len(data), start + rng.choice((1, 2, 4, 8, 64)))
    match rng.randrange(7):
        case 0:
            del data[start:]
        case 1:
            del data[start:end]
        case 2:
            data[start:start] = rng.randbytes(rng.choice((1, 4, 30)))
        case 3:
            number = rng.choice(known)
            data[start : start + len(number)] = number
        case 4:
            data[start:start] = data[start:end] * rng.randint(1, 8)
        case _:
            if start < len(data):
                data[start] ^= 1 << rng.randrange(8)
