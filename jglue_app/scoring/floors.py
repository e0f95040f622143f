"""What can be scored without understanding anything: by a constant answer, and by never giving a readable one. No I/O.

Both follow from the gold answers alone. A correlation of a constant is undefined. The constant span is the most common
reference: for exact match nothing is better but for what a normalisation makes equal, for F1 it is a lower bound.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.scoring.protocols.common import SHARES, references
from jglue_app.scoring.types import ScoringProtocol
from jglue_app.tasks import TASKS
from jglue_app.types import Item, Output, Prompt, Record, Task


def constant_floors(protocol: ScoringProtocol, task: Task, items: Sequence[Item]) -> dict[str, float]:
    """Metric → score of the best constant answer; for choices that is the majority class."""
    if not items or task.kind == "score":
        return {}
    if task.kind == "span":
        reference_sets = (references(i)[:1] if protocol.first_reference_only else set(references(i)) for i in items)
        constant = Counter(reference for each in reference_sets for reference in sorted(each)).most_common(1)[0][0]
        return dict(_of_span(protocol.name, constant, tuple(references(i) for i in items)))
    counts = Counter(references(item)[0] for item in items)
    return _of_constant(protocol.metrics[task.name], counts.most_common(1)[0][1] / len(items), len(counts))


def default_floors(protocol: ScoringProtocol, task: Task, items: Sequence[Item]) -> dict[str, float]:
    """Metric → score of a model whose every output is unreadable; empty where the protocol has no default for that."""
    default = protocol.defaults.get(task.name)
    if not items or task.kind != "choice" or default is None:
        return {}
    golds = [references(item)[0] for item in items]
    return _of_constant(protocol.metrics[task.name], golds.count(str(default)) / len(items), len(set(golds)))


@lru_cache(maxsize=64)
def _of_span(protocol: str, constant: str, golds: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, float], ...]:
    """Mean scores of one span over items; remembered, as a page asks for them again and again."""
    scoring, task = PROTOCOLS[protocol], TASKS["jsquad"]
    prompt = Prompt(task.name, "", "", None, (), (), "", (), "")
    record = Record("", task.name, "", prompt, Output(constant, "stop", 0, 0, 0.0))
    fields = {"title": "", "context": constant, "question": ""}
    of_gold = {gold: scoring.judge(task, Item(task.name, "", fields, gold), record).scores for gold in set(golds)}
    scores = [of_gold[gold] for gold in golds]
    return tuple((name, sum(s[name] for s in scores) / len(scores)) for name in scoring.metrics[task.name])


def _of_constant(metrics: Iterable[str], share: float, classes: int) -> dict[str, float]:
    """Scores of answering always with a class that is gold for this share of the items."""
    hit = float(share > 0)
    scores = {
        **dict.fromkeys(SHARES, share),
        "balanced_accuracy": hit / classes,
        # The class itself has precision `share` and recall 1; a default that is never gold is one more class of F1 0.
        "macro_f1": 2 * share / (1 + share) / (classes + 1 - hit),
        "mcc": 0.0,
    }
    return {name: scores[name] for name in metrics if name in scores}
