"""What the page shares between events: settings, models, jobs, stored runs, and who may look at which."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from jglue_app.backends import open_tokenizer
from jglue_app.backends.pool import ModelPool
from jglue_app.errors import InputError, StoreError
from jglue_app.results import showcase
from jglue_app.results.library import Ids, Library, StoredRun
from jglue_app.results.showcase import SHIPPED
from jglue_app.runs.store import RunStore, facts_of
from jglue_app.scoring.judged import Answered
from jglue_app.scoring.types import Report
from jglue_app.settings import Settings
from jglue_app.types import ModelSpec, RunData, Tokenizer
from jglue_app.ui.jobs import Job, Jobs

MAX_TOKENIZERS = 4
MAX_OWNERS = 10_000
MAX_EXPORTS = 8
MAX_PAGES = 10_000


class AppState:
    """One for each server."""

    def __init__(self, settings: Settings, device: str = "auto") -> None:
        self.settings = settings
        self.pool = ModelPool(settings, device=device)
        self.jobs = Jobs(settings, self.pool)
        self.library = Library(settings.runs_dir)
        self.drawn: dict[tuple[str, str, str], tuple[Any, ...]] = {}
        """(A, B, language) → views of pairs that came with the application, which never change."""
        self._current_views: OrderedDict[tuple[str, str], object] = OrderedDict()
        self._requested: OrderedDict[str, dict[str, dict[str, frozenset[str]]]] = OrderedDict()
        """Owner → run → subset → ids of the items that were asked for."""
        self._tokenizers: OrderedDict[ModelSpec, Tokenizer] = OrderedDict()
        self._lock = threading.Lock()
        self._exports: list[Path] = []
        self._scratch = tempfile.TemporaryDirectory(prefix="jglue-export-")

    # --- stored runs ------------------------------------------------------------------------------------

    def grant_access(self, job: Job) -> None:
        """Remember the runs of a job as its owner's, as far as it has asked for their items."""
        with self._lock:
            own = self._requested.setdefault(job.owner, {})
            for made in list(job.runs.values()):
                asked = own.setdefault(made.run, {})
                for task, ids in made.ids.items():
                    asked[task] = asked.get(task, frozenset()) | ids
            self._requested.move_to_end(job.owner)
            while len(self._requested) > MAX_OWNERS:
                self._requested.popitem(last=False)

    def set_current_view(self, page: str, place: str, at: object) -> None:
        """Remember what an open page shows in a place: who draws something else there meanwhile is to leave off.

        Args:
            page: its session.
            place: such as `compare`.
            at: a job, or whatever else is shown.
        """
        with self._lock:
            self._current_views[page, place] = at
            self._current_views.move_to_end((page, place))
            while len(self._current_views) > MAX_PAGES:
                self._current_views.popitem(last=False)

    def is_current_view(self, page: str, place: str, at: object) -> bool:
        """Whether an open page still shows that there."""
        return self._current_views.get((page, place), at) == at

    def path(self, owner: str, name: str) -> Path:
        """The folder of a run that the owner may look at.

        Raises:
            StoreError: there is none of this name, or it is another visitor's.
        """
        if name.startswith(SHIPPED):
            found = {SHIPPED + shipped for pair in showcase.PAIRS for shipped in (pair.a, pair.b)}
            if name in found and showcase.here():
                return showcase.folder(name.removeprefix(SHIPPED))
        elif not self.settings.public or name in self._requested.get(owner, ()):
            return self.library.find(name)
        raise StoreError("There is no run {name!r} here. Choose one of the list, or run it again.", name=name[:100])

    def visible_items(self, owner: str, name: str, *, requested_only: bool = False) -> Ids | None:
        """The items of a run that are the owner's; None for all of it.

        Whoever asks for the same shares one run. On a public server nobody is shown what somebody else has asked of it;
        elsewhere a stored run is shown whole, unless only what the owner has requested is wanted (`requested_only`).
        """
        if name.startswith(SHIPPED):
            return None
        if not self.settings.public:
            return self._requested.get(owner, {}).get(name) if requested_only else None
        return self._requested.get(owner, {}).get(name, {})

    def runs(self, owner: str, *, shipped: bool = True) -> dict[str, StoredRun]:
        """Name → run, the newest first and those that came with the application last: what the owner may look at."""
        own = self._requested.get(owner, {})
        found = {
            run.name: self._with_visible_counts(owner, run)
            for run in self.library.all()
            if not self.settings.public or run.name in own
        }
        if shipped and showcase.here():
            for name in dict.fromkeys(name for pair in showcase.PAIRS for name in (pair.a, pair.b)):
                found[SHIPPED + name] = self.library.stored(showcase.folder(name))
        return found

    def stored(self, owner: str, name: str) -> StoredRun:
        """A run without its records, its counts those of the owner's items; raises StoreError."""
        found = self.library.stored(self.path(owner, name))
        return found if name.startswith(SHIPPED) else self._with_visible_counts(owner, found)

    def _with_visible_counts(self, owner: str, run: StoredRun) -> StoredRun:
        asked = self.visible_items(owner, run.name)
        if asked is None:
            return run
        try:
            data = self.library.data(run.path, asked)
        except StoreError:  # Gone or damaged since it was listed.
            return run
        ids = {(task, id_) for task, items in data.items.items() for id_ in items}
        done = sum(record.output is not None and (record.task, record.item_id) in ids for record in data.records)
        return replace(run, done=done, planned=len(ids))

    def damaged(self, owner: str) -> dict[str, str]:
        """Name → what is wrong, of the owner's runs that cannot be read."""
        own = self._requested.get(owner, {})
        found = self.library.damaged()
        return {name: why for name, why in found.items() if not self.settings.public or name in own}

    def reports(self, owner: str, protocol: str, data: str) -> dict[str, Report]:
        """Name → report of the runs over `sample`, `official` or `test` data; what cannot be read is left out."""
        found: dict[str, Report] = {}
        for name, run in self.runs(owner).items():
            if run.data_kind == data:
                try:
                    found[name] = self.report(owner, name, protocol)
                except StoreError:
                    continue
        return found

    def data(self, owner: str, name: str, *, requested_only: bool = False) -> RunData:
        """A run as reports need it; see `visible_items`. Raises StoreError."""
        return self.library.data(self.path(owner, name), self.visible_items(owner, name, requested_only=requested_only))

    def judged(
        self, owner: str, name: str, protocol: str = "official", *, requested_only: bool = False
    ) -> dict[str, dict[str, Answered]]:
        """The judged items of a run that are visible; see `visible_items`. Raises StoreError, UnknownNameError."""
        return self.library.judged(
            self.path(owner, name), protocol, self.visible_items(owner, name, requested_only=requested_only)
        )

    def report(self, owner: str, name: str, protocol: str = "official", *, requested_only: bool = False) -> Report:
        """The scores of a run; see `visible_items`. Raises StoreError, UnknownNameError."""
        return self.library.report(
            self.path(owner, name), protocol, self.visible_items(owner, name, requested_only=requested_only)
        )

    def visible_folder(self, owner: str, name: str) -> Path:
        """A run's folder, to be sent elsewhere: a copy that holds the owner's items alone where it has more of them.

        Raises:
            StoreError: there is no such run, or no room for the copy.
        """
        path, asked = self.path(owner, name), self.visible_items(owner, name)
        if asked is None:
            return path
        whole, part = self.library.data(path), self.library.data(path, asked)
        if whole.items == part.items:
            return path
        copy = RunStore(self.scratch() / path.name)
        items = [item for found in part.items.values() for item in found.values()]
        kept = {(item.task, item.id) for item in items}
        with copy.writing() as writer:
            writer.items(items)
            writer.append(record for record in part.records if (record.task, record.item_id) in kept)
            head = {key: value for key, value in RunStore(path).manifest().items() if key != "records"}
            writer.manifest(head | {"items": facts_of(items)})
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

    def scratch(self) -> Path:
        """A new folder for a file on its way to somebody; only the last few are kept."""
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
            if spec in self._tokenizers:
                self._tokenizers.move_to_end(spec)
                return self._tokenizers[spec]
        opened = open_tokenizer(spec, self.settings, notify)
        with self._lock:
            self._tokenizers[spec] = opened
            while len(self._tokenizers) > MAX_TOKENIZERS:
                self._tokenizers.popitem(last=False)
        return opened
