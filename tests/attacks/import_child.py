"""Imports archives one by one, and reads every run that was taken in all the ways that there are.

    python -m tests.attacks.import_child RUNS_FOLDER FILE…

A line of JSON for each file: `through` is empty where it was refused in a sentence, or taken and read.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from jglue_app.errors import JglueAppError
from jglue_app.results import archive, marks, run_name, table_files
from jglue_app.results.importers.import_run import import_to_either
from jglue_app.results.library import Library
from jglue_app.settings import load_settings
from jglue_app.ui import static_report

GROWTH = 1 << 30
"""Bytes that importing one archive of a MiB or so may take at most."""


def main() -> None:
    """Import each."""
    runs, files = Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]
    for file in files:
        print(json.dumps({"file": file.name, "through": _through(runs, file)}), flush=True)


def _through(runs: Path, file: Path) -> str:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    shutil.rmtree(runs, ignore_errors=True)
    try:
        if file.suffix == ".zip":
            _read(archive.unpack(file, runs), runs)
        else:
            settings = replace(load_settings(), runs_dir=runs)
            _read(import_to_either(settings, file.parent, [file.name], partial=True).path, runs)
    except JglueAppError:
        pass
    except BaseException as e:
        return f"{type(e).__name__}: {e}"[:300]
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    if grown > GROWTH:
        return f"{grown >> 20} MiB of memory"
    strange = [path.name for path in runs.iterdir() if path.name.startswith(".import-")] if runs.exists() else []
    return f"left behind: {strange[0]}" if strange else ""


def _read(run: Path, runs: Path) -> None:
    """All that shows or sends a run."""
    library = Library(runs)
    for stored in library.all():
        str(stored.label)
    library.damaged()
    for protocol in ("official", "flexeval"):
        library.report(run, protocol)
        library.judged(run, protocol)
    library.comparison(run, run, "official")
    library.groups(run, "official", None)
    library.waterfalls(run, "stability-jp", "official", None)
    table_files.rows(library.data(run), None, marks.read(run), run_name.read_name(run).name)
    target = runs / "report.html"
    static_report.report_of_folders(load_settings(), [run], target)
    target.unlink()


if __name__ == "__main__":
    main()
