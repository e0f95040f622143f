"""The six steps of the course: stored answers that show what each says, and one or two ways to try it live. Their texts
are labels of the page."""

from __future__ import annotations

from dataclasses import dataclass

from jglue_app.runs.request import Side

BASE = Side("gemma-3-270m")
BASE_WITH_EXAMPLES = Side("gemma-3-270m", shots=3)


@dataclass(frozen=True, slots=True)
class Example:
    """What one or two shipped runs hold of an item."""

    runs: tuple[str, ...]
    """Folders of the shipped runs."""
    task: str
    item: str
    """Id of one of our sample items."""


@dataclass(frozen=True, slots=True)
class TwoScores:
    """The outputs of one shipped run, scored under two protocols."""

    run: str
    task: str
    protocols: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Step:
    """One step."""

    name: str
    """Its texts are the labels `course_<name>_title`, `_text` and `_look`."""
    examples: tuple[Example, ...]
    """Shown first. The item of the first one is what is tried live."""
    sides: tuple[Side, ...]
    """Ways in which the model that comes with the application is asked live, one after the other."""
    two_scores: TwoScores | None = None
    live: str = "course_live_text"
    """The label that says what is tried live."""


STEPS = (
    Step("base", (Example(("base-0-shot",), "marc_ja", "sm001"),), (BASE,)),
    Step(
        "form",
        (Example(("base-0-shot",), "jcommonsenseqa", "900042"),),
        (BASE,),
    ),
    Step(
        "shots",
        (
            Example(("base-0-shot", "base-3-shot"), "marc_ja", "sm001"),
            Example(("base-0-shot", "base-3-shot"), "marc_ja", "sm006"),
        ),
        (BASE, BASE_WITH_EXAMPLES),
    ),
    Step(
        "chat",
        (Example(("bare-3-shot", "chat-3-shot"), "jcommonsenseqa", "900020"),),
        (Side("gemma-3-270m", "alpaca", shots=3), Side("gemma-3-270m", "rinna", shots=3)),
        live="course_live_formats",
    ),
    Step("ranking", (Example(("base-0-shot",), "marc_ja", "sm006"),), (BASE,)),
    Step(
        "leaderboards",
        (Example(("base-0-shot",), "marc_ja", "sm017"),),
        (BASE,),
        TwoScores("base-0-shot", "marc_ja", ("official", "wandb-2023-0shot")),
    ),
)
