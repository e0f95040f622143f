"""What the page shares between events: settings, models, jobs, stored runs, and who may look at which."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jglue_app import showcase
from jglue_app.backends import ModelPool, open_tokenizer
from jglue_app.errors import InputError, StoreError
from jglue_app.jobs import Job, Jobs
from jglue_app.library import Library, StoredRun
from jglue_app.settings import Settings
from jglue_app.showcase import SHIPPED
from jglue_app.types import ModelSpec, Report, RunData, Tokenizer

KEPT_TOKENIZERS = 4
KEPT_OWNERS = 10_000
KEPT_EXPORTS = 8
KEPT_PAGES = 10_000


class Desk:
    """One for each server."""

    def __init__(self, settings: Settings, device: str = "auto") -> None:
        self.settings = settings
        self.pool = ModelPool(settings, device=device)
        self.jobs = Jobs(settings, self.pool)
        self.library = Library(settings.runs_dir)
        self.drawn: dict[tuple[str, str, str], tuple[Any, ...]] = {}
        """(A, B, language) → views of pairs that came with the application, which never change."""
        self._looking: OrderedDict[tuple[str, str], object] = OrderedDict()
        self._made: OrderedDict[str, set[str]] = OrderedDict()
        self._tokenizers: OrderedDict[ModelSpec, Tokenizer] = OrderedDict()
        self._lock = threading.Lock()
        self._exports: list[Path] = []
        self._scratch = tempfile.TemporaryDirectory(prefix="jglue-export-")

    # --- stored runs ------------------------------------------------------------------------------------

    def own(self, job: Job) -> None:
        """Remember the runs of a job as its owner's."""
        with self._lock:
            self._made.setdefault(job.owner, set()).update(made.run for made in job.made.values())
            self._made.move_to_end(job.owner)
            while len(self._made) > KEPT_OWNERS:
                self._made.popitem(last=False)

    def look(self, page: str, place: str, at: object) -> None:
        """Remember what an open page shows in a place: who draws something else there meanwhile is to leave off.

        Args:
            page: its session.
            place: such as `compare`.
            at: a job, or whatever else is shown.
        """
        with self._lock:
            self._looking[page, place] = at
            self._looking.move_to_end((page, place))
            while len(self._looking) > KEPT_PAGES:
                self._looking.popitem(last=False)

    def looks(self, page: str, place: str, at: object) -> bool:
        """Whether an open page still shows that there."""
        return self._looking.get((page, place), at) == at

    def path(self, owner: str, name: str) -> Path:
        """The folder of a run that the owner may look at.

        Raises:
            StoreError: there is none of this name, or it is another visitor's.
        """
        if name.startswith(SHIPPED):
            found = {SHIPPED + shipped for pair in showcase.PAIRS for shipped in (pair.a, pair.b)}
            if name in found and showcase.here():
                return showcase.folder(name.removeprefix(SHIPPED))
        elif not self.settings.public or name in self._made.get(owner, ()):
            return self.library.find(name)
        raise StoreError(f"There is no run {name[:100]!r} here. Choose one of the list, or run it again.")

    def runs(self, owner: str, *, shipped: bool = True) -> dict[str, StoredRun]:
        """Name → run, the newest first and those that came with the application last: what the owner may look at."""
        own = self._made.get(owner, set())
        found = {run.name: run for run in self.library.all() if not self.settings.public or run.name in own}
        if shipped and showcase.here():
            for name in dict.fromkeys(name for pair in showcase.PAIRS for name in (pair.a, pair.b)):
                found[SHIPPED + name] = self.library.stored(showcase.folder(name))
        return found

    def damaged(self, owner: str) -> dict[str, str]:
        """Name → what is wrong, of the owner's runs that cannot be read."""
        own = self._made.get(owner, set())
        found = self.library.damaged()
        return {name: why for name, why in found.items() if not self.settings.public or name in own}

    def reports(self, owner: str, protocol: str, data: str) -> dict[str, Report]:
        """Name → report of the runs over `sample` or `official` data; what cannot be read is left out."""
        found: dict[str, Report] = {}
        for name, run in self.runs(owner).items():
            if str(run.spec.get("data_version", "")).startswith("sample") == (data == "sample"):
                try:
                    found[name] = self.library.report(run.path, protocol)
                except StoreError:
                    continue
        return found

    def data(self, owner: str, name: str) -> RunData:
        """A run as reports need it; raises StoreError."""
        return self.library.data(self.path(owner, name))

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
            old, self._exports = self._exports[:-KEPT_EXPORTS], self._exports[-KEPT_EXPORTS:]
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
            while len(self._tokenizers) > KEPT_TOKENIZERS:
                self._tokenizers.popitem(last=False)
        return opened
