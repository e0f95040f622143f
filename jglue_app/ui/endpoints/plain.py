"""Records and dataclasses as the plain values that endpoints give."""

from __future__ import annotations

import json
from typing import Any

from jglue_app.runs.serialization import dumps


def plain(value: Any) -> Any:
    """The value as JSON has it: dataclasses are objects, tuples are lists."""
    return json.loads(dumps(value))
