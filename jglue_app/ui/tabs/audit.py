"""The tab on which a published score, or a whole leaderboard, is looked into. It needs no model and no run."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from gradio.blocks import Block

from jglue_app.audit.auditor import MAX_ITEMS, audit_score, audit_table
from jglue_app.audit.benchmarks import BENCHMARKS, METRICS, SYSTEMS
from jglue_app.audit.published import published
from jglue_app.audit.table_parser import MAX_BYTES
from jglue_app.errors import InputError
from jglue_app.ui import views
from jglue_app.ui.controls import T, pane, paragraph
from jglue_app.ui.events import LATEST, PRIVATE, Updates, Values
from jglue_app.ui.guard import errors_shown_in
from jglue_app.ui.state import AppState
from jglue_app.ui.views.audit import score_view, table_view
from jglue_app.ui.visitor import language

UNKNOWN = ""
"""What stands for something that the visitor does not know."""
EXAMPLES = (
    ("jnli", ".301561", "", "stability-jp"),
    ("jcommonsenseqa", "19.3", "", "wandb-2023"),
    ("jnli", "33.3", "balanced_accuracy", "wandb-2023"),
    ("jnli", "0.90", "", ""),
)
"""Subset, score, metric, system: what a first visitor may look at."""


@dataclass(frozen=True, slots=True, eq=False)
class AuditTab:
    """The components, and what happens with them."""

    state: AppState
    task: gr.Dropdown
    score: gr.Textbox
    scale: gr.Radio
    n: gr.Textbox
    metric: gr.Dropdown
    system: gr.Dropdown
    audit: gr.Button
    examples: list[gr.Button]
    result: gr.HTML
    table: gr.Textbox
    audit_table: gr.Button
    swallow: gr.Button
    upload: gr.File
    table_result: gr.HTML

    def connect(self) -> None:
        """Listen to the events."""
        inputs: list[Block] = [self.task, self.score, self.scale, self.n, self.metric, self.system]
        show_score = errors_shown_in(self.result, self.show_score)
        gr.on([self.audit.click, self.score.submit], show_score, set(inputs), self.result, **PRIVATE)
        for button, example in zip(self.examples, EXAMPLES, strict=True):
            button.click(self._filling(example), None, inputs, queue=False, api_visibility="private").then(
                show_score, set(inputs), self.result, **LATEST
            )
        show_table = errors_shown_in(self.table_result, self.show_table)
        table_inputs: list[Block] = [self.table, self.scale, self.system]
        self.audit_table.click(show_table, set(table_inputs), self.table_result, **PRIVATE)
        self.swallow.click(self.fill_swallow, None, table_inputs, queue=False, api_visibility="private").then(
            show_table, set(table_inputs), self.table_result, **LATEST
        )
        self.upload.upload(
            errors_shown_in(self.table_result, self.show_file, {self.upload: None}),
            {self.upload, self.scale, self.system},
            [self.upload, self.table_result],
            **PRIVATE,
        )

    def _filling(self, example: tuple[str, str, str, str]) -> Callable[[], Updates]:
        task, score, metric, system = example
        values: Updates = {self.task: task, self.score: score, self.scale: UNKNOWN, self.n: ""}
        return lambda: {**values, self.metric: metric, self.system: system}

    def fill_swallow(self) -> Updates:
        """The Swallow leaderboard as the table."""
        table, scale, system = swallow()
        return {self.table: table, self.scale: scale, self.system: system}

    def show_score(self, request: gr.Request, values: Values) -> str:
        """The findings on one score."""
        lang = language(request)
        if not (values[self.score] or "").strip():
            raise InputError("Enter a score first, such as .301561.")
        audit = audit_score(
            values[self.task],
            values[self.score],
            n=items(values[self.n]),
            metric=values[self.metric] or None,
            system=values[self.system] or None,
            scale=values[self.scale] or None,
        )
        return views.render("audited", score_view(audit, lang), lang)

    def show_table(self, request: gr.Request, values: Values) -> str:
        """The findings on the pasted table."""
        if not (values[self.table] or "").strip():
            raise InputError("Paste a table first.")
        return self._table_html(values[self.table], values, language(request))

    def show_file(self, request: gr.Request, values: Values) -> Updates:
        """The findings on a table that was uploaded."""
        if not values[self.upload]:
            return {self.table_result: ""}
        if self.state.settings.public:
            raise InputError("A public server takes no files. Paste the table instead.")
        html = self._table_html(Path(values[self.upload]), values, language(request))
        return {self.upload: None, self.table_result: html}

    def _table_html(self, source: str | Path, values: Values, lang: str) -> str:
        audit = audit_table(source, scale=values[self.scale] or None, system=values[self.system] or None)
        return views.render("audited", table_view(audit, lang), lang)


def build(state: AppState, t: T) -> AuditTab:
    """Put the tab's content into the surrounding Blocks."""
    paragraph(t("audit_lead"), "jg-lead")
    with gr.Row(elem_classes="jg-controls"):
        with gr.Column(min_width=260):
            task, score, scale = _score_controls(t)
        with gr.Column(min_width=260):
            n, metric, system = _origin_controls(t)
    audit = gr.Button(t("audit_ask"), variant="primary", elem_id="audit-ask")
    with gr.Row(elem_classes="jg-examples"):
        examples = [
            gr.Button(f"{BENCHMARKS[e[0]].title} {e[1]}", size="sm", min_width=120, elem_id=f"audit-example-{i}")
            for i, e in enumerate(EXAMPLES)
        ]
    result = pane("audit-found")
    paragraph(t("audit_board"), "jg-section")
    table = gr.Textbox(
        label=t("audit_paste"),
        info=t("audit_paste_info"),
        lines=5,
        max_lines=12,
        max_length=MAX_BYTES,
        placeholder="model,JNLI,JCommonsenseQA\nA,30.16,19.3\nB,47.1,62.0",
        elem_id="audit-paste",
    )
    with gr.Row():
        audit_table_ = gr.Button(t("audit_look"), variant="primary", elem_id="audit-look")
        swallow_ = gr.Button(t("audit_swallow"), elem_id="audit-swallow")
    upload = gr.File(
        label=t("audit_file"),
        file_types=[".csv", ".tsv", ".json", ".md", ".txt"],
        visible=not state.settings.public,
        height=120,
        elem_id="audit-file",
    )
    tab = AuditTab(
        state=state,
        task=task,
        score=score,
        scale=scale,
        n=n,
        metric=metric,
        system=system,
        audit=audit,
        examples=examples,
        result=result,
        table=table,
        audit_table=audit_table_,
        swallow=swallow_,
        upload=upload,
        table_result=pane("audit-board"),
    )
    tab.connect()
    return tab


