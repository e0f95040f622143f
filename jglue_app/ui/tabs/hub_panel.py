"""The controls with which a visitor of a Space sends a run to their own account on the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import gradio as gr

from jglue_app.ui import sign_in, views
from jglue_app.ui.controls import T, pane, paragraph
from jglue_app.ui.events import FOLLOWS_JOB, PRIVATE, UNCHANGED, Updates, Values
from jglue_app.ui.guard import errors_shown_in
from jglue_app.ui.hub_push import KIND, push_html, start_push
from jglue_app.ui.jobs import Job
from jglue_app.ui.progress import follow, stop_handler
from jglue_app.ui.state import AppState
from jglue_app.ui.visitor import account, language, visitor_id

STOP_TIMEOUT_S = 30.0
"""How long the page waits for the end of a stopped push."""


@dataclass(frozen=True, slots=True, eq=False)
class HubPanel:
    """The components, and what happens with them."""

    state: AppState
    run: gr.Dropdown
    """Which run is sent."""
    who: gr.HTML
    public: gr.Checkbox
    send: gr.Button
    stop: gr.Button
    status: gr.HTML

    def connect(self) -> None:
        """Listen to the buttons, and to the opening of the page."""
        push = errors_shown_in(self.status, self.push)
        self.send.click(push, {self.run, self.public}, [self.status], **FOLLOWS_JOB)
        stop = stop_handler(self.state, KIND, push_html, STOP_TIMEOUT_S)
        self.stop.click(stop, None, self.status, **FOLLOWS_JOB)
        opened = gr.on(None, self.show_account, None, [self.who, self.public, self.send, self.stop], **PRIVATE)
        opened.then(self.follow_latest, None, self.status, **FOLLOWS_JOB)

    def show_account(self, request: gr.Request) -> Updates:
        """Who has signed in; else where to."""
        signed_in = gr.update(visible=account(request) is not None)
        who = views.render("hub_account", {"sign_in": sign_in.link(request)}, language(request))
        return {self.who: who, self.public: signed_in, self.send: signed_in, self.stop: signed_in}

    def push(self, request: gr.Request, values: Values) -> Iterator[Updates]:
        """Start a push and follow it."""
        to = sign_in.hub_account(request)
        run, public = str(values[self.run] or ""), bool(values[self.public])
        job = start_push(self.state, visitor_id(request), run, to, public=public)
        yield from self._follow(job, language(request))

    def follow_latest(self, request: gr.Request) -> Iterator[Updates]:
        """Follow the visitor's last push."""
        job = self.state.jobs.latest(visitor_id(request), KIND)
        yield UNCHANGED
        if job is not None:
            yield from self._follow(job, language(request))

    def _follow(self, job: Job, lang: str) -> Iterator[Updates]:
        return follow(job, lambda _: {self.status: push_html(job, lang)})


def build(state: AppState, t: T, run: gr.Dropdown) -> HubPanel | None:
    """Put the controls into the surrounding Blocks; None where nobody can sign in.

    Args:
        state: the server's.
        t: labels for the browser.
        run: which run is sent.
    """
    if not sign_in.can_sign_in():
        return None
    with gr.Column(elem_id="hub", elem_classes="jg-wandb"):
        paragraph(t("hub"), "jg-section")
        who = pane("hub-account")
        public = gr.Checkbox(False, label=t("hub_make_public"), info=t("hub_make_public_info"), elem_id="hub-public")
        with gr.Row():
            send = gr.Button(t("hub_go"), elem_id="hub-go", scale=2)
            stop = gr.Button(t("stop"), elem_id="hub-stop", scale=1)
        status = pane("hub-status")
    panel = HubPanel(state, run, who, public, send, stop, status)
    panel.connect()
    return panel
