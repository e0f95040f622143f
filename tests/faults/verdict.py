"""What came of one injected fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Verdict:
    """Counts of one fault, and what was wrong in sentences."""

    happened: bool = True
    """Whether the fault took place: a run may end before the call that was chosen."""
    acknowledged: int = 0
    """Answers that were shown as stored when the fault came."""
    lost: int = 0
    """Of these, those that are not stored afterwards."""
    doubled: int = 0
    """Answers that are stored twice after the same command was given again."""
    differing: int = 0
    """1 if the result is not that of an uninterrupted command."""
    wrong: list[str] = field(default_factory=list)
    """Wrong exit codes, missing sentences, numbers that are not true."""
    left: list[str] = field(default_factory=list)
    """Temporary files that are still there."""

    @property
    def good(self) -> bool:
        """Whether nothing was lost, doubled, different or wrong."""
        return not (self.lost or self.doubled or self.differing or self.wrong or self.left)


@dataclass(frozen=True)
class Case:
    """One fault to inject."""

    kind: str
    name: str
    """What it is done to, and where."""
    do: Callable[[], Verdict]
    heavy: bool = False
    """Whether it loads a model library: such cases come last."""
