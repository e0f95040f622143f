"""The collection of stored runs, and the only reader of their content.

Everything shown of a stored run (page, command line, API, W&B) comes from here: its data, judged items, report, and the
comparison of two. It is read, judged and computed once for each version of its files; see `cache`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from jglue_app import messages
from jglue_app.errors import StoreError, reason_of
from jglue_app.results import run_name
from jglue_app.results.cache import ResultCache, RunCache, version_of
from jglue_app.results.pair_tests import PairTests
from jglue_app.results.summaries import RunFiles, SummaryStore
from jglue_app.runs.store import RunStore
from jglue_app.scoring import waterfall
from jglue_app.scoring.columns import Column
from jglue_app.scoring.comparison import compare_runs, main_difference
from jglue_app.scoring.item_groups import GroupScore, groups, with_and_without
from jglue_app.scoring.judged import Judged, only, only_judged
from jglue_app.scoring.leaderboard import RunScores
from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.report import report_run
from jglue_app.scoring.summary import RunSummary, summarise
from jglue_app.scoring.types import Comparison, Difference, Judgement, Report
from jglue_app.scoring.waterfall import Waterfall
from jglue_app.tasks import TASKS
from jglue_app.types import TWO_BYTES, RunData, RunSpec, data_kind
from jglue_app.whole_files import remove_left_folders, scratch_folder, sync_folder

T = TypeVar("T")

DELETED = ".deleted-"
"""Beginning of the names of folders in which runs are deleted."""
Ids = Mapping[str, Collection[str]]
"""Task → ids of items."""


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run of the collection, without its records."""

    name: str
    """Its folder's name."""
    path: Path
    label: str
    """The name that somebody gave it, or else how it was made."""
    created: str
    """ISO 8601, UTC."""
    done: int
    """Items with an output."""
    planned: int
    """Items that the run is to answer."""
    spec: Mapping[str, Any]
    """The spec as the manifest has it."""
    machine: Mapping[str, Any]
    model: Mapping[str, Any] = field(default_factory=dict)
    """What the manifest says about the loaded model."""
    made_as: str = ""
    """How it was made, in short, whatever it is called."""
    description: str = ""
    """What somebody wrote about it."""

    @property
    def is_named(self) -> bool:
        """Whether the label is a name that somebody gave it."""
        return bool(self.made_as) and self.label != self.made_as

    @property
    def data_kind(self) -> str:
        """Which runs it may be ranked with; see `types.data_kind`."""
        return data_kind(str(self.spec.get("data_version", "")), str(self.spec.get("split", "valid")))

    @property
    def finished(self) -> bool:
        """Whether every item has an output."""
        return self.done >= self.planned


