"""In the process of `worker.py`: the W&B Report of a project."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jglue_app.errors import DeviceError
from jglue_app.wandb_sink.sending import Lines, Say


def save(job: Mapping[str, Any], say: Say, _: Lines) -> dict[str, Any]:
    """Placeholder until the report is built."""
    raise DeviceError("not yet")
