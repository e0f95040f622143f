"""The part of the Results tab that takes the difference between two protocols apart."""

from __future__ import annotations

import gradio as gr

from jglue_app.errors import InputError
from jglue_app.messages import say, word
from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.scoring.waterfall import unexplained
from jglue_app.tasks import TASKS
from jglue_app.ui import views
from jglue_app.ui.controls import T, pane, paragraph
from jglue_app.ui.events import PRIVATE, Values
from jglue_app.ui.guard import errors_shown_in
from jglue_app.ui.state import AppState
from jglue_app.ui.views.waterfall import waterfall_view
from jglue_app.ui.visitor import language, visitor_id

START, END = "wandb-2023-0shot", "stability-jp"


def build(state: AppState, t: T, run: gr.Dropdown) -> None:
    """Put the section into the surrounding Blocks; `run` is the run whose outputs are scored."""
    paragraph(t("why"), "jg-section")
    paragraph(t("why_info"), "jg-hint")
    with gr.Row(equal_height=True, elem_classes="jg-pickrow"):
        names = list(PROTOCOLS)
        start = gr.Dropdown(names, value=START, label=t("why_from"), elem_id="why-from", scale=4, min_width=220)
        end = gr.Dropdown(names, value=END, label=t("why_to"), elem_id="why-to", scale=4, min_width=220)
        show = gr.Button(t("why_show"), elem_id="why-show", scale=2, min_width=140)
    tables = pane("why")

    def draw(request: gr.Request, values: Values) -> str:
        name = str(values[run] or "")
        return waterfall_html(state, visitor_id(request), name, values[start], values[end], language(request))

    show.click(errors_shown_in(tables, draw), {run, start, end}, tables, **PRIVATE)


def waterfall_html(state: AppState, owner: str, name: str, start: str, end: str, lang: str) -> str:
    """The steps from one protocol's scores of a run to another's.

    Raises:
        StoreError: there is no such run.
        InputError: no run is chosen, or it lacks what one of the protocols needs.
        UnknownNameError: no such protocol.
    """
    if not name:
        raise InputError("Choose a run first.")
    waterfalls = state.waterfalls(owner, name, start, end)
    reasons = unexplained(state.data(owner, name), start, end)
    left_out = [
        word("way_missing", lang).format(TASKS[task].title, say(reason, lang))
        for task, reason in reasons.items()
        if task not in waterfalls
    ]
    return views.render("waterfall", waterfall_view(waterfalls, lang) | {"left_out": left_out}, lang)
