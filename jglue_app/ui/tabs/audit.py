"""The tab on which a published score, or a whole leaderboard, is looked into. It needs no model and no run."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any

import gradio as gr

from jglue_app.audit.auditor import MAX_ITEMS, audit_score, audit_table
from jglue_app.audit.benchmarks import BENCHMARKS, METRICS, SYSTEMS
from jglue_app.audit.published import published
from jglue_app.audit.table_parser import MAX_BYTES
from jglue_app.errors import InputError, JglueAppError
from jglue_app.messages import word
from jglue_app.ui import views
from jglue_app.ui.controls import T, pane
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


def build(desk: AppState, t: T) -> None:
    """Put the tab's content into the surrounding Blocks."""
    gr.Markdown(t("audit_lead"), elem_classes="jg-lead")
    with gr.Row(elem_classes="jg-controls"):
        with gr.Column(min_width=260):
            task = gr.Dropdown(
                [(b.title, name) for name, b in BENCHMARKS.items()],
                value="jnli",
                label=t("audit_task"),
                elem_id="audit-task",
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
        with gr.Column(min_width=260):
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
    ask = gr.Button(t("audit_ask"), variant="primary", elem_id="audit-ask")
    with gr.Row(elem_classes="jg-examples"):
        tries = [
            gr.Button(f"{BENCHMARKS[e[0]].title} {e[1]}", size="sm", min_width=120, elem_id=f"audit-example-{i}")
            for i, e in enumerate(EXAMPLES)
        ]
    found = pane("audit-found")

    gr.Markdown(t("audit_board"), elem_classes="jg-section")
    pasted = gr.Textbox(
        label=t("audit_paste"),
        info=t("audit_paste_info"),
        lines=5,
        max_lines=12,
        max_length=MAX_BYTES,
        placeholder="model,JNLI,JCommonsenseQA\nA,30.16,19.3\nB,47.1,62.0",
        elem_id="audit-paste",
    )
    with gr.Row():
        look = gr.Button(t("audit_look"), variant="primary", elem_id="audit-look")
        sample = gr.Button(t("audit_swallow"), elem_id="audit-swallow")
    upload = gr.File(
        label=t("audit_file"),
        file_types=[".csv", ".tsv", ".json", ".md", ".txt"],
        visible=not desk.settings.public,
        height=120,
        elem_id="audit-file",
    )
    board = pane("audit-board")

    def one(request: gr.Request, task: str, score: str, scale: str, n: str, metric: str, system: str) -> str:
        lang = language(request)
        if not (score or "").strip():
            return views.sentence(word("audit_no_score", lang), lang)
        try:
            audit = audit_score(
                task,
                score,
                n=items(n),
                metric=metric or None,
                system=system or None,
                scale=scale or None,
            )
        except JglueAppError as e:
            return views.failure(e, lang)
        return views.render("audited", score_view(audit, lang), lang)

    def whole(request: gr.Request, text: str, scale: str, system: str) -> str:
        lang = language(request)
        if not (text or "").strip():
            return views.sentence(word("audit_no_table", lang), lang)
        return _board(text, lang, scale, system)

    def taken(request: gr.Request, file: str | None, scale: str, system: str) -> tuple[Any, str]:
        lang = language(request)
        if not file:
            return gr.skip(), ""
        if desk.settings.public:
            refused = InputError("A public server takes no files. Paste the table instead.")
            return None, views.failure(refused, lang)
        return None, _board(Path(file), lang, scale, system)

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    inputs = [task, score, scale, n, metric, system]
    gr.on([ask.click, score.submit], one, inputs, found, **quiet)
    for button, example in zip(tries, EXAMPLES, strict=True):
        values = (example[0], example[1], UNKNOWN, "", example[2], example[3])
        button.click(_constant(values), None, inputs, queue=False, api_visibility="private").then(
            one, inputs, found, **quiet
        )
    look.click(whole, [pasted, scale, system], board, **quiet)
    sample.click(swallow, None, [pasted, scale, system], queue=False, api_visibility="private").then(
        whole, [pasted, scale, system], board, **quiet
    )
    upload.upload(taken, [upload, scale, system], [upload, board], **quiet)


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


def _constant(values: tuple[Any, ...]) -> Any:
    return lambda: values


def _board(source: str | Path, lang: str, scale: str, system: str) -> str:
    try:
        audit = audit_table(source, scale=scale or None, system=system or None)
    except JglueAppError as e:
        return views.failure(e, lang)
    return views.render("audited", table_view(audit, lang), lang)


def swallow() -> tuple[str, str, str]:
    """The published scores of the Swallow leaderboard as a table, their scale and their system."""
    rows: dict[str, dict[str, str]] = {}
    for row in published():
        if row.source == "swallow-leaderboard":
            rows.setdefault(row.model, {})[row.task] = row.score.text
    lines = [f"{model},{of.get('jcommonsenseqa', '')},{of.get('jsquad', '')}" for model, of in rows.items()]
    return "\n".join(["model,JComQA,JSQuAD char F1", *lines]), "fraction", "swallow-202411"
