"""Where protocols disagree about one and the same output, and by which rules. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jglue_app.scoring.judged import Judged
from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.types import Judgement, Parsed
from jglue_app.tasks import TASKS
from jglue_app.types import Item, Record

LENIENT = "lenient"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What some protocols, all alike, make of an output."""

    protocols: tuple[str, ...]
    """Their names; `official, lenient` is the lenient reading of `official`."""
    value: str | float | None
    """What the output was read as."""
    rule: str
    """By which rule; a key of `rules.RULES`, or several joined by `+`."""
    right: bool | None
    """None for a similarity, which is neither right nor wrong, and where there was nothing to look at."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An item about which protocols disagree: some count it right and others wrong, or (JSTS) they read other
    numbers."""

    item: Item
    record: Record
    verdicts: tuple[Verdict, ...]


def find_disagreements(judged: Mapping[str, Judged]) -> dict[str, list[Disagreement]]:
    """Subset → the items of a run about which protocols disagree, in the order of the items.

    Args:
        judged: protocol → what `judge_run` has made of the run under it.
    """
    out: dict[str, list[Disagreement]] = {}
    for task in next(iter(judged.values()), {}):
        out[task] = []
        rows = {name: scored[task] for name, scored in judged.items()}
        for id_ in dict.fromkeys(id_ for scored in rows.values() for id_ in scored):
            first = next(scored[id_] for scored in rows.values() if id_ in scored)
            verdicts = _verdicts({name: scored[id_].judgement for name, scored in rows.items() if id_ in scored})
            if _disagree(task, verdicts):
                out[task].append(Disagreement(first.item, first.record, verdicts))
    return out


def _verdicts(judgements: dict[str, Judgement]) -> tuple[Verdict, ...]:
    alike: dict[tuple[str | float | None, str, bool | None], list[str]] = {}
    for name, judgement in judgements.items():
        alike.setdefault(_view(judgement.strict, judgement.scores), []).append(name)
        # A cosine has no lenient reading.
        read = judgement.lenient.rule != "not_generated"
        if get_protocol(name).lenient and read and judgement.lenient != judgement.strict:
            alike.setdefault(_view(judgement.lenient, judgement.lenient_scores), []).append(f"{name}, {LENIENT}")
    return tuple(Verdict(tuple(names), *key) for key, names in alike.items())


def _view(parsed: Parsed, scores: Mapping[str, float]) -> tuple[str | float | None, str, bool | None]:
    """A right answer has full marks, even one by a default; a similarity has no marks by itself."""
    marks = scores.get("exact_match", scores.get("accuracy"))
    return parsed.value, parsed.rule, None if marks is None else marks == 1.0


def _disagree(task: str, verdicts: Sequence[Verdict]) -> bool:
    if TASKS[task].kind == "score":
        return len({v.value for v in verdicts if v.rule != "unscored"}) > 1
    return len({v.right for v in verdicts} - {None}) > 1
