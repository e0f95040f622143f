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
    for _, flipped, apart in _ranked(data):
        flips.append(flipped)
        differences += apart
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


def rounding_notices(data: RunData, differences: Mapping[str, Mapping[str, Difference]]) -> Iterator[Notice]:
    """Which differences between two runs by log-likelihood are not beyond the share of items for which rounding may
    change the first choice of one of them: in each subset, as far as its own items that were sampled tell.

    Args:
        data: that run.
        differences: subset → metric → difference, of the ranking.
    """
    precision = rounded_to(data.spec, data.model)
    by_task: dict[str, list[bool]] = {}
    for task, flipped, _ in _ranked(data) if precision else ():
        by_task.setdefault(task, []).append(flipped)
    for task, flips in by_task.items():
        found = differences.get(task, {}).get("accuracy")
        value = found.difference.value if found else None
        high = largest_share(sum(flips), len(flips))
        if value is not None and 0 < abs(value) < high:
            facts: dict[str, str | int | float] = {"task": TASKS[task].title, "precision": precision}
            facts |= {"k": sum(flips), "n": len(flips), "high": 100 * high}
            yield Notice("within_rounding", "", "choose", facts)


def largest_share(k: int, n: int) -> float:
    """The upper end of the exact 95 % interval of a share of which k of n were seen (Clopper & Pearson 1934)."""
    from scipy.special import bdtri  # scipy takes long to import

    return 1.0 if k == n else float(bdtri(k, n, 0.025))


def _number(value: float) -> str:
    """Two digits that count, without an exponent."""
    digits = 2 if value >= 1 or value == 0 else min(9, 1 - math.floor(math.log10(value)))
    return f"{value:.{digits}f}"


def _ranked(data: RunData) -> Iterator[tuple[str, bool, list[float]]]:
    """Of every item that has usable log-probabilities of the same answers in both: its subset, whether the first choice
    differs, and how far each answer's log-probabilities are apart."""
    for record, exact in _pairs(data):
        item = data.items[record.task][record.item_id]
        choices = best_choice(item, record), best_choice(item, replace(record, output=exact.output))
        both = (record.output.choice_logprobs if record.output else None) or (), exact.output.choice_logprobs or ()
        if None not in choices and len(both[0]) == len(both[1]):
            yield record.task, choices[0] != choices[1], [abs(a - b) for a, b in zip(*both, strict=True)]


def _pairs(data: RunData) -> Iterator[tuple[Record, Float32Output]]:
    """Records with the output of the same item in float32."""
    exact = {(one.task, one.item_id): one for one in data.float32}
    for record in data.records:
        found = exact.get((record.task, record.item_id))
        if found is not None and record.output is not None and record.item_id in data.items.get(record.task, {}):
            yield record, found
