"""Summaries of stored runs on disk, so that another process ranks a thousand runs without reading their records.

A summary counts for exactly the files that it was made from: their sizes, inodes and times of change, and the code that
made it (`code_version`). A run that was edited, torn, replaced or continued since is read again. So is one that was
written to a moment before it was read: a change within the clock's resolution would not show in the times.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jglue_app.results import kept_files
from jglue_app.runs.store import FileVersion
from jglue_app.runs.typed_json import read
from jglue_app.scoring.columns import Column
from jglue_app.scoring.summary import RunSummary

RunFiles = tuple[FileVersion | None, ...]
"""Of manifest, items and records."""
FINE_S, COARSE_S = 0.1, 2.5
"""Seconds for which files must have been left alone: clocks of file systems tick in milliseconds, or in seconds where
all times are whole seconds."""
_ENDING = ".summary"
_ARRAYS = ("positions", "values", "golds", "draws")


class SummaryStore:
    """The summaries of the runs of one folder.

    Args:
        folder: where they are; None to keep nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def counts(self, run: str, files: RunFiles) -> tuple[int, int] | None:
        """How many items of a run have an output, and how many it is to answer, if its files were read and found whole;
        None if that is not known."""
        kept = self._read(run, "run", files)
        try:
            return None if kept is None else (int(kept.values["done"]), int(kept.values["planned"]))
        except (KeyError, TypeError, ValueError):
            return None

    def summary(self, run: str, protocol: str, files: RunFiles) -> RunSummary | None:
        """The summary of a run under a protocol; None if it is not known."""
        kept = self._read(run, protocol, files)
        try:
            return None if kept is None else read(RunSummary, kept.values["summary"])
        except (KeyError, TypeError, ValueError):
            return None

    def column(self, run: str, protocol: str, files: RunFiles, task: str) -> Column | None:
        """The column of a run on a subset; None if it is not known."""
        kept = self._read(run, protocol, files)
        if kept is None:
            return None
        try:
            values = kept.values["columns"][task]
            arrays = [array for name in _ARRAYS if (array := kept.array(f"{task} {name}")) is not None]
            if len(arrays) < len(_ARRAYS):
                return None
            positions, numbers, golds, draws = arrays
            return Column(values["metric"], values["items"], positions, numbers, golds, tuple(values["labels"]), draws)
        except (KeyError, TypeError):
            return None

    def keep_counts(self, run: str, files: RunFiles, taken: float, done: int, planned: int) -> None:
        """Keep what `counts` gives.

        Args:
            run: its name.
            files: versions of its files, taken before they were read.
            taken: when they were taken, in seconds since the epoch.
            done, planned: items with an output, and all.
        """
        if self.folder is not None and were_quiet(files, taken):
            kept_files.write(self._path(run, "run"), _key(run, "run", files), {"done": done, "planned": planned})

    def keep(
        self,
        run: str,
        protocol: str,
        files: RunFiles,
        taken: float,
        summary: RunSummary,
        columns: Mapping[str, Column],
    ) -> None:
        """Keep what `summary` and `column` give."""
        if self.folder is None or not were_quiet(files, taken):
            return
        about = {
            task: {"metric": column.metric, "items": column.items, "labels": column.labels}
            for task, column in columns.items()
        }
        kept_files.write(
            self._path(run, protocol),
            _key(run, protocol, files),
            {"summary": dataclasses.asdict(summary), "columns": about},
            {f"{task} {name}": np.asarray(getattr(c, name)) for task, c in columns.items() for name in _ARRAYS},
        )

    def forget(self, run: str) -> None:
        """Remove all that is kept of a run."""
        beginning = _beginning(run)
        self._remove(lambda name: name.startswith(beginning))

    def forget_others(self, runs: Collection[str]) -> None:
        """Remove what is kept of other runs, which are gone."""
        beginnings = {_beginning(run) for run in runs}
        self._remove(lambda name: name.endswith(_ENDING) and name.partition(".")[0] + "." not in beginnings)

    def _remove(self, which: Callable[[str], bool]) -> None:
        if self.folder is not None:
            with contextlib.suppress(OSError):
                for path in list(self.folder.iterdir()):
                    if which(path.name):
                        path.unlink(missing_ok=True)

    def _read(self, run: str, protocol: str, files: RunFiles) -> kept_files.KeptFile | None:
        return None if self.folder is None else kept_files.read(self._path(run, protocol), _key(run, protocol, files))

    def _path(self, run: str, protocol: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{_beginning(run)}{protocol}{_ENDING}"


def _beginning(run: str) -> str:
    """Of the names of a run's files."""
    return hashlib.sha256(run.encode("utf-8", "surrogatepass")).hexdigest()[:32] + "."


def _key(run: str, protocol: str, files: RunFiles) -> dict[str, Any]:
    return {"run": run.encode("utf-8", "surrogatepass").hex(), "protocol": protocol, "files": _plain(files)}


def _plain(files: RunFiles) -> list[Any]:
    return [None if version is None else list(version) for version in files]


def were_quiet(files: RunFiles, taken: float) -> bool:
    """Whether nobody had written to files for a while when their versions were taken."""
    times = [time for version in files if version is not None for time in (version.mtime_ns, version.ctime_ns)]
    margin = COARSE_S if all(time % 1_000_000_000 == 0 for time in times) else FINE_S
    return bool(times) and taken - max(times) / 1e9 > margin
