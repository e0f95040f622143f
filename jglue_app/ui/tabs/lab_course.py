"""The six steps of the course: each an item and one or two ways to ask it. Their words are in `words.py`."""

from __future__ import annotations

from dataclasses import dataclass

from jglue_app.runs.request import Side

BASE = Side("gemma-3-270m")


@dataclass(frozen=True, slots=True)
class Step:
    """One step with its live example."""

    name: str
    """Its words are `course_<name>_title`, `_text` and `_look`."""
    task: str
    item: str
    """Id of one of our sample items."""
    sides: tuple[Side, ...]
    """Asked in turn by the model that comes with the application."""
    stored: tuple[str, ...] = ()
    """Shipped runs whose answer to the item is shown as well."""


STEPS = (
    Step("base", "marc_ja", "sm001", (BASE,)),
    Step("form", "jcommonsenseqa", "900042", (BASE,)),
    Step("shots", "marc_ja", "sm001", (BASE, Side("gemma-3-270m", shots=3))),
    Step(
        "chat",
        "jnli",
        "sn008",
        (Side("gemma-3-270m", "alpaca", shots=3), Side("gemma-3-270m", "rinna", shots=3)),
        stored=("base-3-shot", "chat-3-shot"),
    ),
    Step("ranking", "marc_ja", "sm014", (BASE,)),
    Step("leaderboards", "marc_ja", "sm027", (BASE,)),
)
