"""What visitors of a public server may use of the operator's endpoints: who is charged for a run, and what is said when
nothing is left."""

from __future__ import annotations

from jglue_app.backends import SERVERS
from jglue_app.backends.endpoints import served_model
from jglue_app.errors import InputError
from jglue_app.messages import Message
from jglue_app.money import money_text
from jglue_app.runs.paying import Charge, nobody_else
from jglue_app.settings import Settings
from jglue_app.types import Account, ModelInfo, ModelSpec
from jglue_app.ui.ledger import Ledger, LedgerError, Limits, Used, VisitorAccount

FILE = ".visitors.sqlite"
"""In the folder of runs, which is what outlives a restart of a server."""


class VisitorBudgets:
    """The budgets of all visitors of one server; on a private one nobody is charged."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ledger = Ledger(settings.runs_dir / FILE)

    def charge_for(self, visitor: str) -> Charge:
        """Whose account the requests of a visitor's job are charged to.

        The function raises InputError where nothing is left for today, or what is left cannot be read.
        """
        if not self._settings.public:
            return nobody_else

        def charge(spec: ModelSpec, info: ModelInfo) -> Account | None:
            if spec.backend not in SERVERS:
                return None
            endpoint = served_model(spec.id, self._settings).endpoint
            listed = endpoint.visitors
            if listed is None:
                raise InputError("{model} is not for visitors of this server.", model=spec.id)
            limits = Limits(listed.budget, listed.budget_per_day, listed.tokens, listed.tokens_per_day)
            account = self._ledger.account(endpoint.id, visitor, limits)
            _require_room(account, spec.id, endpoint.currency)
            return account

        return charge


def _require_room(account: VisitorAccount, model: str, currency: str) -> None:
    """Raise InputError where a visitor, or all of them together, have used up what they may."""
    try:
        own, of_all = account.used, account.used_by_all
    except LedgerError as e:
        raise InputError(
            "What visitors have used of {model} cannot be read, so that nothing is sent. Tell the operator.",
            model=model,
        ) from e
    limits = account.limits
    if used_up := _reached(own, limits.budget, limits.tokens, currency):
        raise InputError(
            "You have used up your share of {model} for today ({most}). It begins anew at 0:00 UTC.",
            model=model,
            most=used_up,
        )
    if used_up := _reached(of_all, limits.budget_per_day, limits.tokens_per_day, currency):
        raise InputError(
            "All visitors together have used up what there is of {model} for today ({most}). It begins anew at 0:00 "
            "UTC.",
            model=model,
            most=used_up,
        )


def _reached(used: Used, budget: float | None, tokens: int | None, currency: str) -> str:
    """The limit that is reached, as a text; empty if none is."""
    if budget is not None and used.cost >= budget:
        return money_text(budget, currency)
    if tokens is not None and used.tokens >= tokens:
        return Message("{count:,} tokens", count=tokens)
    return ""
