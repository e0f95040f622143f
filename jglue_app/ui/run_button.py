"""The button that starts a visitor's run and, while one is active, stops it; in all tabs and after a reload alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components import Component

from jglue_app.messages import LANGUAGES, Message, word
from jglue_app.runs.request import RunRequest
from jglue_app.ui import views
from jglue_app.ui.controls import T
from jglue_app.ui.events import UNCHANGED, Updates
from jglue_app.ui.jobs import Job
from jglue_app.ui.progress import STOP_TIMEOUT_S, failed_html, follow, progress_html
from jglue_app.ui.state import AppState
from jglue_app.ui.stepping import NOTHING, after, pause
from jglue_app.ui.stop_other import StopOther, stop_other
from jglue_app.ui.visitor import language, page_id, visitor_id

Drawing = Callable[[Job], Callable[[bool], Updates]]
"""Job → what draws it, as `progress.follow` takes it."""
STOP_WORDS = frozenset(word("stop", lang) for lang in LANGUAGES)
REPLACED = Message("The run that was going on was stopped for this one. What it had finished is kept.")


@dataclass(frozen=True, slots=True, eq=False)
class RunButton:
    """The components, and what pressing them does."""

    state: AppState
    kind: str
    """Of the jobs that it starts."""
    label: str
    """Key of what it says while nothing runs."""
    status: gr.HTML
    """Shows how the job goes."""
    button: gr.Button
    switch: gr.Button
    """Starts the form's settings in place of the run that is going on; in sight only where they differ."""
    other: StopOther
    """Stops what the run waits for."""
    notice: gr.HTML
    """What pressing `switch` does; and why a run has failed, where the status is out of sight."""
    around: gr.Accordion | None = None
    """What these are in, where the status lies behind it: a failure is shown beside the button then."""

    @property
    def components(self) -> list[Component]:
        """All of them, but for what they are in."""
        return [self.button, self.switch, self.other.button, self.notice]

    def appearance(self, owner: str, lang: str) -> Updates:
        """The button as it is to look now. What a form that was changed says stays while a run is going on."""
        job = self.state.jobs.latest(owner, self.kind)
        if job is not None and job.active:
            return {self.button: gr.update(value=word("stop", lang), variant="stop"), **self.other.update(job)}
        run = gr.update(value=word(self.label, lang), variant="primary")
        return {self.button: run, self.switch: gr.update(visible=False), self.notice: "", **self.other.update(job)}

    def failure(self, job: Job | None, lang: str) -> Updates:
        """Why a job has failed, beside the button; nothing where the status is in sight anyway, or it has not."""
        if self.around is None or job is None or job.state != "failed":
            return {}
        return {self.status: "", self.notice: failed_html(job, lang), self.around: gr.update(open=True)}

    def appearance_for(self, owner: str, lang: str, wanted: RunRequest | None) -> Updates:
        """The same beside a form that asks for something, or for what cannot be done (None)."""
        job = self.state.jobs.latest(owner, self.kind)
        if job is None or not job.active or wanted in (None, job.request):
            return {self.switch: gr.update(visible=False), self.notice: ""}
        return {self.switch: gr.update(visible=True), self.notice: views.note(word("run_other", lang))}

    def press(
        self,
        request: gr.Request,
        read: Callable[[], RunRequest],
        start: Callable[[RunRequest], Job],
        drawing: Drawing,
        *,
        stops: bool,
    ) -> Iterator[Updates]:
        """Stop what is going on, or start what the form asks for and follow it. Of the same settings nothing is
        started twice; other settings take the place of the run that is going on.

        Args:
            request: of the visitor.
            read: gives what the form asks for, or raises why it cannot be done.
            start: starts a job for that.
            drawing: what draws the job.
            stops: whether the button said that it stops.
        """
        owner, lang = visitor_id(request), language(request)
        job = self.state.jobs.latest(owner, self.kind)
        going = job if job is not None and job.active else None
        if stops:
            yield from self._stop(going, owner, lang)
            return
        yield {self.status: views.note(word("loading", lang)), self.notice: ""}
        wanted = read()
        if going is not None and going.request == wanted:
            yield from self.follow(request, going, drawing)
            return
        if going is not None:
            self.state.jobs.stop(going)
        started = start(wanted)
        if going is not None:
            started.notices.append(REPLACED)
        yield from self.follow(request, started, drawing)

    def _stop(self, job: Job | None, owner: str, lang: str) -> Iterator[Updates]:
        if job is None:
            yield {self.status: views.note(word("nothing_runs", lang)), **self.appearance(owner, lang)}
            return
        self.state.jobs.stop(job)
        yield {self.status: views.note(word("stopping", lang))}
        # Whoever follows the job draws its end.
        yield from pause(after(STOP_TIMEOUT_S, job.ended.is_set))
        yield {self.status: progress_html(job, lang), **self.appearance(owner, lang)}

    def follow(self, request: gr.Request, job: Job, drawing: Drawing) -> Iterator[Updates]:
        """Follow a job on the visitor's page until it ends, and after it the one that took its place."""
        owner, lang, page = visitor_id(request), language(request), page_id(request)
        place = f"following {self.kind}"
        while True:
            self.state.set_current_view(page, place, job.id)
            for updates in follow(job, drawing(job)):
                if updates is NOTHING:
                    yield NOTHING
                    continue
                # The page may follow another one by now.
                if not self.state.is_current_view(page, place, job.id):
                    yield UNCHANGED
                    return
                yield {**updates, **self.appearance(owner, lang), **self.failure(job, lang)}
            after = self.state.jobs.latest(owner, self.kind)
            if after is None or after is job or not after.active:
                return
            job = after


def build(
    state: AppState, t: T, kind: str, label: Any, elem_id: str, *, interactive: bool = True
) -> tuple[gr.Button, gr.Button, StopOther]:
    """Put the button and those beside it into the surrounding Blocks.

    Args:
        state: the server's.
        t: labels for the browser.
        kind: of the jobs that it starts.
        label: what the button says while nothing runs.
        elem_id: of the button.
        interactive: whether it can be pressed.
    """
    classes = "jg-run-button"
    button = gr.Button(
        label,
        variant="primary",
        elem_id=elem_id,
        elem_classes=classes,
        scale=2,
        min_width=140,
        interactive=interactive,
    )
    switch = gr.Button(t("run_switch"), elem_id=f"{elem_id}-switch", scale=2, min_width=140, visible=False)
    return button, switch, StopOther(state, kind, stop_other(t, f"{elem_id}-other"))


def status_pane(elem_id: str) -> gr.HTML:
    """The place that shows how a run goes; what is unfolded in it stays so."""
    return gr.HTML(
        "",
        elem_id=elem_id,
        elem_classes="jg-run-status",
        apply_default_css=False,
        js_on_load="(globalThis.jgFormParts ??= []).push({ kind: 'status', element, watch });",
    )
