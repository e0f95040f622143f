"""The Compare tab: choose questions and two models, run, and look at every answer."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import gradio as gr
import pandas as pd

from jglue_app.backends import ModelPool, backend_for
from jglue_app.errors import InputError, JglueAppError
from jglue_app.models import named_models
from jglue_app.plan import METHODS, Plan, make_plan
from jglue_app.prompts import FORMATS
from jglue_app.report import Answered, compare_runs, judge_run, report_run
from jglue_app.runner import Event, run_plans
from jglue_app.settings import Settings
from jglue_app.store import RunStore
from jglue_app.styles import load_style, style_names
from jglue_app.tasks import TASKS
from jglue_app.types import Decoding, ModelSpec, PromptSpec
from jglue_app.ui import views
from jglue_app.ui.words import PREFIX, language, word

FILTERS = ("all", "disagree", "only_a", "only_b", "form", "unreadable")
COLUMN_WIDTHS: list[str | int] = ["11%", "8%", "23%", "12%", "18%", "6%", "16%", "6%"]
UPDATE_EVERY_S = 0.5
MAX_SHOTS = 16

log = logging.getLogger(__name__)

Shown = dict[str, str]
"""Side (`a`, `b`) → run id, of what one visitor is looking at. Holds no model and no secret."""


@dataclass(slots=True)
class Desk:
    """What the page shares between events: the models in memory, one lock around them, and who is running."""

    settings: Settings
    pool: ModelPool
    lock: threading.Lock = field(default_factory=threading.Lock)
    stops: dict[str, threading.Event] = field(default_factory=dict)
    """Session → the event that stops its run; at most one run a session."""


@dataclass(frozen=True, slots=True)
class Side:
    """The controls of one model."""

    model: gr.Dropdown
    format: gr.Dropdown
    style: gr.Dropdown
    shots: gr.Slider
    quantization: gr.Dropdown

    def all(self) -> list[gr.components.Component]:
        return [self.model, self.format, self.style, self.shots, self.quantization]


Greeting = Callable[[gr.Request], tuple[Any, ...]]


def build(desk: Desk, i18n: gr.I18n) -> tuple[list[gr.components.Component], Greeting]:
    """Put the tab into the surrounding Blocks.

    Returns the components to fill when a page is opened, and the function that fills them in the visitor's language.
    """

    def t(key: str) -> Any:
        return i18n(PREFIX + key)

    with gr.Row(elem_classes="jg-controls"):
        with gr.Column(min_width=280):
            gr.Markdown(t("what"), elem_classes="jg-section")
            tasks = gr.CheckboxGroup(
                [(task.title, name) for name, task in TASKS.items()],
                value=list(TASKS),
                label=t("tasks"),
                elem_id="tasks",
            )
            kind = gr.Radio(
                [(t("data_sample"), "sample"), (t("data_official"), "official")],
                value="sample",
                label=t("data"),
                info=t("data_info"),
                elem_id="data",
            )
            limit = gr.Slider(1, min(100, desk.settings.max_items), 5, step=1, label=t("limit"), elem_id="limit")
            method = gr.Radio(
                [(t(f"method_{name}"), name) for name in METHODS], value="both", label=t("method"), elem_id="method"
            )
        with gr.Column(min_width=280):
            gr.Markdown(t("side_a"), elem_classes="jg-section")
            a = _side(desk, t, shots=0, prefix="a")
        with gr.Column(min_width=280):
            gr.Markdown(t("side_b"), elem_classes="jg-section")
            b = _side(desk, t, shots=3, prefix="b")
            use_b = gr.Checkbox(True, label=t("use_b"), elem_id="use-b")
    with gr.Row():
        run = gr.Button(t("run"), variant="primary", elem_id="run", scale=3)
        stop = gr.Button(t("stop"), elem_id="stop", scale=1)
    status = gr.HTML("", elem_id="status")
    board = gr.HTML("", elem_id="board")
    which = gr.Radio(
        [(t(f"filter_{name}"), name) for name in FILTERS], value="all", label=t("filter"), elem_id="filter"
    )
    table = gr.Dataframe(
        pd.DataFrame(columns=views.headers("ja")),
        label=t("items"),
        interactive=False,
        wrap=False,
        max_chars=60,
        show_search="search",
        datatype="str",
        max_height=420,
        column_widths=COLUMN_WIDTHS,
        elem_id="items",
    )
    item = gr.HTML("", elem_id="item")
    shown = gr.State({})

    def start(
        request: gr.Request,
        names: list[str],
        data_kind: str,
        items: float,
        how: str,
        with_b: bool,
        *controls: Any,
    ) -> Iterator[tuple[Any, ...]]:
        count = len(a.all())
        wanted = [("a", controls[:count])] + ([("b", controls[count:])] if with_b else [])
        yield from _run(desk, request, Request(names, data_kind, items, how, wanted))

    def halt(request: gr.Request) -> None:
        _stop(desk, request)

    def choose(request: gr.Request, event: gr.SelectData, state: Shown) -> str:
        return _open_item(desk, state, event.row_value, language(request))

    def narrow(request: gr.Request, state: Shown, name: str) -> Any:
        return _table(desk, state, name, language(request))

    def greet(request: gr.Request) -> tuple[Any, ...]:
        lang = language(request)
        return (
            views.render("board", views.empty_board(lang)),
            views.render("item", views.empty_item(lang)),
            _frame([], lang),
        )

    use_b.change(
        lambda on: [gr.update(interactive=on)] * len(b.all()),
        use_b,
        b.all(),
        api_visibility="private",
        queue=False,
    )
    run.click(
        start,
        [tasks, kind, limit, method, use_b, *a.all(), *b.all()],
        [status, board, table, item, shown],
        concurrency_limit=4,
        api_visibility="private",
        show_progress="hidden",
    )
    stop.click(halt, None, None, queue=False, api_visibility="private")
    table.select(choose, shown, item, api_visibility="private", show_progress="hidden")
    which.change(narrow, [shown, which], table, api_visibility="private", show_progress="hidden")
    return [board, item, table], greet


def _side(desk: Desk, t: Any, *, shots: int, prefix: str) -> Side:
    public = desk.settings.public
    return Side(
        model=gr.Dropdown(
            list(named_models()),
            value=next(iter(named_models())),
            allow_custom_value=not public,
            label=t("model"),
            info=t("model_info_public" if public else "model_info"),
            elem_id=f"{prefix}-model",
        ),
        format=gr.Dropdown(list(FORMATS), value="plain", label=t("format"), elem_id=f"{prefix}-format"),
        style=gr.Dropdown(
            [(load_style(name).title, name) for name in style_names()],
            value="ja-labels",
            label=t("style"),
            elem_id=f"{prefix}-style",
        ),
        shots=gr.Slider(0, MAX_SHOTS, shots, step=1, label=t("shots"), elem_id=f"{prefix}-shots"),
        quantization=gr.Dropdown(
            [(t("quantization_none"), "none"), ("8-bit", "8bit"), ("4-bit", "4bit")],
            value="none",
            label=t("quantization"),
            elem_id=f"{prefix}-quantization",
        ),
    )


# --- running --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Request:
    """What a visitor asked for, unchecked."""

    tasks: list[str]
    data_kind: str
    limit: float
    method: str
    sides: list[tuple[Any, tuple[Any, ...]]]


def _run(desk: Desk, request: gr.Request, asked: Request) -> Iterator[tuple[Any, ...]]:
    """The events of a comparison as updates of (status, scoreboard, table, item, shown)."""
    lang, session = language(request), str(request.session_hash)
    same: tuple[Any, ...] = (gr.skip(), gr.skip(), gr.skip(), gr.skip())
    if session in desk.stops:
        yield _error(word("busy", lang), lang), *same
        return
    desk.stops[session] = stop = threading.Event()
    try:
        yield views.render("status", {"text": word("loading", lang)}), *same
        plans = _plans(desk, asked, lang)
        with _turn(desk, stop):
            yield from _updates(desk, plans, stop, lang)
    except JglueAppError as e:
        yield _error(str(e), lang), *same
    except Exception:
        incident = uuid.uuid4().hex[:8]
        log.exception("incident %s", incident)
        yield _error(word("fault", lang).format(incident), lang), *same
    finally:
        stop.set()
        desk.stops.pop(session, None)


@contextmanager
def _turn(desk: Desk, stop: threading.Event) -> Iterator[None]:
    """Hold the accelerator; while another visitor has it, wait, unless asked to stop."""
    while not stop.is_set():
        if desk.lock.acquire(timeout=0.2):
            try:
                yield
            finally:
                desk.lock.release()
            return
    yield


def _plans(desk: Desk, asked: Request, lang: str) -> list[tuple[Literal["a", "b"], Plan]]:
    """Check everything again on the server: components do not bind what a program sends."""
    if not asked.tasks:
        raise InputError(word("no_tasks", lang))
    if not 1 <= asked.limit <= desk.settings.max_items:
        raise InputError(word("too_many", lang).format(desk.settings.max_items))
    plans = [(side, _plan(desk, asked, lang, *values)) for side, values in asked.sides]
    if len(plans) == 2 and plans[0][1].spec == plans[1][1].spec:
        raise InputError(word("same", lang))
    return plans


def _plan(
    desk: Desk, asked: Request, lang: str, model: str, format: str, style: str, shots: float, quantization: str
) -> Plan:
    name = str(model or "").strip()
    if not name:
        raise InputError(word("no_model", lang))
    if not 0 <= shots <= MAX_SHOTS:
        raise InputError(f"The number of examples is from 0 to {MAX_SHOTS}.")
    return make_plan(
        desk.settings,
        ModelSpec(name, backend_for(name), quantization=quantization),
        asked.tasks,
        data_kind=asked.data_kind,
        limit=int(asked.limit),
        prompt=PromptSpec(style=style, format=format, shots=int(shots)),
        decoding=Decoding(method=asked.method),
    )


def _updates(
    desk: Desk, plans: list[tuple[Literal["a", "b"], Plan]], stop: threading.Event, lang: str
) -> Iterator[tuple[Any, ...]]:
    state: Shown = {side: p.spec.spec_id for side, p in plans}
    bars: dict[tuple[str, str], Event] = {}
    notes: list[str] = []
    seen, drawn, scored = 0, 0.0, ("", "")
    empty = views.render("item", views.empty_item(lang))
    for event in run_plans(plans, desk.pool, desk.settings.runs_dir, stop.is_set):
        if event.kind == "notice":
            notes = [event.message]
            yield _status(word("loading", lang), bars, notes, lang), *_skip4()
        elif event.kind == "record":
            bars[event.side, event.task] = event
            seen += 1
            if time.monotonic() - drawn < UPDATE_EVERY_S:
                continue
            drawn = time.monotonic()
            fresh = scored != (event.side, event.task)
            scored = event.side, event.task
            yield (
                _status(word("running", lang), bars, [], lang),
                _board(desk, state, lang) if fresh else gr.skip(),
                _table(desk, state, "all", lang),
                empty if seen == 1 else gr.skip(),
                state,
            )
    head = word("stopped" if stop.is_set() else "done", lang)
    failed = sum(r.error is not None for run in state.values() for r in _store(desk, run).records())
    notes = [word("incomplete", lang).format(failed)] if failed else []
    yield (
        _status(head, {}, notes, lang),
        _board(desk, state, lang),
        _table(desk, state, "all", lang),
        empty,
        state,
    )


def _skip4() -> tuple[Any, ...]:
    return gr.skip(), gr.skip(), gr.skip(), gr.skip()


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


def _stop(desk: Desk, request: gr.Request) -> None:
    event = desk.stops.get(str(request.session_hash))
    if event:
        event.set()


# --- showing what is stored -----------------------------------------------------------------------------


def _store(desk: Desk, run: str) -> RunStore:
    return RunStore(desk.settings.runs_dir / run)


def _judged(desk: Desk, state: Shown, side: str) -> dict[str, dict[str, Answered]]:
    if side not in state or not _store(desk, state[side]).exists():
        return {}
    return judge_run(_store(desk, state[side]).data(), "official")


def _board(desk: Desk, state: Shown, lang: str) -> str:
    found = {side: _store(desk, run).data() for side, run in state.items() if _store(desk, run).exists()}
    if "a" not in found:
        return views.render("board", views.empty_board(lang))
    if "b" not in found:
        return views.render("board", views.board(report_run(found["a"]), None, None, lang))
    comparison = compare_runs(found["a"], found["b"])
    return views.render("board", views.board(comparison.a, comparison.b, comparison, lang))


def _table(desk: Desk, state: Shown, which: str, lang: str) -> pd.DataFrame:
    known = which if which in FILTERS else "all"
    return _frame(views.item_rows(_judged(desk, state, "a"), _judged(desk, state, "b"), known), lang)


def _frame(rows: list[list[str]], lang: str) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=views.headers(lang), dtype=str)


def _open_item(desk: Desk, state: Shown, row: list[Any], lang: str) -> str:
    title, id_ = str(row[0]), str(row[1])
    task = next((name for name, t in TASKS.items() if t.title == title), "")
    sides = []
    for side in state:
        found = _judged(desk, state, side).get(task, {}).get(id_)
        store = _store(desk, state[side])
        manifest = store.manifest() if store.exists() else {}
        model = manifest.get("model") or {}
        bos = model.get("bos", "") if model.get("adds_bos") else ""
        sides.append((side.upper(), str(manifest.get("label", "")), found, bos))
    if not any(found for _, _, found, _ in sides):
        return views.render("item", {"empty": word("gone" if state else "empty_item", lang)})
    return views.render("item", views.item_view(sides, lang))
