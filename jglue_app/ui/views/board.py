"""The scoreboard: highlights, every metric of both sides with its interval, and the outcomes of the items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jglue_app.messages import listed, named, say, word
from jglue_app.results.embedding_references import EmbeddingReference
from jglue_app.scoring import insights, notices
from jglue_app.scoring.payment import paid_text
from jglue_app.scoring.references import on_test_set, references_of
from jglue_app.scoring.references import title as reference_title
from jglue_app.scoring.scoreboard import (
    OUTCOMES,
    USUAL_OUTCOMES,
    ScoreRow,
    count_text,
    estimate_text,
    number,
    p_text,
    score_rows,
)
from jglue_app.scoring.standing import floor_of
from jglue_app.scoring.types import Comparison, Estimate, Paid, Report, TaskReport
from jglue_app.tasks import TASKS
from jglue_app.types import Notice
from jglue_app.ui.views import MARKS, source_text, subset_title
from jglue_app.ui.views.agreement import agreement_rows
from jglue_app.ui.views.metrics import metric_name, metric_names
from jglue_app.ui.views.run_labels import label_text
from jglue_app.ui.views.strips import strips

READINGS = ("strict", "lenient", "choose")
"""The readings that stand side by side."""
CORRELATIONS = ("pearson", "spearman", "mcc")
"""Metrics on a scale from −1 to 1."""


def board(
    a: Report,
    b: Report | None,
    comparison: Comparison | None,
    lang: str,
    embeddings: Sequence[EmbeddingReference] = (),
    named: tuple[bool, bool] = (False, False),
) -> dict[str, Any]:
    """The scoreboard's payload for one report or two, with the runs of embeddings to hold JSTS against; `named` says
    whether somebody gave each run its name."""
    rows = score_rows(a, b, comparison)
    keys = list(dict.fromkeys((row.task, row.metric) for row in rows))
    lines = []
    names = metric_names([metric for _, metric in keys], lang)
    sources = list(dict.fromkeys(task.source for report in (a, b) if report for task in report.tasks.values()))
    one_source = len(sources) == 1
    for i, (task, metric) in enumerate(keys):
        by_reading = {row.reading: row for row in rows if (row.task, row.metric) == (task, metric)}
        reports = [report.tasks.get(task) for report in (a, b) if report]
        line = _line(by_reading, reports, first=i == 0 or keys[i - 1][0] != task, lang=lang)
        line["metric"] = names[i]
        if one_source:
            line["source"] = ""
        lines.append(line)
    sides = [("A", a), ("B", b)]
    return {
        "a": label_text(a.label, lang, named=named[0]),
        "b": label_text(b.label, lang, named=named[1]) if b else "",
        "protocol": a.protocol,
        "source": source_text(sources, lang) if one_source else "",
        "readings": [name for name in READINGS if any(row.reading == name for row in rows)],
        "strips": strips(a, b, comparison, lang),
        "insights": [
            {
                "side": i.side,
                "text": say(insights.sentence(i), lang),
                "shows": i.items,
                "task": i.task,
            }
            for i in insights.insights(a, b, comparison)
        ],
        "rows": lines,
        "averages": [_average(side, r, lang, one_source) for side, r in sides if r],
        "paid": [{"side": side, "text": _paid(r.paid, lang)} for side, r in sides if r and r.paid],
        "references": _references(a, lang),
        "embeddings": _embeddings(embeddings, lang),
        "knows": [line for side, r in sides if r for line in _unformatted_knowledge(side, r, lang)],
        "notices": [line for side, r in sides if r for line in _notices(side, r, lang)],
        "legend": [
            {"name": name, "mark": MARKS[name], "text": word(f"outcome_{name}", lang)}
            for name in OUTCOMES
            if name in USUAL_OUTCOMES or any(name in t.outcomes for r in (a, b) if r for t in r.tasks.values())
        ],
        "has_jsts": any("jsts" in r.tasks and "cosine" not in r.tasks["jsts"].outcomes for _, r in sides if r),
        "pictures": _outcome_bars(a, b, lang, one_source),
        "agreement": agreement_rows(comparison, lang),
    }


def _line(
    by_reading: Mapping[str, ScoreRow], reports: Sequence[TaskReport | None], *, first: bool, lang: str
) -> dict[str, Any]:
    """One metric of a subset; `reports` are those of A and, where there is one, of B."""
    main = by_reading.get("strict") or by_reading["choose"]
    difference = main.difference.difference if main.difference else None
    has_value = difference is not None and difference.value is not None
    verdict = main.difference.verdict if main.difference and has_value else "none"
    sides = list(zip("ab", reports, strict=False))
    return {
        "first": "jg-first" if first else "",
        "title": TASKS[main.task].title if first else "",
        "source": source_text(main.sources, lang),
        "cells": {
            name: [_cell(by_reading.get(name), side) for side, _ in sides] for name in READINGS if name in by_reading
        },
        "marks": [
            {"side": side.upper(), "text": word(f"mark_{kind}", lang)}
            for side, report in sides
            if report and (kind := floor_of(report, main.metric, main.reading))
        ],
        "paired": len(reports) > 1,
        "difference": number(difference.value, sign=True) if difference else "–",
        "interval": interval(difference, sign=True),
        "verdict": _without_value(main, lang)
        or word("verdict_same" if _is_same(difference) else f"verdict_{verdict}", lang),
        "verdict_class": f"jg-verdict-{verdict}",
        "floor": number(main.floor),
        "test": _test(main, lang),
        "details": [
            {"side": side.upper(), "text": _detail(by_reading, side, report, lang)} for side, report in sides if report
        ],
    }


def _without_value(row: ScoreRow, lang: str) -> str:
    """Which side has no score where the other has one; empty where none or both lack it."""
    lacking = [side for side, e in (("A", row.a), ("B", row.b)) if e is None or e.value is None]
    return word("strip_none_of", lang).format(*lacking) if len(lacking) == 1 else ""


def _is_same(difference: Estimate | None) -> bool:
    """Whether both scores are equal whichever items are drawn, so that no number of items would tell them apart."""
    return difference is not None and difference.value == difference.low == difference.high == 0


def _cell(row: ScoreRow | None, side: str) -> dict[str, str]:
    """One number of one side."""
    estimate = (row.a if side == "a" else row.b) if row else None
    return {
        "side": side.upper(),
        "value": number(estimate.value if estimate else None),
        "interval": interval(estimate),
    }


def _test(row: ScoreRow, lang: str) -> str:
    """The corrected p-value, and the number of items needed to detect a difference of this size."""
    difference = row.difference
    if difference is None or difference.p_holm is None:
        return ""
    text = f"p {p_text(difference.p_holm)}"
    if (
        difference.verdict in ("a", "b")
        or _is_same(difference.difference)
        or difference.needed is None
        or difference.needed <= difference.difference.n
    ):
        return text
    return f"{text} · {word('needed', lang).format(count_text(difference.needed))}"


def _detail(by_reading: Mapping[str, ScoreRow], side: str, report: TaskReport, lang: str) -> str:
    """What else there is to say of one side's scores: how many items they rest on, and what could not be read."""
    rows = [by_reading[name] for name in (*READINGS, "imputed") if name in by_reading]
    of_side = {row.reading: row.a if side == "a" else row.b for row in rows}
    main = of_side.get("strict") or of_side.get("choose")
    details = [f"{main.n if main else 0} {word('n', lang)}"]
    if report.outcomes.get("cosine"):
        return " · ".join([*details, word("cosine", lang)])
    if (imputed := of_side.get("imputed")) is not None:
        details.append(f"{word('imputed', lang)} {number(imputed.value)}")
    if of_side.get("strict") is not None:
        strict = by_reading["strict"]
        unreadable = strict.unreadable_a if side == "a" else strict.unreadable_b
        details.append(f"{word('unreadable_count', lang)} {unreadable}")
    return " · ".join(details)


