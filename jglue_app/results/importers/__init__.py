"""Logs of other harnesses as stored runs. A new format is a file in this folder and a line in `FORMATS`.

log.py            the classes of a log and of a row (one answer)
log_files.py      reading files within size limits, and the values in them
unzip.py          reading members of a zip archive within size limits
fields.py         which subset a row belongs to, and its texts
item_matching.py  which item a row answers
label_mapping.py  how a log writes labels
collect.py        the rows of a log, grouped by subset and matched with items
build.py          matched rows → records, with notices about the import
scores.py         the scores that the harness reported, next to ours
write_run.py      records → a run folder
import_run.py     the whole import: files → a run folder
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jglue_app.errors import DataError, UnknownNameError
from jglue_app.messages import Joined, Message
from jglue_app.results.importers import flexeval, inspect_log, llm_jp_eval, lm_eval, swallow, unzip
from jglue_app.results.importers.log import Log
from jglue_app.results.importers.log_files import first_bytes, parse_json, read_json


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of log."""

    title: str
    """The harness's name and what file it is."""
    recognises: Callable[[Path, Mapping[str, Any] | None], bool]
    """(path, its first object or None) → whether a file is such a log."""
    open: Callable[[Path, Path | None, str], Log]
    """(log, results file or None, subset to assume or empty) → the log; raises DataError."""


FORMATS: dict[str, Format] = {
    "lm-eval": Format("lm-eval samples_….jsonl", lm_eval.recognises, lm_eval.open_log),
    "flexeval": Format("flexeval outputs.jsonl", flexeval.recognises, flexeval.open_log),
    "llm-jp-eval": Format("llm-jp-eval result JSON", llm_jp_eval.recognises, llm_jp_eval.open_log),
    "inspect": Format("Inspect .eval or JSON log", inspect_log.recognises, inspect_log.open_log),
    "swallow-jp": Format("result JSON of Swallow's lm-evaluation-harness-jp", swallow.recognises, swallow.open_log),
}
"""Name → format, in the order in which a file is tried."""


def open_log(path: Path, format: str | None = None, results: Path | None = None, subset: str = "") -> Log:
    """Open a log of another harness for reading.

    Args:
        path: the log.
        format: a key of `FORMATS`; None to detect it from the file.
        results: the harness's file of scores, where it is not next to the log.
        subset: the subset to assume where neither the log nor its rows say; empty if unknown.

    Raises:
        UnknownNameError: no such format.
        DataError: no log of a known kind, or a damaged one.
    """
    if format is not None and format not in FORMATS:
        raise UnknownNameError("log format", format, FORMATS)
    return FORMATS[format or detect(path)].open(path, results, subset)


def detect(path: Path) -> str:
    """The format of a log.

    Raises:
        DataError: unreadable, empty, or of no known kind.
    """
    head = _first_object(path)
    for name, format in FORMATS.items():
        if format.recognises(path, head):
            return name
    kinds = Joined(", ", (format.title for format in FORMATS.values()))
    raise DataError("{path}: is no log that is known here. Known are {kinds}.", path=path, kinds=kinds)


def _first_object(path: Path) -> Mapping[str, Any] | None:
    """The first object of a file in lines, or the whole document; None of a zip archive."""
    beginning = first_bytes(path, 1 << 26)
    if unzip.is_zip(path):
        return None
    bare = beginning.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not bare:
        raise DataError("{path}: is empty. Give a harness's log.", path=path)
    if bare[:1] not in b"{[":
        raise DataError(
            "{path}: is no JSON in UTF-8, which logs are written in. Give the log as the harness "
            "made it, or save it as UTF-8.",
            path=path,
        )
    line = bare.split(b"\n", 1)[0].strip()
    if line.startswith(b"{") and line.endswith(b"}"):
        content = parse_json(path, Message("line {line}", line=1), line)
    else:
        content = read_json(path)
        content = content[0] if isinstance(content, list) and content else content
    return content if isinstance(content, dict) else None
