"""The table of a sweep: one line for each format, and how many answers changed against the first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jglue_app.messages import bracketed, word
from jglue_app.prompt_lab import SweepRow
from jglue_app.scoring.scoreboard import number
from jglue_app.scoring.types import Estimate, Flips
from jglue_app.tasks import TASKS
from jglue_app.ui.views.board import CORRELATIONS, interval, span_of
from jglue_app.ui.views.metrics import metric_names


def sweep_view(rows: Sequence[SweepRow], task: str, lang: str) -> dict[str, Any]:
    """Payload of a sweep over one subset."""
    metric = TASKS[task].metrics[0]

    def score(estimate: Estimate) -> dict[str, Any]:
        return {
            "value": number(estimate.value),
            "interval": interval(estimate),
            "range": span_of(estimate, signed=metric in CORRELATIONS),
        }

    return {
        "title": TASKS[task].title,
        "metric": metric_names([metric], lang)[0],
        "ranked": TASKS[task].kind == "choice",
        "rows": [
            {
                "format": row.side.format,
                "style": row.side.style,
                "n": row.n,
                "strict": score(row.strict),
                "lenient": score(row.lenient),
                "choose": score(row.choose),
                "unreadable": row.unreadable,
                "flips": _share(row.flips, lang),
                "ranked_flips": _share(row.ranked_flips, lang),
            }
            for row in rows
        ],
    }


def _share(flips: Flips | None, lang: str) -> str:
    """A flip rate, as a share and a count, over the items that both formats answered."""
    if flips is None or not flips.n:
        return "–"
    share = word("percent", lang).format(f"{100 * flips.changed / flips.n:.0f}")
    return bracketed(share, f"{flips.changed}/{flips.n}", lang)