def interval(estimate: Estimate | None, *, sign: bool = False) -> str:
    """The 95 % interval in brackets; empty if there is none."""
    if estimate is None or estimate.low is None:
        return ""
    return f"[{number(estimate.low, sign=sign)}, {number(estimate.high, sign=sign)}]"


def span_of(estimate: Estimate | None, *, signed: bool = False, floor: float | None = None) -> dict[str, str] | None:
    """An interval as positions on an axis, in percent of its length: from 0 to 1, or from −1 to 1 if `signed`."""
    if estimate is None or estimate.value is None:
        return None

    def place(value: float) -> float:
        value = (value + 1) / 2 if signed else value
        return 100 * min(1.0, max(0.0, value))

    low = place(estimate.value if estimate.low is None else estimate.low)
    high = place(estimate.value if estimate.high is None else estimate.high)
    return {
        "low": f"{low:.1f}",
        "width": f"{max(high - low, 1.0):.1f}",
        "value": f"{place(estimate.value):.1f}",
        "floor": "" if floor is None else f"{place(floor):.1f}",
        "zero": f"{place(0):.1f}" if signed else "",
    }


def _title(task: TaskReport, lang: str, one_source: bool) -> str:
    """A subset's title, with where its items are from unless that is said of the whole scoreboard."""
    return TASKS[task.task].title if one_source else subset_title(task.task, task.source, lang)


