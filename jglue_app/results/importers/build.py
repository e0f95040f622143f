"""Rows of a log and items of the data → records, with notices about how they were matched."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jglue_app.errors import DataError
from jglue_app.messages import Joined, Message
from jglue_app.prompts import thoughts
from jglue_app.results.importers import label_mapping
from jglue_app.results.importers.collect import (
    MAX_NAMED,
    MAX_TEXT_CHARS,
    MIN_MATCHED_SHARE,
    DataOf,
    OtherItemsError,
    Subset,
    collect,
    row_text,
)
from jglue_app.results.importers.item_matching import (
    Match,
    label_of,
    plain,
    resolve_by_direction,
    resolve_by_order,
)
from jglue_app.results.importers.log import NOTES, Log, Row
from jglue_app.results.importers.log_files import number_of
from jglue_app.runs.predictions import assumed_thought
from jglue_app.tasks import TASKS
from jglue_app.types import Dataset, Item, Notice, Output, Prompt, Record, RunError


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
    """The name of the subset in the log."""
    version: str
    shots: int | None
    """Few-shot examples in the prompts; None if the log does not say."""

    def records(self, spec_id: str) -> Iterator[Record]:
        """The records of a run."""
        for item, prompt, outcome in zip(self.items, self.prompts, self.outputs, strict=True):
            output, error = (None, outcome) if isinstance(outcome, RunError) else (outcome, None)
            yield Record(spec_id, item.task, item.id, prompt, output, error)


def build(logs: Sequence[Log], data_of: DataOf, tasks: Sequence[str], partial: bool) -> list[Part]:
    """The parts of a run, one for each subset that has answers in the logs.

    Args:
        logs: of one model and harness.
        data_of: the items of a subset.
        tasks: subsets to import; empty for all of them. A single one also names the subset of rows that do not say.
        partial: accept answers without an item, and items without an answer.

    Raises:
        DataError: damaged; of another benchmark; of two versions; an item that is answered twice; and, unless a part
            is accepted, answers without an item or items without an answer.
        InputError: the subset of a row is unknown, or has no data.
    """
    subsets: dict[str, Subset] = {}
    for log in logs:
        collect(log, data_of, tasks, subsets, alone=len(logs) == 1)
    if not subsets:
        names = Joined(", ", (log.path.name for log in logs))
        others = [name[:MAX_TEXT_CHARS] for log in logs for name in log.left_out]
        wanted = Joined(" or ", (TASKS[name].title for name in tasks)) if tasks else "JGLUE"
        if others:
            raise DataError(
                "{names}: holds no answer of {wanted}. It has {others}, which are other benchmarks. Give a log that "
                "has some.",
                names=names,
                wanted=wanted,
                others=Joined(", ", others[:MAX_NAMED]),
            )
        raise DataError("{names}: holds no answer of {wanted}. Give a log that has some.", names=names, wanted=wanted)
    return [_part(subsets[name], logs[0].name, partial) for name in TASKS if name in subsets]


def _part(subset: Subset, harness: str, partial: bool) -> Part:
    dataset, items = subset.dataset, subset.index.items
    choosing = TASKS[dataset.task].kind == "choice"
    matched = [(row, items[match.candidates[0]]) for row, match in subset.rows if len(match.candidates) == 1]
    mapping = label_mapping.label_mapping_of(matched) if choosing else None
    chosen, doubtful = _disambiguate(subset, mapping)
    _check_complete(subset, harness, chosen, doubtful, partial)
    pairs = [(chosen[k][0], items[k]) for k in sorted(chosen)]
    answers = [_answers(subset, row, item, mapping) for row, item in pairs]
    prompts, guessed = _prompts(pairs, answers)
    outputs = [_output(subset, row, item) for row, item in pairs]
    row = pairs[0][0]
    shots = {row.shots for row, _ in pairs}
    return Part(
        dataset,
        tuple(item for _, item in pairs),
        tuple(prompts),
        tuple(outputs),
        (*_notices(subset, harness, chosen, doubtful, mapping), *guessed),
        row.task,
        row.version,
        shots.pop() if len(shots) == 1 else None,
    )


def _disambiguate(
    subset: Subset, mapping: label_mapping.LabelMapping | None
) -> tuple[dict[int, tuple[Row, Match]], list[tuple[Row, Match]]]:
    """Item index → its row; and the rows that still match several items after all evidence in the log is used."""
    items = subset.index.items
    matches = resolve_by_order(resolve_by_direction([match for _, match in subset.rows]), len(items))
    rows = [row for row, _ in subset.rows]
    chosen: dict[int, tuple[Row, Match]] = {}
    unresolved: list[tuple[Row, Match]] = []
    for row, match in zip(rows, matches, strict=True):
        if len(match.candidates) == 1 and match.candidates[0] not in chosen:
            chosen[match.candidates[0]] = row, match
        else:
            unresolved.append((row, match))
    doubtful = []
    for row, match in unresolved:
        fitting = [k for k in match.candidates if k not in chosen and _same_gold(row, items[k], mapping)]
        rivals = [other for other, m in unresolved if m.candidates == match.candidates and other is not row]
        if len(fitting) == 1 and not any(_same_gold(other, items[fitting[0]], mapping) for other in rivals):
            chosen[fitting[0]] = row, match
        else:
            doubtful.append((row, match))
    return chosen, _assign_identical(chosen, doubtful)


def _assign_identical(
    chosen: dict[int, tuple[Row, Match]], doubtful: list[tuple[Row, Match]]
) -> list[tuple[Row, Match]]:
    """The rows that stay ambiguous. Identical answers are assigned to their candidates in any order, if there are as
    many answers as candidates."""
    groups: dict[tuple[int, ...], list[tuple[Row, Match]]] = {}
    for row, match in doubtful:
        groups.setdefault(match.candidates, []).append((row, match))
    remaining = []
    for candidates, rows in groups.items():
        unassigned = [k for k in candidates if k not in chosen]
        outputs = {(row.text, row.logprobs, row.choices, row.failed) for row, _ in rows}
        if len(unassigned) == len(rows) and (len(outputs) == 1 or len(unassigned) == 1):
            chosen.update(zip(unassigned, rows, strict=True))
        else:
            remaining += rows
    return remaining


def _same_gold(row: Row, item: Item, mapping: label_mapping.LabelMapping | None) -> bool | None:
    """Whether the log's gold answer equals the item's; None if the log has none, or it cannot be interpreted."""
    if isinstance(item.gold, float):
        log_value = number_of(row.gold[0]) if row.gold else None
        return None if log_value is None else abs(log_value - item.gold) < 1e-4  # Exports hold numbers of 32 bits.
    if not item.choices:
        if not row.gold:
            return None
        item_texts, log_texts = [plain(text) for text in item.gold], [plain(text) for text in row.gold]
        return log_texts[0] == item_texts[0] if len(log_texts) == 1 else sorted(log_texts) == sorted(item_texts)
    label = item.choices.index(item.gold[0])
    if row.gold_index is not None or row.symbols:
        order = label_mapping.order_of(row, item)
        index = row.symbols.index(row.gold[0]) if row.gold and row.gold[0] in row.symbols else row.gold_index
        if order is None or index is None:
            return None
        return order[label] == index
    if mapping is None or not row.gold or row.gold[0] not in mapping.texts(item):
        return None
    return mapping.texts(item)[label] == row.gold[0]


def _check_complete(
    subset: Subset,
    harness: str,
    chosen: dict[int, tuple[Row, Match]],
    doubtful: list[tuple[Row, Match]],
    partial: bool,
) -> None:
    """Reject an incomplete import unless `partial` allows it; raises DataError."""
    title, split, items = TASKS[subset.dataset.task].title, subset.dataset.split, subset.index.items
    if not chosen or len(chosen) < MIN_MATCHED_SHARE * subset.total:
        message = Message(
            "{source}: {strange:,} of {total:,} answers are to no item of {title} {split} ({first}). It is a log of "
            "another benchmark, split or data: check which it is (on the command line: `--task`, `--split` and "
            "`--data`).",
            source=subset.source,
            strange=subset.total - len(chosen),
            total=subset.total,
            title=title,
            split=split,
            first=Joined(", ", subset.unmatched_names or [row_text(row) for row, _ in doubtful[:MAX_NAMED]]),
        )
        if subset.dataset.task != "marc_ja":
            raise OtherItemsError(message)
        hint = Message("MARC-ja is no longer distributed: give your own file (on the command line: `--marc-ja`).")
        raise OtherItemsError(Message("{sentence} {hint}", sentence=message, hint=hint))
    if partial:
        return
    if subset.unmatched or doubtful:
        first = [*subset.unmatched_names, *(row_text(row) for row, _ in doubtful)][:MAX_NAMED]
        raise DataError(
            "{source}: {strange:,} of {total:,} answers cannot be told to be to one item of {title} {split} "
            "({first}). Check split and data (`--split`, `--data`), or choose “Accept a log of only some of the "
            "items” (--partial) to import the others alone.",
            source=subset.source,
            strange=subset.unmatched + len(doubtful),
            total=subset.total,
            title=title,
            split=split,
            first=Joined(", ", first),
        )
    if missing := [item for k, item in enumerate(items) if k not in chosen]:
        raise DataError(
            "{source}: {missing:,} of {total:,} items of {title} {split} have no answer in the log (the first is "
            "{id!r}). Choose “Accept a log of only some of the items” (--partial) to import the others alone.",
            source=subset.source,
            missing=len(missing),
            total=len(items),
            title=title,
            split=split,
            id=missing[0].id,
        )


def _answers(
    subset: Subset, row: Row, item: Item, mapping: label_mapping.LabelMapping | None
) -> tuple[tuple[str, ...], list[int]]:
    """The answer texts, one for each label in the official order, and the index of each in the row."""
    count = len(item.choices)
    if row.logprobs is None and not row.symbols:
        return (mapping.texts(item) if mapping else item.choices), list(range(count))
    if not item.choices:
        raise DataError(
            "{source}, {where}: log-likelihoods of {title}, whose answers are open. Give a log of generated answers.",
            source=subset.source,
            where=row.where,
            title=TASKS[item.task].title,
        )
    order = label_mapping.order_of(row, item)
    if order is None:
        texts = Joined(", ", (choice[:20] for choice in row.choices))
        raise DataError(
            "{source}, {where}: it cannot be told which of the answers {texts} of item {item!r} "
            "stands for which of {choices}. Log the labels' own texts, or give the file with "
            "`score --predictions`, which takes them in that order.",
            source=subset.source,
            where=row.where,
            texts=texts,
            item=item.id,
            choices=Joined(", ", item.choices),
        )
    answer_texts = row.symbols or row.choices
    return tuple(answer_texts[k] for k in order), list(order)


def _prompts(
    pairs: Sequence[tuple[Row, Item]], answers_of_pairs: Sequence[tuple[tuple[str, ...], list[int]]]
) -> tuple[list[Prompt], tuple[Notice, ...]]:
    """The prompts as the log has them, and notices about what was assumed where it has none."""
    outputs_without_prompt = {item.id: row.text or "" for row, item in pairs if not row.prompt}
    opening_tag, notices = assumed_thought(outputs_without_prompt)
    out = []
    for (row, item), (answers, _) in zip(pairs, answers_of_pairs, strict=True):
        last = row.messages[-1]["content"] if row.messages else ""
        opened = thoughts.left_open(row.prompt, last) if row.prompt else opening_tag
        sha256 = hashlib.sha256(row.prompt.encode("utf-8", "surrogatepass")).hexdigest()
        out.append(
            Prompt(item.task, item.id, row.prompt, row.messages, (), answers, row.lead, (), sha256, opened.strip())
        )
    task = {"task": pairs[0][1].task}
    return out, tuple(replace(notice, facts={**notice.facts, **task}) for notice in notices)


def _output(subset: Subset, row: Row, item: Item) -> Output | RunError:
    if row.failed:
        return RunError("elsewhere", row.failed)
    logprobs = row.logprobs
    if logprobs is not None:
        order = label_mapping.order_of(row, item)
        assert order is not None
        logprobs = tuple(logprobs[k] for k in order)
        if not any(logprobs):
            raise DataError(
                "{source}, {where}: the log-likelihoods of item {item!r} are all 0, as if every "
                "answer were certain. Make the log again with a model that gives them.",
                source=subset.source,
                where=row.where,
                item=item.id,
            )
    finish: Any = row.finish
    if row.text is None:
        finish = "scored"
    elif finish == "stop" and not row.text.strip():
        finish = "empty"
    return Output(row.text, finish, 0, 0, 0.0, logprobs)


# --- notices ------------------------------------------------------------------------------------------------


def _notices(
    subset: Subset,
    harness: str,
    chosen: dict[int, tuple[Row, Match]],
    doubtful: list[tuple[Row, Match]],
    mapping: label_mapping.LabelMapping | None,
) -> Iterator[Notice]:
    items, task = subset.index.items, subset.dataset.task

    def notice(kind: str, k: int, n: int, first: Sequence[str], **facts: str | float) -> Notice:
        return Notice(
            kind,
            facts={"task": task, "harness": harness, "k": k, "n": n, "first": ", ".join(first[:MAX_NAMED]), **facts},
        )

    if subset.unmatched:
        yield notice("imported_strange", subset.unmatched, subset.total, subset.unmatched_names)
    if doubtful:
        yield notice("imported_doubtful", len(doubtful), subset.total, [row_text(row) for row, _ in doubtful])
    missing = [item.id for k, item in enumerate(items) if k not in chosen]
    if missing:
        yield notice("imported_missing", len(missing), len(items), missing)
    changed = [label_of(items[k]) for k in sorted(chosen) if chosen[k][1].changed]
    if changed:
        yield notice("imported_changed", len(changed), len(chosen), changed)
    unchecked = [items[k].id for k in sorted(chosen) if chosen[k][1].unchecked]
    if unchecked:
        yield notice("imported_unchecked", len(unchecked), len(chosen), unchecked)
    gold_equal = {k: _same_gold(chosen[k][0], items[k], mapping) for k in sorted(chosen)}
    if other := [label_of(items[k]) for k, same in gold_equal.items() if same is False]:
        yield notice("imported_gold", len(other), sum(same is not None for same in gold_equal.values()), other)
    unknown = [items[k].id for k, same in gold_equal.items() if same is None]
    if unknown:
        yield notice("imported_gold_unknown", len(unknown), len(chosen), unknown)
    for note in NOTES:
        if k := sum(row.note == note for row, _ in chosen.values()):
            yield notice(f"imported_{note}", k, len(chosen), ())
