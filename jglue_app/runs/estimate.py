"""What a run would cost, before its first request: over all items that have no answer yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jglue_app.messages import Message
from jglue_app.money import money_text, price_of_estimate, tokens_text
from jglue_app.prompts import formats
from jglue_app.prompts.thoughts import is_open
from jglue_app.runs.answering import token_limits
from jglue_app.runs.plan import Plan, build_prompts
from jglue_app.runs.store import RunStore
from jglue_app.tasks import TASKS
from jglue_app.types import PaidBackend, Prompt, Usage


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """Most that a run would take and cost: prompts as they are, answers as long as they may be."""

    model: str
    items: int
    """Items without an answer."""
    usage: Usage
    """Prompt tokens are estimated, new ones at their limit."""
    price: float
    currency: str

    @property
    def facts(self) -> Message:
        """In one line: tokens in and out, and the price."""
        return Message(
            "about {tokens_in} tokens in, at most {tokens_out} out: up to about {price}",
            tokens_in=tokens_text(self.usage.prompt_tokens),
            tokens_out=tokens_text(self.usage.new_tokens),
            price=self.price_text,
        )

    @property
    def price_text(self) -> str:
        """The price, rounded up."""
        return money_text(self.price, self.currency, up=True)


def estimate_plan(plan: Plan, backend: PaidBackend, store: RunStore) -> CostEstimate:
    """What is left of a plan would take and cost.

    Args:
        plan: of the run.
        backend: what would answer.
        store: of the run; what it has answered is not done again.

    Raises:
        ModelError: the format needs a chat template that the model lacks.
    """
    info = backend.info
    model = formats.format_info(info, backend.render_chat)
    finished = store.finished()
    usage, count = Usage(0, 0, 0, estimated=True), 0
    for name, items in plan.items.items():
        left = [item for item in items if (name, item.id) not in finished]
        if not left:
            continue
        count += len(left)
        prompts = build_prompts(plan, name, left, model)
        limits = token_limits(plan, TASKS[name], left, backend)
        for limit in sorted(set(limits.values())):
            usage = usage.plus(_usage(plan, name, [p for p in prompts if limits[p.item_id] == limit], limit, backend))
    return CostEstimate(plan.spec.model.id, count, usage, price_of_estimate(usage, info), info.currency)


def total(estimates: Sequence[CostEstimate]) -> CostEstimate:
    """Several estimates of one model as one; there is at least one."""
    usage = Usage(0, 0, 0, estimated=True)
    for estimate in estimates:
        usage = usage.plus(estimate.usage)
    price = sum(estimate.price for estimate in estimates)
    return replace(estimates[0], items=sum(e.items for e in estimates), usage=usage, price=price)


def estimate_prompts(plan: Plan, prompts: Sequence[Prompt], limit: int, backend: PaidBackend) -> CostEstimate:
    """The same of some prompts of one subset, whose texts have at most `limit` new tokens."""
    usage = _usage(plan, prompts[0].task, prompts, limit, backend)
    return CostEstimate(
        plan.spec.model.id, len(prompts), usage, price_of_estimate(usage, backend.info), backend.info.currency
    )


def _usage(plan: Plan, name: str, prompts: Sequence[Prompt], limit: int, backend: PaidBackend) -> Usage:
    """Most that prompts of one subset and one limit would take. A thought with a budget of its own, or before an answer
    that a stop string ends, is a request of its own; the answer is then asked for after prompt and thought."""
    decoding = plan.spec.decoding
    generating = decoding.method in ("generate", "both")
    choosing = decoding.method in ("choose", "both") and TASKS[name].kind == "choice"
    usage = backend.estimate(prompts, limit, generating=generating, choosing=choosing)
    own_limit = decoding.max_thinking_tokens
    if not generating:
        return usage
    # The server renders these: thought and answer come in one request.
    whole = [p for p in prompts if p.thinking]
    usage = usage.plus(Usage(0, 0, (own_limit or 0) * len(whole)))
    thinking = [p for p in prompts if not p.thinking and (own_limit or (is_open(p.thought) and p.stop))]
    if not thinking:
        return usage
    first = backend.estimate(thinking, own_limit or limit, generating=True, choosing=False)
    written = (own_limit or limit) * len(thinking)
    return usage.plus(Usage(first.requests, first.prompt_tokens + written, first.new_tokens if own_limit else 0))
