"""Runs that cannot be made: the first ends the call, or they are named and left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from jglue_app.errors import JglueAppError
from jglue_app.messages import Message
from jglue_app.runs.ends import SidedPlans
from jglue_app.runs.events import Event
from jglue_app.runs.plan import Plan
from jglue_app.runs.sessions import Side


class FailedRuns:
    """Of one call.

    Args:
        errors: takes what runs failed with, by their ids, and the others go on; None where the first error ends the
            call.
    """

    def __init__(self, errors: dict[str, JglueAppError] | None = None) -> None:
        self._errors = errors
        self.run_ids: set[str] = set()
        """Runs that are left out."""

    @property
    def end_the_call(self) -> bool:
        """Whether the first error does so."""
        return self._errors is None

    def note(self, side: Side, plan: Plan, error: JglueAppError) -> Event:
        """Leave a run out, and say why; raises the error where the first one ends the call."""
        if self._errors is None:
            raise error
        self._errors[plan.spec.spec_id] = error
        self.run_ids.add(plan.spec.spec_id)
        message = Message("{run}: {message}", run=plan.spec.label, message=error.message)
        return Event("notice", plan.spec.label, side, message=message)

    def others(self, plans: SidedPlans) -> SidedPlans:
        """The plans of runs that are not left out."""
        return [(side, plan) for side, plan in plans if plan.spec.spec_id not in self.run_ids]

    def each(self, plans: SidedPlans, step: Callable[[SidedPlans], Iterator[Event]]) -> Iterator[Event]:
        """Do something for one plan after the other, except for those of runs that are left out."""
        for side, plan in plans:
            if plan.spec.spec_id not in self.run_ids:
                try:
                    yield from step([(side, plan)])
                except JglueAppError as e:
                    yield self.note(side, plan, e)
