"""The form in which a visitor says what to run: questions, model A and, on the Compare tab, model B."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from jglue_app.runs.request import Configuration
from jglue_app.settings import Settings
from jglue_app.ui import controls
from jglue_app.ui.controls import USUAL_B, Questions, SideControls
from jglue_app.ui.events import Updates, Values


@dataclass(frozen=True, slots=True, eq=False)
class RequestForm:
    """The components of the form."""

    questions: Questions
    a: SideControls
    use_b: gr.Checkbox | None = None
    b: SideControls | None = None
    all_items: bool = False
    """Whether it always asks for all items, whatever its field for their number says."""

    @property
    def components(self) -> list[Component]:
        """All of them."""
        second = [self.use_b, *self.b.all()] if self.use_b is not None and self.b is not None else []
        return [*self.questions.all(), *self.a.all(), *second]

    def read(self, settings: Settings, values: Values, lang: str) -> Configuration:
        """What the values of the components ask for.

        Raises:
            InputError: it cannot be done as asked.
        """
        questions = [None if c is self.questions.limit and self.all_items else values[c] for c in self.questions.all()]
        a = controls.read_side([values[c] for c in self.a.all()], lang)
        b = None
        if self.b is not None and self.use_b is not None and values[self.use_b]:
            b = controls.read_side([values[c] for c in self.b.all()], lang, a)
        return controls.read_configuration(settings, questions, a, b, lang)

    def fill(self, request: Configuration) -> Updates:
        """Values with which the form asks for something."""
        updates: dict[Any, Any] = dict(zip(self.questions.all(), controls.fill_questions(request), strict=True))
        updates |= zip(self.a.all(), controls.fill_side(request.a), strict=True)
        if self.b is not None and self.use_b is not None:
            updates[self.use_b] = request.b is not None
            updates |= zip(self.b.all(), controls.fill_side(request.b or USUAL_B, request.a), strict=True)
        return updates
