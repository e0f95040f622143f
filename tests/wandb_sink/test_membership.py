"""What a W&B run belongs to, from what is stored there."""

from __future__ import annotations

from typing import Any

import pytest

from jglue_app.wandb_sink.membership import (
    as_mappings,
    members_of,
    membership_of_group,
    membership_of_run,
    united,
)

ONE, TWO = "jglue-vs-1", "jglue-vs-2"


@pytest.mark.parametrize(
    ("config", "group", "tags", "expected"),
    [
        ({}, None, [], {}),
        ({"comparisons": [TWO, ONE]}, ONE, ["jglue", ONE, TWO], {"comparisons": (TWO, ONE)}),
        # Pushes of earlier versions: a group, which a second comparison replaced, and the tags of both.
        ({}, TWO, ["jglue", ONE, TWO], {"comparisons": (TWO, ONE)}),
        ({}, "somebody's group", ["mine"], {}),
        ({"grids": ["wordings"]}, "wordings", [], {"grids": ("wordings",)}),
        # An offline copy that was sent: mappings alone, or beside the lists of a push before it.
        ({"member_of": {"grids": {"v1.2": True, "b": True}}}, "b", [], {"grids": ("b", "v1.2")}),
        (
            {"comparisons": [TWO], "member_of": {"comparisons": {ONE: True, TWO: True}}},
            ONE,
            [ONE],
            {"comparisons": (TWO, ONE)},
        ),
        # People may put anything there.
        ({"member_of": {"grids": ["a"], "comparisons": {ONE: False, "": True}}}, None, [], {}),
        ({"member_of": "all"}, None, [], {}),
        ({"comparisons": "all"}, None, [], {}),
        ({"comparisons": [ONE, 7, None, "", ONE]}, None, [], {"comparisons": (ONE,)}),
    ],
)
def test_what_a_run_belongs_to_is_in_its_config_group_and_tags(
    config: dict[str, Any], group: str | None, tags: list[str], expected: dict[str, tuple[str, ...]]
) -> None:
    assert membership_of_run(config, group, tags) == expected


def test_joining_adds_each_once_in_order_and_takes_nothing_away() -> None:
    before = {"comparisons": (ONE,), "grids": ("wordings",)}
    assert united(before, membership_of_group(TWO)) == {"comparisons": (ONE, TWO), "grids": ("wordings",)}
    assert united(before, membership_of_group(ONE)) == before
    assert united(before, membership_of_group("somebody's group")) == before


def test_mappings_say_what_lists_do() -> None:
    lists = {"comparisons": (ONE, TWO), "grids": ("v1.2",)}
    assert membership_of_run(as_mappings(lists), None, []) == lists
    assert as_mappings({}) == as_mappings({"grids": ()}) == {}


def test_a_comparison_names_its_members_now_and_as_an_earlier_version_pushed_it() -> None:
    sides = {"a": {"run_id": "jglue-a"}, "b": {"run_id": "jglue-b"}}
    assert members_of({**sides, "members": ["jglue-a", "jglue-b"]}) == members_of(sides) == ("jglue-a", "jglue-b")
