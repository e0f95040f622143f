"""TOML that others have written, read in bounded time."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from jglue_app.messages import Message

MAX_PARTS = 40
"""Parts of a dotted key. Nothing that is read here nests so deep, and the time of `tomllib` grows with their square."""
_STRING = re.compile(
    r'''"""(?:\\.|[^\\])*?(?:"""|\Z)|"(?:\\.|[^"\\\n])*+(?:"|(?=\n)|\Z)'''
    r"""|'''.*?(?:'''|\Z)|'[^'\n]*+(?:'|(?=\n)|\Z)|#[^\n]*+""",
    re.DOTALL,
)
"""A text or a comment, also one that does not end."""
_TOO_MANY_PARTS = re.compile(rf'(?<![\w"-])(?:(?:[\w-]++|"")[ \t]*+\.[ \t]*+){{{MAX_PARTS}}}', re.ASCII)


def load_toml(text: str) -> dict[str, Any]:
    """The table of a TOML text.

    Raises:
        ValueError: it is none, or its keys or values are nested too deep.
    """
    if _TOO_MANY_PARTS.search(_STRING.sub('""', text)):
        raise ValueError(Message("a key of more than {most} parts", most=MAX_PARTS))
    try:
        return tomllib.loads(text)
    except RecursionError as e:
        raise ValueError(Message("brackets in thousands of brackets")) from e
