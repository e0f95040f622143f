"""The About tab: what JGLUE is, licences, the state of MARC-ja and JCoLA, what is stored where."""

from __future__ import annotations

import gradio as gr

from jglue_app.ui.controls import T

SECTIONS = ("jglue", "marc", "jcola", "metrics", "protocols", "stored", "privacy", "licences", "programs")


def build(t: T) -> None:
    """Put the tab's content into the surrounding Blocks."""
    with gr.Column(elem_classes="jg-about"):
        for name in SECTIONS:
            gr.Markdown(t(f"about_{name}"))
