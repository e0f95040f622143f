"""Few-shot pools and samples of items."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from jglue_app.data.files import SAMPLE_VERSION, find_official, read_file, read_here, sample_path
from jglue_app.settings import Settings
from jglue_app.types import Dataset, Item


def few_shot_pool(settings: Settings, evaluated: Dataset, others: Sequence[Dataset] = ()) -> Dataset:
    """The items from which solved examples are taken: the train file of the same kind of data if it is at
    hand, else our own sample train items; without any item that is (or shares its texts with) one under
    evaluation, in this subset or in the run's `others` (many JNLI pairs are also in JSTS). Nothing is downloaded.

    The whole evaluated split is excluded, whatever the run's limit, so raising the limit changes no prompt.
    """
    path = find_official(settings, evaluated.task, "train") if evaluated.source != "sample" else None
    if path is None:
        pool = read_file(evaluated.task, "train", sample_path(evaluated.task, "train"), "sample", SAMPLE_VERSION)
    else:
        pool = read_here(evaluated.task, "train", path)
    return without(pool, (evaluated, *others))


def without(pool: Dataset, evaluated: Sequence[Dataset]) -> Dataset:
    """The items of a pool that are no item of the other datasets and share no text with one."""
    taken = {fingerprint(item) for dataset in evaluated for item in dataset.items}
    kept = tuple(item for item in pool.items if fingerprint(item) not in taken)
    return replace(pool, items=kept, left_out=len(pool.items) - len(kept))


def fingerprint(item: Item) -> str:
    """What makes two items the same for a leak check: the paragraph (JSQuAD), else the sorted sentences or the
    question, ignoring white space."""
    if "context" in item.fields:
        parts = [item.fields["context"]]
    elif "question" in item.fields:
        parts = [item.fields["question"]]
    else:
        parts = sorted(item.fields.values())
    return "\0".join("".join(part.split()) for part in parts)


def take(items: Sequence[Item], limit: int | None, seed: int) -> tuple[Item, ...]:
    """The first `limit` items of a seeded shuffle, given back in file order.

    A larger limit contains a smaller one, so a run can be extended. None or a limit beyond the end is everything.
    """
    if limit is None or limit >= len(items):
        return tuple(items)
    order = list(range(len(items)))
    random.Random(f"take-{seed}").shuffle(order)
    return tuple(items[i] for i in sorted(order[:limit]))
