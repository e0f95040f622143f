"""Every reader that is fuzzed, by its name: one file for each room of the application."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tests.fuzz.target import Target
from tests.fuzz.targets import answers, data, given, models, stored

Make = Callable[[Path], Target]
"""Takes a folder of the target's own."""

MAKERS: Mapping[str, Make] = {
    **answers.TARGETS,
    **data.TARGETS,
    **stored.TARGETS,
    **given.TARGETS,
    **models.TARGETS,
}
NAMES = tuple(MAKERS)


def load(name: str, folder: Path) -> Target:
    """The target of a name, ready to run in this process."""
    return MAKERS[name](folder)
