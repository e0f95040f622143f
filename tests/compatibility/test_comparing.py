"""The comparison itself: it must see what is lost or changed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.compatibility.comparing import differences

OLD = {"n": 3, "rows": [{"id": "x", "score": 0.5}], "because": "it is so", "none": None}


@pytest.mark.parametrize(
    "new",
    [OLD, {**OLD, "more": 1}, {**OLD, "because": "so it is"}, {**OLD, "rows": [{"id": "x", "score": 0.5, "p": None}]}],
)
def test_more_keys_and_other_words_are_no_difference(new: Any) -> None:
    assert list(differences(OLD, new)) == []


@pytest.mark.parametrize(
    ("new", "difference"),
    [
        ({**OLD, "n": 4}, "/n is 4 instead of 3"),
        ({**OLD, "n": "3"}, "/n is '3' instead of 3"),
        ({**OLD, "because": ""}, "/because is no sentence"),
        ({**OLD, "none": 0}, "/none is 0 instead of None"),
        ({key: value for key, value in OLD.items() if key != "n"}, "/n is missing"),
        ({**OLD, "rows": []}, "/rows has 0 entries instead of 1"),
        ({**OLD, "rows": [{"id": "x", "score": 0.5000001}]}, "/rows/0/score is 0.5000001 instead of 0.5"),
        ({**OLD, "rows": {}}, "/rows is {} instead of [{'id': 'x', 'score': 0.5}]"),
    ],
)
def test_what_is_lost_or_changed_is_named(new: Any, difference: str) -> None:
    assert list(differences(OLD, new)) == [difference]


def test_a_protocol_may_be_added_to_rows_of_protocols_and_none_lost() -> None:
    old = [{"protocol": "official", "value": 1.0}, {"protocol": "flexeval", "value": 0.0}]
    more = [{"protocol": "another", "value": 0.5}, *old]
    assert list(differences(old, more)) == []
    assert list(differences(more, old)) == ["/another is missing"]
    other = [{"protocol": "official", "value": 1.0}, {"protocol": "flexeval", "value": 0.5}]
    assert list(differences(old, other)) == ["/flexeval/value is 0.5 instead of 0.0"]


def test_the_number_of_items_needed_is_corrected_and_never_smaller() -> None:
    assert list(differences({"needed": 9}, {"needed": 13})) == []
    assert list(differences({"needed": 9}, {"needed": 8})) == ["/needed is 8 instead of 9"]
    assert list(differences({"needed": 9}, {"needed": None})) == ["/needed is None instead of 9"]
    assert list(differences({"needed": None}, {"needed": 9})) == ["/needed is 9 instead of None"]
