"""The first card: one sentence on a comparison, items that show why it holds, and a strip for each subset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from jglue_app.messages import Message, bracketed, named, say, word
from jglue_app.prompts import thoughts
from jglue_app.scoring.headline import headline
from jglue_app.scoring.judged import Judged, ScoredItem, knows_answer
from jglue_app.scoring.key_items import KeyItem, gold_share, key_items
from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.protocols.common import best_choice, is_right
from jglue_app.scoring.standing import knowing
from jglue_app.scoring.types import Comparison, Report
from jglue_app.tasks import TASKS
from jglue_app.tasks.item_text import gold_with_choice, question_line
from jglue_app.types import Item
from jglue_app.ui.views import MARKS, shared_source, short
from jglue_app.ui.views.item import gold_forms
from jglue_app.ui.views.items import matching_filters
from jglue_app.ui.views.pieces import pieces
from jglue_app.ui.views.reading import reading_rule
from jglue_app.ui.views.run_labels import label_text
from jglue_app.ui.views.short_names import short_names
from jglue_app.ui.views.strips import strips

QUESTION, OUTPUT, BEFORE = 160, 110, 24
"""Characters of a question and of an output to show, and of those before what was read where that comes late."""
FILTERS = {"knows": "knows", "form": "form", "unreadable": "unreadable"}
"""What an item shows → the filter of the item list that has all such items."""


def first_card(
    a: Report,
    b: Report | None,
    comparison: Comparison | None,
    judged: tuple[Judged, Judged | None],
    lang: str,
    *,
    change: Message | None = None,
    links: bool = True,
    named: tuple[bool, bool] = (False, False),
) -> dict[str, Any]:
    """The card's payload.

    Args:
        a, b, comparison: the reports of one run or two; see `headline`.
        judged: the items of each run as the item list has them; None for B if there is none.
        lang: `ja` or `en`.
        change: by what B differs from A; see `change_between`.
        links: whether there is an item list on the page that can be filtered.
        named: whether somebody gave each run its name.
    """
    top = headline(a, b, comparison, change)
    rows_a, rows_b = judged
    know = {"A": knowing(a), "B": knowing(b) if b else []}
    names = short_names(a.label, b.label if b else "", lang, named)
    counts = _Counts(rows_a, rows_b)
    labels = [("A", names[0], a.label)] + ([("B", names[1], b.label)] if b else [])
    sides = [
        {"side": side, "class": side.lower(), "name": name, "title": label_text(label, lang, named=given)}
        for (side, name, label), given in zip(labels, named, strict=False)
    ]
    return {
        "headline": say(top.sentence, lang),
        "kind": top.kind,
        "source": shared_source([task.source for r in (a, b) if r for task in r.tasks.values()], lang) or "",
        "sides": sides,
        "items": [
            _item(key, rows_a.get(key.task, {}).get(key.id), (rows_b or {}).get(key.task, {}).get(key.id), counts, lang)
            | {"paired": b is not None}
            for key in key_items(rows_a, rows_b, know, top.task)
        ],
        "strips": strips(a, b, comparison, lang),
        "links": links,
    }


# --- one item ---------------------------------------------------------------------------------------------


def _item(key: KeyItem, x: ScoredItem | None, y: ScoredItem | None, counts: _Counts, lang: str) -> dict[str, Any]:
    rows = [row for row in (x, y) if row]
    item = rows[0].item
    return {
        "key": f"{key.task}/{key.id}",
        "task": key.task,
        "title": TASKS[key.task].title,
        "asks": say(Message(TASKS[key.task].question), lang),
        "question": short(question_line(item), QUESTION),
        "choices": _choices(item),
        "gold": short(gold_with_choice(item) + gold_forms(item, rows), 60),
        "answers": [_answer(row, lang) for row in (x, y)],
        "more": counts.more(key, lang),
    }


def _choices(item: Item) -> str:
    """The texts of numbered choices, between which a question cannot be understood without them."""
    texts = [f"{label} {item.fields[f'choice{label}']}" for label in item.choices if f"choice{label}" in item.fields]
    return short(" / ".join(texts), QUESTION)


def _answer(row: ScoredItem | None, lang: str) -> dict[str, Any]:
    """What one side made of the item."""
    if row is None:
        return {"missing": word("not_run", lang)}
    judgement, output = row.judgement, row.record.output
    answer = {
        "outcome": judgement.outcome,
        "mark": MARKS[judgement.outcome],
        "outcome_text": word(f"outcome_{judgement.outcome}", lang),
        "share": _share(row, lang),
    }
    if output is None:
        return answer | {"note": say(row.record.error.sentence, lang) if row.record.error else ""}
    if output.text is None:
        return answer | {"note": word("no_text", lang)}
    if not output.text:
        return answer | {"note": word("empty_text", lang)}
    read = judgement.strict if judgement.strict.value is not None else judgement.lenient
    return answer | {
        "raw": excerpt(output.text, read.span, row.record.prompt.thought),
        "read": " · ".join(filter(None, (_reading(row, lang), _cut(row, lang)))),
    }


def _reading(row: ScoredItem, lang: str) -> str:
    """What the output was read as, and why; empty where the protocol reads no text."""
    strict = row.judgement.strict
    if row.item.task in get_protocol(row.judgement.protocol).ranked:
        return ""
    value = word("no_reading", lang) if strict.value is None else short(str(strict.value), 30)
    return named(word("reading_strict", lang), bracketed(value, reading_rule(strict.rule, lang), lang), lang)


def _cut(row: ScoredItem, lang: str) -> str:
    """That the token limit ended an answer that did not come out right; empty otherwise."""
    output = row.record.output
    if output is None or output.finish != "length" or not output.new_tokens or row.judgement.outcome == "correct":
        return ""
    return word("finish_length_at", lang).format(f"{output.new_tokens:,}")


def excerpt(text: str, span: tuple[int, int] | None, opened: str = "") -> list[dict[str, Any]]:
    """The beginning of an answer in pieces, or the part around the characters that were read; without the thought."""
    start = thoughts.split(text, opened).answer or 0
    if span is not None and span[0] < start:
        start = 0
    start += len(text[start:]) - len(text[start:].lstrip())
    before = start > 0 and text[:start].strip() != ""
    if span is not None and span[1] > start + OUTPUT:
        start, before = max(start, span[0] - BEFORE), True
    shown = text[start : start + OUTPUT]
    found = pieces(shown, [(span[0] - start, span[1] - start)] if span is not None else [])
    ellipsis = {"text": "…", "mark": False, "eol": False}
    return [*([ellipsis] if before else []), *found, *([ellipsis] if start + OUTPUT < len(text) else [])]


def _share(row: ScoredItem, lang: str) -> dict[str, str] | None:
    """How likely the gold answer was among the choices."""
    share = gold_share(row)
    if share is None:
        return None
    best = best_choice(row.item, row.record)
    first = best is not None and is_right(row.item, best)
    return {
        "percent": f"{100 * share:.0f}",
        "first": word("ranked_first", lang) if first else "",
        "text": word("gold_share", lang),
    }


# --- items that show the same -----------------------------------------------------------------------------


class _Counts:
    """How many items each filter of the item list has."""

    def __init__(self, a: Judged, b: Judged | None) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._knowing: dict[str, set[str]] = {}
        for task in {*a, *(b or {})}:
            left, right = a.get(task, {}), (b or {}).get(task, {})
            for id_ in dict.fromkeys((*left, *right)):
                rows = {"A": left.get(id_), "B": right.get(id_)}
                self._counts.update((task, name) for name in matching_filters(rows["A"], rows["B"]))
                knows = {side for side, row in rows.items() if row is not None and knows_answer(row)}
                self._knowing.setdefault(task, set()).update(knows)

    def more(self, key: KeyItem, lang: str) -> Mapping[str, str] | None:
        """The line that leads to the other items that show the same; None where there are none."""
        filter_ = f"only_{key.side.lower()}" if key.kind == "only_right" else FILTERS.get(key.kind)
        others = self._counts[key.task, filter_] - 1 if filter_ else 0
        if not filter_ or others < 1:
            return None
        name = filter_
        if filter_ == "knows" and len(self._knowing[key.task]) == 1:
            name = f"knows_{next(iter(self._knowing[key.task])).lower()}"
        return {"text": word(f"more_{name}", lang).format(f"{others:,}"), "filter": filter_, "task": key.task}