def _score_controls(t: T) -> tuple[gr.Dropdown, gr.Textbox, gr.Radio]:
    """Subset, score, and whether it is a fraction or a percentage."""
    task = gr.Dropdown(
        [(b.title, name) for name, b in BENCHMARKS.items()], value="jnli", label=t("audit_task"), elem_id="audit-task"
    )
    score = gr.Textbox(
        label=t("audit_score"),
        info=t("audit_score_info"),
        placeholder=".301561",
        max_lines=1,
        max_length=60,
        elem_id="audit-score",
    )
    scale = gr.Radio(
        [(t("audit_by_value"), UNKNOWN), (t("audit_fraction"), "fraction"), (t("audit_percent"), "percent")],
        value=UNKNOWN,
        label=t("audit_scale"),
        elem_id="audit-scale",
    )
    return task, score, scale


def _origin_controls(t: T) -> tuple[gr.Textbox, gr.Dropdown, gr.Dropdown]:
    """Number of items, metric and system."""
    # A number's own field would say what is wrong with it in its own words, and sends 0 for nothing.
    n = gr.Textbox(label=t("audit_n"), info=t("audit_n_info"), max_lines=1, max_length=12, elem_id="audit-n")
    metric = gr.Dropdown(
        [(t("audit_unknown"), UNKNOWN), *((m, m) for m in METRICS)],
        value=UNKNOWN,
        label=t("audit_metric"),
        elem_id="audit-metric",
    )
    system = gr.Dropdown(
        [(t("audit_unknown"), UNKNOWN), *((f"{s.title} ({name})", name) for name, s in SYSTEMS.items())],
        value=UNKNOWN,
        label=t("audit_system"),
        elem_id="audit-system",
    )
    return n, metric, system


def items(text: str | None) -> int | None:
    """A number of items as somebody types it; None for nothing.

    Raises:
        InputError: it is no whole number.
    """
    plain = unicodedata.normalize("NFKC", text or "").replace(",", "").strip()
    if not plain:
        return None
    if not re.fullmatch(r"-?\d+", plain):
        raise InputError(
            "n is the number of items, from 1 to {most_items:,}, and not {plain}.", most_items=MAX_ITEMS, plain=plain
        )
    return int(plain)


def swallow() -> tuple[str, str, str]:
    """The published scores of the Swallow leaderboard as a table, their scale and their system."""
    rows: dict[str, dict[str, str]] = {}
    for row in published():
        if row.source == "swallow-leaderboard":
            rows.setdefault(row.model, {})[row.task] = row.score.text
    lines = [f"{model},{of.get('jcommonsenseqa', '')},{of.get('jsquad', '')}" for model, of in rows.items()]
    return "\n".join(["model,JComQA,JSQuAD char F1", *lines]), "fraction", "swallow-202411"
