"""The Results tab: stored runs ranked under a protocol, pictures of them, and what can be done with one."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from jglue_app.errors import InputError, JglueAppError, UnknownNameError
from jglue_app.messages import say, word
from jglue_app.results import archive, exporters
from jglue_app.results import table_files as files
from jglue_app.results.importers.import_run import import_to_either
from jglue_app.results.library import StoredRun
from jglue_app.results.showcase import SHIPPED
from jglue_app.runs.request_options import MAX_NAME
from jglue_app.scoring.leaderboard import Entry, leaderboard
from jglue_app.scoring.protocols import PROTOCOLS, get_protocol
from jglue_app.tasks import CORE, TASKS
from jglue_app.types import Notice
from jglue_app.ui import controls, views
from jglue_app.ui.controls import T, pane
from jglue_app.ui.state import AppState
from jglue_app.ui.tabs import wandb_panel
from jglue_app.ui.tabs import waterfall as why
from jglue_app.ui.views.board import notice_text
from jglue_app.ui.views.ranking import pictures, ranking
from jglue_app.ui.visitor import language, visitor

EXPORTS = (*files.FORMATS, "zip", *exporters.FORMATS)
BESIDE = re.compile(r"results_.+\.json|metrics\.json|config\.json")
"""What lies beside a log and is none itself."""
MOST_DAMAGED = 5
"""Damaged runs that are named; the command line lists them all."""
PICKS = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('.jg-pick');
  if (button) trigger('select', { run: button.dataset.run, side: button.dataset.side });
});
"""


@dataclass(frozen=True, slots=True)
class Tab:
    """What other tabs need of this one."""

    compare: gr.Button
    a: gr.Dropdown
    b: gr.Dropdown
    refresh: Callable[..., tuple[Any, ...]]
    inputs: list[gr.components.Component]
    outputs: list[gr.components.Component]


