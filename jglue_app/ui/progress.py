"""How the page follows a job: it looks at the job again and again, draws its progress, and can stop it.

Closing the page does not stop a job; on a public server one at which nobody looks for long gives its place up.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

import gradio as gr

from jglue_app.errors import InputError, JglueAppError
from jglue_app.messages import Message, listed, say, word
from jglue_app.messages.labels import LABELS
from jglue_app.runs.events import Event
from jglue_app.tasks import TASKS
from jglue_app.ui import views
from jglue_app.ui.jobs import Job, Jobs
from jglue_app.ui.state import AppState
from jglue_app.ui.stepping import after, pause
from jglue_app.ui.visitor import language, visitor_id

POLL_INTERVAL_S = 0.25
REDRAW_INTERVAL_S = 0.5
HEARTBEAT_S = 1.0
"""A page is told something at least this often: Gradio only notices that a page was closed when it sends to it."""
STOP_TIMEOUT_S = 1.2
"""How long a stopped job may take to end before the page goes on without it: loading a model cannot be interrupted."""

Value = TypeVar("Value")
Made = TypeVar("Made")


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
        job.looked_at = now
        if now - drawn_at >= (REDRAW_INTERVAL_S if job.version != drawn_version else HEARTBEAT_S):
            drawn_version, drawn_at = job.version, now
            yield draw(False)
        yield from pause(after(POLL_INTERVAL_S, job.ended.is_set), POLL_INTERVAL_S / 5)
    yield draw(True)


def wait_for(state: AppState, job: Job, value: Value) -> Generator[Value, None, None]:
    """A value about once a second until a job ends; there is none if it ends within a second.

    If the client leaves before, the job is stopped, because nobody else will ask for its result.

    Raises:
        JglueAppError: the job failed.
    """
    try:
        while True:
            job.looked_at = time.monotonic()
            yield from pause(after(HEARTBEAT_S, job.ended.is_set), POLL_INTERVAL_S / 5)
            if job.ended.is_set():
                break
            yield value
    finally:
        if not job.ended.is_set():
            state.jobs.stop(job)
    raise_failure(job)


def in_line(
    state: AppState, owner: str, kind: str, make: Callable[[], Made], value: Value
) -> Generator[Value, None, Made]:
    """What `make` gives, which needs a processor for a while: it waits for a place among such jobs, and a value comes
    about once a second until it is there.

    Raises:
        JglueAppError: it could not be made.
    """

    def work(job: Job) -> None:
        job.result = (make(),)

    job = state.jobs.start_on_cpu(owner, kind, work)
    yield from wait_for(state, job, value)
    if job.result is None:
        raise InputError("It was stopped before there was an answer. Try it again.")
    made: Made = job.result[0]
    return made


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
        yield from pause(after(timeout_s, job.ended.is_set), POLL_INTERVAL_S / 5)
        yield (draw or progress_html)(job, lang)

    return stop_job


def going_html(jobs: Jobs, job: Job, lang: str, *, done: str = "") -> str:
    """HTML of the progress of a job, with what it waits for as long as it does; see `progress_html`."""
    in_the_way = jobs.in_the_way(job) if job.state == "waiting" else None
    return progress_html(job, lang, ahead=jobs.queue_position(job), in_the_way=in_the_way, done=done)


def progress_html(
    job: Job, lang: str, *, ahead: int = 0, in_the_way: Job | None = None, done: str = "", failed_items: int = 0
) -> str:
    """HTML of a job's progress: one bar for all of it with the time left, and behind that one for each model and
    subset.

    Args:
        job: the job.
        lang: `ja` or `en`.
        ahead: jobs that come before it.
        in_the_way: the one that it waits for, where its visitor may know of it.
        done: the sentence at its end; empty for the usual one.
        failed_items: items that ended in an error.
    """
    if job.state == "failed":
        return failed_html(job, lang)
    if job.abandoned:
        text = word("abandoned", lang)
    elif job.stop.is_set():
        text = word("stopped", lang)
    elif job.state == "waiting":
        text = waiting_text(job, ahead, lang)
    elif job.state == "preparing" or (job.state == "running" and not job.bars):
        text = word("loading", lang)
    elif job.state == "done":
        text = done or word("done_before" if _was_answered(job) else "done", lang)
    else:
        text = word(job.state, lang)
    notes = [say(notice, lang) for notice in job.notices]
    if failed_items:
        notes.append(word("incomplete", lang).format(failed_items))
    payload: dict[str, Any] = {"text": text, "going": job.active, "notes": notes}
    if job.active:
        payload |= {"detail": _detail(job, in_the_way, lang), "bars": bars(job, lang), "phase": phase(job)}
        # Before the first answer there is one bar only: that of the step before answering, where there is one.
        if job.bars or not payload["phase"]:
            payload["overall"] = overall(job, lang)
        else:
            payload["bars"] = []
    else:
        payload["detail"] = finished_items(job, lang)
    return views.render("status", payload, lang)


def _detail(job: Job, in_the_way: Job | None, lang: str) -> str:
    """What a job is doing, or what goes on while it waits."""
    if job.state == "waiting" and in_the_way is not None:
        return word("in_the_way", lang).format(description(in_the_way, lang))
    return say(job.activity, lang)


def description(job: Job, lang: str) -> str:
    """A job as those who wait for it are told of it: where it was started, its models, and how far it is."""
    runs, events = list(job.runs.values()), list(job.bars.values())
    parts = [word(f"tab_{job.kind}" if f"tab_{job.kind}" in LABELS else "tab_lab", lang)]
    parts += dict.fromkeys(run.name for run in runs if run.name)
    done = sum(job.done.values()) if job.runs.keys() <= {"a", "b"} else sum(event.done for event in events)
    if total := sum(len(ids) for run in runs for ids in run.ids.values()):
        parts.append(word("run_count", lang).format(f"{min(done, total):,}", f"{total:,}"))
    return listed(parts, lang)


def waiting_text(job: Job, ahead: int, lang: str) -> str:
    """How many come before a job in the line, and about how long they will take."""
    seconds = job.wait_s
    if not ahead or seconds is None:
        return word("waiting", lang).format(ahead)
    unit, number = ("s", seconds) if seconds < 100 else ("min", math.ceil(seconds / 60))
    return word("waiting_time", lang).format(ahead, word(f"about_{unit}", lang).format(number))


def finished_items(job: Job, lang: str) -> str:
    """How many items of each run are finished at a job's end; empty for a job that makes no runs of sides.

    A side that was not reached before a stop is left out: it may have items from an earlier run.
    """
    if not job.runs or not job.runs.keys() <= {"a", "b"}:
        return ""
    counts = []
    for side, run in sorted(job.runs.items()):
        total = sum(map(len, run.ids.values()))
        done = total if job.state == "done" else job.done.get(side)
        if done is not None:
            name = f"{side.upper()} " if len(job.runs) > 1 else ""
            counts.append(f"{name}{min(done, total):,}/{total:,}")
    return word("finished_items", lang).format(listed(counts, lang)) if counts else ""


def _was_answered(job: Job) -> bool:
    """Whether all that the job's runs ask was answered before it: then it has no event."""
    return any(run.ids for run in job.runs.values()) and not job.done


