"""What can be scored without understanding anything: by one constant answer, and by never giving a readable one. Pure.

Both follow from the gold answers alone. A correlation of a constant is undefined, and which span has the best F1 over
all items cannot be told without trying every text, so neither has a floor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from jglue_app.protocols.common import references
from jglue_app.types import Item, ScoringProtocol, Task

SHARES = ("accuracy", "acc_norm", "exact_match")
"""Metrics that are a share of right answers."""


def constant_floors(protocol: ScoringProtocol, task: Task, items: Sequence[Item]) -> dict[str, float]:
    """Metric → score of the best constant answer; for choices that is the majority class."""
    if not items or task.kind == "score":
        return {}
    if task.kind == "span":
        found = (references(i)[:1] if protocol.first_reference_only else set(references(i)) for i in items)
        most = Counter(reference for each in found for reference in each).most_common(1)[0][1]
        return {"exact_match": most / len(items)} if "exact_match" in protocol.metrics[task.name] else {}
    counts = Counter(references(item)[0] for item in items)
    return _of_constant(protocol.metrics[task.name], counts.most_common(1)[0][1] / len(items), len(counts))


def default_floors(protocol: ScoringProtocol, task: Task, items: Sequence[Item]) -> dict[str, float]:
    """Metric → score of a model whose every output is unreadable; empty where the protocol has no default for that."""
    default = protocol.defaults.get(task.name)
    if not items or task.kind != "choice" or default is None:
        return {}
    golds = [references(item)[0] for item in items]
    return _of_constant(protocol.metrics[task.name], golds.count(str(default)) / len(items), len(set(golds)))


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
