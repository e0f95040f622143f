"""Metrics by the names that a reader of the page knows."""

from __future__ import annotations

from collections.abc import Sequence

from jglue_app.messages import Message, say
from jglue_app.scoring.metric_names import scored_metric


def metric_name(metric: str, lang: str) -> str:
    """The name of a metric, such as 正解率 or exact match."""
    return say(Message(scored_metric(metric)), lang)


def metric_names(metrics: Sequence[str], lang: str) -> list[str]:
    """The names of metrics that are shown one after another: in Japanese the first of each has the English behind
    it."""
    names = []
    for i, metric in enumerate(metrics):
        name, english = metric_name(metric, lang), scored_metric(metric)
        in_brackets = lang != "en" and metric not in metrics[:i] and name != english
        names.append(f"{name}（{english}）" if in_brackets else name)
    return names
