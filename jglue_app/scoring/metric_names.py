"""The names of metrics for people; stored files, programs and the command line have their keys."""

from __future__ import annotations

from collections.abc import Iterable

from jglue_app.messages import Joined, Message, mark

METRIC_NAMES = {
    "accuracy": mark("accuracy"),
    "acc_norm": mark("length-normalised accuracy (acc_norm)"),
    "exact_match": mark("exact match"),
    "f1": "F1",
    "char_f1": mark("character F1"),
    "balanced_accuracy": mark("balanced accuracy"),
    "macro_f1": mark("macro F1"),
    "mcc": mark("Matthews correlation"),
    "pearson": mark("Pearson correlation"),
    "spearman": mark("Spearman correlation"),
}
"""Metric, a key of `benchmarks.METRICS` → its name."""


def scored_metric(metric: str) -> str:
    """The name of a metric that is computed here, where the only F1 of a text is that of its characters."""
    return METRIC_NAMES["char_f1" if metric == "f1" else metric] if metric in METRIC_NAMES else metric


def metric_message(metric: str) -> Message:
    """A metric in a sentence: its key in English, as programs have it, and its name in other languages."""
    return Message.worded(metric, scored_metric(metric), {})


def metric_list(metrics: Iterable[str]) -> Joined:
    """Several metrics in a sentence."""
    return Joined(", ", map(metric_message, metrics))
