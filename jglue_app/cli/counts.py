"""A number and what is counted, in English."""

from __future__ import annotations


def counted(n: int, noun: str) -> str:
    """`1 thread`, `2 threads`, `1,487 threads`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
