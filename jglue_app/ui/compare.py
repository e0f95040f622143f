"""The Compare tab: choose questions and two models, run, and look at every answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr
import pandas as pd

from jglue_app.models import named_models
from jglue_app.plan import METHODS
from jglue_app.prompts import FORMATS
from jglue_app.styles import load_style, style_names
from jglue_app.tasks import TASKS
from jglue_app.ui import live, views
from jglue_app.ui.live import FILTERS, MAX_SHOTS, Desk, Shown
from jglue_app.ui.words import PREFIX, language

COLUMN_WIDTHS: list[str | int] = ["14%", "8%", "22%", "12%", "16%", "6%", "16%", "6%"]


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
            allow_bin = gr.Checkbox(False, label=t("allow_bin"), elem_id="allow-bin", visible=not desk.settings.public)
        with gr.Column(min_width=280):
            gr.Markdown(t("side_a"), elem_classes="jg-section")
            a = _side(desk, t, shots=0, prefix="a")
        with gr.Column(min_width=280):
            gr.Markdown(t("side_b"), elem_classes="jg-section")
            use_b = gr.Checkbox(True, label=t("use_b"), elem_id="use-b")
            b = _side(desk, t, shots=3, prefix="b")
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
        wrap=True,
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
        with_bin: bool,
        shown_items: str,
        *controls: Any,
    ) -> Iterator[tuple[Any, ...]]:
        count = len(a.all())
        wanted = [("a", controls[:count])] + ([("b", controls[count:])] if with_b else [])
        yield from live.run(
            desk, request, live.Asked(names, data_kind, items, how, wanted, bool(with_bin), shown_items)
        )

    def halt(request: gr.Request) -> Any:
        return live.halt(desk, request)

    def choose(request: gr.Request, event: gr.SelectData, state: Shown) -> str:
        return live.item(desk, state, event.row_value or [], language(request))

    def narrow(request: gr.Request, state: Shown, name: str) -> Any:
        return live.table(desk, state, name, language(request))

    def greet(request: gr.Request) -> tuple[Any, ...]:
        lang = language(request)
        return (
            views.render("board", views.empty_board(lang)),
            views.render("item", views.empty_item(lang)),
            live.frame([], lang),
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
        [tasks, kind, limit, method, use_b, allow_bin, which, *a.all(), *b.all()],
        [status, board, table, item, shown],
        concurrency_limit=4,
        api_visibility="private",
        show_progress="hidden",
    )
    stop.click(halt, None, status, queue=False, api_visibility="private")
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
            [(f"{load_style(name).title} ({name})", name) for name in style_names()],
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
