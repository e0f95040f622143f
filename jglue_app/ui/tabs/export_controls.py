"""The controls with which a tab offers a stored run as a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import gradio as gr
from gradio.blocks import Block
from gradio.components import Component

from jglue_app.messages import word
from jglue_app.ui import views
from jglue_app.ui.controls import T
from jglue_app.ui.events import PRIVATE, Updates, Values
from jglue_app.ui.guard import errors_shown_in
from jglue_app.ui.progress import in_line
from jglue_app.ui.run_files import EXPORT, EXPORT_FORMATS, export_run, exported_html
from jglue_app.ui.state import AppState
from jglue_app.ui.visitor import language, visitor_id


@dataclass(frozen=True, slots=True, eq=False)
class ExportControls:
    """The components."""

    format: gr.Radio
    export: gr.Button
    download: gr.File

    def connect(self, state: AppState, run: Component, status: gr.HTML, protocol: Component | None = None) -> None:
        """Listen to the button.

        Args:
            state: the server's.
            run: its value is the name of the run.
            status: takes what has to be known of the file.
            protocol: its value is the protocol whose scores the file holds; None for the official one.
        """

        def export(request: gr.Request, values: Values) -> Iterator[Updates]:
            name, owner, lang = str(values[run] or ""), visitor_id(request), language(request)
            scored_by = "official" if protocol is None else values[protocol]
            making: Updates = {**hidden, status: views.note(word("export_going", lang))}
            yield making
            exported = yield from in_line(
                *(state, owner, EXPORT),
                lambda: export_run(state, owner, name, values[self.format], scored_by),
                making,
            )
            yield {
                self.download: gr.update(value=str(exported.path), visible=True),
                status: exported_html(exported, lang),
            }

        inputs: set[Block] = {run, self.format} if protocol is None else {run, self.format, protocol}
        hidden: Updates = {self.download: gr.update(visible=False)}
        self.export.click(errors_shown_in(status, export, hidden), inputs, [self.download, status], **PRIVATE)


def build(t: T, ids: tuple[str | None, str, str], *, visible: bool = True) -> ExportControls:
    """Put the controls into the surrounding Blocks.

    Args:
        t: labels for the browser.
        ids: element ids of format, button and file.
        visible: whether format and button are shown from the start.
    """
    format_id, export_id, download_id = ids
    return ExportControls(
        format=gr.Radio(
            list(EXPORT_FORMATS),
            value="jsonl",
            label=t("export_format"),
            info=t("export_info"),
            elem_id=format_id,
            visible=visible,
        ),
        export=gr.Button(t("export"), elem_id=export_id, visible=visible),
        download=gr.File(label=t("export_file"), interactive=False, visible=False, elem_id=download_id),
    )
