"""How long the rest of a job takes."""

from __future__ import annotations

from jglue_app.ui.pace import MIN_ITEMS, Pace


def test_nothing_is_told_before_there_is_a_pace() -> None:
    pace = Pace()
    assert pace.seconds_left({"a": 10}) is None
    pace.interrupted(100.0)
    for k in range(MIN_ITEMS - 1):
        pace.answered("a", 101.0 + k)
    assert pace.seconds_left({"a": 10}) is None


def test_each_side_has_its_own_pace_and_loading_is_no_part_of_it() -> None:
    pace = Pace()
    pace.interrupted(50.0)
    for k in range(1, 5):  # Four items of A, 2 s each.
        pace.answered("a", 50.0 + 2 * k)
    # B has not begun, and is taken to be as fast as A.
    assert pace.seconds_left({"a": 6, "b": 10}) == 6 * 2 + 10 * 2
    pace.interrupted(1_000.0)  # B's model was loaded.
    for k in range(1, 9):  # Eight items, half a second each.
        pace.answered("b", 1_000.0 + k / 2)
    assert pace.seconds_left({"a": 6, "b": 2}) == 6 * 2 + 2 * 0.5
    assert pace.seconds_left({"a": 0, "b": 0}) == 0
