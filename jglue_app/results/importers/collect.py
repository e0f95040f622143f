"""The rows of a log, grouped by subset, each with the items of the data that it may answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from jglue_app.errors import DataError, InputError
from jglue_app.messages import Joined, Message
from jglue_app.results.importers.fields import subset_named
from jglue_app.results.importers.item_matching import Index, Match
from jglue_app.results.importers.log import Log, Row
from jglue_app.tasks import TASKS
from jglue_app.types import Dataset

MAX_NAMED = 3
"""Items or rows that a message names."""
MAX_UNMATCHED_ANSWERS = 1_000
"""Rows after which reading stops if most of them match no item."""
MIN_MATCHED_SHARE = 0.5
"""Share of rows with an item below which a log counts as one of another benchmark: subsets of JGLUE share some
texts."""
MAX_TEXT_CHARS = 60
"""Characters of a name or text that a message quotes."""


class OtherItemsError(DataError):
    """The rows of a log match no items of the data."""


DataOf = Callable[[str], Dataset]
"""Subset → its items; raises InputError if there are none."""


@dataclass(slots=True)
class Subset:
    """What a log has for one subset."""

    dataset: Dataset
    index: Index
    source: str
    """The file name of the log, for messages."""
    rows: list[tuple[Row, Match]] = field(default_factory=list)
    """Rows that may answer an item of the data."""
    answered_at: dict[int, str] = field(default_factory=dict)
    """Item index → place of its answer in the log."""
    total: int = 0
    unmatched: int = 0
    """Rows that match no item of the data."""
    unmatched_names: list[str] = field(default_factory=list)
    """The first of these."""
    tasks: set[tuple[str, str]] = field(default_factory=set)
    """(name, version) of the subset in the log."""


def collect(log: Log, data_of: DataOf, tasks: Sequence[str], subsets: dict[str, Subset], *, alone: bool) -> None:
    """Match the rows of a log with items, one at a time, and add them to `subsets`. If it is one of several logs, such
    as those of a whole leaderboard, it is skipped where its task is not named after a subset."""
    before = set(subsets)
    for row in log.rows:
        if not alone and not subset_named(row.task) and (row.task or not row.subset):
            log.left_out = (*log.left_out, row.task or log.path.name)
            return
        name = row.subset or (tasks[0] if len(tasks) == 1 else "")
        if not name:
            raise InputError(
                "{path}, {where}: no subset of JGLUE is known by the name {task!r}. If it is one, say which on the "
                "command line (`--task`: {tasks}).",
                path=log.path,
                where=row.where,
                task=(row.task or log.path.stem)[:MAX_TEXT_CHARS],
                tasks=Joined(", ", TASKS),
            )
        if tasks and name not in tasks:
            continue
        if name in before:
            raise DataError(
                "{path}: {title} was in {source} already. Import one log of each subset at a time.",
                path=log.path,
                title=TASKS[name].title,
                source=subsets[name].source,
            )
        if name not in subsets:
            dataset = data_of(name)
            subsets[name] = Subset(dataset, Index(dataset), log.path.name)
        _add(log, row, subsets[name])


def _add(log: Log, row: Row, subset: Subset) -> None:
    title = TASKS[subset.dataset.task].title
    subset.total += 1
    subset.tasks.add((row.task, row.version))
    if len(subset.tasks) > 1:
        first, second = sorted(" ".join(filter(None, pair)) for pair in subset.tasks)
        raise DataError(
            "{path}, {where}: holds {title} in two versions, {first!r} and {second!r}. Give a log with one of them.",
            path=log.path,
            where=row.where,
            title=title,
            first=first[:MAX_TEXT_CHARS],
            second=second[:MAX_TEXT_CHARS],
        )
    match = subset.index.find(row)
    if not match.candidates:
        subset.unmatched += 1
        if len(subset.unmatched_names) < MAX_NAMED:
            subset.unmatched_names.append(row_text(row))
        if subset.total >= MAX_UNMATCHED_ANSWERS and subset.unmatched > (1 - MIN_MATCHED_SHARE) * subset.total:
            raise _other_items_error(log, subset)
        return
    if len(match.candidates) == 1:
        k = match.candidates[0]
        if k in subset.answered_at:
            raise DataError(
                "{path}, {where}: item {id!r} of {title} was answered before, at {seen}. Two logs "
                "were put together, or the data was changed: give the log as it was made.",
                path=log.path,
                where=row.where,
                id=subset.index.items[k].id,
                title=title,
                seen=subset.answered_at[k],
            )
        subset.answered_at[k] = row.where
    elif len(subset.rows) > 2 * len(subset.index.items):
        raise _other_items_error(log, subset)
    subset.rows.append((row, match))


def _other_items_error(log: Log, subset: Subset) -> OtherItemsError:
    title, split = TASKS[subset.dataset.task].title, subset.dataset.split
    return OtherItemsError(
        Message(
            "{path}: {strange:,} of the first {total:,} answers are to no item of {title} {split} ({first}). It is a "
            "log of another benchmark, split or data: check which it is (on the command line: `--task`, `--split` "
            "and `--data`).",
            path=log.path,
            strange=subset.unmatched,
            total=subset.total,
            title=title,
            split=split,
            first=Joined(", ", subset.unmatched_names),
        )
    )


def row_text(row: Row) -> str:
    text = next(iter(row.fields.values()), "") or row.containing_text[-MAX_TEXT_CHARS:]
    return Message("{where}: {text!r}", where=row.where, text=" ".join((row.id, text[:20])).strip())
