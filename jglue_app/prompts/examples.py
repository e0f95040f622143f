"""Which solved examples stand before a question, and how their answers are written. No I/O."""

from __future__ import annotations

import random
from collections.abc import Sequence

from jglue_app.errors import InputError, UnknownNameError
from jglue_app.prompts.styles import TaskStyle
from jglue_app.types import Item, PromptSpec, Task

SHOT_SELECTIONS = ("fixed", "random", "balanced")


def pick_shots(item: Item, pool: Sequence[Item], spec: PromptSpec, task: Task) -> tuple[Item, ...]:
    """Choose `spec.shots` solved examples from a pool that holds no item under evaluation.

    `fixed`: drawn once by the seed, the same for every item. `balanced`: the same, labels as even as possible
        (JSTS: by rounded similarity; JSQuAD: by title). `random`: drawn for each item, by seed and item id.

    Raises:
        InputError: the pool is smaller than the number of examples asked for.
        UnknownNameError: no such selection.
    """
    if spec.shot_selection not in SHOT_SELECTIONS:
        raise UnknownNameError("few-shot selection", spec.shot_selection, SHOT_SELECTIONS)
    if spec.shots < 0:
        raise InputError("The number of few-shot examples must be 0 or more.")
    if spec.shots > len(pool):
        raise InputError(
            "{task}: {shots} examples were asked for and {count} are at hand. Ask for fewer, or "
            "fetch the official train file with `python -m jglue_app data fetch --split train`.",
            task=task.title,
            shots=spec.shots,
            count=len(pool),
        )
    salt = item.id if spec.shot_selection == "random" else ""
    rng = random.Random(f"shots-{task.name}-{spec.shot_seed}-{salt}")
    if spec.shot_selection != "balanced":
        return tuple(rng.sample(pool, spec.shots))
    strata: dict[str, list[Item]] = {}
    for candidate in pool:
        strata.setdefault(task.stratum(candidate), []).append(candidate)
    order = sorted(strata)
    rng.shuffle(order)
    for members in strata.values():
        rng.shuffle(members)
    picked: list[Item] = []
    while len(picked) < spec.shots:
        picked += [strata[key].pop() for key in order if strata[key]]
    del picked[spec.shots :]
    rng.shuffle(picked)
    return tuple(picked)


def answer_text(item: Item, style: TaskStyle) -> str:
    """The gold answer of an item as the style would have it written; JSTS with one decimal."""
    if isinstance(item.gold, float):
        return f"{item.gold:.1f}"
    if style.answers:
        return style.answers[item.gold[0]].substitute(item.fields)
    return item.gold[0]
