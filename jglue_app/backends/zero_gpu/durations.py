"""How many seconds of a GPU to ask for, and for how many items.

The quota of a visitor is compared with what is asked for and charged with what is used; a short request comes earlier
in the queue; and a process that takes longer is killed. So the seconds are those that the work is expected to take,
with loading the model, and some more.

An item's time is first guessed from the size of the model and the tokens of the prompt, slower than an H200 is. What a
request really took, divided by the guess, is remembered for the model and the method, and corrects the next guess.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Hashable
from dataclasses import dataclass

from cachetools import LRUCache

from jglue_app.backends.zero_gpu.request import RESERVE_S, START_S

MARGIN = 1.5
"""How many times the expected time is asked for."""
MIN_SECONDS, MAX_SECONDS = 10, 110
"""Least and most that is asked for: a visitor without an account has 120 s a day."""
TARGET_SECONDS = 40
"""What a request asks for where there is work enough."""
MIN_ITEMS = 8
"""Items for which a request may ask for more than its target: loading a large model has to be worth it."""

READ_BYTES_PER_S = 40e12
"""Bytes of weights times tokens of prompts, guessed: a 7B model in 16 bit reads 2,900 tokens a second."""
STEP_S, STEP_BYTES_PER_S = 0.04, 1e12
"""Seconds of one step of generation, and bytes of weights that are read for it in a second."""
STEP_ITEMS = 8
"""Items that are generated together, guessed."""
ITEM_S = 0.02
"""Least time of an item."""
LOAD_S, LOAD_BYTES_PER_S = 6.0, 0.5e9
"""Seconds for which any model is loaded, and bytes of weights that are loaded in a second, guessed."""
UNKNOWN_BYTES = 14_000_000_000
"""Size of a model whose size is not known."""
MODELS = 256
"""Models whose rates are remembered."""


@dataclass(frozen=True, slots=True)
class Work:
    """What has to be done for one item of a request."""

    method: str
    """Such as `choose`: rates are remembered for each."""
    read_tokens: float
    """Tokens that are read."""
    new_tokens: int = 0
    """Most tokens that are written."""


class Rates:
    """The measured rates of one process, of all models; safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._load: LRUCache[Hashable, float] = LRUCache(MODELS)
        self._factor: LRUCache[Hashable, float] = LRUCache(4 * MODELS)

    def load_seconds(self, model: Hashable, weight_bytes: int | None) -> float:
        """Seconds that loading a model takes."""
        with self._lock:
            measured = self._load.get(model)
        return LOAD_S + (weight_bytes or UNKNOWN_BYTES) / LOAD_BYTES_PER_S if measured is None else measured

    def item_seconds(self, model: Hashable, weight_bytes: int | None, work: Work) -> float:
        """Seconds that an item takes."""
        with self._lock:
            factor = self._factor.get((model, work.method))
            if factor is None:  # Another method of the same model says more than the guess.
                factor = self._factor.get(model, 1.0)
        return factor * guessed_item_seconds(weight_bytes, work)

    def note_load(self, model: Hashable, seconds: float) -> None:
        """Remember how long loading a model has taken."""
        with self._lock:
            self._load[model] = _smoothed(self._load.get(model), seconds)

    def note_items(
        self, model: Hashable, weight_bytes: int | None, work: Work, items: int, seconds: float, *, at_least: bool
    ) -> None:
        """Remember how long items have taken.

        Args:
            model, weight_bytes, work: what they were.
            items: how many were finished.
            seconds: what they took together.
            at_least: whether others were under way when it ended.
        """
        observed = seconds / max(1, items) / guessed_item_seconds(weight_bytes, work)
        with self._lock:
            for key in ((model, work.method), model):
                old = self._factor.get(key)
                # Unfinished items have taken a part of the time, so that a lower rate is no news.
                self._factor[key] = max(old or 0.0, observed) if at_least else _smoothed(old, observed)

    def note_killed(
        self, model: Hashable, weight_bytes: int | None, work: Work, seconds: float, *, loaded: bool
    ) -> None:
        """Remember that a process was killed before its first answer.

        Args:
            model, weight_bytes, work: what it was to do.
            seconds: how long it has run.
            loaded: whether the model was loaded by then.
        """
        if loaded:
            self.note_items(model, weight_bytes, work, 1, seconds, at_least=True)
        elif seconds > self.load_seconds(model, weight_bytes):
            self.note_load(model, 2 * seconds)


class Estimate:
    """What requests for one model and kind of work take, by the rates as they are now."""

    def __init__(self, rates: Rates, model: Hashable, weight_bytes: int | None, work: Work) -> None:
        self._start = START_S + rates.load_seconds(model, weight_bytes)
        self._item = rates.item_seconds(model, weight_bytes, work)

    def seconds(self, items: int) -> int:
        """What to ask for: the expected time and a margin, within the bounds."""
        return max(MIN_SECONDS, min(MAX_SECONDS, math.ceil(self._wanted(items))))

    def items_within(self, seconds: float) -> int:
        """How many items can be answered in a request of so many seconds; 0 if not one."""
        return max(0, math.floor(((seconds - RESERVE_S) / MARGIN - self._start) / self._item + 1e-9))

    @property
    def items(self) -> int:
        """Items of one request: what its target allows, or a few where loading takes that long; at least one."""
        enough = min(MAX_SECONDS, max(TARGET_SECONDS, self._wanted(MIN_ITEMS)))
        return max(1, self.items_within(enough))

    def _wanted(self, items: int) -> float:
        return MARGIN * (self._start + items * self._item) + RESERVE_S


def guessed_item_seconds(weight_bytes: int | None, work: Work) -> float:
    """Seconds of an item, from the size of the model and its tokens alone."""
    size = weight_bytes or UNKNOWN_BYTES
    reading = work.read_tokens * size / READ_BYTES_PER_S
    writing = work.new_tokens * (STEP_S + size / STEP_BYTES_PER_S) / STEP_ITEMS
    return ITEM_S + reading + writing


def _smoothed(old: float | None, new: float) -> float:
    """Upwards at once, downwards by half: what was slow once may be slow again."""
    return new if old is None or new > old else (old + new) / 2
