"""The About tab: what JGLUE is, the decisions of each protocol, licences, MARC-ja and JCoLA, what is stored where."""

from __future__ import annotations

import gradio as gr

from jglue_app.errors import JglueAppError
from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.ui import views
from jglue_app.ui.controls import T, pane
from jglue_app.ui.views.decisions import decisions_view
from jglue_app.ui.visitor import language

SECTIONS = ("jglue", "marc", "jcola", "metrics", "protocols", "stored", "privacy", "licences", "programs")


def build(t: T) -> None:
    """Put the tab's content into the surrounding Blocks."""
    with gr.Column(elem_classes="jg-about"):
        for name in SECTIONS:
            gr.Markdown(t(f"about_{name}"))
            if name == "protocols":
                _decisions(t)


def _decisions(t: T) -> None:
    """Every decision of a protocol that the visitor chooses."""
    chosen = gr.Dropdown(list(PROTOCOLS), value=None, label=t("decisions_of"), elem_id="decisions-of")
    shown = pane("decisions")

    def show(request: gr.Request, name: str | None) -> str:
        lang = language(request)
        try:
            return views.render("decisions", decisions_view(str(name), lang), lang) if name else ""
        except JglueAppError as e:
            return views.failure(e, lang)

    chosen.change(show, chosen, shown, api_visibility="private", show_progress="hidden")
