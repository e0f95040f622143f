"""What one call of the runner remembers of each of its runs: where it is stored, how far it is, what it may spend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from jglue_app.backends.pool import ModelPool
from jglue_app.backends.spending import Spending
from jglue_app.messages import Message
from jglue_app.runs.paying import Charge, exhausted_notice, open_spending
from jglue_app.runs.plan import Plan
from jglue_app.runs.store import RunStore
from jglue_app.types import ModelInfo

Side = Literal["a", "b"]


@dataclass(slots=True)
class Session:
    """Of one plan."""

    store: RunStore
    attempted: int
    """Items that had an output before, and those that were tried since."""
    spending: Spending | None
    """What its requests are charged to; None where nothing is paid."""
    info: ModelInfo | None
    """Of the model, with the prices of this session, where it is on a server."""
    given: set[str] = field(default_factory=set)
    """Notices that were given."""

    refusal: Message | None = None
    """Why no more GPU time is lent to it; None as long as it is."""

    @property
    def exhausted(self) -> bool:
        """Whether its budget has refused a request, or no more GPU time is lent."""
        return bool(self.lacks)

    @property
    def lacks(self) -> Literal["", "budget", "gpu_time"]:
        """What it has no more of."""
        if self.refusal is not None:
            return "gpu_time"
        return "budget" if self.spending is not None and self.spending.exhausted else ""

    def closing_notes(self, plan: Plan) -> Iterator[Message]:
        """What is to be said at its end: why items are left, if there are any for want of money or GPU time."""
        left = plan.total - len(self.store.finished_of(plan.items))
        if left and self.refusal is not None:
            yield self.refusal
        elif left and self.spending is not None and self.spending.exhausted:
            yield exhausted_notice(plan, self.spending, self.info.currency if self.info else "", left)


class OpeningNote(NamedTuple):
    """What was said while a model on a server was opened."""

    side: Side
    plan: Plan
    message: str


def open_sessions(
    plans: Sequence[tuple[Side, Plan]], pool: ModelPool, stores: Mapping[int, RunStore], charge: Charge
) -> tuple[dict[int, Session], list[OpeningNote]]:
    """Plan (by its `id`) → session, and notes. Models on servers are opened, others are not; plans of the same run have
    one budget.

    Raises:
        InputError: a model is paid, and its plan has no budget.
        JglueAppError: a model on a server cannot be opened.
    """
    sessions: dict[int, Session] = {}
    spending_of: dict[str, tuple[Spending | None, ModelInfo | None]] = {}
    notes: list[OpeningNote] = []
    for side, plan in plans:
        store, said = stores[id(plan)], list[str]()
        if plan.spec.spec_id not in spending_of:
            spending_of[plan.spec.spec_id] = open_spending(plan, pool, store, charge, said.append)
        sessions[id(plan)] = Session(store, len(store.finished_of(plan.items)), *spending_of[plan.spec.spec_id])
        notes += [OpeningNote(side, plan, message) for message in said]
    return sessions, notes
