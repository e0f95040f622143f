"""How far a run that computes in less than float32 is from float32, on a sample of its own items. No I/O."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import replace

from jglue_app.scoring.protocols.common import best_choice
from jglue_app.scoring.types import Difference, PrecisionEffect
from jglue_app.tasks import TASKS
from jglue_app.types import Float32Output, ModelInfo, Notice, Record, RunData, RunSpec


def rounded_to(spec: RunSpec, model: ModelInfo | None) -> str:
    """The precision of a run whose user has chosen to round more than is usual on the device: half precision on a CPU,
    few bits anywhere. Empty for other runs."""
    bits = {"8bit": "8-bit", "4bit": "4-bit"}.get(spec.model.quantization, "")
    on_cpu = model is not None and model.device.startswith("cpu")
    return bits or (model.dtype if model is not None and on_cpu and model.dtype != "float32" else "")


def precision_effect(data: RunData) -> PrecisionEffect | None:
    """What rounding changes on the items that were also answered in float32; None where none was."""
    precision = rounded_to(data.spec, data.model)
    pairs = list(_pairs(data))
    if not precision or not pairs:
        return None
    flips: list[bool] = []
    differences: list[float] = []
    for record, exact in pairs:
        item = data.items[record.task][record.item_id]
        choices = best_choice(item, record), best_choice(item, replace(record, output=exact.output))
        if None in choices or record.output is None:
            continue
        flips.append(choices[0] != choices[1])
        both = zip(record.output.choice_logprobs or (), exact.output.choice_logprobs or (), strict=True)
        differences += [abs(a - b) for a, b in both]
    texts = [
        record.output.text != exact.output.text
        for record, exact in pairs
        if record.output is not None and record.output.text is not None and exact.output.text is not None
    ]
    return PrecisionEffect(
        precision=precision,
        items=len(pairs),
        ranked=len(flips),
        flips=sum(flips),
        largest=max(differences, default=None),
        median=statistics.median(differences) if differences else None,
        written=len(texts),
        other_texts=sum(texts),
    )


def effect_notices(effect: PrecisionEffect) -> Iterator[Notice]:
    """What was measured, for people."""
    facts: dict[str, str | int | float]
    if effect.ranked and effect.largest is not None and effect.median is not None:
        facts = {"precision": effect.precision, "k": effect.flips, "n": effect.ranked}
        facts |= {"largest": _number(effect.largest), "median": _number(effect.median)}
        yield Notice("float32_ranked", facts=facts)
    if effect.written:
        facts = {"precision": effect.precision, "k": effect.other_texts, "n": effect.written}
        yield Notice("float32_written", facts=facts)


def rounding_notices(
    effect: PrecisionEffect | None, differences: Mapping[str, Mapping[str, Difference]]
) -> tuple[Notice, ...]:
    """Which differences between two runs by log-likelihood are smaller than the share of items for which rounding
    changes the first choice of one of them.

    Args:
        effect: what rounding changes in that run; None if nothing is known of it.
        differences: subset → metric → difference, of the ranking.
    """
    if effect is None or not effect.flips:
        return ()
    share = effect.flips / effect.ranked
    accuracies = {task: of["accuracy"].difference.value for task, of in differences.items() if "accuracy" in of}
    names = [TASKS[task].title for task, value in accuracies.items() if value is not None and 0 < abs(value) < share]
    if not names:
        return ()
    facts: dict[str, str | int | float] = {"precision": effect.precision, "k": effect.flips, "n": effect.ranked}
    facts |= {"names": ", ".join(names)}
    return (Notice("within_rounding", "", "choose", facts),)


def _number(value: float) -> str:
    """Two digits that count, without an exponent."""
    digits = 2 if value >= 1 or value == 0 else min(9, 1 - math.floor(math.log10(value)))
    return f"{value:.{digits}f}"


def _pairs(data: RunData) -> Iterator[tuple[Record, Float32Output]]:
    """Records with the output of the same item in float32."""
    exact = {(one.task, one.item_id): one for one in data.float32}
    for record in data.records:
        found = exact.get((record.task, record.item_id))
        if found is not None and record.output is not None and record.item_id in data.items.get(record.task, {}):
            yield record, found