class Library:
    """The runs below a folder, and the reader of any run folder. Safe to use from several threads.

    Methods with a parameter `items` (task → ids) use only these items, as if the run had no others. All methods that
    read raise StoreError if there is no run at the path, or a damaged one, and UnknownNameError for a protocol that
    does not exist.

    Args:
        runs_dir: the folder.
        cache_dir: below it stands what other processes need not compute again of these runs; None to keep nothing.
    """

    def __init__(self, runs_dir: Path, cache_dir: Path | None = None) -> None:
        self.runs_dir = runs_dir
        self._cache_dir = cache_dir
        self._runs = RunCache()
        self._results = ResultCache()
        folder = None if cache_dir is None else cache_dir / "runs" / _folder_name(runs_dir)
        self._summaries = SummaryStore(folder)
        self._is_tidy = folder is None
        """Whether what was kept of runs that are gone has been removed."""
        self.pair_tests = PairTests(folder)
        """Of pairs of its runs."""

    def __reduce__(self) -> tuple[type[Library], tuple[Path, Path | None]]:
        # A copy in another process starts with empty caches.
        return Library, (self.runs_dir, self._cache_dir)

    # --- one run or two -----------------------------------------------------------------------------------

    def data(self, path: Path, items: Ids | None = None) -> RunData:
        """Spec, items and records."""
        data = self._runs.data(path)
        return data if items is None else only(data, items)

    def judged(self, path: Path, protocol: str = "official", items: Ids | None = None) -> Judged:
        """Task → item id → item, record and judgement, as `judge_run` gives them."""
        return self._judged(path, protocol, items)[1]

    def item_judgements(self, path: Path, task: str, item_id: str) -> dict[str, Judgement]:
        """Protocol → judgement of one item, for every protocol that scores its subset; empty if the item has no
        record."""
        return self._runs.item_judgements(path, task, item_id)

    def report(self, path: Path, protocol: str = "official", items: Ids | None = None) -> Report:
        """All scores under a protocol."""

        def compute() -> Report:
            data, judged = self._judged(path, protocol, items)
            return _called(report_run(data, protocol, judged), path)

        return self._results.get(("report", protocol, path, self._subset(path, items)), _version(path), compute)

    def groups(self, path: Path, protocol: str = "official", items: Ids | None = None) -> tuple[GroupScore, ...]:
        """Scores with and without faulty, repeated, leaked and relabelled items; empty if the run has none of them."""

        def compute() -> tuple[GroupScore, ...]:
            data, judged = self._judged(path, protocol, items)
            return with_and_without(data, protocol, judged) if groups(data) else ()

        return self._results.get(("groups", protocol, path, self._subset(path, items)), _version(path), compute)

    def waterfalls(self, path: Path, start: str, end: str, items: Ids | None = None) -> dict[str, Waterfall]:
        """Subset → how its score changes from one protocol to another, decision by decision.

        Raises:
            InputError: there is no subset that both protocols score; says why for the first.
        """

        def compute() -> dict[str, Waterfall]:
            data = self.data(path, items)
            tasks = waterfall.explainable(data, start, end) or list(data.items)[:1]
            return {task: waterfall.explain(data, task, start, end) for task in tasks}

        return self._results.get(("waterfalls", start, end, path, self._subset(path, items)), _version(path), compute)

    def comparison(
        self, a: Path, b: Path, protocol: str = "official", items_a: Ids | None = None, items_b: Ids | None = None
    ) -> Comparison:
        """The comparison of two runs on the items that both have; see `compare_runs`."""

        def compute() -> Comparison:
            (data_a, judged_a), (data_b, judged_b) = (
                self._judged(a, protocol, items_a),
                self._judged(b, protocol, items_b),
            )
            found = compare_runs(data_a, data_b, protocol, (judged_a, judged_b))
            return replace(found, a=_called(found.a, a), b=_called(found.b, b))

        key = "comparison", protocol, a, self._subset(a, items_a), b, self._subset(b, items_b)
        return self._results.get(key, (_version(a), _version(b)), compute)

    def main_difference(
        self,
        a: Path,
        b: Path,
        task: str,
        protocol: str = "official",
        items_a: Ids | None = None,
        items_b: Ids | None = None,
    ) -> Difference | None:
        """Of a subset's main metric, B minus A; see `scoring.comparison.main_difference`."""

        def compute() -> Difference | None:
            rows = [self._judged(path, protocol, of)[1].get(task, {}) for path, of in ((a, items_a), (b, items_b))]
            return main_difference(TASKS[task], rows[0], rows[1], get_protocol(protocol))

        key = "main_difference", protocol, task, a, self._subset(a, items_a), b, self._subset(b, items_b)
        return self._results.get(key, (_version(a), _version(b)), compute)

    # --- what rankings need -------------------------------------------------------------------------------

    def summary(self, path: Path, protocol: str = "official", items: Ids | None = None) -> RunSummary:
        """The scores that rank a run, and what they rest on."""

        def compute() -> RunSummary:
            if items is not None:
                data, judged = self._judged(path, protocol, items)
                summary = summarise(data, protocol, judged)[0]
            else:
                files, taken = self._files(path)
                kept = self._kept(path).summary(path.name, protocol, files)
                summary = kept or self._summarise(path, protocol, files, taken)[0]
            name = run_name.read_name(path).name
            return replace(summary, label=name) if name else summary

        return self._results.get(("summary", protocol, path, self._subset(path, items)), _version(path), compute)

    def column(self, path: Path, task: str, protocol: str = "official", items: Ids | None = None) -> Column:
        """What paired tests need of a run, on a subset of which something counts."""
        if items is None:
            kept = self._kept(path).column(path.name, protocol, self._files(path)[0], task)
            if kept is not None:
                return kept
        data, judged = self._judged(path, protocol, items)
        column = summarise(data, protocol, {task: judged[task]})[1].get(task)
        if column is None:
            raise StoreError("{path} was changed while it was read. Try again.", path=path)
        return column

    def _summarise(
        self, path: Path, protocol: str, files: RunFiles, taken: float
    ) -> tuple[RunSummary, tuple[int, int]]:
        """Read a run, and keep what lists and rankings need of it: its summary, and `_counts`."""
        data, judged = self._runs.judged_once(path, protocol)
        (summary, columns), counts = summarise(data, protocol, judged), _counts(data)
        if self._files(path)[0] == files:
            kept = self._kept(path)
            kept.keep_counts(path.name, files, taken, *counts)
            kept.keep(path.name, protocol, files, taken, summary, columns)
        return summary, counts

    def _kept(self, path: Path) -> SummaryStore:
        """Where summaries of a run are kept: of one that is elsewhere, nowhere."""
        return self._summaries if path.parent == self.runs_dir else SummaryStore(None)

    def _files(self, path: Path) -> tuple[RunFiles, float]:
        """The versions of the files of a run, and when they were taken."""
        taken = time.time()
        store = RunStore(path)
        return (*version_of(store), store.file_version("records.jsonl")), taken

    def _judged(self, path: Path, protocol: str, items: Ids | None) -> tuple[RunData, Judged]:
        """A run and its judged items, from the same version of its files."""
        data, judged = self._runs.judged(path, protocol)
        if items is None:
            return data, judged
        data = only(data, items)
        return data, only_judged(judged, data)

    def _subset(self, path: Path, items: Ids | None) -> str:
        """Cache key of a part of a run: a checksum of its items; empty for all of them."""
        if items is None:
            return ""
        data = self._runs.data(path)
        part = only(data, items)
        if part.items == data.items:
            return ""
        checksum = hashlib.sha256()
        for task, chosen in part.items.items():
            for id_ in chosen:
                checksum.update(f"{task}\0{id_}\0".encode("utf-8", "surrogatepass"))
        return checksum.hexdigest()

    # --- the runs below the folder ------------------------------------------------------------------------

    def all(self) -> list[StoredRun]:
        """Every run below the folder, the newest first; `damaged` has those that cannot be read.

        Raises:
            StoreError: `runs_dir` is not a folder, or cannot be read. A folder that does not exist yet holds no runs.
        """
        return self.listing()[0]

    def damaged(self) -> dict[str, str]:
        """Folder name → what is wrong, for the runs that cannot be read."""
        return self.listing()[1]

    def listing(self) -> tuple[list[StoredRun], dict[str, str]]:
        """What `all` and `damaged` give, of one look at each folder: a run that cannot be read for a moment is in the
        one or in the other."""
        runs, reasons = [], {}
        folders = self._folders()
        if not self._is_tidy:
            self._is_tidy = True
            self._summaries.forget_others([path.name for path in folders])
        for path in folders:
            try:
                runs.append(self.stored(path))
            except StoreError as e:
                reasons[path.name] = messages.of(e)
        return sorted(runs, key=lambda run: (run.created, run.name), reverse=True), reasons

    def _folders(self) -> list[Path]:
        """The folders that hold a run, even a damaged one; a run that has just started has no manifest and no record
        yet."""
        try:
            next(self.runs_dir.iterdir(), None)  # `glob` silently ignores a file, or a folder that cannot be read.
        except FileNotFoundError:
            return []
        except OSError as e:
            raise StoreError(
                "The folder for runs {runs_dir} cannot be read ({reason}). Check its permissions, or choose another "
                "one: JGLUE_RUNS_DIR (--runs-dir).",
                runs_dir=self.runs_dir,
                reason=reason_of(e),
            ) from e
        stores = (RunStore(path) for path in sorted(self.runs_dir.glob("[!.]*/")))
        return [store.path for store in stores if store.exists() or store.has_records()]

    def spec(self, path: Path) -> RunSpec:
        """The spec of a run whose records may be damaged; raises StoreError if there is none."""
        return RunStore(path).spec()

    def stored(self, path: Path) -> StoredRun:
        """One run by its folder; raises StoreError if there is none."""
        return self._results.get(("stored", path), _version(path), lambda: _stored(path, *self._counted(path)))

    def _counted(self, path: Path) -> tuple[int, int]:
        """How many items of a run have an output, and how many it is to answer; its files are read and found whole."""
        files, taken = self._files(path)
        kept = self._kept(path)
        if kept.folder is None:
            return _counts(self._runs.data(path))
        # Whoever lists runs ranks them next: reading takes much longer than judging.
        return kept.counts(path.name, files) or self._summarise(path, "official", files, taken)[1]

    def scores(
        self, protocol: str = "official", data: str = "sample", damaged: dict[str, str] | None = None
    ) -> dict[str, RunScores]:
        """Run → its main metrics, of all runs below the folder over `sample`, `official` (dev) or `test` data; damaged
        runs are left out. Scores on different data are not comparable, so they are never in one table.

        Args:
            protocol: what scores them.
            data: of which data.
            damaged: takes folder name → what is wrong, for those that are left out.

        Raises:
            UnknownNameError: no such protocol.
        """
        get_protocol(protocol)
        return self._of_runs(lambda path: self.summary(path, protocol).scores, data, damaged)

    def reports(
        self, protocol: str = "official", data: str = "sample", damaged: dict[str, str] | None = None
    ) -> dict[str, Report]:
        """Run → its report, of all runs below the folder over `sample`, `official` (dev) or `test` data; damaged runs
        are left out. Scores on different data are not comparable, so they are never in one table.

        Args:
            protocol: what scores them.
            data: of which data.
            damaged: takes folder name → what is wrong, for those that are left out.

        Raises:
            UnknownNameError: no such protocol.
        """
        get_protocol(protocol)
        return self._of_runs(lambda path: self.report(path, protocol), data, damaged)

    def _of_runs(self, read: Callable[[Path], T], data: str, damaged: dict[str, str] | None) -> dict[str, T]:
        """Run → what is read of it, of all runs over some data that can be read; `damaged` takes the others."""
        found: dict[str, T] = {}
        runs, reasons = self.listing()
        for run in runs:
            if run.data_kind == data:
                try:
                    found[run.name] = read(run.path)
                except StoreError as e:
                    reasons[run.name] = messages.of(e)
        if damaged is not None:
            damaged |= reasons
        return found

    def find(self, name: str) -> Path:
        """The folder of a run by its name; a name that leads out of the collection is rejected. Raises StoreError."""
        if name in {path.name for path in self._folders()}:
            return self.runs_dir / name
        raise StoreError("There is no run {name!r} here. Choose one of the list, or run it again.", name=name[:100])

    def finish_deletions(self) -> None:
        """Remove what is left of runs whose deletion was killed."""
        remove_left_folders(self.runs_dir, DELETED)

    def delete(self, name: str) -> None:
        """Delete a run below the folder.

        Raises:
            StoreError: there is no such run.
            RunBusyError: a process is writing to it.
        """
        self.finish_deletions()
        path = self.find(name)
        with RunStore(path).writing():
            pass  # Raises if another process is writing.
        self._runs.forget(path)
        self._summaries.forget(name)
        try:
            with scratch_folder(self.runs_dir, DELETED) as scratch:
                # Moved first: a partly deleted folder must not count as a run.
                path.rename(scratch / "run")
                sync_folder(self.runs_dir)
        except OSError as e:
            raise StoreError(
                "{path} cannot be deleted ({reason}). Check its permissions.", path=path, reason=reason_of(e)
            ) from e