def _average(side: str, report: Report, lang: str, one_source: bool) -> dict[str, str]:
    if report.average_without:
        names = listed((TASKS[name].title for name in report.average_without), lang)
        return {"side": side, "text": word("average_without", lang).format(names)}
    names = listed((_title(report.tasks[name], lang, one_source) for name in report.average_of), lang)
    text = named(word("average_of", lang).format(names), estimate_text(report.average), lang)
    return {"side": side, "text": text}


def _paid(paid: Paid, lang: str) -> str:
    """What a side's answers cost."""
    return word("paid", lang).format(say(paid_text(paid), lang))


def _unformatted_knowledge(side: str, report: Report, lang: str) -> list[dict[str, str]]:
    """Number of items that are ranked correctly but answered in the wrong form, where both methods were used."""
    known = {name: task.knows for name, task in report.tasks.items() if task.knows is not None}
    if not known:
        return []
    each = listed((f"{TASKS[name].title} {count}" for name, count in known.items()), lang)
    return [{"side": side, "text": word("knows", lang).format(each)}]


def _references(report: Report, lang: str) -> list[dict[str, str]]:
    """Scores of people and of fine-tuned models on the official files of the same split, then those on test sets that
    are not published."""
    out = []
    for references in (references_of, on_test_set):
        scores = {
            name: scores_of_model
            for name, task in report.tasks.items()
            if (scores_of_model := references(task, report.split))
        }
        for model in dict.fromkeys(model for scores_of_model in scores.values() for model in scores_of_model):
            each = [
                f"{TASKS[name].title} {' / '.join(number(scores_of_model[model][m]) for m in TASKS[name].metrics)}"
                for name, scores_of_model in scores.items()
                if model in scores_of_model
            ]
            model_title = say(reference_title(model, on_test_set=references is on_test_set), lang)
            out.append({"who": model_title, "text": " · ".join(each)})
    return out


def _embeddings(references: Sequence[EmbeddingReference], lang: str) -> list[dict[str, str]]:
    """Scores of the cosines of stored runs of embeddings on the same items."""
    return [
        {
            "who": word("embedding_reference", lang).format(
                label_text(reference.label, lang, named=reference.is_named)
            ),
            "text": "JSTS "
            + " / ".join(
                f"{metric_name(metric, lang)} {estimate_text(estimate)}"
                for metric, estimate in (("pearson", reference.pearson), ("spearman", reference.spearman))
            ),
        }
        for reference in references
    ]


def _notices(side: str, report: Report, lang: str) -> list[dict[str, str]]:
    """The caveats about the scores of one side."""
    run_notices = [(None, notice) for notice in report.notices]
    tasks = [(TASKS[name].title, notice) for name, task in report.tasks.items() for notice in task.notices]
    return [
        {"side": side, "title": title or "", "text": notice_text(notice, lang)}
        for title, notice in [*run_notices, *tasks]
    ]


def notice_text(notice: Notice, lang: str) -> str:
    """The sentence of a notice."""
    return say(notices.sentence(notice), lang)


def _outcome_bars(a: Report, b: Report | None, lang: str, one_source: bool) -> list[dict[str, Any]]:
    out = []
    for name in TASKS:
        for side, report in (("A", a), ("B", b)):
            if report is None or name not in report.tasks or not report.tasks[name].outcomes:
                continue
            counts = report.tasks[name].outcomes
            parts = [
                {"name": o, "mark": MARKS[o], "count": counts[o], "text": word(f"outcome_{o}", lang)}
                for o in OUTCOMES
                if counts.get(o)
            ]
            out.append({"task": _title(report.tasks[name], lang, one_source), "side": side, "parts": parts})
    return out
