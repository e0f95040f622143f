"""Prices of tokens, and amounts of money as people write them."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal

from jglue_app.types import ModelInfo, Usage

SIGNS = {"JPY": "¥", "USD": "$", "EUR": "€", "GBP": "£"}
WHOLE = ("JPY", "KRW", "VND", "CLP")
"""Currencies without a smaller unit."""
MILLION = 1_000_000


def is_paid(info: ModelInfo) -> bool:
    """Whether a model's tokens cost anything."""
    return info.price_in > 0 or info.price_out > 0


def price_of(prompt_tokens: int, new_tokens: int, info: ModelInfo) -> float:
    """What tokens cost at a model's prices per million, in its currency."""
    return (prompt_tokens * info.price_in + new_tokens * info.price_out) / MILLION


MARGIN, MARGIN_TOKENS = 1.3, 8
"""By how much the estimate of a prompt's tokens is raised, and how many more are added, where money is set aside."""


def reserved_tokens(prompt_tokens: int, requests: int = 1) -> int:
    """Tokens of prompts for which money is set aside, where they are only estimated."""
    return math.ceil(prompt_tokens * MARGIN) + MARGIN_TOKENS * requests


def price_of_estimate(usage: Usage, info: ModelInfo) -> float:
    """What requests cost at most that are only estimated: what is set aside for them."""
    return price_of(reserved_tokens(usage.prompt_tokens, usage.requests), usage.new_tokens, info)


def price_of_usage(usage: Usage, info: ModelInfo) -> float:
    """The same of what a server has counted."""
    return price_of(usage.prompt_tokens, usage.new_tokens, info)


def money_text(amount: float, currency: str, *, up: bool = False) -> str:
    """`¥540`, `$12.30`, `$0.0123`, `7.50 CHF`; the same in every language.

    Args:
        amount: of money, not below 0.
        currency: its code, such as `JPY`.
        up: round up, for what something costs at most.

    Small amounts (below 1, or 10 of a currency without a smaller unit) keep three digits, so that none looks like
    nothing, or like half as much again.
    """
    currency = currency.upper()
    if math.isinf(amount):
        text = "∞"
    else:
        exact = Decimal(str(amount))
        digits = 0 if currency in WHOLE else 2
        if 0 < exact < (10 if currency in WHOLE else 1):
            digits = max(digits, 2 - exact.adjusted())
        text = f"{exact.quantize(Decimal(1).scaleb(-digits), ROUND_CEILING if up else ROUND_HALF_EVEN):,f}"
        if digits > 2 or (currency in WHOLE and digits):
            text = _without_zeros(text, least=0 if currency in WHOLE else 2)
    return f"{SIGNS[currency]}{text}" if currency in SIGNS else f"{text} {currency}".strip()


def tokens_text(count: int) -> str:
    """A number of tokens in two or three digits: `850`, `12,300`, `1.2 M`."""
    if count < 1_000:
        return f"{count:,}"
    rounded = round(count, 3 - len(str(count)))
    return f"{count / MILLION:.1f} M" if rounded >= MILLION else f"{rounded:,}"


def _without_zeros(text: str, least: int) -> str:
    """A decimal number without zeros at its end, but with so many decimals at least."""
    whole, _, decimals = text.partition(".")
    kept = decimals.rstrip("0").ljust(least, "0")
    return f"{whole}.{kept}" if kept else whole