def build(desk: AppState, t: T) -> Tab:
    """Put the tab's content into the surrounding Blocks."""
    settings = desk.settings
    with gr.Row(elem_classes="jg-controls"):
        with gr.Column(min_width=260):
            kind = gr.Radio(
                controls.data_choices(t),
                value="sample",
                label=t("data"),
                info=t("results_data_info"),
                elem_id="results-data",
            )
            tasks = gr.CheckboxGroup(
                controls.subset_choices(), value=list(CORE), label=t("results_tasks"), elem_id="results-tasks"
            )
        with gr.Column(min_width=260):
            protocol = gr.Dropdown(
                list(PROTOCOLS),
                value="official",
                label=t("results_protocol"),
                info=t("results_protocol_info"),
                elem_id="protocol",
            )
            against = gr.Dropdown(list(PROTOCOLS), value="official", label=t("results_against"), elem_id="against")
    notice = pane("results-status")
    table = pane("leaderboard", js_on_load=PICKS)
    with gr.Row(equal_height=True, elem_classes="jg-pickrow"):
        a = gr.Dropdown([], label="A", elem_id="pick-a", scale=4, min_width=220)
        b = gr.Dropdown([], label="B", elem_id="pick-b", scale=4, min_width=220)
        compare = gr.Button(t("open_pair"), variant="primary", elem_id="open-pair", scale=2, min_width=140)
    why.build(desk, t, a)
    figures = pane("figures")
    gr.Markdown(t("manage"), elem_classes="jg-section")
    with gr.Row(elem_classes="jg-controls"):
        with gr.Column(min_width=260):
            run = gr.Dropdown([], label=t("manage_run"), elem_id="manage-run")
            format = gr.Radio(
                list(EXPORTS), value="jsonl", label=t("export_format"), info=t("export_info"), elem_id="export-format"
            )
            make = gr.Button(t("export"), elem_id="export")
            download = gr.File(label=t("export_file"), interactive=False, visible=False, elem_id="export-file")
        with gr.Column(min_width=260, visible=not settings.public):
            upload = gr.File(
                label=t("import"),
                file_types=[".zip", ".jsonl", ".json", ".eval"],
                file_count="multiple",
                elem_id="import",
                height=140,
            )
            partial = gr.Checkbox(label=t("import_partial"), info=t("import_info"), elem_id="import-partial")
            model = gr.Textbox(label=t("import_model"), max_lines=1, max_length=MAX_NAME, elem_id="import-model")
            delete = gr.Button(t("delete"), elem_id="delete", variant="stop")
            with gr.Group(visible=False, elem_id="delete-box") as sure:
                question = pane("delete-question")
                with gr.Row():
                    yes = gr.Button(t("delete_yes"), variant="stop", elem_id="delete-yes")
                    no = gr.Button(t("delete_no"), elem_id="delete-no")
    done = pane("manage-status")

    def to_push(
        which: str, managed: str | None, first: str | None, second: str | None, how: str
    ) -> tuple[str, str, str]:
        if which == "pair" and not (first and second):
            raise InputError("Choose two runs to compare first: A and B above.")
        return (str(first), str(second), how) if which == "pair" else (managed or "", "", how)

    wandb_panel.build(desk, t, "results", to_push, [run, a, b, protocol], pairs=True)

    doomed = gr.State("")
    inputs: list[gr.components.Component] = [kind, tasks, protocol, against, a, b, run]
    outputs: list[gr.components.Component] = [notice, table, figures, a, b, run]

    def refresh(
        request: gr.Request,
        data: str,
        names: list[str],
        how: str,
        usual: str,
        first: str | None,
        second: str | None,
        kept: str | None = None,
    ) -> tuple[Any, ...]:
        lang, owner = language(request), visitor(request)
        try:
            entries, chosen = ranked(desk, owner, data, names, how, usual, lang)
        except JglueAppError as e:
            return views.failure(e, lang), *[gr.skip()] * 5
        runs = desk.runs(owner)
        names_here = [entry.name for entry in entries]
        first = first if first in names_here else next(iter(names_here), None)
        second = second if second in names_here else next((n for n in names_here if n != first), None)
        choices = [(told_apart(runs[entry.name], entry.name), entry.name) for entry in entries]
        payload = ranking(entries, runs, chosen, lang, protocol=how, against=usual, chosen=(first or "", second or ""))
        picked = {name: entry for name in (first, second) for entry in entries if entry.name == name}
        shown = [*picked.values(), *(entry for entry in entries if entry.name not in picked)]
        every = [(told_apart(found_run, name), name) for name, found_run in runs.items()]
        # What is chosen and still there is not set again: by the time this arrives another may have been chosen.
        managed: dict[str, Any] = {} if kept in runs else {"value": first or (every[0][1] if every else None)}
        return (
            _left_out(chosen, names, how, lang) + _damaged(desk, owner, lang),
            views.render("ranking", payload, lang),
            views.render("pictures", pictures(shown, chosen), lang),
            gr.update(choices=choices, value=first),
            gr.update(choices=choices, value=second),
            gr.update(choices=every, **managed),
        )

    def pick(request: gr.Request, event: gr.EventData, first: str | None, second: str | None) -> tuple[Any, Any]:
        sent = event._data if isinstance(event._data, dict) else {}
        name = str(sent.get("run", ""))
        if sent.get("side") == "a":
            return name, first if second == name else gr.skip()
        return second if first == name else gr.skip(), name

    def export(request: gr.Request, name: str | None, how: str, under: str) -> tuple[Any, str]:
        return export_view(desk, request, str(name or ""), how, under)

    def take(request: gr.Request, files: list[str] | None, some: bool, name: str) -> tuple[Any, str]:
        lang = language(request)
        if not files:
            return gr.skip(), ""
        try:
            found, notices = import_files(desk, [Path(file) for file in files], some, name)
        except JglueAppError as e:
            return None, views.failure(e, lang)
        done = views.note(word("import_done", lang).format(desk.library.stored(found).label))
        return None, done + "".join(views.note(_told(notice, lang)) for notice in notices)

    def ask(request: gr.Request, name: str | None) -> tuple[Any, str, str, str]:
        """The question names a run, and that is the one which a yes deletes, whatever is chosen meanwhile."""
        lang = language(request)
        found = desk.runs(visitor(request)).get(str(name or ""))
        if found is None:
            return gr.update(visible=False), "", views.sentence(word("choose_run", lang), lang), ""
        if str(name).startswith(SHIPPED):
            return gr.update(visible=False), "", views.sentence(word("shipped_stays", lang), lang), ""
        asked = views.note(word("delete_ask", lang).format(f"{found.label} ({name})"))
        return gr.update(visible=True), asked, "", str(name)

    def remove(request: gr.Request, name: str) -> tuple[Any, str, str]:
        lang = language(request)
        try:
            desk.delete(visitor(request), name)
        except JglueAppError as e:
            return gr.update(visible=False), views.failure(e, lang), ""
        return gr.update(visible=False), views.note(word("deleted", lang).format(name)), ""

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    gr.on([c.input for c in (kind, tasks, protocol, against, a, b)], refresh, inputs, outputs, **quiet)
    table.select(pick, [a, b], [a, b], trigger_mode="multiple", **quiet).then(refresh, inputs, outputs, **quiet)
    make.click(export, [run, format, protocol], [download, done], **quiet)
    upload.upload(take, [upload, partial, model], [upload, done], **quiet).then(refresh, inputs, outputs, **quiet)
    delete.click(ask, run, [sure, question, done, doomed], **quiet)
    no.click(lambda: gr.update(visible=False), None, sure, queue=False, api_visibility="private")
    yes.click(remove, doomed, [sure, done, doomed], **quiet).then(refresh, inputs, outputs, **quiet)
    return Tab(compare, a, b, refresh, inputs, outputs)


def told_apart(run: StoredRun, name: str) -> str:
    """A run's label with what tells it from others of the same: items, day and time, the beginning of its id."""
    made = run.created[5:16].replace("T", " ")
    return f"{run.label} · {run.done:,} · {made} · {name.removeprefix(SHIPPED)[:8]}"


