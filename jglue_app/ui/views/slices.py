"""Scores of a run on parts of its items, alone or against a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jglue_app.messages import say, word
from jglue_app.scoring.comparison import MIN_PAIRED
from jglue_app.scoring.rules import explain
from jglue_app.scoring.scoreboard import estimate_text, number, p_text
from jglue_app.scoring.slices import CLEAN, KINDS, Slice
from jglue_app.scoring.types import Difference
from jglue_app.tasks import TASKS
from jglue_app.ui.views.board import CORRELATIONS, interval, span_of
from jglue_app.ui.views.matrix import verdict_kind, verdict_text


def slice_table(found: Sequence[Slice], lang: str, *, compared: bool) -> dict[str, Any]:
    """Payload of the table.

    Args:
        found: the parts.
        lang: `ja` or `en`.
        compared: whether there is a baseline.
    """
    tasks = list(dict.fromkeys(one.task for one in found))
    return {
        "compared": compared,
        "few": word("slice_few", lang).format(MIN_PAIRED),
        "tasks": [
            {
                "title": TASKS[task].title,
                "kinds": [
                    {"title": word(f"slice_{kind}", lang), "rows": [_row(one, lang) for one in rows]}
                    for kind in KINDS
                    if (rows := [one for one in found if one.task == task and one.kind == kind])
                ],
            }
            for task in tasks
        ],
    }


def _row(one: Slice, lang: str) -> dict[str, Any]:
    return {
        "key": _title(one, lang),
        "code": one.key if one.kind == "rule" else "",
        "n": one.score.n,
        "few": one.score.n < MIN_PAIRED,
        "value": number(one.score.value),
        "interval": interval(one.score),
        "range": span_of(one.score, signed=one.metric in CORRELATIONS),
        **_difference(one.difference, lang),
    }


def _difference(difference: Difference | None, lang: str) -> dict[str, str]:
    if difference is None:
        return {"difference": "–", "verdict": "none", "text": "", "p": ""}
    kind = verdict_kind(difference)
    return {
        "difference": estimate_text(difference.difference, sign=True),
        "verdict": kind,
        "text": verdict_text(difference, kind, lang),
        "p": "" if kind == "few" or difference.p is None else word("matrix_p", lang).format(p_text(difference.p_holm)),
    }


def _title(one: Slice, lang: str) -> str:
    if one.kind == "length":
        least, most = one.characters or (0, 0)
        return word(f"slice_{one.key}", lang).format(f"{least:,}", f"{most:,}")
    if one.kind == "rule":
        return say(explain(one.key), lang)
    if one.kind == "fault":
        return word("slice_clean" if one.key == CLEAN else f"group_{one.key}", lang)
    return one.key
