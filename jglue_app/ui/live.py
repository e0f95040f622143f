"""What happens on the Compare tab: a visitor's run, and what is stored of it as HTML and rows.

Nothing here is a component; `compare.py` holds those.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import gradio as gr
import pandas as pd

from jglue_app.backends import ModelPool, backend_for
from jglue_app.errors import InputError, JglueAppError
from jglue_app.plan import Plan, make_plan
from jglue_app.report import Answered, compare_runs, judge_run, only, report_run
from jglue_app.runner import Event, run_plans
from jglue_app.settings import Settings
from jglue_app.store import RunStore
from jglue_app.tasks import TASKS
from jglue_app.types import Decoding, ModelSpec, PromptSpec, RunData, Source
from jglue_app.ui import views
from jglue_app.ui.words import language, word

FILTERS = ("all", "disagree", "only_a", "only_b", "form", "unreadable")
UPDATE_EVERY_S = 0.5
MAX_SHOTS = 16

log = logging.getLogger(__name__)

Shown = dict[str, dict[str, Any]]
"""Side (`a`, `b`) → run id and the ids of the items asked for: what one visitor is looking at. No model, no secret."""
Update = tuple[Any, ...]
"""New values of (status, scoreboard, table, item, shown)."""
_SAME = (gr.skip(), gr.skip(), gr.skip(), gr.skip())


@dataclass(slots=True)
class Desk:
    """What the page shares between events: the models in memory, one lock around them, and who is running."""

    settings: Settings
    pool: ModelPool
    lock: threading.Lock = field(default_factory=threading.Lock)
    stops: dict[str, threading.Event] = field(default_factory=dict)
    """Session → the event that stops its run; at most one run a session."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a visitor asked for, unchecked."""

    tasks: list[str]
    data_kind: str
    limit: float
    method: str
    sides: list[tuple[Any, tuple[Any, ...]]]
    allow_bin: bool
    shown_items: str
    """One of `FILTERS`: what the item table shows."""


def run(desk: Desk, request: gr.Request, asked: Asked) -> Iterator[Update]:
    """A comparison as updates of the page."""
    lang, session = language(request), str(request.session_hash)
    if session in desk.stops:
        yield _error(word("busy", lang), lang), *_SAME
        return
    desk.stops[session] = stop = threading.Event()
    state: Shown = {}
    try:
        yield _note(word("loading", lang), lang), *_SAME
        plans = _plans(desk, asked, lang)
        state = {side: {"run": p.spec.spec_id, "items": {n: sorted(i) for n, i in p.ids.items()}} for side, p in plans}
        while not desk.lock.acquire(timeout=0.5):
            if stop.is_set():
                yield _note(word("stopped", lang), lang), *_SAME
                return
            yield _note(word("waiting", lang), lang), *_SAME
        try:
            yield from _updates(desk, plans, state, asked.shown_items, stop, lang)
        finally:
            desk.lock.release()
    except JglueAppError as e:
        yield _error(str(e), lang), *_stored(desk, state, asked.shown_items, lang)
    except Exception:
        incident = uuid.uuid4().hex[:8]
        log.exception("incident %s", incident)
        yield _error(word("fault", lang).format(incident), lang), *_SAME
    finally:
        stop.set()
        desk.stops.pop(session, None)


def _plans(desk: Desk, asked: Asked, lang: str) -> list[tuple[Literal["a", "b"], Plan]]:
    """Check everything again on the server: components do not bind what a program sends."""
    if not asked.tasks:
        raise InputError(word("no_tasks", lang))
    if not isinstance(asked.limit, int | float) or not 1 <= asked.limit <= desk.settings.max_items:
        raise InputError(word("too_many", lang).format(desk.settings.max_items))
    plans = [(side, _plan(desk, asked, lang, *values)) for side, values in asked.sides]
    if len(plans) == 2 and plans[0][1].spec == plans[1][1].spec:
        raise InputError(word("same", lang))
    return plans


def _plan(
    desk: Desk, asked: Asked, lang: str, model: str, format: str, style: str, shots: float, quantization: str
) -> Plan:
    name = str(model or "").strip()
    if not name:
        raise InputError(word("no_model", lang))
    if not isinstance(shots, int | float) or not 0 <= shots <= MAX_SHOTS:
        raise InputError(f"The number of examples is from 0 to {MAX_SHOTS}.")
    return make_plan(
        desk.settings,
        ModelSpec(name, backend_for(name), quantization=quantization, allow_bin=asked.allow_bin),
        asked.tasks,
        data_kind=asked.data_kind,
        limit=int(asked.limit),
        prompt=PromptSpec(style=style, format=format, shots=int(shots)),
        decoding=Decoding(method=asked.method),
    )


