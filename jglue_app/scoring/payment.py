"""What the stored answers of a run have cost: the tokens that the server counted, at the prices stored with the model.
No I/O.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from jglue_app.messages import Message
from jglue_app.money import is_paid, money_text, price_of
from jglue_app.scoring.types import Paid
from jglue_app.types import ModelInfo, Output, RunData, Usage


def paid_for(data: RunData) -> Paid | None:
    """What the answers to a run's items cost; None where nothing is paid.

    Args:
        data: the run; records of items that are not among its items do not count.
    """
    if data.model is None or not is_paid(data.model):
        return None
    asked = {(name, id_) for name, items in data.items.items() for id_ in items}
    paid = paid_for_outputs((r.output for r in data.records if (r.task, r.item_id) in asked), data.model)
    return replace(paid, beside=data.paid_beside)


def paid_for_outputs(outputs: Iterable[Output | None], model: ModelInfo) -> Paid:
    """What some answers of a model cost at its prices."""
    there = [output for output in outputs if output is not None]
    usages = [usage_of(output) for output in there]
    prompt_tokens, new_tokens = sum(u.prompt_tokens for u in usages), sum(u.new_tokens for u in usages)
    return Paid(
        requests=sum(u.requests for u in usages),
        prompt_tokens=prompt_tokens,
        new_tokens=new_tokens,
        reasoning_tokens=sum(output.reasoning_tokens for output in there),
        price=price_of(prompt_tokens, new_tokens, model),
        currency=model.currency,
        estimated=any(u.estimated for u in usages),
    )


def usage_of(output: Output) -> Usage:
    """What a server counted for an answer; where nothing of that is stored, its tokens as an estimate."""
    return output.usage or Usage(1, output.prompt_tokens, output.new_tokens, estimated=True)


def paid_text(paid: Paid) -> Message:
    """What answers cost, with what they took: `$0.0123 for 50 requests, 12,345 tokens in and 100 out`."""
    values: dict[str, Any] = {
        "price": money_text(paid.price, paid.currency),
        **{"requests": paid.requests, "tokens_in": paid.prompt_tokens, "tokens_out": paid.new_tokens},
    }
    text = Message("{price} for {requests:,} requests, {tokens_in:,} tokens in and {tokens_out:,} out", **values)
    if paid.reasoning_tokens:
        thoughts = paid.reasoning_tokens
        text = Message("{paid}, {thoughts:,} of them in thoughts", paid=text, thoughts=thoughts)
    if paid.estimated:
        text = Message("{paid} (some counts are estimates)", paid=text)
    if paid.beside > 0:
        beside = money_text(paid.beside, paid.currency)
        text = Message(
            "{paid}; the run has cost {beside} more, for requests without an answer or at other prices",
            paid=text,
            beside=beside,
        )
    return text
