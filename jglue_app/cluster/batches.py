"""Which items a worker is to answer next."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from jglue_app.types import ModelSpec, Prompt

MIN_BATCH, FIRST_BATCH, MAX_BATCH = 4, 64, 2_048
"""Prompts of one batch: at the end, at first, and at most."""
BATCH_SECONDS = 5.0
"""About how long a batch takes once the speed of the model is known."""
ROUNDS = 2
"""Of what is left each worker gets so many batches at least, so that they end at about the same time."""


def batch_size(left: int, workers: int, items_per_s: float) -> int:
    """Prompts of the next batch.

    Args:
        left: prompts that wait, of all parts: by those of one alone, many workers would end each part in batches of a
            few prompts while others wait.
        workers: that share them.
        items_per_s: of one worker with this model so far; 0 if nothing is known.
    """
    fair = math.ceil(left / (ROUNDS * max(1, workers)))
    usual = max(FIRST_BATCH, min(MAX_BATCH, int(items_per_s * BATCH_SECONDS)))
    return min(left, max(MIN_BATCH, min(usual, fair)))


@dataclass(slots=True, eq=False)
class Part:
    """A subset of a run, as far as its prompts are handed out."""

    model: ModelSpec
    items: int
    """Items that are left, as far as that is known before it is begun."""
    state: Literal["new", "preparing", "ready"] = "new"
    waiting: deque[Prompt] = field(default_factory=deque)
    limits: Mapping[str, int] = field(default_factory=dict)
    """Item id → most new tokens."""
    under_way: int = 0
    """Batches of it that workers have."""
    fruitless: int = 0
    """Workers in turn that ended without a single answer to it."""

    @property
    def is_done(self) -> bool:
        """Whether every prompt has been answered or tried."""
        return self.state == "ready" and not self.waiting and not self.under_way

    @property
    def left(self) -> int:
        """Items that no worker has."""
        return len(self.waiting) if self.state == "ready" else self.items

    def set_prompts(self, prompts: Sequence[Prompt], limits: Mapping[str, int]) -> None:
        """Its prompts are there."""
        self.state, self.waiting, self.limits = "ready", deque(prompts), limits

    def take(self, size: int) -> tuple[Prompt, ...]:
        """The next prompts, for one batch."""
        self.under_way += 1
        return tuple(self.waiting.popleft() for _ in range(min(size, len(self.waiting))))

    def give_back(self, prompts: Iterable[Prompt]) -> None:
        """A batch has ended; what was not answered of it comes first now."""
        self.under_way -= 1
        self.waiting.extendleft(reversed(list(prompts)))


def items_left(parts: Iterable[Part]) -> int:
    """Items that no worker has, of all parts."""
    return sum(part.left for part in parts)


def workers_wanted(parts: Iterable[Part], enough: int | None = None) -> int:
    """So many could have something to do; parts are counted no further than `enough`."""
    wanted = 0
    for part in parts:
        wanted += math.ceil(part.left / MIN_BATCH) + part.under_way + (part.state == "preparing")
        if enough is not None and wanted >= enough:
            return enough
    return wanted


def choose_part(
    parts: Sequence[Part], model: ModelSpec | None, holders: Counter[ModelSpec], may_answer: Callable[[Part], bool]
) -> Part | None:
    """The part that a worker takes a batch of, or prepares; None if there is nothing for it at the moment.

    It goes on with the model that it holds as long as there are items for it. Else it takes the model with the most
    items left for each worker that holds it.

    Args:
        parts: in the order in which they are to be answered.
        model: that the worker holds.
        holders: model → other workers that hold it.
        may_answer: whether batches of a part may be handed out yet.
    """
    if model is not None:
        own = [part for part in parts if _same(part.model, model)]
        # What may not be answered yet is waited for: workers that went from model to model until then would always be
        # loading, and nothing is answered while they load.
        if (first := _first_of(own, may_answer)) is not None or any(part.waiting for part in own):
            return first
    by_model: dict[ModelSpec, list[Part]] = {}
    last: ModelSpec | None = None
    for part in parts:
        if part.state == "new" or (part.state == "ready" and part.waiting):
            # Those of one model mostly follow each other: it is looked up once for all of them.
            if last is None or not _same(part.model, last):
                last, group = part.model, by_model.setdefault(part.model, [])
            group.append(part)
    if model is not None:
        by_model.pop(model, None)
    for other in sorted(by_model, key=lambda m: -items_left(by_model[m]) / (1 + holders[m])):
        # A worker more than it has batches for would load the model for nothing.
        if workers_wanted(by_model[other], holders[other] + 1) > holders[other]:
            return _first_of(by_model[other], lambda _: True)
    return None


def _same(one: ModelSpec, other: ModelSpec) -> bool:
    """Whether they are equal; most differ in their names, and those are compared in no time."""
    return one is other or (one.id == other.id and one == other)


def _first_of(parts: Iterable[Part], may_answer: Callable[[Part], bool]) -> Part | None:
    """One with prompts that wait, before one whose prompts have to be made."""
    new: Part | None = None
    for part in parts:
        if part.state == "ready" and part.waiting and may_answer(part):
            return part
        if new is None and part.state == "new":
            new = part
    return new
