"""Any number of runs against a baseline: scores of runs × subsets, and outcomes of items × runs, which
`static/matrix.js` renders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jglue_app.messages import word
from jglue_app.scoring.comparison import MIN_PAIRED, corrected
from jglue_app.scoring.judged import Judged, ScoredItem
from jglue_app.scoring.scoreboard import OUTCOMES, count_text, estimate_text, number, p_text
from jglue_app.scoring.types import Difference, Estimate
from jglue_app.tasks import TASKS
from jglue_app.tasks.item_text import gold_with_choice, question_line
from jglue_app.ui.views import MARKS, short
from jglue_app.ui.views.board import CORRELATIONS, span_of

FILTERS = ("all", "disagree", "lost", "gained")
"""Of the items: `disagree`, on which some runs are right and others not; `lost`, the baseline is right and another is
not; `gained`, the baseline is not right and another is."""
QUESTION = 46
"""Characters of a question in a row."""

Scores = Mapping[str, Mapping[str, Estimate]]
"""Run → subset → main metric."""


def score_matrix(
    labels: Mapping[str, str],
    baseline: str,
    scores: Scores,
    difference: Callable[[str, str, str], Difference | None],
    tasks: Sequence[str],
    lang: str,
) -> dict[str, Any]:
    """Payload of runs × subsets.

    Args:
        labels: run → label, of the baseline and the others, in the order in which they are shown.
        baseline: the run with which the others are compared; one of these.
        scores: of every run.
        difference: names of A and B, and a subset → difference of the main metric, B minus A, not corrected.
        tasks: the subsets.
        lang: `ja` or `en`.
    """
    others = [name for name in labels if name != baseline]
    found = {(name, task): difference(baseline, name, task) for name in others for task in tasks}
    # All that stands in one table is corrected together: one of many differences is large by chance.
    differences = corrected({key: each for key, each in found.items() if each is not None})
    rows = [
        {
            "number": "",
            "name": baseline,
            "label": labels[baseline],
            "cells": [_cell(scores[baseline].get(task), None, task, lang, base=True) for task in tasks],
        }
    ]
    for i, name in enumerate(others, 1):
        cells = [_cell(scores[name].get(task), differences.get((name, task)), task, lang) for task in tasks]
        rows.append({"number": str(i), "name": name, "label": labels[name], "cells": cells})
    return {
        "heads": [TASKS[task].title for task in tasks],
        "rows": rows,
        "note": word("matrix_note", lang).format(f"{len(differences):,}"),
    }


def _cell(
    score: Estimate | None, difference: Difference | None, task: str, lang: str, *, base: bool = False
) -> dict[str, Any]:
    if difference is None:
        return {
            "title": TASKS[task].title,
            "value": number(score.value if score else None),
            "n": score.n if score else 0,
            "range": span_of(score, signed=TASKS[task].metrics[0] in CORRELATIONS),
            "difference": "",
            "verdict": "" if base else "none",
            "text": "" if base else word("matrix_none", lang),
            "p": "",
        }
    # What is compared: the items that both have answered.
    kind = verdict_kind(difference)
    needed = difference.needed if kind == "undecided" and difference.needed else None
    return {
        "title": TASKS[task].title,
        "value": number(difference.b.value),
        "n": difference.difference.n,
        "range": span_of(difference.b, signed=TASKS[task].metrics[0] in CORRELATIONS),
        "difference": estimate_text(difference.difference, sign=True),
        "verdict": kind,
        "text": verdict_text(difference, kind, lang),
        "p": ""
        if difference.p is None
        else word("matrix_p", lang).format(p_text(difference.p_holm))
        + (word("matrix_needed", lang).format(count_text(needed)) if needed else ""),
    }


def verdict_kind(difference: Difference) -> str:
    """`better` or `worse` than the baseline, `undecided`, or `few` items for a verdict."""
    if difference.difference.n < MIN_PAIRED:
        return "few"
    return {"b": "better", "a": "worse"}.get(difference.verdict, "undecided")


def verdict_text(difference: Difference, kind: str, lang: str) -> str:
    """The verdict in words: that of a metric which resamples do not define is that nothing can be tested."""
    untested = kind == "undecided" and difference.p is None
    return word("matrix_untested" if untested else f"matrix_{kind}", lang).format(MIN_PAIRED)


def item_matrix(labels: Mapping[str, str], baseline: str, judged: Mapping[str, Judged], lang: str) -> dict[str, Any]:
    """The value of the component that shows items × runs: the baseline's items, and what every run made of them.

    Args:
        labels: run → label, of the baseline and the others.
        baseline: one of these.
        judged: of every run, under one protocol.
        lang: `ja` or `en`.
    """
    names = [baseline, *(name for name in labels if name != baseline)]
    rows = []
    for task, answered in judged[baseline].items():
        others = [judged[name].get(task, {}) for name in names[1:]]
        for id_, row in answered.items():
            cells = [row, *(_same(row, other.get(id_)) for other in others)]
            outcomes = [OUTCOMES.index(cell.judgement.outcome) if cell else -1 for cell in cells]
            text = short(question_line(row.item), QUESTION)
            rows.append([task, id_, text, short(gold_with_choice(row.item), 24), outcomes])
    return {
        "baseline": baseline,
        "runs": [[name, labels[name]] for name in names],
        "tasks": {task: TASKS[task].title for task in judged[baseline]},
        "outcomes": [[name, MARKS[name], word(f"outcome_{name}", lang)] for name in OUTCOMES],
        "filters": [[name, word(f"matrix_{name}" if name != "all" else "filter_all", lang)] for name in FILTERS],
        "words": {
            **{name: word(f"list_{name}", lang) for name in ("filter", "task", "every", "items", "count", "none")},
            "gold": word("gold", lang),
            "baseline": word("baseline", lang),
            "open": word("matrix_open", lang),
            "missing": word("matrix_missing", lang),
        },
        "rows": rows,
    }


def _same(row: ScoredItem, other: ScoredItem | None) -> ScoredItem | None:
    """Another run's answer to an item, if it was the same item."""
    return other if other is not None and other.item == row.item else None
