"""Money in a run: nothing paid is sent without a budget, what is sent is charged, and the manifest has the sum."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from jglue_app.backends import SERVERS, Notify
from jglue_app.backends.pool import ModelPool
from jglue_app.backends.spending import Spending
from jglue_app.errors import InputError, StoreError
from jglue_app.messages import Message
from jglue_app.money import is_paid, money_text, price_of
from jglue_app.runs.estimate import CostEstimate, estimate_plan
from jglue_app.runs.plan import Plan
from jglue_app.runs.serialization import paid_beside
from jglue_app.runs.store import RunStore
from jglue_app.runs.typed_json import read
from jglue_app.runs.writer import RunWriter
from jglue_app.scoring.payment import paid_for_outputs, usage_of
from jglue_app.tasks import TASKS
from jglue_app.types import Account, Backend, ModelInfo, ModelSpec, PaidBackend, ServerBackend

Charge = Callable[[ModelSpec, ModelInfo], Account | None]
"""Who else pays for the requests of a model, such as the budget of a visitor; None for nobody."""


def nobody_else(spec: ModelSpec, info: ModelInfo) -> None:
    """No other account."""


def estimate_plans(
    plans: Sequence[Plan], pool: ModelPool, stores: Sequence[RunStore], notify: Notify = lambda _: None
) -> list[CostEstimate | None]:
    """What each plan would cost, in their order; None for one that costs nothing, or of which nothing is left to do.

    Only models on servers are opened.

    Raises:
        JglueAppError: one of them cannot be opened.
    """
    return [_estimate(plan, pool, store, notify) for plan, store in zip(plans, stores, strict=True)]


def open_spending(
    plan: Plan, pool: ModelPool, store: RunStore, charge: Charge = nobody_else, notify: Notify = lambda _: None
) -> tuple[Spending | None, ModelInfo | None]:
    """The budget that the requests of a plan are charged to, with what the run has cost already, and the model; None
    where nothing is paid and nobody counts.

    Raises:
        InputError: the model is paid, and there is no budget; the sentence has the estimate.
        JglueAppError: the model cannot be opened.
    """
    backend = _open(plan, pool, store, notify)
    if backend is None:
        return None, None
    info, other = backend.info, charge(plan.spec.model, backend.info)
    if is_paid(info) and plan.budget is None and other is None:
        raise no_budget(estimate_plan(plan, backend, store))
    if not is_paid(info) and other is None:
        return None, info
    _require_one_currency(plan, store, info)
    return Spending(plan.budget if is_paid(info) else None, spent_so_far(store), other), info


def spending_on(
    estimate: CostEstimate, plan: Plan, info: ModelInfo, budget: float | None, charge: Charge
) -> Spending | None:
    """The same for a single answer, of which nothing is stored; raises InputError without a budget for a paid one."""
    other = charge(plan.spec.model, info)
    if is_paid(info) and budget is None and other is None:
        raise no_budget(estimate)
    if not is_paid(info) and other is None:
        return None
    return Spending(budget if is_paid(info) else None, also=other)


def no_budget(estimate: CostEstimate) -> InputError:
    """That something paid was asked for without a budget."""
    return InputError(
        "{model} is paid, and no budget is set. This run would send {facts}. Set the most that it may cost: Budget, "
        "below the model (--budget). No item is sent beyond it.",
        model=estimate.model,
        facts=estimate.facts,
    )


@contextmanager
def charged_to(backend: Backend, spending: Account | None) -> Iterator[None]:
    """Charge the requests of a backend to an account in the meantime."""
    if not isinstance(backend, PaidBackend):
        yield
        return
    backend.spending = spending
    try:
        yield
    finally:
        backend.spending = None


def exhausted_notice(plan: Plan, spending: Spending, currency: str, left: int) -> Message:
    """That a run has ended because its budget, or somebody else's who pays for it, has no room for a next request."""
    spent = money_text(spending.spent, currency)
    if spending.refused_by_other or spending.limit is None:
        return Message(
            "{model}: what visitors may use of it today is used up; {left:,} items of this run are open. What was "
            "answered is kept: start the same again tomorrow (UTC) to go on.",
            model=plan.spec.model.id,
            left=left,
        )
    return Message(
        "{model}: the budget of {budget} has no room for another request ({spent} are spent), and {left:,} items are "
        "open. What was answered is kept: start the same again with a higher budget to go on.",
        model=plan.spec.model.id,
        budget=money_text(spending.limit, currency),
        spent=spent,
        left=left,
    )


