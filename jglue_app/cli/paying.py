"""What a run would cost is shown before it begins, and asked about on a terminal."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, TypeVar

import typer

from jglue_app.backends.pool import ModelPool
from jglue_app.cli.request_parameters import NOT_A_NUMBER, number_parser
from jglue_app.errors import EXIT_INCOMPLETE
from jglue_app.grid.grid_estimate import GridEstimate
from jglue_app.messages import Message
from jglue_app.money import money_text
from jglue_app.runs.embedding import estimate_embedding
from jglue_app.runs.estimate import CostEstimate, total
from jglue_app.runs.paying import estimate_plans, no_budget
from jglue_app.runs.plan import Plan
from jglue_app.runs.progress import ProgressView
from jglue_app.runs.store import RunStore
from jglue_app.settings import Settings

YesOption = Annotated[
    bool, typer.Option("--yes", help="Send paid requests without a question and without a budget; see --budget.")
]

S = TypeVar("S")


def budget_option(help: str) -> Any:
    """The option `--budget` of a command that takes it beside a request; `read_budget` reads it."""
    parser = number_parser(float, NOT_A_NUMBER["number"], "--budget")
    return typer.Option("--budget", help=f"{help}; 0 for no budget.", parser=parser, metavar="<float>")


def approved(
    plans: Sequence[tuple[S, Plan]], pool: ModelPool, stores: Sequence[RunStore], view: ProgressView, *, yes: bool
) -> list[tuple[S, Plan]]:
    """The same plans, those that cost money with a budget: their own, or without a limit where that was agreed to.

    Args:
        plans: with what they are called.
        pool: opens the models on servers.
        stores: of the plans.
        view: shows what each would cost.
        yes: whether to go on without a question.

    Raises:
        InputError: something is paid, there is neither a budget nor `yes`, and nobody can be asked.
        typer.Exit: the answer was no.
    """
    estimates = estimate_plans([plan for _, plan in plans], pool, stores, view.say)
    paid = {i: estimate for i, estimate in enumerate(estimates) if estimate}
    for i, estimate in paid.items():
        _show(estimate, plans[i][1].budget, view)
    open_ = [estimate for i, estimate in paid.items() if plans[i][1].budget is None]
    if not open_:
        return list(plans)
    _agree(open_[0], view, yes=yes)
    return [
        (side, replace(plan, budget=math.inf) if i in paid and plan.budget is None else plan)
        for i, (side, plan) in enumerate(plans)
    ]


def approved_sweep(
    plans: Sequence[Plan], pool: ModelPool, settings: Settings, view: ProgressView, *, budget: float | None, yes: bool
) -> float | None:
    """The budget of several runs of one model together: the one given, or infinity where that was agreed to; None if
    they cost nothing. Raises as `approved` does."""
    stores = [RunStore.of(settings.runs_dir, plan.spec) for plan in plans]
    estimates = [estimate for estimate in estimate_plans(plans, pool, stores, view.say) if estimate]
    if not estimates:
        return budget
    _show(total(estimates), budget, view)
    if budget is None:
        _agree(total(estimates), view, yes=yes)
    return math.inf if budget is None else budget


def approved_grid(estimate: GridEstimate, view: ProgressView, *, budget: float | None, yes: bool) -> float | None:
    """The budget of all runs of a grid together: the one given, or infinity where that was agreed to; None if they cost
    nothing. What they cost was shown. Raises as `approved` does."""
    if not estimate.costs:
        return budget
    if budget is None:
        _agree(replace(estimate.costs[0], price=estimate.price), view, yes=yes)
        return math.inf
    if estimate.price > budget:
        text = money_text(budget, estimate.costs[0].currency)
        view.say(Message("That may be more than the budget of {budget}: the grid stops before it.", budget=text))
    return budget


def approved_embedding(plan: Plan, settings: Settings, view: ProgressView, *, budget: float | None, yes: bool) -> Plan:
    """The same plan with its budget, or without a limit where that was agreed to; raises as `approved` does."""
    estimate = estimate_embedding(plan, settings)
    if estimate is not None:
        view.say(Message("{model}: {facts}.", model=estimate.model, facts=estimate.facts))
        if budget is None:
            _agree(estimate, view, yes=yes)
            budget = math.inf
    return replace(plan, budget=budget)


def _show(estimate: CostEstimate, budget: float | None, view: ProgressView) -> None:
    """What something would cost, and whether a budget may be too small for it."""
    view.say(Message("{model}: {facts}.", model=estimate.model, facts=estimate.facts))
    if budget is not None and estimate.price > budget:
        text = money_text(budget, estimate.currency)
        view.say(Message("That may be more than the budget of {budget}: the run stops before it.", budget=text))


def _agree(estimate: CostEstimate, view: ProgressView, *, yes: bool) -> None:
    """Ask whether to go on, unless that was said; raises as `approved` does."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise no_budget(estimate)
    with view.paused():
        agreed = typer.confirm("Go on?", err=True)
    if not agreed:
        view.say(Message("No item was sent."))
        raise typer.Exit(EXIT_INCOMPLETE)
