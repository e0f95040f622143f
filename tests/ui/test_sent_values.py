"""Values that a stranger sends in place of a browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest

from jglue_app.errors import InputError
from jglue_app.ui.sent_values import checked, held

TEXT, ONE, NUMBER, TICK = gr.Textbox(), gr.Dropdown(["a"]), gr.Number(), gr.Checkbox()
SEVERAL, GROUP = gr.Dropdown(["a"], multiselect=True), gr.CheckboxGroup(["a"])
WRONG: tuple[tuple[Any, tuple[Any, ...]], ...] = (
    (TEXT, ([], {}, ["x"], {"path": "/etc/passwd"})),
    (ONE, ([], {}, [[]])),
    (SEVERAL, ("a", 1, {}, [[]], [{}], [None], True)),
    (GROUP, ("a", {"a": 1}, [["a"]])),
    (NUMBER, ([], {}, [1])),
    (TICK, ("true", 1, 0, [], {})),
)


@pytest.mark.parametrize(("control", "value"), [(one, value) for one, values in WRONG for value in values])
def test_what_a_control_cannot_hold_is_a_sentence(control: Any, value: Any) -> None:
    with pytest.raises(InputError, match="cannot hold"):
        held(control, value)


@pytest.mark.parametrize(
    ("control", "value", "expected"),
    [
        *((TEXT, "x", "x"), (TEXT, 5, "5"), (TEXT, True, "True"), (TEXT, 10**400, "1" + "0" * 400), (TEXT, None, None)),
        *((ONE, 0.5, "0.5"), (SEVERAL, ["a", 1], ["a", "1"]), (GROUP, [], []), (NUMBER, "12", "12"), (NUMBER, -1, -1)),
        *((TICK, False, False), (gr.HTML(), {"a": 1}, {"a": 1})),
    ],
)
def test_what_it_can_hold_is_given_as_it_holds_it(control: Any, value: Any, expected: Any) -> None:
    assert held(control, value) == expected


def test_a_handler_finds_its_values_among_what_gradio_adds() -> None:
    request = gr.Request()

    def in_order(text: str, request: gr.Request, number: float) -> tuple[Any, ...]:
        return text, request, number

    def by_control(request: gr.Request, values: dict[Any, Any]) -> Iterator[dict[Any, Any]]:
        yield values

    assert checked(in_order, [TEXT, NUMBER])(7, request, 7) == ("7", request, 7)
    assert list(checked(by_control, [TEXT, TICK])(request, {TEXT: 7, TICK: True})) == [{TEXT: "7", TICK: True}]
    with pytest.raises(InputError):
        checked(in_order, [TEXT, NUMBER])("x", request, [])
    with pytest.raises(InputError):
        list(checked(by_control, [TEXT, TICK])(request, {TEXT: "x", TICK: "yes"}))
