"""What a number of items can show."""

from __future__ import annotations

import pytest

from jglue_app.messages import say
from jglue_app.runs.request import RunRequest
from jglue_app.ui.enough_items import enough_items


@pytest.mark.parametrize(
    ("limit", "english"),
    [
        (5, "5 of each: too few for a verdict, which needs at least 10."),
        (9, "9 of each: too few for a verdict, which needs at least 10."),
        (20, "20 of each: a difference of about 0.35 in accuracy can be shown"),
        # There are 44 reviews and 45 of the others.
        (1_000, "44 of each: a difference of about 0.24 in accuracy can be shown"),
        (None, "44 of each: a difference of about 0.24 in accuracy can be shown"),
    ],
)
def test_the_items_there_are_count(limit: int | None, english: str) -> None:
    assert enough_items(RunRequest(limit=limit)).startswith(english)


def test_of_official_data_what_is_asked_for_counts() -> None:
    assert enough_items(RunRequest(data="official", limit=1_000)).startswith(
        "1,000 of each: a difference of about 0.05"
    )
    every = enough_items(RunRequest(data="official", limit=None))
    assert say(every, "ja") == "各サブセットの全問です。差の判定には 10 問以上が必要です。"
