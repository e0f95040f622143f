"""The form in which a visitor says what to run: items, model A and, on the Compare tab, model B."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from jglue_app.runs.request import RunRequest
from jglue_app.settings import Settings
from jglue_app.ui import controls
from jglue_app.ui.controls import RunControls, SideControls
from jglue_app.ui.events import Updates, Values


@dataclass(frozen=True, slots=True, eq=False)
class RequestForm:
    """The components of the form."""

    run: RunControls
    a: SideControls
    use_b: gr.Checkbox | None = None
    b: SideControls | None = None

    @property
    def by_name(self) -> dict[str, Component]:
        """Name of a value, as `controls.read` takes it → its component."""
        second = {controls.USE_B: self.use_b, **self.b.components()} if self.use_b and self.b else {}
        return {**self.run.components(), **self.a.components(), **second}

    @property
    def components(self) -> list[Component]:
        """All of them."""
        return list(self.by_name.values())

    @property
    def groups(self) -> list[gr.Accordion]:
        """The groups of advanced options."""
        return [part.advanced for part in (self.run, self.a, self.b) if part]

    def read(self, settings: Settings, values: Values) -> RunRequest:
        """What the values of the components request; where there is no field for the number of items, all of them.

        Raises:
            InputError: it cannot be done as requested.
        """
        all_items: dict[str, Any] = {"limit": None}
        return controls.read(
            {**all_items, **{name: values[component] for name, component in self.by_name.items()}}, settings
        )

    def fill(self, request: RunRequest) -> Updates:
        """Values with which the form makes a request; groups in which it sets something are opened."""
        values = controls.values_of(request)
        updates: Updates = {component: values[name] for name, component in self.by_name.items()}
        parts = (request, request.a, request.b)
        for group, part in zip(self.groups, parts, strict=False):
            if part and controls.sets_advanced(part):
                updates[group] = gr.update(open=True)
        return updates
