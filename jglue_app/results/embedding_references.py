"""Stored runs of embeddings over the same JSTS items as another run: rows to hold it against."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from jglue_app.errors import StoreError
from jglue_app.results.library import Ids, Library, StoredRun
from jglue_app.scoring.protocols.common import is_cosine
from jglue_app.scoring.report import NO_DATA
from jglue_app.scoring.types import Estimate, Report
from jglue_app.types import EMBED, Item, RunData

TASK = "jsts"


@dataclass(frozen=True, slots=True)
class EmbeddingReference:
    """What the cosines of a stored run score on the items of another one."""

    run: str
    """Name of its folder."""
    label: str
    """Model, source and prefix."""
    prefix: str
    pearson: Estimate
    spearman: Estimate
    is_named: bool = False
    """Whether the label is a name that somebody gave it."""


@dataclass(frozen=True, slots=True)
class ItemCosine:
    """The cosine of one item in a stored run of embeddings."""

    run: str
    label: str
    value: float
    rank: int
    """1 for the largest cosine of the run; equal cosines share the smaller number."""
    n: int
    """Items of the run with a cosine."""
    is_named: bool = False
    """Whether the label is a name that somebody gave it."""


def is_embedding(run: StoredRun) -> bool:
    """Whether a stored run is one of embeddings."""
    decoding = run.spec.get("decoding")
    return isinstance(decoding, Mapping) and decoding.get("method") == EMBED


def embedding_references(
    asked: RunData,
    runs: Iterable[StoredRun],
    data_of: Callable[[StoredRun], RunData],
    report_of: Callable[[StoredRun, Ids], Report],
    *,
    items: Collection[str] | None = None,
    leave_out: Collection[str] = (),
) -> tuple[EmbeddingReference, ...]:
    """The stored runs of embeddings that have a cosine for every JSTS item of a run, scored on these items alone.

    Args:
        asked: the run that is held against them.
        runs: stored runs of any kind.
        data_of: reads one.
        report_of: its report under `official` on some of its items.
        items: ids of the items that count; None for all that were asked.
        leave_out: names of runs that are shown already.
    """
    wanted = {id_: item for id_, item in asked.items.get(TASK, {}).items() if items is None or id_ in items}
    out = []
    for run in runs if wanted else ():
        if not is_embedding(run) or run.name in leave_out or run.data_kind != asked.spec.data_kind:
            continue
        try:
            if not _covers(data_of(run), wanted):
                continue
            metrics = report_of(run, {TASK: set(wanted)}).tasks[TASK].metrics
        except (StoreError, KeyError):  # Damaged, or deleted since it was listed.
            continue
        prefix = str((run.spec.get("prompt") or {}).get("prefix") or "")
        pearson, spearman = (metrics.get(name, NO_DATA) for name in ("pearson", "spearman"))
        out.append(EmbeddingReference(run.name, run.label, prefix, pearson, spearman, run.is_named))
    return tuple(out)


def of_library(library: Library, asked: RunData, other: RunData | None = None) -> tuple[EmbeddingReference, ...]:
    """The same of all runs below a folder but the run itself, and of the items that another run has too."""
    if TASK not in asked.items:
        return ()
    return embedding_references(
        asked,
        library.all(),
        lambda run: library.data(run.path),
        lambda run, ids: library.report(run.path, "official", ids),
        items=set(other.items[TASK]) if other and TASK in other.items else None,
        leave_out=[data.spec.spec_id for data in (asked, other) if data],
    )


def cosine_in(run: StoredRun, data: RunData, item: Item) -> ItemCosine | None:
    """The cosine of an item in a run of embeddings; None if it has none, or another item of that id."""
    cosines = _cosines(data)
    value = cosines.get(item.id)
    if value is None or data.items.get(TASK, {}).get(item.id) != item:
        return None
    rank = 1 + sum(other > value for other in cosines.values())
    return ItemCosine(run.name, run.label, value, rank, len(cosines), run.is_named)


def _covers(data: RunData, wanted: Mapping[str, Item]) -> bool:
    """Whether a run of embeddings has a cosine for each of some items, and these are the same there."""
    cosines, items = _cosines(data), data.items.get(TASK, {})
    return all(id_ in cosines and items.get(id_) == item for id_, item in wanted.items())


def _cosines(data: RunData) -> dict[str, float]:
    planned: Mapping[str, Any] = data.items.get(TASK, {})
    out = {}
    for record in data.records:
        if record.task == TASK and record.item_id in planned and record.output is not None and is_cosine(record):
            try:
                out[record.item_id] = float(record.output.text or "")
            except ValueError:  # Of a file that was edited; its own report says so.
                continue
    return out
