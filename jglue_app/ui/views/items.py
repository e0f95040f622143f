"""The item list: one short row for each item, with the filters that match it. `static/items.js` renders it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from jglue_app.messages import word
from jglue_app.prompts import thoughts
from jglue_app.scoring.judged import ScoredItem, knows_answer
from jglue_app.tasks import TASKS
from jglue_app.tasks.item_text import gold_with_choice
from jglue_app.types import Source
from jglue_app.ui.views import MARKS, Rows, question, short, subset_title

FILTERS = ("all", "disagree", "only_a", "only_b", "knows", "form", "unreadable")
SORTS = ("order", "a", "b", "apart")
UNANSWERED = (None, "overflow", "error", "unscored", "cosine")
"""Outcomes without an answer to compare: a cosine is on a scale of its own."""
FORMAT_FAILURES = ("unreadable", "unfinished_thought", "truncated", "empty", "overflow", "error")
PAIRED = ("disagree", "only_a", "only_b")
"""Filters that need two runs."""


def item_list(
    a: Rows,
    b: Rows | None,
    lang: str,
    *,
    names: tuple[str, str] = ("", ""),
    sources: Mapping[str, Source] | None = None,
    open_first: bool = False,
    fetch: bool = False,
    link: str | None = None,
) -> dict[str, Any]:
    """The value of the item list component.

    Args:
        a, b: the judged items of each run; None for B if there is none.
        lang: `ja` or `en`.
        names: of the two runs; sent back with the row that is opened.
        sources: task → where its items came from.
        open_first: whether the most informative item is opened, unless another one is open.
        fetch: whether the list has to request that item; False if it is on the page already.
        link: query string for the address bar, without `?`; None to leave it.
    """
    rows = item_rows(a, b, lang, sources)
    first = most_informative_item(a, b) if open_first else None
    return {
        "a": names[0],
        "b": names[1],
        "rows": rows,
        "filters": [[name, word(f"filter_{name}", lang)] for name in FILTERS if b is not None or name not in PAIRED],
        "sorts": [[name, word(f"sort_{name}", lang)] for name in SORTS if b is not None or name in ("order", "a")],
        "marks": {name: [mark, word(f"outcome_{name}", lang)] for name, mark in MARKS.items()},
        "words": {
            name: word(f"list_{name}", lang)
            for name in ("filter", "search", "sort", "task", "every", "items", "count", "none")
        }
        | {"gold": word("gold", lang)},
        "open": {"task": first[0], "id": first[1]} if first else None,
        "fetch": fetch,
        **({} if link is None else {"link": f"?{link}" if link else ""}),
    }


def item_rows(a: Rows, b: Rows | None, lang: str, sources: Mapping[str, Source] | None = None) -> list[dict[str, Any]]:
    """One row for each item: `t` subset, `k` its key, `i` id, `q` question, `g` gold, `a` and `b` the outputs,
    `ao` and `bo` their outcomes (empty while unanswered), `f` filters."""
    out = []
    for task in TASKS:
        left, right = a.get(task, {}), (b or {}).get(task, {})
        title = subset_title(task, (sources or {}).get(task, "official"), lang)
        for id_ in dict.fromkeys((*left, *right)):
            x, y = left.get(id_), right.get(id_)
            answered = x or y
            assert answered is not None
            row = {
                "t": title,
                "k": task,
                "i": id_,
                "q": question(answered.item),
                "g": short(gold_with_choice(answered.item), 24),
                "a": _output_text(x),
                "ao": x.judgement.outcome if x else "",
                "f": matching_filters(x, y),
            }
            if b is not None:
                row |= {"b": _output_text(y), "bo": y.judgement.outcome if y else ""}
            out.append(row)
    return out


def most_informative_item(a: Rows, b: Rows | None) -> tuple[str, str] | None:
    """(task, id) of the most informative item: one side ranks the gold answer far ahead but generates something that is
    not an answer, and the other side is correct."""

    def weight(x: ScoredItem | None, y: ScoredItem | None) -> float:
        known = max((_gold_probability(row) for row in (x, y) if row and knows_answer(row)), default=0.0)
        filters = matching_filters(x, y)
        return 2 * known + ("only_a" in filters or "only_b" in filters) + 0.5 * ("disagree" in filters)

    others = b or {}
    both = {
        (task, id_): weight(a.get(task, {}).get(id_), others.get(task, {}).get(id_))
        for task in TASKS
        for id_ in dict.fromkeys((*a.get(task, {}), *others.get(task, {})))
    }
    return max(both, key=both.__getitem__, default=None)


def _gold_probability(row: ScoredItem | None) -> float:
    """The probability of the gold answer, renormalised over the choices."""
    logprobs = row.record.output.choice_logprobs if row and row.record.output else None
    if row is None or not logprobs or not isinstance(row.item.gold, tuple):
        return 0.0
    weights = [math.exp(value - max(logprobs)) for value in logprobs]
    return weights[row.item.choices.index(row.item.gold[0])] / sum(weights)


def matching_filters(x: ScoredItem | None, y: ScoredItem | None) -> list[str]:
    """The filters that match an item, from `FILTERS` without `all`."""
    outcomes = [row.judgement.outcome if row else None for row in (x, y)]
    correct = [outcome == "correct" for outcome in outcomes]
    both_answered = not any(outcome in UNANSWERED for outcome in outcomes)
    matches = {
        "disagree": both_answered and outcomes[0] != outcomes[1],
        "only_a": both_answered and correct == [True, False],
        "only_b": both_answered and correct == [False, True],
        "knows": any(row is not None and bool(knows_answer(row)) for row in (x, y)),
        "form": "wrong_form" in outcomes,
        "unreadable": any(outcome in FORMAT_FAILURES for outcome in outcomes),
    }
    return [name for name in FILTERS[1:] if matches[name]]


def _output_text(row: ScoredItem | None) -> str:
    if row is None:
        return ""
    if row.record.output is None:
        return short(row.record.error.message) if row.record.error else ""
    if row.record.output.text is None:
        return row.judgement.choice or ""
    parts = thoughts.split(row.record.output.text, row.record.prompt.thought)
    # The thinking is left out here.
    return short(row.record.output.text[parts.answer :].lstrip() if parts.answer else row.record.output.text)