def failed_html(job: Job, lang: str) -> str:
    """HTML of why a job failed."""
    if job.failure is not None:
        return views.failure(job.failure, lang)
    return views.sentence(word("fault", lang).format(job.incident), lang)


def overall(job: Job, lang: str) -> dict[str, str] | None:
    """The bar of the whole job: all subsets of both models. None for a job that makes no runs of sides."""
    if not job.runs or not job.runs.keys() <= {"a", "b"}:
        return None
    totals = {side: sum(map(len, run.ids.values())) for side, run in list(job.runs.items())}
    done = {side: min(total, job.done.get(side, 0)) for side, total in totals.items()}
    all_done, total = sum(done.values()), sum(totals.values())
    count = word("run_count", lang).format(f"{all_done:,}", f"{total:,}")
    left = job.pace.seconds_left({side: totals[side] - done[side] for side in totals})
    if left is not None and all_done < total:
        count += f" · {time_left(left, lang)}"
    # Rounded down: a bar that is full says that it is done.
    return {"percent": str(100 * all_done // total if total else 0), "count": count}


def phase(job: Job) -> str:
    """How far what it is doing at the moment is, in percent; `…` where that is not known, and empty where it does
    nothing but answer."""
    if not job.activity:
        return ""
    percent = job.activity.values.get("percent") if isinstance(job.activity, Message) else None
    return str(percent) if isinstance(percent, int) else "…"


def bars(job: Job, lang: str) -> list[dict[str, Any]]:
    """One bar for each side and subset, in the order of the subsets: of runs of sides all that there will be, of other
    jobs those that have begun."""
    events: dict[tuple[str, str], Event | None] = {}
    if job.runs.keys() <= {"a", "b"}:
        events |= {(side, task): None for side, run in list(job.runs.items()) for task in run.ids}
    events |= dict(job.bars)
    two_sides = len({side for side, _ in events}) > 1
    order = list(TASKS)
    out = []
    for (side, task), event in sorted(events.items(), key=lambda bar: (order.index(bar[0][1]), bar[0][0])):
        percent, count = ("0", "–") if event is None else (_percent(event), _count(event, lang))
        out.append({"side": side if two_sides else "", "name": TASKS[task].title, "percent": percent, "count": count})
    return out


def _percent(event: Event) -> str:
    return str(round(100 * event.done / event.total)) if event.total else "0"


def _count(event: Event, lang: str) -> str:
    count = f"{event.done:,}/{event.total:,}"
    if event.done < event.total and event.items_per_s and event.seconds_left:
        speed = word("speed", lang).format(f"{event.items_per_s:.1f}")
        count += f" · {speed} · {time_left(event.seconds_left, lang)}"
    return count


def time_left(seconds: float, lang: str) -> str:
    """Time left in the unit that people would use."""
    if seconds < 100:
        return word("left_s", lang).format(max(1, round(seconds)))
    if seconds < 90 * 60:
        return word("left_min", lang).format(round(seconds / 60))
    return word("left_h", lang).format(f"{seconds / 3600:.1f}")
