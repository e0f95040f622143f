"""Amounts of money and numbers of tokens, as people write them."""

from __future__ import annotations

import math

import pytest

from jglue_app.money import is_paid, money_text, price_of, price_of_usage, tokens_text
from jglue_app.types import ModelInfo, Usage


def info(price_in: float, price_out: float, currency: str = "USD") -> ModelInfo:
    return ModelInfo(
        *("m", "1", "none", "server", None, "", False, "", True, 0),
        price_in=price_in,
        price_out=price_out,
        currency=currency,
    )


@pytest.mark.parametrize(
    ("amount", "currency", "text", "rounded_up"),
    [
        (540, "JPY", "¥540", "¥540"),
        (540.4, "JPY", "¥540", "¥541"),
        (1234567.5, "jpy", "¥1,234,568", "¥1,234,568"),
        (0.42, "JPY", "¥0.42", "¥0.42"),
        (0.00012345, "JPY", "¥0.000123", "¥0.000124"),
        (0, "JPY", "¥0", "¥0"),
        (1.0961, "JPY", "¥1.1", "¥1.1"),
        (3.7161, "JPY", "¥3.72", "¥3.72"),
        (9.999, "JPY", "¥10", "¥10"),
        (10.4, "JPY", "¥10", "¥11"),
        (2, "JPY", "¥2", "¥2"),
        (12.3, "USD", "$12.30", "$12.30"),
        (12.344, "USD", "$12.34", "$12.35"),
        (0.5, "USD", "$0.50", "$0.50"),
        (0.1, "USD", "$0.10", "$0.10"),
        (0.0123, "USD", "$0.0123", "$0.0123"),
        (0.01234, "USD", "$0.0123", "$0.0124"),
        (0.99999, "USD", "$1.00", "$1.00"),
        (0, "USD", "$0.00", "$0.00"),
        (3e-7, "USD", "$0.0000003", "$0.0000003"),
        (7.5, "CHF", "7.50 CHF", "7.50 CHF"),
        (1500, "KRW", "1,500 KRW", "1,500 KRW"),
        (2, "", "2.00", "2.00"),
        (math.inf, "EUR", "€∞", "€∞"),
    ],
)
def test_money(amount: float, currency: str, text: str, rounded_up: str) -> None:
    assert money_text(amount, currency) == text
    assert money_text(amount, currency, up=True) == rounded_up


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (850, "850"),
        (1000, "1,000"),
        (12_345, "12,300"),
        (999_499, "999,000"),
        (999_500, "1.0 M"),
        (1_234_567, "1.2 M"),
        (45_600_000, "45.6 M"),
    ],
)
def test_tokens(count: int, text: str) -> None:
    assert tokens_text(count) == text


def test_prices_are_of_a_million_tokens() -> None:
    model = info(0.15, 0.6)
    assert price_of(2_000_000, 500_000, model) == pytest.approx(0.3 + 0.3, rel=1e-15)
    assert price_of_usage(Usage(7, 1_000, 10), model) == pytest.approx(0.000156, rel=1e-12)
    assert price_of(10**9, 10**9, info(0, 0)) == 0


def test_what_is_paid() -> None:
    assert is_paid(info(0, 0.6)) and is_paid(info(0.15, 0)) and not is_paid(info(0, 0))
