"""How a page follows a job: looks at it again and again, and tells it to stop. Leaving off does not end the job."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import gradio as gr

from jglue_app.messages import word
from jglue_app.ui import views
from jglue_app.ui.jobs import Job
from jglue_app.ui.state import AppState
from jglue_app.ui.views.progress import progress
from jglue_app.ui.visitor import language, visitor

LOOK_EVERY_S = 0.25
DRAW_EVERY_S = 0.5
BEAT_S = 1.0
PATIENCE_S = 1.2
"""How long a stopped job may wind down before the page goes on without it: a model that loads cannot be broken off."""


def changes(job: Job) -> Iterator[float]:
    """`time.monotonic()` at each look that found the job changed, at most twice a second, until it is over.

    Without a change it comes once a second all the same: a page that was closed is only noticed when it is told
    something.
    """
    version, drawn = -1, 0.0
    stopped_at: float | None = None
    while not job.ended.is_set():
        now = time.monotonic()
        if job.stop.is_set():
            stopped_at = now if stopped_at is None else stopped_at
            if now - stopped_at > PATIENCE_S:
                return
        if now - drawn >= (DRAW_EVERY_S if job.version != version else BEAT_S):
            version, drawn = job.version, now
            yield now
        job.ended.wait(LOOK_EVERY_S)


def stopper(desk: AppState, kind: str) -> Callable[[gr.Request], Iterator[str]]:
    """The handler of a Stop button: tells the visitor's job of a kind to stop, and says so until it has."""

    def halt(request: gr.Request) -> Iterator[str]:
        lang = language(request)
        job = desk.jobs.latest(visitor(request), kind)
        if job is None or not job.active:
            yield views.note(word("nothing_runs", lang))
            return
        desk.jobs.stop(job)
        yield views.note(word("stopping", lang))
        job.ended.wait(PATIENCE_S)
        yield progress(job, lang)

    return halt
