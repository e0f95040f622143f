"""The part of the Results tab that takes the difference between two protocols apart."""

from __future__ import annotations

import gradio as gr

from jglue_app.errors import InputError, JglueAppError
from jglue_app.messages import say, word
from jglue_app.scoring import waterfall
from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.tasks import TASKS
from jglue_app.ui import views
from jglue_app.ui.controls import T, pane
from jglue_app.ui.state import AppState
from jglue_app.ui.views.waterfall import waterfall_view
from jglue_app.ui.visitor import language, visitor

START, END = "wandb-2023-0shot", "stability-jp"


def build(desk: AppState, t: T, run: gr.Dropdown) -> None:
    """Put the section into the surrounding Blocks; `run` is the run whose outputs are scored."""
    gr.Markdown(t("why"), elem_classes="jg-section")
    gr.Markdown(t("why_info"), elem_classes="jg-hint")
    with gr.Row(equal_height=True, elem_classes="jg-pickrow"):
        start = gr.Dropdown(list(PROTOCOLS), value=START, label=t("why_from"), elem_id="why-from", scale=4)
        end = gr.Dropdown(list(PROTOCOLS), value=END, label=t("why_to"), elem_id="why-to", scale=4)
        show = gr.Button(t("why_show"), elem_id="why-show", scale=2, min_width=140)
    shown = pane("why")

    def draw(request: gr.Request, name: str | None, first: str, second: str) -> str:
        lang = language(request)
        try:
            return why_html(desk, visitor(request), str(name or ""), first, second, lang)
        except JglueAppError as e:
            return views.failure(e, lang)

    show.click(draw, [run, start, end], shown, api_visibility="private", show_progress="hidden")


def why_html(desk: AppState, owner: str, name: str, start: str, end: str, lang: str) -> str:
    """The way from one protocol's scores of a run to another's.

    Raises:
        StoreError: there is no such run.
        InputError: no run is chosen, or it has not what one of the protocols looks at.
        UnknownNameError: no such protocol.
    """
    if not name:
        raise InputError(word("choose_run", lang))
    found = ways(desk, owner, name, start, end)
    reasons = waterfall.unexplained(desk.data(owner, name), start, end)
    left_out = [
        word("way_missing", lang).format(TASKS[task].title, say(why, lang))
        for task, why in reasons.items()
        if task not in found
    ]
    return views.render("waterfall", waterfall_view(found, lang) | {"left_out": left_out}, lang)


def ways(desk: AppState, owner: str, name: str, start: str, end: str) -> dict[str, waterfall.Waterfall]:
    """Subset → waterfall, of those subsets of a run for which there is one; raises as `why_html` does."""
    data = desk.data(owner, name)
    tasks = waterfall.explainable(data, start, end) or list(data.items)[:1]
    return {task: waterfall.explain(data, task, start, end) for task in tasks}
