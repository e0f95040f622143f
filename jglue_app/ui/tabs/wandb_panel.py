"""The controls with which a tab sends runs to Weights & Biases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from jglue_app import wandb_sink
from jglue_app.errors import InputError
from jglue_app.messages import of as message_of
from jglue_app.ui.controls import T, pane, paragraph
from jglue_app.ui.events import FOLLOWS_JOB, UNCHANGED, Updates, Values
from jglue_app.ui.guard import errors_shown_in
from jglue_app.ui.jobs import Job
from jglue_app.ui.progress import follow, stop_handler
from jglue_app.ui.state import AppState
from jglue_app.ui.visitor import language, visitor_id
from jglue_app.ui.wandb_push import (
    KIND,
    Selection,
    may_share_key,
    operator_target,
    push_html,
    start_offline,
    start_push,
)

STOP_TIMEOUT_S = 30.0
"""How long the page waits for the end of a stopped push, which takes about a second: before its process is gone the run
cannot be pushed again."""
Select = Callable[[Values, bool], Selection]
"""Values of a tab's components, and whether a pair is to be sent → what to push; raises InputError."""


@dataclass(frozen=True, slots=True, eq=False)
class WandbPanel:
    """The components, and what happens with them."""

    state: AppState
    select: Select
    inputs: Sequence[Component]
    """What `select` has to know."""
    box: gr.Column
    """All of them; hidden where there is no run yet."""
    what: gr.Radio
    project: gr.Textbox
    entity: gr.Textbox
    key: gr.Textbox
    send: gr.Button
    offline: gr.Button
    """Writes copies on this machine; not there on a public server."""
    stop: gr.Button
    status: gr.HTML

    def connect(self) -> None:
        """Listen to the buttons."""
        inputs: set[Block] = {self.what, self.project, self.entity, self.key, *self.inputs}
        self.send.click(errors_shown_in(self.status, self.push), inputs, [self.status, self.key], **FOLLOWS_JOB)
        write = errors_shown_in(self.status, self.write_offline)
        self.offline.click(write, inputs - {self.key}, self.status, **FOLLOWS_JOB)
        stop = stop_handler(self.state, KIND, push_html, STOP_TIMEOUT_S)
        self.stop.click(stop, None, self.status, **FOLLOWS_JOB)

    def push(self, request: gr.Request, values: Values) -> Iterator[Updates]:
        """Start a push and follow it. The box of the key is emptied first, whatever comes of the push."""
        yield {self.key: ""}
        selection = self.select(values, values[self.what] == "pair")
        project, entity, key = (str(values[c] or "") for c in (self.project, self.entity, self.key))
        job = start_push(self.state, visitor_id(request), selection, project, entity, key)
        yield from self._follow(job, language(request))

    def write_offline(self, request: gr.Request, values: Values) -> Iterator[Updates]:
        """Start writing offline copies and follow that; the updates are those of `status`."""
        selection = self.select(values, values[self.what] == "pair")
        project, entity = (str(values[c] or "") for c in (self.project, self.entity))
        job = start_offline(self.state, visitor_id(request), selection, project, entity)
        yield from self._follow(job, language(request))

    def follow_latest(self, request: gr.Request) -> Iterator[Updates]:
        """Follow the visitor's last push; the updates are those of `status`."""
        job = self.state.jobs.latest(visitor_id(request), KIND)
        yield UNCHANGED
        if job is not None:
            yield from self._follow(job, language(request))

    def _follow(self, job: Job, lang: str) -> Iterator[Updates]:
        return follow(job, lambda _: {self.status: push_html(job, lang)})


def build(
    state: AppState,
    t: T,
    prefix: str,
    select: Select,
    inputs: Sequence[Component],
    *,
    pairs: bool = False,
    visible: bool = True,
) -> WandbPanel:
    """Put the controls into the surrounding Blocks.

    Args:
        state: the server's.
        t: labels for the browser.
        prefix: of element ids.
        select: what to push.
        inputs: components of the tab that it depends on.
        pairs: whether there is a pair to choose.
        visible: whether they are shown from the start.
    """
    with gr.Column(visible=visible, elem_id=f"{prefix}-wandb", elem_classes="jg-wandb") as box:
        paragraph(t("wandb"), "jg-section")
        # A key goes to this server, which need not be the one that a visitor thinks of.
        paragraph(_server(), "jg-small")
        what = gr.Radio(
            [(t("wandb_one"), "one"), (t("wandb_pair"), "pair")],
            value="one",
            label=t("wandb_what"),
            visible=pairs,
            elem_id=f"{prefix}-wandb-what",
        )
        with gr.Row(elem_classes="jg-controls"):
            project, entity, key = _fields(state, t, prefix)
        with gr.Row():
            send = gr.Button(t("wandb_go"), elem_id=f"{prefix}-wandb-go", scale=2)
            offline = gr.Button(
                t("wandb_offline"), elem_id=f"{prefix}-wandb-offline", scale=1, visible=not state.settings.public
            )
            stop = gr.Button(t("stop"), elem_id=f"{prefix}-wandb-stop", scale=1)
        status = pane(f"{prefix}-wandb-status")
    panel = WandbPanel(state, select, inputs, box, what, project, entity, key, send, offline, stop, status)
    panel.connect()
    return panel


def _server() -> str:
    try:
        return f"→ {wandb_sink.base_url()}"
    except InputError as e:
        return message_of(e)


def _fields(state: AppState, t: T, prefix: str) -> tuple[gr.Textbox, gr.Textbox, gr.Textbox]:
    """Project, entity and key."""
    _, has_key = operator_target()
    project = gr.Textbox(
        label=t("wandb_project"),
        placeholder=wandb_sink.DEFAULT_PROJECT,
        info=t("wandb_project_info"),
        max_length=130,
        min_width=180,
        elem_id=f"{prefix}-wandb-project",
    )
    entity = gr.Textbox(
        label=t("wandb_entity"),
        info=t("wandb_entity_info"),
        max_length=130,
        min_width=180,
        elem_id=f"{prefix}-wandb-entity",
    )
    key = gr.Textbox(
        label=t("wandb_key"),
        info=t("wandb_key_info_own" if may_share_key(state.settings) and has_key else "wandb_key_info"),
        type="password",
        max_length=400,
        min_width=180,
        elem_id=f"{prefix}-wandb-key",
    )
    return project, entity, key
