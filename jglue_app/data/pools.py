"""Few-shot pools and samples of items."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from jglue_app.data.files import SAMPLE_VERSION, find_official, read_file, read_local, sample_path
from jglue_app.settings import Settings
from jglue_app.types import Dataset, Item


def few_shot_pool(settings: Settings, evaluated: Dataset, others: Sequence[Dataset] = ()) -> Dataset:
    """The items from which few-shot examples are taken: the train file of the same kind of data if it is available,
    else our sample train items; without any item that is (or shares its texts with) an evaluated one, in this subset or
    in the run's `others` (many JNLI pairs are also in JSTS). Nothing is downloaded.

    The whole evaluated split is excluded, whatever the run's limit, so raising the limit changes no prompt.
    """
    path = find_official(settings, evaluated.task, "train") if evaluated.source != "sample" else None
    if path is None:
        pool = read_file(evaluated.task, "train", sample_path(evaluated.task, "train"), "sample", SAMPLE_VERSION)
    else:
        pool = read_local(evaluated.task, "train", path)
    return exclude(pool, (evaluated, *others))


def exclude(pool: Dataset, evaluated: Sequence[Dataset]) -> Dataset:
    """The pool without items that are in the other datasets or share a text with one of their items."""
    excluded = {fingerprint(item) for dataset in evaluated for item in dataset.items}
    kept = tuple(item for item in pool.items if fingerprint(item) not in excluded)
    return replace(pool, items=kept, left_out=len(pool.items) - len(kept))


def fingerprint(item: Item) -> str:
    """The key that is equal for two items if one leaks the other: the paragraph (JSQuAD), else the sorted sentences or
    the question, ignoring white space."""
    if "context" in item.fields:
        parts = [item.fields["context"]]
    elif "question" in item.fields:
        parts = [item.fields["question"]]
    else:
        parts = sorted(item.fields.values())
    return "\0".join("".join(part.split()) for part in parts)


def sample_items(items: Sequence[Item], limit: int | None, seed: int) -> tuple[Item, ...]:
    """The first `limit` items of a seeded shuffle, in file order.

    A larger limit includes the items of a smaller one, so a run can be extended. None or a limit beyond the end gives
    all items.
    """
    if limit is None or limit >= len(items):
        return tuple(items)
    order = list(range(len(items)))
    random.Random(f"take-{seed}").shuffle(order)
    return tuple(items[i] for i in sorted(order[:limit]))
