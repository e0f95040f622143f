"""The button that stops what a visitor's job waits for. On a public server it is never in sight: a visitor may not stop
what another one has started. On one's own machine a run goes on when its page was closed, and this is how to end it.
"""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from jglue_app.messages import Message
from jglue_app.ui.controls import T
from jglue_app.ui.events import FOLLOWS_JOB, Updates
from jglue_app.ui.job import Job
from jglue_app.ui.state import AppState
from jglue_app.ui.visitor import visitor_id

STOPPED_ELSEWHERE = Message("It was stopped from another page, where a run waited for it.")


@dataclass(frozen=True, slots=True, eq=False)
class StopOther:
    """The component, and what pressing it does."""

    state: AppState
    kind: str
    """Of the jobs that wait."""
    button: gr.Button

    def connect(self) -> None:
        """Listen to the button."""
        self.button.click(self.press, None, self.button, **FOLLOWS_JOB)

    def update(self, job: Job | None) -> Updates:
        """The button as it is to look beside a job."""
        waits = job is not None and job.active and job.state == "waiting"
        return {self.button: gr.update(visible=bool(waits and job and self.state.jobs.in_the_way(job)))}

    def press(self, request: gr.Request) -> Updates:
        """Stop what the visitor's job waits for. Whoever follows either job draws what comes of it."""
        job = self.state.jobs.latest(visitor_id(request), self.kind)
        other = self.state.jobs.in_the_way(job) if job is not None and job.active else None
        if other is not None:
            other.notices.append(STOPPED_ELSEWHERE)
            self.state.jobs.stop(other)
        return {self.button: gr.update(visible=False)}


def stop_other(t: T, elem_id: str) -> gr.Button:
    """Put the button into the surrounding Blocks."""
    return gr.Button(t("stop_other"), elem_id=elem_id, scale=2, min_width=140, visible=False)
