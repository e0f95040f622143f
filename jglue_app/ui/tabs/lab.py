"""The Prompt lab: a course, one item in two formats token by token, and a sweep over formats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.blocks import Block

from jglue_app.ui.controls import T
from jglue_app.ui.events import Updates
from jglue_app.ui.state import AppState
from jglue_app.ui.tabs import lab_course, lab_item, lab_sweep
from jglue_app.ui.tabs.lab_item import ItemTab


@dataclass(frozen=True, slots=True, eq=False)
class LabTab:
    """What other tabs need of this one."""

    tabs: gr.Tabs
    item: ItemTab

    @property
    def outputs(self) -> list[Block]:
        """What `show_item` has values for."""
        return [self.tabs, *self.item.inputs]

    def show_item(self, request: gr.Request, chosen: Mapping[str, Any]) -> Updates:
        """Show an item of a stored run, as it was chosen in the browser."""
        return {self.tabs: gr.Tabs(selected="one"), **self.item.fill_from(request, chosen)}


def build(state: AppState, t: T) -> LabTab:
    """Put the tab's content into the surrounding Blocks."""
    with gr.Tabs(elem_id="lab-tabs") as tabs:
        with gr.Tab(t("lab_course"), id="course"):
            lab_course.build(state, t)
        with gr.Tab(t("lab_one"), id="one"):
            item = lab_item.build(state, t)
        with gr.Tab(t("lab_sweep"), id="sweep"):
            lab_sweep.build(state, t)
    return LabTab(tabs, item)
