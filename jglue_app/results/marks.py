"""Marks and short notes that people put on items of a run, in the file `marks.json` of its folder.

They belong to the run whose output is marked; in a comparison each side has its own. They are no part of what the run
is: its identity, records and scores do not depend on them.

    {"format": 1, "items": [{"task": "jnli", "item_id": "5", "marks": ["star"], "note": "…"}]}

A later version may know more marks, longer notes and more of an item. What is not known here is not shown, and stays in
the file.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from filelock import FileLock, Timeout

from jglue_app.errors import InputError, StoreError, UnknownNameError, reason_of
from jglue_app.results.surrogates import replace
from jglue_app.runs.serialization import dumps
from jglue_app.settings import ASSETS
from jglue_app.whole_files import write_atomically

FILE = "marks.json"
FORMAT_VERSION = 1
SIGNS: Mapping[str, str] = {"star": "★", "question": "?", "problem": "!"}
"""Mark → the sign that is shown."""
MAX_NOTE = 2_000
"""Characters of a note."""
MAX_BYTES = 2**27
"""Size of a file that is read."""
LOCK_SECONDS = 10

Key = tuple[str, str]
"""(Task, item id)."""


@dataclass(frozen=True, slots=True)
class ItemMarks:
    """What somebody put on one item of a run."""

    marks: tuple[str, ...] = ()
    """In the order of `SIGNS`."""
    note: str = ""

    @property
    def signs(self) -> str:
        """The signs of the marks, as one text."""
        return "".join(SIGNS[mark] for mark in self.marks)

    def __bool__(self) -> bool:
        return bool(self.marks or self.note)


NO_ITEM_MARKS = ItemMarks()
Marks = Mapping[Key, ItemMarks]
"""Those of a run; items without any are left out."""
NO_MARKS: Marks = MappingProxyType({})


def item_marks(marks: Sequence[str], note: str) -> ItemMarks:
    """Marks and a note as they are stored.

    Raises:
        UnknownNameError: no such mark.
        InputError: the note is too long.
    """
    if unknown := [mark for mark in marks if mark not in SIGNS]:
        raise UnknownNameError("mark", str(unknown[0])[:50], SIGNS)
    note = replace(note).strip()
    if len(note) > MAX_NOTE:
        raise InputError(
            "The note has {chars:,} characters; at most {most:,} are kept. Nothing was saved: shorten it.",
            chars=len(note),
            most=MAX_NOTE,
        )
    return ItemMarks(tuple(mark for mark in SIGNS if mark in marks), note)


def read(run: Path, named: Path | None = None) -> dict[Key, ItemMarks]:
    """The marks of a run by its folder; none if there is no file.

    Args:
        run: the folder.
        named: what an error calls it, where it is a copy that is soon gone.

    Raises:
        StoreError: the file cannot be read, or holds something else.
    """
    return {key: marks for key, row in _rows(run, named).items() if (marks := _known(row))}


def has_newer(run: Path) -> bool:
    """Whether the file has marks or notes of a later version; raises StoreError as `read` does."""
    return any(_unknown_marks(row) or len(_note(row)) > MAX_NOTE for row in _rows(run).values())


Row = Mapping[str, Any]
"""An item as the file has it."""


def _rows(run: Path, named: Path | None = None) -> dict[Key, Row]:
    path = run / FILE
    try:
        if not path.exists():
            return {}
        if not path.is_file():  # A pipe would be waited for.
            raise ValueError("it is no file")
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"> {MAX_BYTES >> 20} MiB")
        return _parsed(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise StoreError(
            "{path} cannot be read ({reason}). Restore it from a copy, or delete it: only marks and notes are lost.",
            path=(named or run) / FILE,
            reason=reason_of(e) if isinstance(e, OSError) else f"{type(e).__name__}: {e}",
        ) from e


def folder_of(run: Path, runs_dir: Path | None) -> Path:
    """Where the marks of a run are: in its folder, and for a run that came with the application, whose own folder is
    not written to, in one below the folder for runs.

    Args:
        run: the run's folder.
        runs_dir: the folder for runs; None for a visitor of a public server, who has none of its operator's marks.
    """
    is_shipped = run.resolve().parent == (ASSETS / "showcase").resolve()
    return runs_dir / ".marks" / run.name if is_shipped and runs_dir is not None else run


def read_of(run: Path, runs_dir: Path | None) -> dict[Key, ItemMarks]:
    """The marks of a run, wherever they are; see `folder_of`. Raises as `read` does."""
    return read(folder_of(run, runs_dir))


def _parsed(text: str) -> dict[Key, Row]:
    """Raises ValueError, KeyError, TypeError or AttributeError for another format."""
    table = json.loads(text)
    if table["format"] != FORMAT_VERSION:
        raise ValueError(f"format {table['format']!r}")
    return {(str(row["task"]), str(row["item_id"])): dict(row) for row in table["items"]}


def _known(row: Row) -> ItemMarks:
    """What this version shows of an item."""
    marks = _listed(row)
    return ItemMarks(tuple(mark for mark in SIGNS if mark in marks), _note(row)[:MAX_NOTE].strip())


def _listed(row: Row) -> list[Any]:
    marks = row.get("marks") or ()
    return marks if isinstance(marks, list) else [marks] if marks else []


def _unknown_marks(row: Row) -> list[Any]:
    return [mark for mark in _listed(row) if mark not in tuple(SIGNS)]


def _note(row: Row) -> str:
    return replace(str(row.get("note") or ""))


def _changed(row: Row, marks: ItemMarks) -> Row:
    """A row with other marks and another note; what this version does not know of it stays."""
    # Of a longer note only the beginning is shown: given back unchanged, it is still the whole one.
    note = row.get("note") if marks.note == _known(row).note else marks.note
    return {**row, "marks": [*marks.marks, *_unknown_marks(row)], "note": note or ""}


def write(run: Path, key: Key, marks: ItemMarks) -> None:
    """Put marks and a note on one item of a run, in place of those that it had; empty ones take them away.

    Several processes may do so at the same time: each change is kept.

    Raises:
        StoreError: the run is not there any more, or its folder cannot be written to.
    """
    change(run / FILE, key, marks, must_exist=run / "manifest.json")


def change(path: Path, key: Key, marks: ItemMarks, must_exist: Path | None = None) -> None:
    """The same for a file of marks anywhere; see `write`.

    Args:
        path: the file.
        key: whose marks.
        marks: the new ones.
        must_exist: without this file nothing is written.
    """
    # The lock is beside the run's folder, not in it: a lock file would bring back a folder that was just deleted.
    lock = FileLock(path.parent.parent / ".marks.lock", timeout=LOCK_SECONDS, thread_local=False)
    try:
        with lock:
            if must_exist is not None and not must_exist.is_file():
                raise _gone(path.parent)
            rows = _rows(path.parent)
            if marks or path.exists():
                rows[key] = _changed(rows.get(key, {"task": key[0], "item_id": key[1]}), marks)
                write_atomically(path, _text(rows))
    except FileNotFoundError as e:
        raise _gone(path.parent) from e
    except Timeout as e:
        raise StoreError("Marks are being written by another process for too long. Try again.") from e
    except OSError as e:
        raise StoreError(
            "Marks cannot be written to {folder} ({reason}). Check its permissions and free space.",
            folder=path.parent,
            reason=reason_of(e),
        ) from e


def _text(rows: Mapping[Key, Row]) -> str:
    own = {"task", "item_id", "marks", "note"}
    kept = [row for _, row in sorted(rows.items()) if row.get("marks") or row.get("note") or row.keys() - own]
    return dumps({"format": FORMAT_VERSION, "items": kept}, indent=1) + "\n"


def _gone(run: Path) -> StoreError:
    return StoreError(
        "The run {name} is not here any more, so nothing was saved. It was deleted meanwhile: run it again, or choose "
        "another.",
        name=run.name[:100],
    )


def of_items(marks: Marks, items: Mapping[str, Collection[str]]) -> dict[Key, ItemMarks]:
    """The marks of some items (task → ids)."""
    return {key: found for key, found in marks.items() if key[1] in items.get(key[0], ())}
