"""The part of the Prompt lab that asks the same items in several formats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import gradio as gr
from gradio.blocks import Block

from jglue_app import prompt_lab
from jglue_app.backends.named_models import model_ids
from jglue_app.errors import StoreError
from jglue_app.prompts.formats import FORMATS
from jglue_app.runs.request import MAX_SHOTS
from jglue_app.ui import controls, views
from jglue_app.ui.controls import T, pane, paragraph
from jglue_app.ui.events import FOLLOWS_JOB, UNCHANGED, Updates, Values
from jglue_app.ui.guard import errors_shown_in
from jglue_app.ui.jobs import Job
from jglue_app.ui.lab_jobs import SWEEP, read_budget, start_sweep
from jglue_app.ui.model_box import model_box
from jglue_app.ui.progress import follow, going_html, stop_handler
from jglue_app.ui.state import AppState
from jglue_app.ui.stop_other import StopOther, stop_other
from jglue_app.ui.views.sweep import sweep_view
from jglue_app.ui.visitor import language, visitor_id


@dataclass(frozen=True, slots=True, eq=False)
class SweepTab:
    """The components, and what happens with them."""

    state: AppState
    task: gr.Dropdown
    items: gr.Number
    data: gr.Radio
    model: gr.HTML
    shots: gr.Slider
    budget: gr.Number
    formats: gr.CheckboxGroup
    styles: gr.Dropdown
    run: gr.Button
    stop: gr.Button
    other: StopOther
    status: gr.HTML
    table: gr.HTML

    def connect(self) -> None:
        """Listen to the events."""
        inputs: set[Block] = {self.task, self.items, self.data, self.model, self.shots, self.budget}
        inputs |= {self.formats, self.styles}
        outputs = [self.status, self.table, self.other.button]
        self.run.click(errors_shown_in(self.status, self.start), inputs, outputs, **FOLLOWS_JOB)
        self.stop.click(stop_handler(self.state, SWEEP), None, self.status, **FOLLOWS_JOB)
        self.other.connect()
        gr.on(None, self.follow_latest, None, outputs, **FOLLOWS_JOB)

    def start(self, request: gr.Request, values: Values) -> Iterator[Updates]:
        """Start a sweep and follow it."""
        lang = language(request)
        side = controls.read_side({"model": values[self.model], "shots": values[self.shots]})
        sides = prompt_lab.variants(side, values[self.formats] or [], values[self.styles] or ["ja-labels"])
        task, items, data = values[self.task], values[self.items], values[self.data]
        budget = read_budget(values[self.budget])
        job = start_sweep(self.state, visitor_id(request), task, sides, items, data, budget)
        yield from self._follow(job, lang)

    def follow_latest(self, request: gr.Request) -> Iterator[Updates]:
        """After a reload: the visitor's sweep, active or ended."""
        job = self.state.jobs.latest(visitor_id(request), SWEEP)
        yield UNCHANGED
        if job is not None:
            yield from self._follow(job, language(request))

    def _follow(self, job: Job, lang: str) -> Iterator[Updates]:
        """Status and table until the sweep ends; a format's row comes when the next format begins."""
        rows = 0

        def draw(last: bool) -> Updates:
            nonlocal rows
            updates: Updates = {self.status: going_html(self.state.jobs, job, lang), **self.other.update(job)}
            begun = len(job.result or ())
            if last:
                self.state.grant_access(job)
            if last or begun > rows + 1:
                rows = max(rows, begun - 1)
                table = sweep_html(self.state, job, lang)
                updates |= {self.table: table} if table or not last else {}
            return updates

        return follow(job, draw)


def sweep_html(state: AppState, job: Job, lang: str) -> str:
    """The table of what is stored of a sweep; empty before anything is."""
    task = str(job.request)
    try:
        rows = prompt_lab.sweep_table(state.library, task, list(job.result or []))
    except StoreError as e:
        return views.failure(e, lang)
    rows = [row for row in rows if row.n]
    return views.render("sweep", sweep_view(rows, task, lang), lang) if rows else ""


def build(state: AppState, t: T) -> SweepTab:
    """Put the sweep into the surrounding Blocks."""
    paragraph(t("sweep_lead"), "jg-lead")
    with gr.Row(elem_classes="jg-controls"):
        with gr.Column(min_width=280):
            task = gr.Dropdown(controls.subset_choices(), value="jnli", label=t("subset"), elem_id="sweep-task")
            items = gr.Number(10, precision=0, label=t("sweep_items"), elem_id="sweep-items")
            data = gr.Radio(
                [(t("data_sample"), "sample"), (t("data_official"), "official")],
                value="sample",
                label=t("data"),
                elem_id="sweep-data",
            )
        with gr.Column(min_width=280):
            model = model_box(state.settings, "sweep-model", model_ids(state.settings)[0], device=state.device)
            shots = gr.Slider(0, MAX_SHOTS, 1, step=1, label=t("shots"), elem_id="sweep-shots")
            budget = gr.Number(
                0, minimum=0, label=t("sweep_budget"), info=t("sweep_budget_info"), elem_id="sweep-budget"
            )
        with gr.Column(min_width=280):
            formats, styles = _variants(t)
    with gr.Row():
        run = gr.Button(t("sweep_run"), variant="primary", elem_id="sweep-run", scale=2)
        stop = gr.Button(t("stop"), elem_id="sweep-stop", scale=1)
        other = StopOther(state, SWEEP, stop_other(t, "sweep-other"))
    status, table = pane("sweep-status"), pane("sweep-table")
    tab = SweepTab(state, task, items, data, model, shots, budget, formats, styles, run, stop, other, status, table)
    tab.connect()
    return tab


def _variants(t: T) -> tuple[gr.CheckboxGroup, gr.Dropdown]:
    """Formats and wording styles to compare."""
    formats = gr.CheckboxGroup(
        list(FORMATS),
        # Not every model has a template, and one of the two of rinna shows what they do.
        value=[name for name in FORMATS if name not in ("chat", "rinna_bilingual")],
        label=t("sweep_formats"),
        info=t("sweep_formats_info"),
        elem_id="sweep-formats",
    )
    styles = gr.Dropdown(
        controls.style_choices(t), value=["ja-labels"], multiselect=True, label=t("style"), elem_id="sweep-styles"
    )
    return formats, styles
