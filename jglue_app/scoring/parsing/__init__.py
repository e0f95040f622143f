"""Raw text → what was meant by it. No I/O; never looks at the gold answer.

Each reader gives two readings. The *strict* one accepts the output only if, after trimming white space, it is
exactly a legal answer. The *lenient* one accepts whatever contains exactly one recoverable legal answer: what a careful
person would not read, it does not read either. Spans are character positions in the raw text. The lenient reading looks
at `MAX_CHARS` characters, and at that part of them which can be the answer; see `text`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jglue_app.scoring.parsing.normalization import MAX_CHARS, Readings

if TYPE_CHECKING:
    from jglue_app.scoring.parsing.choice import read_choice
    from jglue_app.scoring.parsing.similarity import read_score
    from jglue_app.scoring.parsing.span import read_span

__all__ = ["MAX_CHARS", "Readings", "read_choice", "read_score", "read_span"]

READERS = {"read_choice": "choice", "read_score": "similarity", "read_span": "span"}
"""Reader → its module. Their patterns take a quarter of the package's import time, and most commands read nothing."""


def __getattr__(name: str) -> Any:
    if name not in READERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{READERS[name]}"), name)
