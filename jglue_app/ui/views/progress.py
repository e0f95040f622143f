"""How far a job is: a bar for each model and subset, items a second, time left."""

from __future__ import annotations

from typing import Any

from jglue_app.messages import say, word
from jglue_app.tasks import TASKS
from jglue_app.ui.jobs import Job
from jglue_app.ui.views import failure, render, sentence


def progress(job: Job, lang: str, *, ahead: int = 0, done: str = "", failed_items: int = 0) -> str:
    """HTML of a job's state.

    Args:
        job: what is drawn.
        lang: `ja` or `en`.
        ahead: jobs that come before it.
        done: the sentence at its end; empty for the usual one.
        failed_items: items that ended in an error.
    """
    if job.state == "failed":
        return failure(job.failure, lang) if job.failure else sentence("", lang, incident=job.incident)
    going = job.active
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
    notes = [say(notice, lang) for notice in job.notices] + (
        [word("incomplete", lang).format(failed_items)] if failed_items else []
    )
    detail = say(job.activity, lang) if going else ""
    return render(
        "status",
        {"text": text, "going": going, "detail": detail, "bars": bars(job, lang) if going else [], "notes": notes},
    )


def bars(job: Job, lang: str) -> list[dict[str, Any]]:
    """One bar for each side and subset that has begun, in the order of the subsets."""
    out = []
    two = len({side for side, _ in list(job.bars)}) > 1
    for (side, task), event in sorted(
        dict(job.bars).items(), key=lambda bar: (list(TASKS).index(bar[0][1]), bar[0][0])
    ):
        count = f"{event.done:,}/{event.total:,}"
        if event.done < event.total and event.items_per_s and event.seconds_left:
            speed = word("speed", lang).format(f"{event.items_per_s:.1f}")
            count += f" · {speed} · {left_text(event.seconds_left, lang)}"
        percent = str(round(100 * event.done / event.total)) if event.total else "0"
        out.append({"side": side if two else "", "name": TASKS[task].title, "percent": percent, "count": count})
    return out


def left_text(seconds: float, lang: str) -> str:
    """Time left in the unit that people would use."""
    if seconds < 100:
        return word("left_s", lang).format(max(1, round(seconds)))
    if seconds < 90 * 60:
        return word("left_min", lang).format(round(seconds / 60))
    return word("left_h", lang).format(f"{seconds / 3600:.1f}")
