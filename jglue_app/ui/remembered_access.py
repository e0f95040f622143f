"""Which items of which runs a visitor of a public server has requested, remembered over a restart of the server.

A Space is started anew by its operator, by the Hub and by its own faults. A visitor whose browser comes back with the
same cookie then sees the same runs, and the same request goes on with a run that was under way. What is stored is a
file for each visitor, named by a checksum of the cookie: whoever reads the folder cannot act as one of them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path

from jglue_app.ui.visitor import is_visitor_id
from jglue_app.whole_files import write_atomically

FOLDER = ".visitors"
DAY_S = 24 * 3600.0
KEPT_DAYS = 30
"""Days after a visitor's last request for which it is remembered."""
MAX_VISITORS = 10_000
MAX_BYTES = 2_000_000
"""Largest file that is read."""

Requested = dict[str, dict[str, frozenset[str]]]
"""Run → task → ids of the items that were requested."""

log = logging.getLogger(__name__)


class RememberedAccess:
    """The files of all visitors. The caller lets one thread at a time write.

    Args:
        runs_dir: where runs are stored; None where nothing is to be remembered.
    """

    def __init__(self, runs_dir: Path | None) -> None:
        self._folder = runs_dir / FOLDER if runs_dir is not None else None
        self._forget_old()

    def save(self, owner: str, requested: Mapping[str, Mapping[str, frozenset[str]]]) -> None:
        """Remember what a visitor has requested. That it cannot be written costs nobody their run: it is logged."""
        path = self._path(owner)
        if path is None:
            return
        runs = {run: {task: sorted(ids) for task, ids in of.items()} for run, of in requested.items()}
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(path, json.dumps(runs, ensure_ascii=False))
        except OSError as e:
            log.warning("what a visitor may see is not remembered over a restart: %s", e.strerror)

    def load(self, owner: str) -> Requested:
        """What a visitor has requested; empty if nothing is known, or the file is damaged."""
        path = self._path(owner)
        if path is None:
            return {}
        try:
            with path.open("rb") as file:
                text = file.read(MAX_BYTES + 1)
            return _checked(json.loads(text)) if len(text) <= MAX_BYTES else {}
        except (OSError, ValueError, RecursionError):
            return {}

    def _path(self, owner: str) -> Path | None:
        """Programs without a cookie come back under another id."""
        if self._folder is None or not is_visitor_id(owner):
            return None
        return self._folder / f"{hashlib.sha256(owner.encode()).hexdigest()[:32]}.json"

    def _forget_old(self) -> None:
        if self._folder is None:
            return
        with contextlib.suppress(OSError):
            ages = sorted((path.stat().st_mtime, path) for path in self._folder.iterdir())
            oldest = time.time() - KEPT_DAYS * DAY_S
            for at, (changed, path) in enumerate(ages):
                if changed < oldest or at < len(ages) - MAX_VISITORS:
                    path.unlink(missing_ok=True)


def _checked(value: object) -> Requested:
    """What was read, if it has the form that was written; raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError("no runs")
    found: Requested = {}
    for run, tasks in value.items():
        if not isinstance(tasks, dict):
            raise ValueError("no subsets")
        for task, ids in tasks.items():
            if not isinstance(ids, list) or not all(isinstance(id_, str) for id_ in ids):
                raise ValueError("no ids")
            found.setdefault(run, {})[task] = frozenset(ids)
    return found
