"""How the page follows a job: it looks at the job again and again, draws its progress, and can stop it.

Closing the page does not stop a job.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import gradio as gr

from jglue_app.errors import JglueAppError
from jglue_app.messages import say, word
from jglue_app.tasks import TASKS
from jglue_app.ui import views
from jglue_app.ui.jobs import Job
from jglue_app.ui.state import AppState
from jglue_app.ui.visitor import language, visitor_id

POLL_INTERVAL_S = 0.25
REDRAW_INTERVAL_S = 0.5
HEARTBEAT_S = 1.0
"""A page is told something at least this often: Gradio only notices that a page was closed when it sends to it."""
STOP_TIMEOUT_S = 1.2
"""How long a stopped job may take to end before the page goes on without it: loading a model cannot be interrupted."""

Value = TypeVar("Value")


def follow(job: Job, draw: Callable[[bool], Value]) -> Iterator[Value]:
    """What `draw` returns, at most twice a second until a job has ended, and once more then.

    Args:
        job: the job.
        draw: gets True the last time. A job that was stopped may still be winding down then.
    """
    drawn_version, drawn_at = -1, 0.0
    stopped_at: float | None = None
    while not job.ended.is_set():
        now = time.monotonic()
        if job.stop.is_set():
            stopped_at = now if stopped_at is None else stopped_at
            if now - stopped_at > STOP_TIMEOUT_S:
                break
        if now - drawn_at >= (REDRAW_INTERVAL_S if job.version != drawn_version else HEARTBEAT_S):
            drawn_version, drawn_at = job.version, now
            yield draw(False)
        job.ended.wait(POLL_INTERVAL_S)
    yield draw(True)


def wait_for(state: AppState, job: Job, value: Value) -> Iterator[Value]:
    """A value about once a second until a job ends; there is none if it ends within a second.

    If the client leaves before, the job is stopped, because nobody else will ask for its result.

    Raises:
        JglueAppError: the job failed.
    """
    try:
        while not job.ended.wait(HEARTBEAT_S):
            yield value
    finally:
        if not job.ended.is_set():
            state.jobs.stop(job)
    raise_failure(job)


def raise_failure(job: Job) -> None:
    """Raise what a job failed with, as an error of its own: one that was raised elsewhere keeps that traceback.

    Raises:
        JglueAppError: the job failed.
    """
    if job.failure is not None:
        raise JglueAppError(job.failure.message)
    if job.state == "failed":
        raise JglueAppError("An unexpected fault; its number is {incident}.", incident=job.incident)


def stop_handler(
    state: AppState, kind: str, draw: Callable[[Job, str], str] | None = None, timeout_s: float = STOP_TIMEOUT_S
) -> Callable[[gr.Request], Iterator[str]]:
    """The handler of a Stop button: stops the visitor's job of a kind, and says how that goes.

    Args:
        state: the server's.
        kind: of the job.
        draw: HTML of a job in a language; None for `progress_html`.
        timeout_s: how long it waits for the job's end.
    """

    def stop_job(request: gr.Request) -> Iterator[str]:
        lang = language(request)
        job = state.jobs.latest(visitor_id(request), kind)
        if job is None or not job.active:
            yield views.note(word("nothing_runs", lang))
            return
        state.jobs.stop(job)
        yield views.note(word("stopping", lang))
        job.ended.wait(timeout_s)
        yield (draw or progress_html)(job, lang)

    return stop_job


def progress_html(job: Job, lang: str, *, ahead: int = 0, done: str = "", failed_items: int = 0) -> str:
    """HTML of a job's progress: a bar for each model and subset, items per second, time left.

    Args:
        job: the job.
        lang: `ja` or `en`.
        ahead: jobs that come before it.
        done: the sentence at its end; empty for the usual one.
        failed_items: items that ended in an error.
    """
    if job.state == "failed":
        return failed_html(job, lang)
    if job.stop.is_set():
        text = word("stopped", lang)
    elif job.state == "waiting":
        text = word("waiting", lang).format(ahead)
    elif job.state == "preparing" or (job.state == "running" and not job.bars):
        text = word("loading", lang)
    elif job.state == "done":
        text = done or word("done", lang)
    else:
        text = word(job.state, lang)
    notes = [say(notice, lang) for notice in job.notices]
    if failed_items:
        notes.append(word("incomplete", lang).format(failed_items))
    payload: dict[str, Any] = {"text": text, "going": job.active, "notes": notes}
    if job.active:
        payload |= {"detail": say(job.activity, lang), "bars": bars(job, lang)}
    return views.render("status", payload)


def failed_html(job: Job, lang: str) -> str:
    """HTML of why a job failed."""
    if job.failure is not None:
        return views.failure(job.failure, lang)
    return views.sentence(word("fault", lang).format(job.incident), lang)


def bars(job: Job, lang: str) -> list[dict[str, Any]]:
    """One bar for each side and subset that has begun, in the order of the subsets."""
    events = dict(job.bars)
    two_sides = len({side for side, _ in events}) > 1
    order = list(TASKS)
    out = []
    for (side, task), event in sorted(events.items(), key=lambda bar: (order.index(bar[0][1]), bar[0][0])):
        count = f"{event.done:,}/{event.total:,}"
        if event.done < event.total and event.items_per_s and event.seconds_left:
            speed = word("speed", lang).format(f"{event.items_per_s:.1f}")
            count += f" · {speed} · {time_left(event.seconds_left, lang)}"
        percent = str(round(100 * event.done / event.total)) if event.total else "0"
        out.append({"side": side if two_sides else "", "name": TASKS[task].title, "percent": percent, "count": count})
    return out


def time_left(seconds: float, lang: str) -> str:
    """Time left in the unit that people would use."""
    if seconds < 100:
        return word("left_s", lang).format(max(1, round(seconds)))
    if seconds < 90 * 60:
        return word("left_min", lang).format(round(seconds / 60))
    return word("left_h", lang).format(f"{seconds / 3600:.1f}")