def _updates(
    desk: Desk, plans: list[tuple[Literal["a", "b"], Plan]], state: Shown, which: str, stop: threading.Event, lang: str
) -> Iterator[Update]:
    limit = desk.settings.max_seconds
    deadline = time.monotonic() + limit if limit else float("inf")
    bars: dict[tuple[str, str], Event] = {}
    drawn, scored = 0.0, ("", "")

    def should_stop() -> bool:
        return stop.is_set() or time.monotonic() > deadline

    for event in run_plans(plans, desk.pool, desk.settings.runs_dir, should_stop):
        if event.kind == "notice":
            yield _status(word("loading", lang), bars, [event.message], lang), *_SAME
        elif event.kind == "record":
            bars[event.side, event.task] = event
            if time.monotonic() - drawn < UPDATE_EVERY_S:
                continue
            first, drawn = not drawn, time.monotonic()
            fresh = scored != (event.side, event.task)
            scored = event.side, event.task
            yield (
                _status(word("running", lang), bars, [], lang),
                board(desk, state, lang) if fresh else gr.skip(),
                table(desk, state, which, lang),
                views.render("item", views.empty_item(lang)) if first else gr.skip(),
                state,
            )
    ended = "stopped" if stop.is_set() else "out_of_time" if time.monotonic() > deadline else "done"
    failed = sum(
        row.record.error is not None
        for side in state
        for rows in judged(desk, state, side).values()
        for row in rows.values()
    )
    notes = [word("incomplete", lang).format(failed)] if failed else []
    yield _status(word(ended, lang), {}, notes, lang), *_stored(desk, state, which, lang)


def _stored(desk: Desk, state: Shown, which: str, lang: str) -> tuple[Any, ...]:
    """Scoreboard, table, item and state of what is stored; nothing new when nothing was started."""
    if not state:
        return _SAME
    empty = views.render("item", views.empty_item(lang))
    return board(desk, state, lang), table(desk, state, which, lang), empty, state


def _status(text: str, bars: dict[tuple[str, str], Event], notes: list[str], lang: str) -> str:
    rows = []
    for (side, task), event in bars.items():
        count = f"{event.done}/{event.total}"
        if event.done < event.total and event.items_per_s and event.seconds_left:
            speed = word("speed", lang).format(f"{event.items_per_s:.1f}")
            count += f" · {speed} · {word('left', lang).format(round(event.seconds_left))}"
        name = f"{side.upper()} {TASKS[task].title}"
        rows.append({"name": name, "percent": str(round(100 * event.done / event.total)), "count": count})
    return views.render("status", {"text": text, "bars": rows, "notes": notes})


def _error(message: str, lang: str) -> str:
    return views.render("status", views.error_status(message, lang))


def _note(text: str, lang: str) -> str:
    return _status(text, {}, [], lang)


def halt(desk: Desk, request: gr.Request) -> Any:
    """Ask the visitor's run to stop, if there is one; a new status, as loading a model cannot be broken off."""
    event = desk.stops.get(str(request.session_hash))
    if not event:
        return gr.skip()
    event.set()
    lang = language(request)
    return _note(word("stopping", lang), lang)


# --- showing what is stored -----------------------------------------------------------------------------


def _store(desk: Desk, state: Shown, side: str) -> RunStore:
    return RunStore(desk.settings.runs_dir / state[side]["run"])


def _data(desk: Desk, state: Shown, side: str) -> RunData | None:
    """The stored items and records that were asked for; None if there are none (any more)."""
    if side not in state or not _store(desk, state, side).exists():
        return None
    return only(_store(desk, state, side).data(), state[side]["items"])


def judged(desk: Desk, state: Shown, side: str) -> dict[str, dict[str, Answered]]:
    """Task → item id → item, record and judgement; empty if nothing is stored."""
    data = _data(desk, state, side)
    return judge_run(data, "official") if data else {}


def board(desk: Desk, state: Shown, lang: str) -> str:
    """HTML of the scoreboard."""
    a, b = (_data(desk, state, side) for side in ("a", "b"))
    if a is None:
        return views.render("board", views.empty_board(lang))
    if b is None:
        return views.render("board", views.board(report_run(a), None, None, lang))
    comparison = compare_runs(a, b)
    return views.render("board", views.board(comparison.a, comparison.b, comparison, lang))


def table(desk: Desk, state: Shown, which: str, lang: str) -> pd.DataFrame:
    """The item table under one of `FILTERS`."""
    known = which if which in FILTERS else "all"
    sources = {side: _sources(desk, state, side) for side in state}
    return frame(views.item_rows(judged(desk, state, "a"), judged(desk, state, "b"), known, sources, lang), lang)


def _sources(desk: Desk, state: Shown, side: str) -> Mapping[str, Source]:
    data = _data(desk, state, side)
    return data.sources if data else {}


def frame(rows: list[list[str]], lang: str) -> pd.DataFrame:
    """Rows of the item table with their column names."""
    return pd.DataFrame(rows, columns=views.headers(lang), dtype=str)


def item(desk: Desk, state: Shown, row: Sequence[Any], lang: str) -> str:
    """HTML of the item in a row of the table."""
    title, id_ = (str(row[0]).split(" ")[0], str(row[1])) if len(row) > 1 else ("", "")
    task = next((name for name, t in TASKS.items() if t.title == title), "")
    sides = []
    for side in state:
        found = judged(desk, state, side).get(task, {}).get(id_)
        store = _store(desk, state, side)
        manifest = store.manifest() if store.exists() else {}
        model = manifest.get("model") or {}
        bos = model.get("bos", "") if model.get("adds_bos") else ""
        sides.append((side.upper(), str(manifest.get("label", "")), found, bos))
    if not any(found for _, _, found, _ in sides):
        return views.render("item", {"empty": word("gone" if state else "empty_item", lang)})
    source = word(f"source_{_sources(desk, state, next(iter(state))).get(task, 'official')}", lang)
    return views.render("item", views.item_view(sides, lang, source))
