"""What a number of items can show."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jglue_app.messages import say
from jglue_app.runs.request import RunRequest
from jglue_app.ui.enough_items import enough_items


@pytest.mark.parametrize(
    ("limit", "english"),
    [
        (5, "5 of each: too few for a verdict, which needs at least 10."),
        (9, "9 of each: too few for a verdict, which needs at least 10."),
        # McNemar: 2 · ½⁶ is 0.031, and 2 · ½⁸ is 0.0078, below 0.05 / 5. 6 / 20 and 8 / 20.
        (
            20,
            "20 of each: even if all disagreements go one way, a verdict takes a difference of about 0.30 in accuracy, "
            "and up to 0.40 after the correction over 5 subsets (Holm).",
        ),
        # Connor: ((2.576 · √⅓ + 0.842 · √(⅓ − 0.288²)) / 0.288)² = 44.0.
        # There are 44 reviews and 45 of the others.
        (1_000, "44 of each: a difference of about 0.29 in accuracy can be shown"),
        (None, "44 of each: a difference of about 0.29 in accuracy can be shown"),
    ],
)
def test_the_items_there_are_count(limit: int | None, english: str) -> None:
    assert enough_items(RunRequest(limit=limit)).startswith(english)


def test_one_subset_is_not_corrected() -> None:
    one = RunRequest(tasks=("jnli",), limit=20)
    # A difference that is shown with a power of 80 % would be above the third on which they disagree.
    assert enough_items(one) == (
        "20: even if all disagreements go one way, a verdict takes a difference of about 0.30 in accuracy."
    )
    # Connor: ((1.96 · √⅓ + 0.842 · √(⅓ − 0.235²)) / 0.235)² = 45.0.
    assert enough_items(replace(one, limit=45)).startswith("45: a difference of about 0.23 in accuracy can be shown")


def test_of_official_data_what_is_asked_for_counts() -> None:
    assert enough_items(RunRequest(data="official", limit=1_000)).startswith(
        "1,000 of each: a difference of about 0.06"
    )
    every = enough_items(RunRequest(data="official", limit=None))
    assert say(every, "ja") == "各サブセットの全問です。差の判定には 10 問以上が必要です。"
