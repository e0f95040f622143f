"""The part of the Results tab with the grids that were run here: what each of their factors moves.

It is there only where a grid is stored, and says its words when the tab is opened: a page without grids carries none of
it."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr
from gradio.blocks import Block

from jglue_app.errors import InputError, StoreError, UnknownNameError
from jglue_app.grid import members
from jglue_app.messages import Message, say
from jglue_app.results.grid_effects import effect_table
from jglue_app.ui import views
from jglue_app.ui.controls import pane
from jglue_app.ui.events import PRIVATE, Updates, Values, dropdown_update
from jglue_app.ui.guard import errors_shown_in
from jglue_app.ui.state import AppState
from jglue_app.ui.views.effects import effects_view
from jglue_app.ui.visitor import language

TITLE = Message("Grids: how far wording, format, examples and model move the score")
CHOICE = Message("Grid")
SHOW = Message("Show what moves the score")


@dataclass(frozen=True, slots=True, eq=False)
class GridPanel:
    """The components."""

    state: AppState
    section: gr.Accordion
    grid: gr.Dropdown
    show: gr.Button

    @property
    def components(self) -> list[Block]:
        """What `offer` has values for."""
        return [self.section, self.grid, self.show]

    def runs(self) -> dict[str, frozenset[str]]:
        """Grid → its runs, the grid that was begun last first."""
        return grid_runs(self.state)

    def offer(self, chosen: object, lang: str) -> Updates:
        """The grids to choose from; the section is not shown where there is none."""
        names = grid_names(self.state)
        value = chosen if chosen in names else next(iter(names), None)
        return {
            self.section: gr.update(visible=bool(names), label=say(TITLE, lang)),
            self.grid: {**dropdown_update(names, chosen, value), "label": say(CHOICE, lang)},
            self.show: gr.update(value=say(SHOW, lang)),
        }


def build(state: AppState, protocol: gr.Dropdown) -> GridPanel:
    """Put the section into the surrounding Blocks; `protocol` is whose scores are shown."""
    with gr.Accordion("", open=False, visible=False, elem_id="grids") as section:
        with gr.Row(equal_height=True, elem_classes="jg-pickrow"):
            grid = gr.Dropdown([], elem_id="grid-name", scale=4)
            show = gr.Button("", elem_id="grid-show", scale=2, min_width=140)
        tables = pane("grid-effects")

    def draw(request: gr.Request, values: Values) -> str:
        return effects_html(state, str(values[grid] or ""), values[protocol], language(request))

    show.click(errors_shown_in(tables, draw), {grid, protocol}, tables, **PRIVATE)
    return GridPanel(state, section, grid, show)


def grid_names(state: AppState) -> list[str]:
    """The stored grids; none on a public server, whose visitors see their own runs alone."""
    return [] if state.settings.public else list(members.names(state.settings).names)


def grid_runs(state: AppState) -> dict[str, frozenset[str]]:
    """Grid → its runs; a grid whose file is damaged meanwhile has none."""
    found = {}
    for name in grid_names(state):
        try:
            found[name] = frozenset(member.run for member in members.members(state.settings, name))
        except (StoreError, UnknownNameError):
            continue
    return found


def effects_html(state: AppState, name: str, protocol: str, lang: str) -> str:
    """The tables of a grid.

    Raises:
        InputError: no grid is chosen, or none may be seen here.
        StoreError: its file is damaged.
        UnknownNameError: no such grid or protocol.
    """
    if not name or state.settings.public:
        raise InputError("Choose a grid first.")
    table = effect_table(members.read(state.settings, name), state.library, protocol)
    return views.render("effects", effects_view(table, lang), lang)
