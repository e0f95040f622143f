"""The form in which a visitor says what to run: items, model A and, on the Compare tab, model B."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component
from gradio.events import Dependency

from jglue_app.backends.model_facts import usual_format
from jglue_app.errors import JglueAppError
from jglue_app.messages import say
from jglue_app.runs.request import RunRequest
from jglue_app.settings import Settings
from jglue_app.ui import controls, views
from jglue_app.ui.controls import RunControls, SideControls
from jglue_app.ui.dtype_pace import DtypePaces
from jglue_app.ui.enough_items import enough_items
from jglue_app.ui.events import FOLLOWS_JOB, Updates, Values, changes_of
from jglue_app.ui.guard import errors_shown_in
from jglue_app.ui.price_box import PriceBox, estimated
from jglue_app.ui.state import AppState
from jglue_app.ui.visitor import language, visitor_id


@dataclass(frozen=True, slots=True, eq=False)
class RequestForm:
    """The components of the form."""

    run: RunControls
    a: SideControls
    notes: gr.HTML
    """Puts sentences beside the boxes; see `notes_beside`."""
    price: PriceBox
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
    def inputs(self) -> list[Component]:
        """What `read` and `check` take the values of."""
        return [*self.components, *self.formats_chosen]

    @property
    def outputs(self) -> list[Block]:
        """What `fill` has values for, without the groups."""
        return [*self.inputs, self.notes, *self.price.components]

    @property
    def described(self) -> list[Block]:
        """What `check` has values for."""
        return [self.notes, *self.price.components, *(side.by_name["format"] for side in self.sides)]

    @property
    def sides(self) -> list[SideControls]:
        """The controls of the models there are."""
        return [self.a] if self.b is None else [self.a, self.b]

    @property
    def formats_chosen(self) -> list[gr.Checkbox]:
        """Whether the visitor has chosen the format of each side."""
        return [side.format_chosen for side in self.sides]

    @property
    def changes(self) -> list[Any]:
        """The events that come when a visitor changes something but a format; of those `connect` gives the events."""
        formats = [side.by_name["format"] for side in self.sides]
        return changes_of([component for component in self.components if component not in formats])

    def connect(self, state: AppState) -> list[Dependency]:
        """Listen to what the form itself answers: a format that is chosen, a price that is asked for. Gives the events
        after which a format is known to be chosen: read before that, it would still follow the model."""

        def estimate(request: gr.Request, values: Values) -> Iterator[str]:
            asked = self.read(state.settings, values)
            yield from estimated(state, visitor_id(request), asked, language(request))

        shown = errors_shown_in(self.price.answer, estimate)
        self.price.ask.click(shown, set(self.inputs), self.price.answer, **FOLLOWS_JOB)
        return [
            gr.on(
                changes_of([side.by_name["format"]]),
                None,
                None,
                side.format_chosen,
                js="() => true",
                queue=False,
                api_visibility="private",
            )
            for side in self.sides
        ]

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
        given = {name: values[component] for name, component in self.by_name.items()}
        usual = self._usual_formats(settings, values)
        return controls.read({**all_items, **given, **usual}, settings)

    def _usual_formats(self, settings: Settings, values: Values) -> dict[str, str]:
        """Name of the value → the format that a model was trained with, where the visitor has chosen none."""
        found, of_a = {}, values[self.a.by_name["model"]]
        for side in self.sides:
            model = values[side.by_name["model"]]
            model = str((of_a if model == controls.SAME else model) or "").strip()
            if not values[side.format_chosen] and (format := usual_format(model, settings)):
                found[f"{side.side}.format"] = format
        return found

    def check(
        self, settings: Settings, values: Values, lang: str, paces: DtypePaces | None = None
    ) -> tuple[RunRequest | JglueAppError, Updates]:
        """What the values request, or why they cannot, and the sentences beside the boxes, with what is known of the
        pace in other dtypes."""
        try:
            found: RunRequest | JglueAppError = self.read(settings, values)
        except JglueAppError as e:
            found = e
        updates: Updates = {self.notes: self.beside(found, lang, paces)}
        updates |= self.price.looks(settings, found if isinstance(found, RunRequest) else None)
        for name, format in self._usual_formats(settings, values).items():
            if values[self.by_name[name]] != format:
                updates[self.by_name[name]] = format
        return found, updates

    def beside(
        self, found: RunRequest | JglueAppError, lang: str, paces: DtypePaces | None = None
    ) -> dict[str, dict[str, str]]:
        """The sentences beside the boxes, as `static/form.js` takes them: kind → element → text."""
        faults, hints = {}, {}
        if isinstance(found, RunRequest):
            if (items := self.by_name.get("limit")) is not None and found.b is not None:
                hints[str(items.elem_id)] = say(enough_items(found), lang)
            for name, side in found.sides.items() if paces else ():
                box = self.by_name.get(f"{name}.dtype")
                if box is not None and paces is not None and (hint := paces.hint(found, side)):
                    hints[str(box.elem_id)] = say(hint, lang)
        elif (box := self.by_name.get(found.option)) is not None:
            faults[str(box.elem_id)] = say(found.message, lang)
        return {"faults": faults, "hints": hints}

    def fill(self, settings: Settings, request: RunRequest, lang: str) -> Updates:
        """Values with which the form makes a request; groups in which it sets something are opened."""
        values = controls.values_of(request)
        updates: Updates = {component: values[name] for name, component in self.by_name.items()}
        updates |= {self.notes: self.beside(request, lang), **self.price.looks(settings, request)}
        for side in self.sides:
            asked = request.a if side is self.a else request.b
            # A format that is not the model's own was chosen on purpose.
            updates[side.format_chosen] = asked is not None and asked.format != usual_format(asked.model, settings)
        parts = (request, request.a, request.b)
        for group, part in zip(self.groups, parts, strict=False):
            if part and controls.sets_advanced(part):
                updates[group] = gr.update(open=True)
        return updates


def notes_beside() -> gr.HTML:
    """What puts sentences beside the boxes of a form: its value says what is wrong, and what there is to know."""
    return gr.HTML(
        None,
        html_template="",
        js_on_load="(globalThis.jgFormParts ??= []).push({ kind: 'notes', props, watch });",
        apply_default_css=False,
        elem_classes="jg-unseen",
    )


def form_script() -> gr.HTML:
    """The script of all forms of a page, which needs it once."""
    script = (views.STATIC / "form.js").read_text("utf-8")
    return gr.HTML("", js_on_load=script, apply_default_css=False, elem_classes="jg-unseen")
