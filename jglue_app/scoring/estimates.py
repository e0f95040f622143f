"""One metric over judged items, under one reading. No I/O."""

from __future__ import annotations

from collections.abc import Mapping

from jglue_app.scoring import metrics, significance
from jglue_app.scoring.judged import ScoredItem
from jglue_app.scoring.protocols.common import SHARES, is_right
from jglue_app.scoring.types import (
    Estimate,
)
from jglue_app.types import Task

CORRELATIONS: Mapping[str, significance.Correlation] = {"pearson": "pearson", "spearman": "spearman"}
AGREEMENTS: Mapping[str, significance.Agreement] = {
    "balanced_accuracy": "balanced_accuracy",
    "macro_f1": "macro_f1",
    "mcc": "mcc",
}
_LARGEST = 1.7976931348623157e308
"""The largest finite float."""


def item_score(name: str, row: ScoredItem, reading: str) -> float:
    if reading == "choose":
        return float(is_right(row.item, row.judgement.choice))
    scores = row.judgement.scores if reading == "strict" else row.judgement.lenient_scores
    return scores[name]


def gold_similarity(row: ScoredItem) -> float:
    assert isinstance(row.item.gold, float)
    return row.item.gold


def gold_label(row: ScoredItem) -> str:
    assert isinstance(row.item.gold, tuple)
    return row.item.gold[0]


def label_of(row: ScoredItem, reading: str) -> str | None:
    """The label a reading gives; None if it cannot be read."""
    if reading == "choose":
        return row.judgement.choice
    value = (row.judgement.strict if reading == "strict" else row.judgement.lenient).value
    return value if isinstance(value, str) else None


def similarity_of(row: ScoredItem, reading: str, default: float | None = None) -> float:
    value = (row.judgement.strict if reading == "strict" else row.judgement.lenient).value
    if value is None and default is not None:
        return default
    assert isinstance(value, float)
    return value


def is_readable(row: ScoredItem, reading: str) -> bool:
    return (row.judgement.strict if reading == "strict" else row.judgement.lenient).value is not None


def weighted(name: str, task: Task, rows: list[ScoredItem], reading: str) -> tuple[metrics.Metric, list[ScoredItem]]:
    """The value of `estimate` as a function of how often each item counts, and the items that it is over: of
    similarities those that can be read."""
    if task.kind == "score":
        kept = [r for r in rows if is_readable(r, reading)]
        similarities = [similarity_of(r, reading) for r in kept]
        if name == "spearman":
            similarities = [min(max(value, -_LARGEST), _LARGEST) if value == value else value for value in similarities]
        correlation = metrics.pearson if CORRELATIONS[name] == "pearson" else metrics.spearman
        return correlation(similarities, [gold_similarity(r) for r in kept]), kept
    if kind := AGREEMENTS.get(name):
        agreement = {
            "balanced_accuracy": metrics.balanced_accuracy,
            "macro_f1": metrics.macro_f1,
            "mcc": metrics.mcc,
        }[kind]
        return agreement([label_of(r, reading) for r in rows], [gold_label(r) for r in rows]), rows
    return metrics.mean([item_score(name, row, reading) for row in rows]), rows


def estimate(name: str, task: Task, rows: list[ScoredItem], reading: str) -> Estimate:
    if task.kind == "score":
        kept = [r for r in rows if is_readable(r, reading)]
        similarities = [similarity_of(r, reading) for r in kept]
        if name == "spearman":
            # An infinite answer has a rank, though no moment.
            similarities = [min(max(value, -_LARGEST), _LARGEST) if value == value else value for value in similarities]
        return significance.correlation(CORRELATIONS[name], similarities, [gold_similarity(r) for r in kept])
    if kind := AGREEMENTS.get(name):
        return significance.agreement(kind, [label_of(r, reading) for r in rows], [gold_label(r) for r in rows])
    values = [item_score(name, row, reading) for row in rows]
    if name in SHARES:
        # A bootstrap of all wrong or all right would have no width.
        return significance.proportion(round(sum(values)), len(values))
    return significance.mean(values)