def spent_so_far(store: RunStore) -> float:
    """What a stored run has cost: its answers at the prices that it was begun with, and what was paid beside them; 0
    for a run that is not there."""
    if not store.exists():
        return 0.0
    manifest = store.manifest()
    return max(0.0, _answers(store, _priced(manifest)) + paid_beside(manifest))


def note_cost(store: RunStore, writer: RunWriter, spending: Spending | None, now: ModelInfo | None) -> None:
    """Note in the manifest what a run has cost.

    Args:
        store: of the run.
        writer: of its folder.
        spending: what this session's requests were charged to, if there were any.
        now: the model with the prices of this session.
    """
    manifest = store.manifest()
    info = _priced(manifest)
    # A run that was begun without a price may have got one since: what is paid now is beside its answers.
    if info is None or not (is_paid(info) or paid_beside(manifest) or (spending is not None and spending.spent)):
        return
    outputs = [record.output for record in store.records() if record.output is not None]
    paid = paid_for_outputs(outputs, info)
    beside = paid_beside(manifest) if spending is None else spending.spent - paid.price
    if now is not None and (now.price_in, now.price_out) == (info.price_in, info.price_out):
        # An answer that a killed session paid for, and that was found again, is in no sum but that of the records.
        beside = max(0.0, beside)
    beside = 0.0 if abs(beside) < 1e-9 * max(paid.price, 1e-9) else beside
    cost = {
        "currency": paid.currency or (now.currency if now else "") or manifest.get("cost", {}).get("currency", ""),
        "price": paid.price + beside,
        "beside_answers": beside,
        "requests": paid.requests,
        "prompt_tokens": paid.prompt_tokens,
        "new_tokens": paid.new_tokens,
        "reasoning_tokens": paid.reasoning_tokens,
        "estimated": paid.estimated,
        "price_in": info.price_in,
        "price_out": info.price_out,
    }
    if manifest.get("cost") != cost:
        writer.manifest({**manifest, "cost": cost})


def check_server(backend: Backend, plan: Plan) -> None:
    """Refuse what a server cannot do, before anything is sent; raises InputError."""
    if isinstance(backend, ServerBackend):
        ranks = any(TASKS[name].kind == "choice" for name in plan.spec.tasks)
        backend.check(plan.spec.prompt, plan.spec.decoding, ranks=ranks)


def _require_one_currency(plan: Plan, store: RunStore, now: ModelInfo) -> None:
    """Refuse to add amounts of two currencies; raises InputError."""
    manifest = store.manifest() if store.exists() else {}
    begun, cost = _priced(manifest), manifest.get("cost")
    noted = cost.get("currency") if isinstance(cost, Mapping) else None
    before = begun.currency if begun is not None and is_paid(begun) else noted
    if before and is_paid(now) and str(before).upper() != now.currency.upper():
        raise InputError(
            "{model}: this run was paid in {before} so far, and endpoints.toml has its prices in {now}. Amounts of two "
            "currencies cannot be added: write the prices in {before}, or delete the run {folder} to start over.",
            model=plan.spec.model.id,
            before=before,
            now=now.currency,
            folder=store.path.name,
        )


def _open(plan: Plan, pool: ModelPool, store: RunStore, notify: Notify) -> PaidBackend | None:
    """What would answer what is left of a plan, if that is a server; None if not, or if nothing is left."""
    if plan.spec.model.backend not in SERVERS or len(store.finished_of(plan.items)) == plan.total:
        return None
    backend = pool.get(plan.spec.model, notify, needs_template=plan.spec.prompt.format == "chat")
    check_server(backend, plan)
    return backend if isinstance(backend, PaidBackend) else None


def _estimate(plan: Plan, pool: ModelPool, store: RunStore, notify: Notify) -> CostEstimate | None:
    backend = _open(plan, pool, store, notify)
    return estimate_plan(plan, backend, store) if backend and is_paid(backend.info) else None


def _priced(manifest: Mapping[str, Any]) -> ModelInfo | None:
    """The model with the prices that a run was begun with, if one is stored; raises StoreError if that is none."""
    stored = manifest.get("model")
    if not stored:
        return None
    try:
        return read(ModelInfo, stored)
    except (KeyError, TypeError, ValueError) as e:
        raise StoreError("{path} is not a run's manifest ({reason!r}).", path="manifest.json", reason=e) from e


def _answers(store: RunStore, info: ModelInfo | None) -> float:
    if info is None:
        return 0.0
    usages = (usage_of(record.output) for record in store.records() if record.output is not None)
    return sum(price_of(usage.prompt_tokens, usage.new_tokens, info) for usage in usages)