def _version(path: Path) -> Hashable:
    """The version of everything that is stored of a run; raises StoreError if there is none."""
    store = RunStore(path)
    return (*version_of(store), store.file_version("records.jsonl"), store.file_version(run_name.FILE))


def _called(report: Report, path: Path) -> Report:
    """A report under the name that somebody gave the run, if anybody did."""
    name = run_name.read_name(path).name
    return replace(report, label=name) if name else report


def _folder_name(runs_dir: Path) -> str:
    return hashlib.sha256(str(runs_dir.resolve()).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _counts(data: RunData) -> tuple[int, int]:
    """How many items of a run have an output, and how many it is to answer."""
    planned = {(task, id_) for task, items in data.items.items() for id_ in items}
    done = sum(record.output is not None and (record.task, record.item_id) in planned for record in data.records)
    return done, len(planned)


def _stored(path: Path, done: int, planned: int) -> StoredRun:
    manifest = RunStore(path).manifest()
    called = run_name.read_name(path)
    try:
        label, dtype = str(manifest["label"]), manifest["spec"]["model"].get("dtype", "")
        # Older versions did not name it.
        if dtype in TWO_BYTES and dtype not in label.split(" · "):
            label = f"{label} · {dtype}"
        return StoredRun(
            path.name,
            path,
            called.name or label,
            str(manifest["created"]),
            done,
            planned,
            manifest["spec"],
            manifest.get("machine") or {},
            manifest.get("model") or {},
            label,
            called.description,
        )
    except (KeyError, TypeError, AttributeError) as e:
        raise StoreError("{path} is not a run's manifest ({reason!r}).", path=path / "manifest.json", reason=e) from e
