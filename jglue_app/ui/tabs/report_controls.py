"""The controls with which a tab offers a report of the runs that it shows, as one file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.blocks import Block

from jglue_app.errors import InputError
from jglue_app.messages import Message, word
from jglue_app.results.library import Ids
from jglue_app.tasks import TASKS
from jglue_app.ui import views
from jglue_app.ui.controls import T, pane
from jglue_app.ui.events import PRIVATE, Updates, Values
from jglue_app.ui.guard import errors_shown_in
from jglue_app.ui.progress import in_line
from jglue_app.ui.run_files import EXPORT, report_of_runs
from jglue_app.ui.state import AppState
from jglue_app.ui.static_report import ReportRequest
from jglue_app.ui.visitor import language, visitor_id

SHOWN = 'document.querySelector("#items .jg-list")?.jgShown?.() ?? {}'
"""In the browser: what the item list shows, see `items.js`."""
MAX_CHARS = 4_000_000
"""Of what the browser says it shows; 20,000 items have names of much less."""
UNREADABLE = Message("What the page shows could not be read. Load the page again, and make the report once more.")


@dataclass(frozen=True, slots=True, eq=False)
class ReportControls:
    """The components."""

    shown: gr.Textbox
    """Not visible: what the browser shows, when the button is pressed."""
    make: gr.Button
    download: gr.File
    status: gr.HTML

    def connect_to_list(self, state: AppState) -> None:
        """Make a report of what the item list shows."""
        self.connect(
            state, lambda values: report_request(values[self.shown]), {self.shown}, f"() => JSON.stringify({SHOWN})"
        )

    def connect(
        self, state: AppState, wanted: Callable[[Values], ReportRequest], inputs: set[Block], js: str | None = None
    ) -> None:
        """Listen to the button.

        Args:
            state: the server's.
            wanted: values of `inputs` → what the report is to show.
            inputs: what has to be known for that.
            js: what fills the only input in the browser.
        """

        def make(request: gr.Request, values: Values) -> Iterator[Updates]:
            owner, shown, lang = visitor_id(request), wanted(values), language(request)
            making: Updates = {**hidden, self.status: views.note(word("export_going", lang))}
            yield making
            path = yield from in_line(state, owner, EXPORT, lambda: report_of_runs(state, owner, shown), making)
            yield {
                self.download: gr.update(value=str(path), visible=True),
                self.status: views.note(word("export_done", language(request)).format(path.name)),
            }

        hidden: Updates = {self.download: gr.update(visible=False)}
        outputs = [self.download, self.status]
        self.make.click(errors_shown_in(self.status, make, hidden), inputs, outputs, js=js, **PRIVATE)


def build(t: T, name: str = "report") -> ReportControls:
    """Put the controls into the surrounding Blocks.

    Args:
        t: labels for the browser.
        name: element id of the button, with which the others begin.
    """
    make = gr.Button(t("report_make"), elem_id=name, elem_classes="jg-report", size="sm", min_width=220)
    status = pane(f"{name}-status")
    download = gr.File(label=t("report_file"), interactive=False, visible=False, elem_id=f"{name}-file")
    return ReportControls(shown=gr.Textbox(visible=False), make=make, download=download, status=status)


def report_request(shown: Any) -> ReportRequest:
    """The report of what a page shows. The text comes from the browser and may be anything.

    Raises:
        InputError: it cannot be read, or nothing is shown.
    """
    if not isinstance(shown, str) or len(shown) > MAX_CHARS:
        raise InputError(UNREADABLE)
    try:
        view = json.loads(shown)
    except (ValueError, RecursionError):
        raise InputError(UNREADABLE) from None
    if not isinstance(view, Mapping):
        raise InputError(UNREADABLE)
    names = tuple(name for side in ("a", "b") if (name := view.get(side)) and isinstance(name, str))
    if not names or any(len(name) > 200 for name in names):
        raise InputError(UNREADABLE)
    protocol = view.get("protocol")
    scored_by = protocol[:50] if isinstance(protocol, str) else "official"
    return ReportRequest(tuple(dict.fromkeys(names)), scored_by, _items(view.get("items")))


def _items(view: Any) -> Ids | None:
    if not isinstance(view, Mapping):
        return None
    return {
        task: frozenset(id_ for id_ in ids if isinstance(id_, str))
        for task, ids in view.items()
        if task in TASKS and isinstance(ids, list)
    }
