"""A log's answers and the items of the data → records, and what has to be known of how they were brought together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jglue_app.errors import DataError, InputError
from jglue_app.messages import Joined, Message
from jglue_app.prompts import thoughts
from jglue_app.results.importers import naming
from jglue_app.results.importers.align import Found, Index, by_direction, by_place, label_of, plain
from jglue_app.results.importers.fields import subset_named
from jglue_app.results.importers.log import NOTES, Log, Row, number_of
from jglue_app.runs.predictions import assumed_thought
from jglue_app.tasks import TASKS
from jglue_app.types import Dataset, Item, Notice, Output, Prompt, Record, RunError

NAMED = 3
"""Items or answers that a sentence names."""
EARLY = 1_000
"""Answers after which a log of another benchmark is given up."""
FEW = 0.5
"""Share of answers with an item below which a log is one of another benchmark: subsets of JGLUE share some texts."""
LONGEST = 60
"""Characters of a name or text that a sentence repeats."""


class OtherItemsError(DataError):
    """The answers of a log are to no items of the data."""


DataOf = Callable[[str], Dataset]
"""Subset → its items; raises InputError if there are none."""


@dataclass(slots=True)
class Subset:
    """What a log has for one subset."""

    dataset: Dataset
    index: Index
    source: str
    """The log and the name that it has for the subset, for messages."""
    rows: list[tuple[Row, Found]] = field(default_factory=list)
    """Answers that may be to an item of the data."""
    seen: dict[int, str] = field(default_factory=dict)
    """Item → where it was answered."""
    total: int = 0
    strange: int = 0
    """Answers to no item of the data."""
    names: list[str] = field(default_factory=list)
    """The first of these."""
    tasks: set[tuple[str, str]] = field(default_factory=set)
    """Names and versions that the log has for the subset."""


@dataclass(frozen=True, slots=True)
class Part:
    """One subset of a run, as it will be stored."""

    dataset: Dataset
    items: tuple[Item, ...]
    """Those that were answered, in the order of the data."""
    prompts: tuple[Prompt, ...]
    """One for each of them."""
    outputs: tuple[Output | RunError, ...]
    """One for each of them."""
    notices: tuple[Notice, ...]
    task: str
    """The name that the log has for the subset."""
    version: str
    shots: int | None
    """Examples in the prompts, if the log tells."""

    def records(self, spec_id: str) -> Iterator[Record]:
        """The records of a run."""
        for item, prompt, found in zip(self.items, self.prompts, self.outputs, strict=True):
            output, error = (None, found) if isinstance(found, RunError) else (found, None)
            yield Record(spec_id, item.task, item.id, prompt, output, error)


def build(logs: Sequence[Log], data_of: DataOf, tasks: Sequence[str], partial: bool) -> list[Part]:
    """The parts of a run, one for each subset that the logs have answers of.

    Args:
        logs: of one model and harness.
        data_of: the items of a subset.
        tasks: subsets that are wanted; all that there are if it is empty. One names the subset of rows that do not.
        partial: accept answers without an item, and items without an answer.

    Raises:
        DataError: damaged; of another benchmark; of two versions; an item that is answered twice; and, unless a part
            is accepted, answers without an item or items without an answer.
        InputError: a subset that cannot be told, or that has no data.
    """
    found: dict[str, Subset] = {}
    for log in logs:
        _read(log, data_of, tasks, found, alone=len(logs) == 1)
    if not found:
        names = ", ".join(log.path.name for log in logs)
        others = [name[:LONGEST] for log in logs for name in log.left_out]
        wanted = Joined(" or ", (TASKS[name].title for name in tasks)) if tasks else "JGLUE"
        if others:
            raise DataError(
                "{names}: holds no answer of {wanted}. It has {others}, which are other benchmarks. Give a log that "
                "has some.",
                names=names,
                wanted=wanted,
                others=", ".join(others[:NAMED]),
            )
        raise DataError("{names}: holds no answer of {wanted}. Give a log that has some.", names=names, wanted=wanted)
    return [_part(found[name], logs[0].name, partial) for name in TASKS if name in found]


def _read(log: Log, data_of: DataOf, tasks: Sequence[str], found: dict[str, Subset], *, alone: bool) -> None:
    """Bring the answers of a log together with items, one at a time. One of several logs, such as those of a whole
    leaderboard, is left out where its task has another name than the subsets have."""
    before = set(found)
    for row in log.rows:
        if not alone and not subset_named(row.task) and (row.task or not row.subset):
            log.left_out = (*log.left_out, row.task or log.path.name)
            return
        name = row.subset or (tasks[0] if len(tasks) == 1 else "")
        if not name:
            raise InputError(
                "{path}, {where}: no subset of JGLUE is known by the name {task!r}. If it is one, "
                "say which: --task {tasks}.",
                path=log.path,
                where=row.where,
                task=(row.task or log.path.stem)[:LONGEST],
                tasks=", ".join(TASKS),
            )
        if tasks and name not in tasks:
            continue
        if name in before:
            raise DataError(
                "{path}: {title} was in {source} already. Import one log of each subset at a time.",
                path=log.path,
                title=TASKS[name].title,
                source=found[name].source,
            )
        if name not in found:
            dataset = data_of(name)
            found[name] = Subset(dataset, Index(dataset), log.path.name)
        _take(log, row, found[name])


def _take(log: Log, row: Row, subset: Subset) -> None:
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
            first=first[:LONGEST],
            second=second[:LONGEST],
        )
    place = subset.index.find(row)
    if not place.candidates:
        subset.strange += 1
        if len(subset.names) < NAMED:
            subset.names.append(_named(row))
        if subset.total >= EARLY and subset.strange > (1 - FEW) * subset.total:
            raise _another(log, subset)
        return
    if len(place.candidates) == 1:
        k = place.candidates[0]
        if k in subset.seen:
            raise DataError(
                "{path}, {where}: item {id!r} of {title} was answered before, at {seen}. Two logs "
                "were put together, or the data was changed: give the log as it was made.",
                path=log.path,
                where=row.where,
                id=subset.index.items[k].id,
                title=title,
                seen=subset.seen[k],
            )
        subset.seen[k] = row.where
    elif len(subset.rows) > 2 * len(subset.index.items):
        raise _another(log, subset)
    subset.rows.append((row, place))


def _another(log: Log, subset: Subset) -> OtherItemsError:
    title, split = TASKS[subset.dataset.task].title, subset.dataset.split
    return OtherItemsError(
        Message(
            "{path}: {strange:,} of the first {total:,} answers are to no item of {title} {split} ({first}). It is a "
            "log of another benchmark, split or data: check --task, --split and --data.",
            path=log.path,
            strange=subset.strange,
            total=subset.total,
            title=title,
            split=split,
            first=Joined(", ", subset.names),
        )
    )


def _named(row: Row) -> str:
    text = next(iter(row.fields.values()), "") or row.inside[-LONGEST:]
    return Message("{where}: {text!r}", where=row.where, text=" ".join((row.id, text[:20])).strip())


# --- from answers to a part ---------------------------------------------------------------------------------


def _part(subset: Subset, harness: str, partial: bool) -> Part:
    dataset, items = subset.dataset, subset.index.items
    choosing = TASKS[dataset.task].kind == "choice"
    sure = [(row, items[found.candidates[0]]) for row, found in subset.rows if len(found.candidates) == 1]
    written = naming.naming_of(sure) if choosing else None
    chosen, doubtful = _told_apart(subset, written)
    _complete(subset, harness, chosen, doubtful, partial)
    pairs = [(chosen[k][0], items[k]) for k in sorted(chosen)]
    asked = [_answers(subset, row, item, written) for row, item in pairs]
    prompts, guessed = _prompts(pairs, asked)
    outputs = [_output(subset, row, item) for row, item in pairs]
    row = pairs[0][0]
    shots = {row.shots for row, _ in pairs}
    return Part(
        dataset,
        tuple(item for _, item in pairs),
        tuple(prompts),
        tuple(outputs),
        (*_notices(subset, harness, chosen, doubtful, written), *guessed),
        row.task,
        row.version,
        shots.pop() if len(shots) == 1 else None,
    )


def _told_apart(
    subset: Subset, written: naming.Naming | None
) -> tuple[dict[int, tuple[Row, Found]], list[tuple[Row, Found]]]:
    """Item → its answer, and the answers that two items fit after all that the log tells."""
    items = subset.index.items
    places = by_place(by_direction([found for _, found in subset.rows]), len(items))
    rows = [row for row, _ in subset.rows]
    chosen: dict[int, tuple[Row, Found]] = {}
    open_: list[tuple[Row, Found]] = []
    for row, found in zip(rows, places, strict=True):
        if len(found.candidates) == 1 and found.candidates[0] not in chosen:
            chosen[found.candidates[0]] = row, found
        else:
            open_.append((row, found))
    doubtful = []
    for row, found in open_:
        fitting = [k for k in found.candidates if k not in chosen and _same_gold(row, items[k], written)]
        others = [other for other, at in open_ if at.candidates == found.candidates and other is not row]
        if len(fitting) == 1 and not any(_same_gold(other, items[fitting[0]], written) for other in others):
            chosen[fitting[0]] = row, found
        else:
            doubtful.append((row, found))
    return chosen, _alike(chosen, doubtful)


def _alike(chosen: dict[int, tuple[Row, Found]], doubtful: list[tuple[Row, Found]]) -> list[tuple[Row, Found]]:
    """What remains in doubt. Answers that are the same are to any of the items they fit, if there are as many."""
    groups: dict[tuple[int, ...], list[tuple[Row, Found]]] = {}
    for row, found in doubtful:
        groups.setdefault(found.candidates, []).append((row, found))
    rest = []
    for candidates, rows in groups.items():
        free = [k for k in candidates if k not in chosen]
        outputs = {(row.text, row.logprobs, row.choices, row.failed) for row, _ in rows}
        if len(free) == len(rows) and (len(outputs) == 1 or len(free) == 1):
            chosen.update(zip(free, rows, strict=True))
        else:
            rest += rows
    return rest


def _same_gold(row: Row, item: Item, written: naming.Naming | None) -> bool | None:
    """Whether the log's gold answer is the item's; None if the log does not tell, or it cannot be told what it is."""
    if isinstance(item.gold, float):
        said = number_of(row.gold[0]) if row.gold else None
        return None if said is None else abs(said - item.gold) < 1e-4  # Exports hold numbers of 32 bits.
    if not item.choices:
        if not row.gold:
            return None
        own, said_texts = [plain(text) for text in item.gold], [plain(text) for text in row.gold]
        return said_texts[0] == own[0] if len(said_texts) == 1 else sorted(said_texts) == sorted(own)
    label = item.choices.index(item.gold[0])
    if row.gold_index is not None or row.symbols:
        order = naming.order_of(row, item)
        at = row.symbols.index(row.gold[0]) if row.gold and row.gold[0] in row.symbols else row.gold_index
        if order is None or at is None:
            return None
        return order[label] == at
    if written is None or not row.gold or row.gold[0] not in written.texts(item):
        return None
    return written.texts(item)[label] == row.gold[0]


def _complete(
    subset: Subset,
    harness: str,
    chosen: dict[int, tuple[Row, Found]],
    doubtful: list[tuple[Row, Found]],
    partial: bool,
) -> None:
    """Refuse what is not the whole, unless a part is wanted; raises DataError."""
    title, split, items = TASKS[subset.dataset.task].title, subset.dataset.split, subset.index.items
    if not chosen or len(chosen) < FEW * subset.total:
        sentence = Message(
            "{source}: {strange:,} of {total:,} answers are to no item of {title} {split} ({first}). It is a log of "
            "another benchmark, split or data: check --task, --split and --data.",
            source=subset.source,
            strange=subset.total - len(chosen),
            total=subset.total,
            title=title,
            split=split,
            first=Joined(", ", subset.names or [_named(row) for row, _ in doubtful[:NAMED]]),
        )
        if subset.dataset.task != "marc_ja":
            raise OtherItemsError(sentence)
        hint = Message("MARC-ja is no longer distributed: give your own file with --marc-ja.")
        raise OtherItemsError(Message("{sentence} {hint}", sentence=sentence, hint=hint))
    if partial:
        return
    if subset.strange or doubtful:
        first = [*subset.names, *(_named(row) for row, _ in doubtful)][:NAMED]
        raise DataError(
            "{source}: {strange:,} of {total:,} answers cannot be told to be to one item of "
            "{title} {split} ({first}). Check --split and --data, or give --partial to import the "
            "others alone.",
            source=subset.source,
            strange=subset.strange + len(doubtful),
            total=subset.total,
            title=title,
            split=split,
            first=Joined(", ", first),
        )
    if missing := [item for k, item in enumerate(items) if k not in chosen]:
        raise DataError(
            "{source}: {missing:,} of {total:,} items of {title} {split} have no answer in the log "
            "(the first is {id!r}). Give --partial to import the others alone.",
            source=subset.source,
            missing=len(missing),
            total=len(items),
            title=title,
            split=split,
            id=missing[0].id,
        )


def _answers(subset: Subset, row: Row, item: Item, written: naming.Naming | None) -> tuple[tuple[str, ...], list[int]]:
    """What was asked for, one text for each label in their official order, and where each stands in the row."""
    count = len(item.choices)
    if row.logprobs is None and not row.symbols:
        return (written.texts(item) if written else item.choices), list(range(count))
    if not item.choices:
        raise DataError(
            "{source}, {where}: log-likelihoods of {title}, whose answers are open. Give a log of generated answers.",
            source=subset.source,
            where=row.where,
            title=TASKS[item.task].title,
        )
    order = naming.order_of(row, item)
    if order is None:
        texts = ", ".join(choice[:20] for choice in row.choices)
        raise DataError(
            "{source}, {where}: it cannot be told which of the answers {texts} of item {item!r} "
            "stands for which of {choices}. Log the labels' own texts, or give the file with "
            "`score --predictions`, which takes them in that order.",
            source=subset.source,
            where=row.where,
            texts=texts,
            item=item.id,
            choices=", ".join(item.choices),
        )
    shown = row.symbols or row.choices
    return tuple(shown[k] for k in order), list(order)


def _prompts(
    pairs: Sequence[tuple[Row, Item]], asked: Sequence[tuple[tuple[str, ...], list[int]]]
) -> tuple[list[Prompt], tuple[Notice, ...]]:
    """The prompts as the log has them, and what was taken for granted where it has none."""
    without = {item.id: row.text or "" for row, item in pairs if not row.prompt}
    mark, notices = assumed_thought(without)
    out = []
    for (row, item), (answers, _) in zip(pairs, asked, strict=True):
        last = row.messages[-1]["content"] if row.messages else ""
        opened = thoughts.left_open(row.prompt, last) if row.prompt else mark
        sha256 = hashlib.sha256(row.prompt.encode("utf-8", "surrogatepass")).hexdigest()
        out.append(
            Prompt(item.task, item.id, row.prompt, row.messages, (), answers, row.lead, (), sha256, opened.strip())
        )
    task = {"task": pairs[0][1].task}
    return out, tuple(replace(notice, facts={**notice.facts, **task}) for notice in notices)


def _output(subset: Subset, row: Row, item: Item) -> Output | RunError:
    if row.failed:
        return RunError("elsewhere", row.failed)
    sums = row.logprobs
    if sums is not None:
        order = naming.order_of(row, item)
        assert order is not None
        sums = tuple(sums[k] for k in order)
        if not any(sums):
            raise DataError(
                "{source}, {where}: the log-likelihoods of item {item!r} are all 0, as if every "
                "answer were certain. Make the log anew with a model that gives them.",
                source=subset.source,
                where=row.where,
                item=item.id,
            )
    finish: Any = row.finish
    if row.text is None:
        finish = "scored"
    elif finish == "stop" and not row.text.strip():
        finish = "empty"
    return Output(row.text, finish, 0, 0, 0.0, sums)


# --- what has to be said ------------------------------------------------------------------------------------


def _notices(
    subset: Subset,
    harness: str,
    chosen: dict[int, tuple[Row, Found]],
    doubtful: list[tuple[Row, Found]],
    written: naming.Naming | None,
) -> Iterator[Notice]:
    items, task = subset.index.items, subset.dataset.task

    def notice(kind: str, k: int, n: int, first: Sequence[str], **facts: str | float) -> Notice:
        return Notice(
            kind, facts={"task": task, "harness": harness, "k": k, "n": n, "first": ", ".join(first[:NAMED]), **facts}
        )

    if subset.strange:
        yield notice("imported_strange", subset.strange, subset.total, subset.names)
    if doubtful:
        yield notice("imported_doubtful", len(doubtful), subset.total, [_named(row) for row, _ in doubtful])
    missing = [item.id for k, item in enumerate(items) if k not in chosen]
    if missing:
        yield notice("imported_missing", len(missing), len(items), missing)
    changed = [label_of(items[k]) for k in sorted(chosen) if chosen[k][1].changed]
    if changed:
        yield notice("imported_changed", len(changed), len(chosen), changed)
    unchecked = [items[k].id for k in sorted(chosen) if chosen[k][1].unchecked]
    if unchecked:
        yield notice("imported_unchecked", len(unchecked), len(chosen), unchecked)
    golds = {k: _same_gold(chosen[k][0], items[k], written) for k in sorted(chosen)}
    if other := [label_of(items[k]) for k, same in golds.items() if same is False]:
        yield notice("imported_gold", len(other), sum(same is not None for same in golds.values()), other)
    unknown = [items[k].id for k, same in golds.items() if same is None]
    if unknown:
        yield notice("imported_gold_unknown", len(unknown), len(chosen), unknown)
    for note in NOTES:
        if k := sum(row.note == note for row, _ in chosen.values()):
            yield notice(f"imported_{note}", k, len(chosen), ())
