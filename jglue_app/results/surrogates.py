"""Lone surrogates: half a character, as a model may generate it, which UTF-8 cannot encode.

What to do about one depends on who reads the text: a person, `json.loads`, or a program that scores it. Pure.
"""

from __future__ import annotations

import json
import re

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def escape(text: str) -> str:
    """The text with every lone surrogate written as `\\udXXX`, for people to read."""
    return _LONE_SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def escape_as_json(text: str) -> str:
    """The text escaped as in a JSON string if it has a lone surrogate, so that `json.loads` restores it; any other text
    unchanged."""
    return json.dumps(text)[1:-1] if _LONE_SURROGATE.search(text) else text


def replace(text: str) -> str:
    """The text with U+FFFD for every lone surrogate: the letters and digits of an escape would be read as part of the
    answer."""
    return _LONE_SURROGATE.sub("\ufffd", text)
