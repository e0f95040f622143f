"""Stored runs in the formats of other projects.

    every-eval-ever    Every Eval Ever 0.3.0: one JSON file of scores and one line a score of an item
    hub-eval-results   the Hub's `.eval_results/*.yaml`: the scores that a model card shows
    lm-eval            what lm-eval 0.4.13 writes with `--log_samples`: results_*.json and samples_*.jsonl

A format is one file in this folder and a line in `FORMATS`. Exports hold scores of one protocol, of a complete run
only, and never a score that is not finite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jglue_app.errors import InputError, UnknownNameError
from jglue_app.messages import Message
from jglue_app.results.exporters import every_eval_ever, hub_eval_results, lm_eval
from jglue_app.results.exporters.output_files import SCRATCH, check_target, write_files
from jglue_app.results.exporters.run_source import RunSource, load_run_source
from jglue_app.whole_files import remove_left_folders

FILE_ENDINGS = (".csv", ".json", ".jsonl", ".parquet", ".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Format:
    """One format of another project."""

    files: Callable[[RunSource], dict[str, str]]
    """Run → (path below the export's folder → content)."""
    single: Callable[[RunSource], str] | None = None
    """Run → content, where the format can also be a single file."""
    endings: tuple[str, ...] = ()
    """File name endings of such a file."""
    whole: str = ".zip"
    """Ending of the single file that holds everything."""
    notes: Callable[[RunSource], list[str]] = lambda _: []
    """Run → messages for the user about the export."""


FORMATS: Mapping[str, Format] = {
    "every-eval-ever": Format(every_eval_ever.files, every_eval_ever.single, (".json",)),
    "hub-eval-results": Format(
        hub_eval_results.files, hub_eval_results.single, (".yaml", ".yml"), ".yaml", hub_eval_results.notes
    ),
    "lm-eval": Format(lm_eval.files),
}


@dataclass(frozen=True, slots=True)
class ExportResult:
    """The result of an export."""

    path: Path
    notes: tuple[str, ...] = ()
    """Messages for the user."""


def export(run: Path, to: Path, format: str, protocol: str = "official") -> ExportResult:
    """Write a run in the format of another project.

    Args:
        run: the run's folder.
        to: a folder that is not there yet, a `.zip` file, or where the format has one, a single file by its ending
            (`.json` for the scores of every-eval-ever, `.yaml` for hub-eval-results).
        format: a key of `FORMATS`.
        protocol: a key of `PROTOCOLS`; its scores are written.

    Raises:
        UnknownNameError: no such format or protocol.
        InputError: the run is not complete, the protocol cannot score it, or the format must not contain it.
        StoreError: there is no run, something is at `to` already, or it cannot be written.
    """
    if format not in FORMATS:
        raise UnknownNameError("export format", format, FORMATS)
    exporter = FORMATS[format]
    ending = to.suffix.lower()
    if ending in FILE_ENDINGS and ending not in exporter.endings:
        if not exporter.endings:
            raise InputError(
                "{format} cannot be a {ending} file. Name a new folder or a .zip file.", format=format, ending=ending
            )
        raise InputError(
            "{format} cannot be a {ending} file. Name a new folder or a .zip file, or one file that ends in {one}.",
            format=format,
            ending=ending,
            one=exporter.endings[0],
        )
    remove_left_folders(to.absolute().parent, SCRATCH)
    check_target(to)
    source = load_run_source(run, protocol)
    if exporter.single is not None and ending in exporter.endings:
        write_files({to.name: exporter.single(source)}, to, single=True)
    else:
        write_files(exporter.files(source), to)
    return ExportResult(to, (*_left_out(source), *exporter.notes(source)))


def _left_out(source: RunSource) -> list[str]:
    return [Message("{task} is left out: {reason}.", task=task, reason=why) for task, why in source.left_out.items()]
