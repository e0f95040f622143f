"""How fast the items of a job are answered, and how long the rest will take: all subsets and both models together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MIN_ITEMS = 4
"""Items after which a time left is told: the first ones come in small batches and are slow."""


@dataclass(slots=True)
class Pace:
    """Seconds that the items of each side took. What a model takes to load is no part of them."""

    counts: dict[str, int] = field(default_factory=dict)
    """Side → items answered."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Side → seconds that these took."""
    since: float | None = None
    """When the last item was there, or its model; None before there was any."""

    def answered(self, side: str, now: float) -> None:
        """An item of a side has been answered."""
        self.counts[side] = self.counts.get(side, 0) + 1
        self.seconds[side] = self.seconds.get(side, 0.0) + (0.0 if self.since is None else now - self.since)
        self.since = now

    def interrupted(self, now: float) -> None:
        """Something else than answering went on until now."""
        self.since = now

    def seconds_left(self, items_left: Mapping[str, int]) -> float | None:
        """Seconds that items will take, each side at its own pace; a side that has not begun at that of the other.

        None where no pace is known yet.
        """
        paces = {side: self.seconds[side] / n for side, n in self.counts.items() if n >= MIN_ITEMS}
        if not paces:
            return None
        usual = sum(paces.values()) / len(paces)
        return sum(count * paces.get(side, usual) for side, count in items_left.items())
