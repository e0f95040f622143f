"""What the page shares between events: settings, models, jobs, stored runs, and who may look at which."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from cachetools import LRUCache

from jglue_app.backends import open_tokenizer
from jglue_app.backends.pool import ModelPool
from jglue_app.errors import InputError, StoreError
from jglue_app.results import showcase
from jglue_app.results.library import Ids, Library, StoredRun
from jglue_app.results.rankings import Reader
from jglue_app.results.run_name import RunName, write_name
from jglue_app.results.showcase import SHIPPED
from jglue_app.runs.serialization import facts_of
from jglue_app.runs.store import RunStore
from jglue_app.scoring.item_groups import GroupScore
from jglue_app.scoring.judged import Judged
from jglue_app.scoring.leaderboard import RunScores
from jglue_app.scoring.summary import RunSummary
from jglue_app.scoring.types import Comparison, Difference, Judgement, Report
from jglue_app.scoring.waterfall import Waterfall
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec, RunData, Tokenizer
from jglue_app.ui.item_marks import VisitorMarks
from jglue_app.ui.jobs import Job, Jobs
from jglue_app.ui.remembered_access import RememberedAccess, Requested

MAX_TOKENIZERS = 4
MAX_OWNERS = 10_000
MAX_EXPORTS = 8
MAX_PAGES = 10_000


class AppState:
    """What all visitors of one server share; access to stored runs is by visitor."""

    def __init__(self, settings: Settings, device: str = "auto", folders: Mapping[str, Path] | None = None) -> None:
        """Nothing is loaded.

        Args:
            settings: the operator's choices.
            device: where models go.
            folders: name → folder of a run outside of the folder for runs; everyone sees all of it.
        """
        self.settings = settings
        self._folders = dict(folders or {})
        self.device = device
        self.pool = ModelPool(settings, device=device)
        self.jobs = Jobs(settings, self.pool)
        self.library = Library(settings.runs_dir, settings.cache_dir)
        self.marks = VisitorMarks(settings)
        self._current_views: LRUCache[tuple[str, str], object] = LRUCache(MAX_PAGES)
        """(Page's session, place) → what is shown there."""
        self._requested_items: LRUCache[str, Requested] = LRUCache(MAX_OWNERS)
        """Owner → run → task → ids of the items that were requested."""
        self._remembered = RememberedAccess(settings.runs_dir if settings.public else None)
        self._tokenizers: LRUCache[ModelSpec, Tokenizer] = LRUCache(MAX_TOKENIZERS)
        self._lock = threading.Lock()
        self._exports: list[Path] = []
        self._scratch = tempfile.TemporaryDirectory(prefix="jglue-export-")

    def close(self) -> None:
        """Remove what was written to be downloaded, and drop models."""
        self.pool.clear()
        self._scratch.cleanup()

    # --- who may see what -------------------------------------------------------------------------------

    def grant_access(self, job: Job) -> None:
        """Let a job's owner see its runs, as far as the job has requested their items."""
        with self._lock:
            runs = self._known_requests(job.owner)
            is_new = False
            for plan in list(job.runs.values()):
                ids_by_task = runs.setdefault(plan.run, {})
                for task, ids in plan.ids.items():
                    known = ids_by_task.get(task, frozenset())
                    ids_by_task[task] = known | ids
                    is_new |= not ids <= known
            self._requested_items[job.owner] = runs
            if is_new:
                self._remembered.save(job.owner, runs)

    def _known_requests(self, owner: str) -> Requested:
        """What an owner has requested, if need be as it was remembered. The caller holds the lock."""
        if owner not in self._requested_items and (remembered := self._remembered.load(owner)):
            self._requested_items[owner] = remembered
        return self._requested_items.get(owner, {})

    def _requested(self, owner: str) -> Requested:
        """Run → task → ids of the items that an owner has requested."""
        with self._lock:
            return dict(self._known_requests(owner))

    def is_known(self, owner: str) -> bool:
        """Whether a visitor has anything of their own here: a job, a run, or marks."""
        return self.jobs.has(owner) or bool(self._requested(owner)) or self.marks.has(owner)

    def path(self, owner: str, name: str) -> Path:
        """The folder of a run that the owner may see.

        Raises:
            StoreError: there is none of this name, or it is another visitor's.
        """
        if name.startswith(SHIPPED):
            shipped = {SHIPPED + run for run in showcase.run_names()}
            if name in shipped and showcase.is_available():
                return showcase.run_folder(name.removeprefix(SHIPPED))
        elif name in self._folders:
            return self._folders[name]
        elif not self.settings.public or name in self._requested(owner):
            return self.library.find(name)
        raise StoreError("There is no run {name!r} here. Choose one of the list, or run it again.", name=name[:100])

    def visible_items(self, owner: str, name: str, *, requested_only: bool = False) -> Ids | None:
        """The items of a run that the owner may see; None for all of them.

        Requests for the same outputs share one run. On a public server nobody sees what somebody else has requested of
        it; elsewhere a stored run is shown whole, unless only what the owner has requested is wanted
        (`requested_only`).
        """
        if name.startswith(SHIPPED) or name in self._folders:
            return None
        if not self.settings.public:
            return self._requested(owner).get(name) if requested_only else None
        return self._requested(owner).get(name, {})

    def _items(self, owner: str, name: str, items: Ids | None, requested_only: bool = False) -> Ids | None:
        """Those of some items (None: of all) that the owner may see."""
        visible = self.visible_items(owner, name, requested_only=requested_only)
        if items is None or visible is None:
            return visible if items is None else items
        return {task: set(ids) & set(visible[task]) for task, ids in items.items() if task in visible}

    # --- stored runs ------------------------------------------------------------------------------------

    def runs(self, owner: str, *, shipped: bool = True) -> dict[str, StoredRun]:
        """Name → run that the owner may see, the newest first and those that came with the application last."""
        requested = self._requested(owner)
        runs = {
            run.name: self._with_visible_counts(owner, run)
            for run in self.library.all()
            if not self.settings.public or run.name in requested
        }
        if shipped and showcase.is_available():
            for name in showcase.run_names():
                runs[SHIPPED + name] = self.library.stored(showcase.run_folder(name))
        return runs

    def stored(self, owner: str, name: str) -> StoredRun:
        """A run without its records, its counts those of the items that the owner may see; raises StoreError."""
        run = self.library.stored(self.path(owner, name))
        return run if name.startswith(SHIPPED) else self._with_visible_counts(owner, run)

    def _with_visible_counts(self, owner: str, run: StoredRun) -> StoredRun:
        items = self.visible_items(owner, run.name)
        if items is None:
            return run
        try:
            data = self.library.data(run.path, items)
        except StoreError:  # Gone or damaged since it was listed.
            return run
        ids = {(task, id_) for task, of in data.items.items() for id_ in of}
        done = sum(record.output is not None and (record.task, record.item_id) in ids for record in data.records)
        return replace(run, done=done, planned=len(ids))

    def damaged(self, owner: str) -> dict[str, str]:
        """Name → what is wrong, of the owner's runs that cannot be read."""
        requested = self._requested(owner)
        reasons = self.library.damaged()
        return {name: reason for name, reason in reasons.items() if not self.settings.public or name in requested}

    def data(self, owner: str, name: str, items: Ids | None = None, *, requested_only: bool = False) -> RunData:
        """Spec, items and records of a run. Like all readers below it sees the items that the owner may see (see
        `visible_items`), of these only `items` where they are given. Raises StoreError."""
        return self.library.data(self.path(owner, name), self._items(owner, name, items, requested_only))

    def judged(
        self,
        owner: str,
        name: str,
        protocol: str = "official",
        items: Ids | None = None,
        *,
        requested_only: bool = False,
    ) -> Judged:
        """Task → item id → item, record and judgement; see `data`. Raises StoreError, UnknownNameError."""
        return self.library.judged(self.path(owner, name), protocol, self._items(owner, name, items, requested_only))

    def item_judgements(self, owner: str, name: str, task: str, item_id: str) -> dict[str, Judgement]:
        """Protocol → judgement of one item; empty if it has no record, or is not the owner's. Raises StoreError."""
        visible = self.visible_items(owner, name)
        if visible is not None and item_id not in visible.get(task, ()):
            return {}
        return self.library.item_judgements(self.path(owner, name), task, item_id)

    def report(
        self,
        owner: str,
        name: str,
        protocol: str = "official",
        items: Ids | None = None,
        *,
        requested_only: bool = False,
    ) -> Report:
        """The scores of a run; see `data`. Raises StoreError, UnknownNameError."""
        return self.library.report(self.path(owner, name), protocol, self._items(owner, name, items, requested_only))

    def scores(self, owner: str, protocol: str, runs: Mapping[str, StoredRun], data: str) -> dict[str, RunScores]:
        """Name → main metrics of those of some runs that are over `sample`, `official` or `test` data; what cannot be
        read is left out."""
        scores: dict[str, RunScores] = {}
        for name, run in runs.items():
            if run.data_kind == data:
                with contextlib.suppress(StoreError):
                    scores[name] = self.summary(owner, name, protocol).scores
        return scores

    def summary(self, owner: str, name: str, protocol: str) -> RunSummary:
        """What ranks a run; see `data`. Raises StoreError, UnknownNameError."""
        return self.library.summary(self.path(owner, name), protocol, self._items(owner, name, None))

    def groups(
        self, owner: str, name: str, protocol: str = "official", items: Ids | None = None
    ) -> tuple[GroupScore, ...]:
        """Scores with and without faulty, repeated, leaked and relabelled items; see `data`. Raises StoreError,
        UnknownNameError."""
        return self.library.groups(self.path(owner, name), protocol, self._items(owner, name, items))

    def waterfalls(self, owner: str, name: str, start: str, end: str) -> dict[str, Waterfall]:
        """Subset → how its score under one protocol becomes that under another; see `data`. Raises StoreError,
        InputError, UnknownNameError."""
        return self.library.waterfalls(self.path(owner, name), start, end, self._items(owner, name, None))

    def comparison(
        self,
        owner: str,
        a: str,
        b: str,
        protocol: str = "official",
        items_a: Ids | None = None,
        items_b: Ids | None = None,
        *,
        requested_only: bool = False,
    ) -> Comparison:
        """Two runs on the items both were asked; see `data`. Raises StoreError, UnknownNameError."""
        return self.library.comparison(
            self.path(owner, a),
            self.path(owner, b),
            protocol,
            self._items(owner, a, items_a, requested_only),
            self._items(owner, b, items_b, requested_only),
        )

    def reader(self, owner: str, protocol: str) -> Reader:
        """Reads what rankings need of the runs that the owner may see; see `data`."""

        def difference(a: str, b: str, task: str) -> Difference | None:
            paths = self.path(owner, a), self.path(owner, b)
            visible = self._items(owner, a, None), self._items(owner, b, None)
            return self.library.main_difference(*paths, task, protocol, *visible)

        return Reader(
            lambda name: self.judged(owner, name, protocol),
            lambda name: self.report(owner, name, protocol),
            difference,
            lambda name: self.summary(owner, name, protocol),
            lambda name, task: self.library.column(
                self.path(owner, name), task, protocol, self._items(owner, name, None)
            ),
            self.library.pair_tests,
        )

    def visible_folder(self, owner: str, name: str) -> Path:
        """A run's folder, to be sent elsewhere: a copy with the items that the owner may see where it has more.

        Raises:
            StoreError: there is no such run, or no room for the copy.
        """
        path, visible = self.path(owner, name), self.visible_items(owner, name)
        if visible is None:
            return path
        whole, part = self.library.data(path), self.library.data(path, visible)
        if whole.items == part.items:
            return path
        copy = RunStore(self.scratch() / path.name)
        items = [item for of in part.items.values() for item in of.values()]
        keys = {(item.task, item.id) for item in items}
        with copy.writing() as writer:
            writer.items(items)
            writer.append(record for record in part.records if (record.task, record.item_id) in keys)
            # Counts and costs are those of all items.
            stored = RunStore(path).manifest().items()
            manifest = {key: value for key, value in stored if key not in ("records", "cost")}
            writer.manifest(manifest | {"items": facts_of(items)})
        return copy.path

    def delete(self, owner: str, name: str) -> None:
        """Delete a run for good.

        Raises:
            InputError: it came with the application, or the server is public.
            StoreError: there is no such run.
        """
        if self.settings.public:
            raise InputError("On a public server runs are not deleted by hand. Nothing was deleted.")
        if name.startswith(SHIPPED):
            raise InputError("This run came with the application and stays. Choose one that was made here.")
        self.path(owner, name)
        self.library.delete(name)

    def rename(self, owner: str, name: str, called: str, description: str) -> RunName:
        """Name and describe a run; what is empty is removed.

        Raises:
            InputError: it came with the application, the server is public, or a text is too long.
            StoreError: there is no such run.
        """
        if self.settings.public:
            raise InputError("On a public server runs are not named. Run the application on your own machine for that.")
        if name.startswith(SHIPPED):
            raise InputError("This run came with the application and keeps its name. Choose one that was made here.")
        return write_name(self.path(owner, name), called, description)

    # --- open pages -------------------------------------------------------------------------------------

    def set_current_view(self, page: str, place: str, view: object) -> None:
        """Remember what an open page shows in a place: handlers that draw something else there are to stop.

        Args:
            page: its session.
            place: such as `compare`.
            view: a job's id, or whatever else is shown.
        """
        with self._lock:
            self._current_views[page, place] = view

    def is_current_view(self, page: str, place: str, view: object) -> bool:
        """Whether an open page still shows this in a place; true for a page of which nothing is known."""
        with self._lock:
            return self._current_views.get((page, place), view) == view

    def current_view(self, page: str, place: str, default: object = None) -> object:
        """What an open page shows in a place; the default where nothing is known of it."""
        with self._lock:
            return self._current_views.get((page, place), default)

    # --- files to be downloaded -------------------------------------------------------------------------

    def scratch(self) -> Path:
        """A new folder for a file to be downloaded; only the last `MAX_EXPORTS` are kept."""
        folder = Path(self._scratch.name) / secrets.token_hex(8)
        folder.mkdir()
        with self._lock:
            self._exports.append(folder)
            old, self._exports = self._exports[:-MAX_EXPORTS], self._exports[-MAX_EXPORTS:]
        for path in old:
            shutil.rmtree(path, ignore_errors=True)
        return folder

    # --- tokenizers -------------------------------------------------------------------------------------

    def tokenizer(self, spec: ModelSpec, notify: Callable[[str], None] = lambda _: None) -> Tokenizer:
        """A tokenizer, kept for the next time; raises as `backends.open_tokenizer` does."""
        with self._lock:
            if (known := self._tokenizers.get(spec)) is not None:
                return known
        opened = open_tokenizer(spec, self.settings, notify)
        with self._lock:
            self._tokenizers[spec] = opened
        return opened
