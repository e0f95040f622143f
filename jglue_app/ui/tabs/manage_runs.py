"""The part of the Results tab where a run is named, exported, imported and deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from jglue_app.errors import InputError
from jglue_app.messages import bracketed, named, word
from jglue_app.results.library import StoredRun
from jglue_app.results.showcase import SHIPPED
from jglue_app.runs.request_options import MAX_NAME
from jglue_app.tasks import TASKS
from jglue_app.types import Notice
from jglue_app.ui import views
from jglue_app.ui.controls import T, pane, paragraph
from jglue_app.ui.events import PRIVATE, Updates, Values, dropdown_update
from jglue_app.ui.guard import errors_shown_in
from jglue_app.ui.run_files import import_run
from jglue_app.ui.state import AppState
from jglue_app.ui.tabs import export_controls
from jglue_app.ui.tabs.export_controls import ExportControls
from jglue_app.ui.views.board import notice_text
from jglue_app.ui.views.ranking import run_label
from jglue_app.ui.views.run_labels import run_text
from jglue_app.ui.visitor import language, visitor_id


@dataclass(frozen=True, slots=True, eq=False)
class ManageControls:
    """The components, and what happens with them."""

    state: AppState
    run: gr.Dropdown
    export: ExportControls
    called: gr.Textbox
    description: gr.Textbox
    save_name: gr.Button
    upload: gr.File
    partial: gr.Checkbox
    model: gr.Textbox
    delete: gr.Button
    confirmation: gr.Group
    question: gr.HTML
    yes: gr.Button
    no: gr.Button
    to_delete: gr.State
    """The name of the run that the question is about: a yes deletes that one, whatever is chosen meanwhile."""
    status: gr.HTML

    def connect(self, protocol: Component) -> Sequence[Dependency]:
        """Listen to the events; returns those after which other runs are stored.

        Args:
            protocol: whose scores an exported file holds.
        """
        self.export.connect(self.state, self.run, self.status, protocol)
        imported = self.upload.upload(
            errors_shown_in(self.status, self.take, {self.upload: None}),
            {self.upload, self.partial, self.model},
            [self.upload, self.status],
            **PRIVATE,
        )
        gr.on([self.run.change], self.show_name, self.run, [self.called, self.description], **PRIVATE)
        named = self.save_name.click(
            errors_shown_in(self.status, self.rename),
            {self.run, self.called, self.description},
            [self.called, self.description, self.status],
            **PRIVATE,
        )
        hidden: Updates = {self.confirmation: gr.update(visible=False), self.to_delete: ""}
        question = [self.confirmation, self.question, self.status, self.to_delete]
        ask = errors_shown_in(self.status, self.ask, {**hidden, self.question: ""})
        self.delete.click(ask, self.run, question, **PRIVATE)
        self.no.click(lambda: gr.update(visible=False), None, self.confirmation, queue=False, api_visibility="private")
        deleted = self.yes.click(
            errors_shown_in(self.status, self.remove, hidden),
            self.to_delete,
            [self.confirmation, self.status, self.to_delete],
            **PRIVATE,
        )
        return imported, named, deleted

    def offer(self, runs: Mapping[str, StoredRun], chosen: str | None, first: str | None, lang: str) -> Updates:
        """The runs to choose from.

        Args:
            runs: name → run.
            chosen: the one that is chosen now; it stays if it is still there.
            first: the one to choose otherwise; None for the first of all.
        """
        choices = [(run_label(run, name, lang), name) for name, run in runs.items()]
        value = chosen if chosen in runs else first or next(iter(runs), None)
        return {self.run: dropdown_update(choices, chosen, value)}

    def show_name(self, request: gr.Request, name: str | None) -> Updates:
        """What the chosen run is called."""
        run = self.state.runs(visitor_id(request)).get(str(name or ""))
        return {
            self.called: run.label if run and run.is_named else "",
            self.description: run.description if run else "",
        }

    def rename(self, request: gr.Request, values: Values) -> Updates:
        """Give the chosen run the name and the description in the boxes."""
        if not values[self.run]:
            raise InputError("Choose a run first.")
        texts = [str(values[box] or "") for box in (self.called, self.description)]
        called = self.state.rename(visitor_id(request), str(values[self.run]), *texts)
        done = word("run_named" if called.name or called.description else "run_unnamed", language(request))
        return {
            self.called: called.name,
            self.description: called.description,
            self.status: views.note(done.format(called.name or "–")),
        }

    def take(self, request: gr.Request, values: Values) -> Updates:
        """Import the uploaded files."""
        lang, files = language(request), values[self.upload]
        if not files:
            return {self.status: ""}
        paths = [Path(file) for file in files]
        folder, notices = import_run(self.state, paths, values[self.partial], values[self.model] or "")
        done = word("import_done", lang).format(run_text(self.state.library.stored(folder), lang))
        return {self.upload: None, self.status: "".join(map(views.note, [done, *_sentences(notices, lang)]))}

    def ask(self, request: gr.Request, name: str | None) -> Updates:
        """Ask whether the chosen run is to be deleted."""
        lang = language(request)
        run = self.state.runs(visitor_id(request)).get(str(name or ""))
        if run is None:
            raise InputError("Choose a run first.")
        if str(name).startswith(SHIPPED):
            raise InputError("This run came with the application and stays. Choose one that was made here.")
        return {
            self.confirmation: gr.update(visible=True),
            self.question: views.note(word("delete_ask", lang).format(bracketed(run_text(run, lang), str(name), lang))),
            self.status: "",
            self.to_delete: str(name),
        }

    def remove(self, request: gr.Request, name: str) -> Updates:
        """Delete the run that the question was about."""
        self.state.delete(visitor_id(request), name)
        return {
            self.confirmation: gr.update(visible=False),
            self.status: views.note(word("deleted", language(request)).format(name)),
            self.to_delete: "",
        }


def _sentences(notices: Sequence[Notice], lang: str) -> list[str]:
    return [named(TASKS[str(notice.facts["task"])].title, notice_text(notice, lang), lang) for notice in notices]


def build(state: AppState, t: T) -> ManageControls:
    """Put the controls into the surrounding Blocks; they listen to nothing before `connect`."""
    public = state.settings.public
    paragraph(t("manage"), "jg-section")
    with gr.Row(elem_classes="jg-controls"):
        with gr.Column(min_width=260):
            run = gr.Dropdown([], label=t("manage_run"), elem_id="manage-run")
            export = export_controls.build(t, ("export-format", "export", "export-file"))
            with gr.Group(visible=not public, elem_id="name-box"):
                # No `max_length`: what is too long is refused in our sentences and not cut in silence.
                called = gr.Textbox(label=t("run_called"), info=t("run_called_info"), max_lines=1, elem_id="run-called")
                description = gr.Textbox(label=t("run_description"), lines=3, elem_id="run-description")
                save_name = gr.Button(t("save_name"), elem_id="save-name")
            delete = gr.Button(t("delete"), elem_id="delete", variant="stop", visible=not public)
            with gr.Group(visible=False, elem_id="delete-box") as confirmation:
                question = pane("delete-question")
                with gr.Row():
                    yes = gr.Button(t("delete_yes"), variant="stop", elem_id="delete-yes")
                    no = gr.Button(t("delete_no"), elem_id="delete-no")
        with gr.Column(min_width=260, visible=not public):
            paragraph(t("import"), "jg-hint")
            upload = gr.File(
                label=t("export_file"),
                file_types=[".zip", ".jsonl", ".json", ".eval"],
                file_count="multiple",
                elem_id="import",
                height=140,
            )
            partial = gr.Checkbox(label=t("import_partial"), info=t("import_info"), elem_id="import-partial")
            model = gr.Textbox(label=t("import_model"), max_lines=1, max_length=MAX_NAME, elem_id="import-model")
    return ManageControls(
        state=state,
        run=run,
        export=export,
        called=called,
        description=description,
        save_name=save_name,
        upload=upload,
        partial=partial,
        model=model,
        delete=delete,
        confirmation=confirmation,
        question=question,
        yes=yes,
        no=no,
        to_delete=gr.State(""),
        status=pane("manage-status"),
    )
