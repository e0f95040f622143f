"""Faulty, repeated, leaked and relabelled items in the files. No I/O: works on loaded datasets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from jglue_app.data import known_items
from jglue_app.data.known_items import question_text
from jglue_app.data.pools import fingerprint
from jglue_app.tasks.item_text import gold_text
from jglue_app.types import Dataset, Item

MAX_EXAMPLES = 3
"""Item ids that are listed for each finding."""


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
    """Items of one file with the same texts in the same order."""

    file: str
    items: int
    """Items with the texts of an earlier item."""
    contradicting: int
    """How many of these have a different gold answer than the earlier item."""
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
    """Items that only the new version has."""
    removed: int
    """Items that only the old version has."""


@dataclass(frozen=True, slots=True)
class KnownFault:
    """Items of a file that are known to be faulty, or to have had another label; see `known_items`."""

    file: str
    """Such as `jsquad/valid`."""
    group: str
    """`faulty` or `relabelled`."""
    items: int
    ids: tuple[str, ...]
    labels: Mapping[str, str]
    """For relabelled items, id → `label in v1.1 → label in v1.3`; else empty."""


@dataclass(frozen=True, slots=True)
class DataCheck:
    """All findings in the available files."""

    files: tuple[Mapping[str, object], ...]
    """Task, split, version, path, sha256, items and state of every file; see `files.verify`."""
    leaks: tuple[Overlap, ...]
    """Evaluated items that are in train files."""
    shared: tuple[Overlap, ...]
    """Evaluated items that are in other evaluated files."""
    repeats: tuple[Repeats, ...]
    jnli_labels: tuple[Relabelled, ...]
    """For every other version of JNLI that is available."""
    other_versions: tuple[str, ...]
    """Files of those versions."""
    known: tuple[KnownFault, ...] = ()
    """Known facts about single items, which need no other file to compare with."""


def check(files: Sequence[Mapping[str, object]], datasets: Sequence[Dataset], old_jnli: Sequence[Dataset]) -> DataCheck:
    """Run all checks.

    Args:
        files: state of every file; see `files.verify`.
        datasets: those that could be read.
        old_jnli: other versions of one split of JNLI.
    """
    evaluated = [d for d in datasets if d.split != "train"]
    split = old_jnli[0].split if old_jnli else ""
    current = next((d for d in datasets if (d.task, d.split) == ("jnli", split)), None)
    return DataCheck(
        files=tuple(files),
        leaks=overlaps(evaluated, [d for d in datasets if d.split == "train"]),
        shared=overlaps(evaluated, evaluated),
        repeats=tuple(repeated for d in datasets if (repeated := repeats(d)).items),
        jnli_labels=tuple(relabelled(old, current) for old in old_jnli) if current else (),
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
    out = []
    for dataset in evaluated:
        fingerprints = [(item.id, fingerprint(item)) for item in dataset.items]
        for name, table in tables:
            shared = [(id_, table[text]) for id_, text in fingerprints if text in table]
            if shared and name != _file(dataset):
                out.append(
                    Overlap(
                        _file(dataset),
                        name,
                        len(shared),
                        len(fingerprints),
                        tuple(shared[:MAX_EXAMPLES]),
                        tuple(shared),
                    )
                )
    return tuple(out)


def repeats(dataset: Dataset) -> Repeats:
    """Items that occur in a file more than once."""
    first: dict[str, Item] = {}
    repeated = []
    for item in dataset.items:
        earlier = first.setdefault(question_text(item), item)
        if earlier is not item:
            repeated.append((item, earlier))
    return Repeats(
        _file(dataset),
        len(repeated),
        sum(item.gold != earlier.gold for item, earlier in repeated),
        tuple((item.id, earlier.id) for item, earlier in repeated[:MAX_EXAMPLES]),
        tuple((item.id, earlier.id) for item, earlier in repeated),
    )


def relabelled(old: Dataset, new: Dataset) -> Relabelled:
    """How the labels changed between two versions of a file."""
    old_items = {(item.id, question_text(item)): item for item in old.items}
    new_items = {(item.id, question_text(item)): item for item in new.items}
    both = [(old_items[key], new_items[key]) for key in new_items if key in old_items]
    changed = [(a, b) for a, b in both if a.gold != b.gold]
    return Relabelled(
        old=old.path,
        common=len(both),
        changed=dict(Counter(f"{gold_text(a)} → {gold_text(b)}" for a, b in changed).most_common()),
        ids=tuple(b.id for _, b in changed),
        added=len(new_items) - len(both),
        removed=len(old_items) - len(both),
    )


def _file(dataset: Dataset) -> str:
    return f"{dataset.task}/{dataset.split}"


def _first_ids(items: Sequence[Item], text: Callable[[Item], str]) -> dict[str, str]:
    return {text(item): item.id for item in reversed(items)}
