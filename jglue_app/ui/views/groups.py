"""The small table below the scores: scores without faulty, repeated, leaked and relabelled items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jglue_app.messages import word
from jglue_app.scoring.item_groups import GroupScore
from jglue_app.scoring.scoreboard import estimate_text, number
from jglue_app.tasks import TASKS
from jglue_app.ui.views.metrics import metric_name


def group_rows(a: Sequence[GroupScore], b: Sequence[GroupScore] | None, lang: str) -> list[dict[str, Any]]:
    """One row per group, subset and metric, with the scores of one run or two.

    Args:
        a, b: results of `item_groups.with_and_without`; None if there is no second run.
    """
    sides = [{(row.group, row.task, row.metric): row for row in rows} for rows in (a, b) if rows is not None]
    keys = list(dict.fromkeys(key for side in sides for key in side))
    out = []
    for i, (group, task, metric) in enumerate(keys):
        cells = [side.get((group, task, metric)) for side in sides]
        first = i == 0 or keys[i - 1][:2] != (group, task)
        counts = dict.fromkeys(f"{row.items:,}" for row in cells if row)
        out.append(
            {
                "first": "jg-first" if first else "",
                "group": word(f"group_{group}", lang) if first else "",
                "task": TASKS[task].title,
                "metric": metric_name(metric, lang),
                "left_out": " / ".join(counts),
                "sides": [_side(row, lang) for row in cells],
            }
        )
    return out


def _side(row: GroupScore | None, lang: str) -> dict[str, str]:
    if row is None:
        return {"all": "–", "without": "–", "old": ""}
    old = row.labels.get("v1.1")
    return {
        "all": number(row.all.value),
        "without": estimate_text(row.without),
        "old": word("group_old_labels", lang).format(estimate_text(old)) if old else "",
    }
