"""Stored runs as files: what a visitor may take away, and bring in."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from jglue_app.errors import InputError, UnknownNameError
from jglue_app.messages import say, word
from jglue_app.results import archive, exporters, run_name, table_files
from jglue_app.results.importers.import_run import import_to_either
from jglue_app.runs.request_options import MAX_NAME
from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.types import Notice
from jglue_app.ui import static_report, views
from jglue_app.ui.state import AppState
from jglue_app.ui.static_report import ReportRequest

EXPORT_FORMATS = ("html", *table_files.FORMATS, "zip", *exporters.FORMATS)
_BESIDE_A_LOG = re.compile(r"results_.+\.json|metrics\.json|config\.json")
"""Files that lie beside a log and are none themselves."""

EXPORT = "export"
"""Kind of the jobs that write a file to be downloaded."""


def export_run(
    state: AppState, owner: str, name: str, format: str, protocol: str = "official"
) -> exporters.ExportResult:
    """A run as a file in a temporary folder, from which Gradio takes a copy to serve.

    Args:
        state: the server's.
        owner: whose run.
        name: the run.
        format: one of `EXPORT_FORMATS`.
        protocol: whose scores the formats of other projects hold.

    Raises:
        StoreError: there is no such run, or the file cannot be written.
        UnknownNameError: no such format.
        InputError: the format cannot hold this run.
    """
    if format not in EXPORT_FORMATS:
        raise UnknownNameError("export format", str(format)[:50], EXPORT_FORMATS)
    if format == "html":
        return exporters.ExportResult(report_of_runs(state, owner, ReportRequest((name,), str(protocol)[:50])))
    if format == "zip":
        path = state.visible_folder(owner, name)
        return exporters.ExportResult(archive.pack(path, state.scratch() / f"{path.name}.zip"))
    if format in exporters.FORMATS:
        path = state.visible_folder(owner, name)
        target = state.scratch() / f"{path.name}-{format}{exporters.FORMATS[format].whole}"
        return exporters.export(path, target, format, str(protocol)[:50])
    target = state.scratch() / f"{state.path(owner, name).name}.{format}"
    judged = {protocol_name: state.judged(owner, name, protocol_name) for protocol_name in PROTOCOLS}
    marks = state.marks.of(owner, name, state.path(owner, name))
    called = run_name.read_name(state.path(owner, name)).name
    table_files.write(table_files.rows(state.data(owner, name), judged, marks, called), target, format)
    return exporters.ExportResult(target)


def report_of_runs(state: AppState, owner: str, request: ReportRequest) -> Path:
    """A report in a temporary folder; raises as `static_report.write_report` does."""
    return static_report.write_report(state, owner, request, state.scratch() / static_report.file_name(request.names))


def exported_html(exported: exporters.ExportResult, lang: str) -> str:
    """What has to be known of an exported file."""
    sentences = [word("export_done", lang).format(exported.path.name), *(say(note, lang) for note in exported.notes)]
    return "".join(map(views.note, sentences))


def import_run(
    state: AppState, sources: Sequence[Path], partial: bool = False, model: str = ""
) -> tuple[Path, tuple[Notice, ...]]:
    """Bring in a run from a .zip file, or from logs of another harness with the files that lay beside them.

    Returns:
        The run's folder, and what has to be known of it.

    Raises:
        InputError: the server is public, or the files hold no run that can be scored here.
        StoreError: the run is here already.
    """
    if state.settings.public:
        raise InputError("A public server takes no files. Run the application on your own machine to import runs.")
    if len(sources) == 1 and archive.is_run(sources[0]):
        return archive.unpack(sources[0], state.settings.runs_dir), ()
    repeated = next((name for name, count in Counter(path.name for path in sources).items() if count > 1), None)
    if repeated is not None:
        raise InputError(
            "Two of the files are called {twice}. Import them one by one, each with what lay beside it.", twice=repeated
        )
    with tempfile.TemporaryDirectory(prefix="logs-") as scratch:
        # Each was uploaded into a folder of its own; a log looks for scores and configuration in its folder.
        for path in sources:
            shutil.copy(path, Path(scratch) / path.name)
        names = [path.name for path in sources]
        logs = [name for name in names if not _BESIDE_A_LOG.fullmatch(name)] or names
        imported = import_to_either(state.settings, Path(scratch), logs, partial, model.strip()[:MAX_NAME])
    return imported.path, imported.notices
