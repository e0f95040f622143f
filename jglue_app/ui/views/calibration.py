"""Reliability diagrams: coordinates are numbers for an SVG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jglue_app.messages import word
from jglue_app.scoring.calibration import Bin, Calibration
from jglue_app.scoring.scoreboard import estimate_text, number
from jglue_app.tasks import TASKS

SIDE = 200.0
"""Length of each axis, from 0 to 1."""


def calibration_view(found: Mapping[str, Calibration], lang: str, *, approximate: bool = False) -> dict[str, Any]:
    """Payload of the diagrams.

    Args:
        found: subset → its calibration.
        lang: `ja` or `en`.
        approximate: whether answers are ranked by less than their whole texts.
    """
    return {
        "side": f"{SIDE:.0f}",
        "ticks": [
            {"x": f"{SIDE * share:.0f}", "y": f"{SIDE * (1 - share):.0f}", "text": f"{share:g}"}
            for share in (0, 0.25, 0.5, 0.75, 1)
        ],
        "note": word("calibration_approximate", lang) if approximate else "",
        "diagrams": [_diagram(task, one, lang) for task, one in found.items()],
    }


def _diagram(task: str, one: Calibration, lang: str) -> dict[str, Any]:
    beyond = one.error.value is not None and one.error.value > one.by_chance
    kind = ("over" if one.confidence > (one.accuracy.value or 0.0) else "under") if beyond else "chance"
    return {
        "title": TASKS[task].title,
        "n": f"{one.n:,}",
        "error": estimate_text(one.error),
        "verdict": word(f"calibration_{kind}", lang).format(number(one.by_chance)),
        "means": word("calibration_means", lang).format(number(one.confidence), number(one.accuracy.value)),
        "bins": [_bin(each) for each in one.bins],
    }


def _bin(one: Bin) -> dict[str, str]:
    value, low, high = one.accuracy.value or 0.0, one.accuracy.low or 0.0, one.accuracy.high or 0.0
    return {
        "n": f"{one.n:,}",
        "confidence": number(one.confidence),
        "accuracy": estimate_text(one.accuracy),
        "x": f"{SIDE * one.confidence:.1f}",
        "y": f"{SIDE * (1 - value):.1f}",
        "top": f"{SIDE * (1 - high):.1f}",
        "bottom": f"{SIDE * (1 - low):.1f}",
    }