def ranked(
    desk: AppState, owner: str, data: str, names: list[str], protocol: str, against: str, lang: str
) -> tuple[list[Entry], list[str]]:
    """The leaderboard and the subsets it rests on: of those asked for, the ones that both protocols score.

    Raises:
        InputError: none is left, or no such protocol or data.
    """
    if data not in tuple(controls.DATA_CHOICES):
        raise UnknownNameError("data", str(data)[:50], controls.DATA_CHOICES)
    if not names:
        raise InputError(word("no_tasks", lang))
    both = [
        name for name in TASKS if name in names and all(name in get_protocol(p).metrics for p in (protocol, against))
    ]
    if not both:
        raise InputError(word("no_common_tasks", lang).format(protocol, against))
    reports = desk.reports(owner, protocol, data)
    usual = reports if against == protocol else desk.reports(owner, against, data)
    return leaderboard(reports, usual, both), both


def _left_out(chosen: list[str], names: list[str], protocol: str, lang: str) -> str:
    missing = [TASKS[name].title for name in TASKS if name in names and name not in chosen]
    return views.note(word("tasks_left_out", lang).format(", ".join(missing), protocol)) if missing else ""


def _damaged(desk: AppState, owner: str, lang: str) -> str:
    """A sentence on each run that cannot be read, which would else be missing without a word."""
    found = [f"{name}: {say(why, lang)}" for name, why in list(desk.damaged(owner).items())[:MOST_DAMAGED]]
    return "".join(views.note(word("damaged_run", lang).format(text)) for text in found)


def export_view(
    desk: AppState, request: gr.Request, name: str, format: str, protocol: str = "official"
) -> tuple[Any, str]:
    """New values of a place to download from, and of the sentences about it."""
    lang = language(request)
    try:
        made = export_file(desk, visitor(request), name, format, protocol)
    except JglueAppError as e:
        return gr.update(visible=False), views.failure(e, lang)
    sentences = [word("export_done", lang).format(made.path.name), *(say(note, lang) for note in made.notes)]
    return gr.update(value=str(made.path), visible=True), "".join(map(views.note, sentences))


def export_file(desk: AppState, owner: str, name: str, format: str, protocol: str = "official") -> exporters.Exported:
    """A run as a file in a temporary folder, from which gradio takes a copy to serve.

    Args:
        desk: the state of the page.
        owner: whose run.
        name: the run.
        format: one of `EXPORTS`.
        protocol: whose scores the formats of other projects hold.

    Raises:
        StoreError: there is no such run, or the file cannot be written.
        UnknownNameError: no such format.
        InputError: the run is none that the format may tell of.
    """
    if format not in EXPORTS:
        raise UnknownNameError("export format", str(format)[:50], EXPORTS)
    if format == "zip":
        path = desk.visible_folder(owner, name)
        return exporters.Exported(archive.pack(path, desk.scratch() / f"{path.name}.zip"))
    if format in exporters.FORMATS:
        path = desk.visible_folder(owner, name)
        target = desk.scratch() / f"{path.name}-{format}{exporters.FORMATS[format].whole}"
        return exporters.export(path, target, format, str(protocol)[:50])
    target = desk.scratch() / f"{desk.path(owner, name).name}.{format}"
    judged = {how: desk.judged(owner, name, how) for how in PROTOCOLS}
    files.write(files.rows(desk.data(owner, name), judged), target, format)
    return exporters.Exported(target)


def import_files(
    desk: AppState, sources: Sequence[Path], partial: bool = False, model: str = ""
) -> tuple[Path, tuple[Notice, ...]]:
    """Bring in a run from a .zip file, or from logs of another harness with the files that lay beside them.

    Returns:
        The run's folder, and what has to be known of it.

    Raises:
        InputError: the server is public, or the files hold no run that can be scored here.
        StoreError: the run is here already.
    """
    if desk.settings.public:
        raise InputError("A public server takes no files. Run the application on your own machine to import runs.")
    if len(sources) == 1 and archive.is_run(sources[0]):
        return archive.unpack(sources[0], desk.settings.runs_dir), ()
    twice = next((name for name, count in Counter(path.name for path in sources).items() if count > 1), None)
    if twice is not None:
        raise InputError(
            "Two of the files are called {twice}. Import them one by one, each with what lay beside it.", twice=twice
        )
    with tempfile.TemporaryDirectory(prefix="logs-") as scratch:
        # Each came into a folder of its own; a log looks for scores and configuration in its folder.
        for path in sources:
            shutil.copy(path, Path(scratch) / path.name)
        names = [path.name for path in sources]
        logs = [name for name in names if not BESIDE.fullmatch(name)] or names
        found = import_to_either(desk.settings, Path(scratch), logs, partial, model.strip()[:MAX_NAME])
    return found.path, found.notices


def _told(notice: Notice, lang: str) -> str:
    title = TASKS[str(notice.facts["task"])].title
    return f"{title}: {notice_text(notice, lang)}"
