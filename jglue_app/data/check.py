"""What is wrong, doubled, leaked or relabelled in the files. No I/O: works on datasets that have been read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from jglue_app.data import known_items
from jglue_app.data.known_items import question_text
from jglue_app.data.pools import fingerprint
from jglue_app.tasks.item_text import gold_text
from jglue_app.types import Dataset, Item

EXAMPLES = 3
"""Ids that are named of each finding."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Items of one file whose text is also in another."""

    evaluated: str
    """Such as `jnli/valid`."""
    other: str
    """Such as `jsts/train`."""
    items: int
    """Items of the evaluated file with a text that the other holds too."""
    of: int
    """Items of the evaluated file."""
    examples: tuple[tuple[str, str], ...]
    """The first of them: (id here, id there)."""
    pairs: tuple[tuple[str, str], ...] = ()
    """All of them."""


@dataclass(frozen=True, slots=True)
class Repeats:
    """Items of one file that ask the same, word for word and in the same order."""

    file: str
    items: int
    """Items whose text an earlier one has."""
    contradicting: int
    """Of these, how many have another answer than the earlier one."""
    examples: tuple[tuple[str, str], ...]
    """The first of them: (id, id of the earlier one)."""
    pairs: tuple[tuple[str, str], ...] = ()
    """All of them."""


@dataclass(frozen=True, slots=True)
class Relabelled:
    """The same items in two versions of a file."""

    old: str
    """The other version's file."""
    common: int
    """Items that are in both, by id and text."""
    changed: Mapping[str, int]
    """`old label → new label` → items."""
    ids: tuple[str, ...]
    """Ids of the items with another label."""
    added: int
    """Items that the old version lacks."""
    removed: int
    """Items that it alone has."""


@dataclass(frozen=True, slots=True)
class KnownFault:
    """Items of a file that are known to be faulty, or to have borne another label; see `known_items`."""

    file: str
    """Such as `jsquad/valid`."""
    group: str
    """`faulty` or `relabelled`."""
    items: int
    ids: tuple[str, ...]
    labels: Mapping[str, str]
    """Of relabelled items, id → `label in v1.1 → label in v1.3`; else empty."""


@dataclass(frozen=True, slots=True)
class DataCheck:
    """All that was found in the files at hand."""

    files: tuple[Mapping[str, object], ...]
    """Task, split, version, path, sha256, items and state of every file; see `files.verify`."""
    leaks: tuple[Overlap, ...]
    """Evaluated items that are in train files."""
    shared: tuple[Overlap, ...]
    """Evaluated items that are in other evaluated files."""
    repeats: tuple[Repeats, ...]
    jnli_labels: tuple[Relabelled, ...]
    """Against every other version of JNLI that is at hand."""
    other_versions: tuple[str, ...]
    """Files of those versions."""
    known: tuple[KnownFault, ...] = ()
    """What is known of single items without another file to compare with."""


def check(files: Sequence[Mapping[str, object]], datasets: Sequence[Dataset], old_jnli: Sequence[Dataset]) -> DataCheck:
    """Everything there is to find.

    Args:
        files: state of every file; see `files.verify`.
        datasets: those that could be read.
        old_jnli: other versions of one split of JNLI.
    """
    evaluated = [d for d in datasets if d.split != "train"]
    split = old_jnli[0].split if old_jnli else ""
    new = next((d for d in datasets if (d.task, d.split) == ("jnli", split)), None)
    return DataCheck(
        files=tuple(files),
        leaks=overlaps(evaluated, [d for d in datasets if d.split == "train"]),
        shared=overlaps(evaluated, evaluated),
        repeats=tuple(found for d in datasets if (found := repeats(d)).items),
        jnli_labels=tuple(relabelled(old, new) for old in old_jnli) if new else (),
        other_versions=tuple(old.path for old in old_jnli),
        known=tuple(fault for d in evaluated for fault in known_faults(d)),
    )


def known_faults(dataset: Dataset) -> tuple[KnownFault, ...]:
    """The items of a file that are known to be faulty or relabelled; nothing for files without any."""
    out = []
    if faulty := tuple(item.id for item in dataset.items if known_items.is_faulty(item)):
        out.append(KnownFault(_file(dataset), "faulty", len(faulty), faulty, {}))
    changes = {item.id: change for item in dataset.items if (change := known_items.relabelled(item))}
    if changes:
        labels = {id_: f"{change.old} → {change.new}" for id_, change in changes.items()}
        out.append(KnownFault(_file(dataset), "relabelled", len(changes), tuple(changes), labels))
    return tuple(out)


def overlaps(evaluated: Iterable[Dataset], others: Iterable[Dataset]) -> tuple[Overlap, ...]:
    """Which evaluated files share items with which others, by `pools.fingerprint`; a pair without any is left out."""
    tables = [(_file(other), _first_ids(other.items, fingerprint)) for other in others]
    found = []
    for dataset in evaluated:
        prints = [(item.id, fingerprint(item)) for item in dataset.items]
        for name, table in tables:
            shared = [(id_, table[text]) for id_, text in prints if text in table]
            if shared and name != _file(dataset):
                found.append(
                    Overlap(_file(dataset), name, len(shared), len(prints), tuple(shared[:EXAMPLES]), tuple(shared))
                )
    return tuple(found)


def repeats(dataset: Dataset) -> Repeats:
    """Items that stand in a file more than once."""
    first: dict[str, Item] = {}
    again = []
    for item in dataset.items:
        earlier = first.setdefault(question_text(item), item)
        if earlier is not item:
            again.append((item, earlier))
    return Repeats(
        _file(dataset),
        len(again),
        sum(item.gold != earlier.gold for item, earlier in again),
        tuple((item.id, earlier.id) for item, earlier in again[:EXAMPLES]),
        tuple((item.id, earlier.id) for item, earlier in again),
    )


def relabelled(old: Dataset, new: Dataset) -> Relabelled:
    """What became of the labels between two versions of a file, item by item."""
    before = {(item.id, question_text(item)): item for item in old.items}
    after = {(item.id, question_text(item)): item for item in new.items}
    both = [(before[key], after[key]) for key in after if key in before]
    changed = [(a, b) for a, b in both if a.gold != b.gold]
    return Relabelled(
        old=old.path,
        common=len(both),
        changed=dict(Counter(f"{gold_text(a)} → {gold_text(b)}" for a, b in changed).most_common()),
        ids=tuple(b.id for _, b in changed),
        added=len(after) - len(both),
        removed=len(before) - len(both),
    )


def _file(dataset: Dataset) -> str:
    return f"{dataset.task}/{dataset.split}"


def _first_ids(items: Sequence[Item], text: Callable[[Item], str]) -> dict[str, str]:
    return {text(item): item.id for item in reversed(items)}
