"""What the event handlers of all tabs share: their types, and how the page listens to events.

Handlers take and return dictionaries keyed by component: with `inputs` given as a set, Gradio calls a handler with
`{component: value}`, and a component that is missing from what it returns stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

Values = Mapping[Component, Any]
"""Component → its value, of the components that a handler asks for."""
Updates = dict[Block, Any]
"""Component → its new value, or `gr.update(…)`."""

UNCHANGED: Updates = gr.skip()
"""What a handler returns that changes nothing: Gradio does not take an empty dictionary for that. A generator has to
give something, else Gradio empties its outputs."""

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""Options of an event that is no API endpoint and draws its own progress."""
LATEST: dict[str, Any] = {**PRIVATE, "trigger_mode": "always_last"}
"""Options of an event that draws what is chosen now. Gradio drops what comes while an event of its kind is under way,
unless it is told that the last one counts: two quick clicks would then show the first."""
FOLLOWS_JOB: dict[str, Any] = {**PRIVATE, "concurrency_limit": None}
"""Options of an event whose handler follows a job. As many run as there are visitors: they only wait."""
AS_TYPED: dict[str, Any] = {**LATEST, "queue": False}
"""Options of an event that comes with every change of a form; only the last one has to be answered."""


def dropdown_update(choices: Sequence[Any], chosen: Any, value: Any) -> dict[str, Any]:
    """New choices of a list; what is chosen is set only if it has to be another.

    A visitor may have chosen something else by the time an answer arrives; set again, the old choice would take its
    place.

    Args:
        choices: the choices, as a dropdown takes them.
        chosen: what the handler was told is chosen.
        value: what has to be chosen: `chosen`, if it can stay.

    Returns:
        An update of the dropdown.
    """
    return gr.update(choices=choices) if value == chosen else gr.update(choices=choices, value=value)


def changes_of(components: Sequence[Any]) -> list[Any]:
    """The events that come when a visitor changes one of these components.

    What is typed beside a slider is brought within its bounds when it is left, which is a change and no input."""
    found = [component.input for component in components]
    return found + [component.change for component in components if isinstance(component, gr.Slider)]
