"""Marks and notes that visitors put on items.

On one's own machine they are stored beside the run (`results/marks.py`); those on runs that came with the application
in the folder for runs. On a public server many visitors see the same stored outputs, so there nobody's marks are stored
with a run: each visitor has their own, which are in nobody else's view, file or upload, and which are forgotten when
the server is restarted or needs the room.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

from cachetools import LRUCache

from jglue_app.errors import InputError
from jglue_app.results import marks
from jglue_app.results.marks import ItemMarks, Key, Marks
from jglue_app.results.showcase import SHIPPED
from jglue_app.settings import Settings

MAX_VISITOR_ITEMS = 500
"""Items that one visitor of a public server may have marked."""
MAX_CHARS = 2**26
"""Characters of all visitors' marks together; those of whom was not there longest are forgotten first."""
ITEM_CHARS = 500
"""What an item without a note counts as."""


class VisitorMarks:
    """The marks that each visitor sees. Safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._said: set[Path] = set()
        """Folders of whose newer marks somebody has been told."""
        self._by_visitor: LRUCache[str, Mapping[tuple[str, Key], ItemMarks]] = LRUCache(MAX_CHARS, getsizeof=_size)
        """Of a public server: visitor → (run, item) → marks."""

    def of(self, owner: str, name: str, path: Path) -> Marks:
        """The marks of a run that its visitor sees.

        Args:
            owner: the visitor.
            name: the run.
            path: its folder.

        Raises:
            StoreError: the stored file cannot be read.
        """
        if not self._settings.public:
            return marks.read(self._folder(path))
        with self._lock:
            found = self._by_visitor.get(owner, {})
        return {key: of_item for (run, key), of_item in found.items() if run == name}

    def has(self, owner: str) -> bool:
        """Whether a visitor of a public server has marked anything."""
        with self._lock:
            return bool(self._by_visitor.get(owner))

    def set(self, owner: str, name: str, path: Path, key: Key, new: ItemMarks) -> None:
        """Put marks on one item in place of those that it had; empty ones take them away. See `of`.

        Raises:
            StoreError: the run is not there any more, or its folder cannot be written to.
            InputError: the visitor has marked as many items as a public server keeps.
        """
        if self._settings.public:
            self._remember(owner, (name, key), new)
        elif name.startswith(SHIPPED):
            folder = self._folder(path)
            folder.mkdir(parents=True, exist_ok=True)
            marks.change(folder / marks.FILE, key, new)
        else:
            marks.write(path, key, new)

    def says_newer(self, name: str, path: Path) -> bool:
        """Whether the run has marks of a later version, which are kept and not shown; true once for each run. Raises
        StoreError as `of` does."""
        folder = self._folder(path)
        if self._settings.public or folder in self._said or not marks.has_newer(folder):
            return False
        self._said.add(folder)
        return True

    def _remember(self, owner: str, place: tuple[str, Key], new: ItemMarks) -> None:
        with self._lock:
            found = dict(self._by_visitor.get(owner, {}))
            found.pop(place, None)
            if new and len(found) >= MAX_VISITOR_ITEMS:
                raise InputError(
                    "On a public server at most {most} items can be marked. Take the marks off others first, or run "
                    "the application on your own machine.",
                    most=MAX_VISITOR_ITEMS,
                )
            self._by_visitor[owner] = {**found, place: new} if new else found

    def _folder(self, path: Path) -> Path:
        """Where the marks of a run are on one's own machine."""
        return marks.folder_of(path, self._settings.runs_dir)


def _size(found: Mapping[tuple[str, Key], ItemMarks]) -> int:
    return sum(ITEM_CHARS + len(of_item.note) for of_item in found.values())
