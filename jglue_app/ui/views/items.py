"""The item list: one short row for each item, with the filters that match it. `static/items.js` renders it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jglue_app.messages import word
from jglue_app.prompts import thoughts
from jglue_app.results.marks import NO_MARKS, SIGNS, ItemMarks, Marks
from jglue_app.scoring.judged import ScoredItem, compared_outcomes, knows_answer
from jglue_app.tasks import TASKS
from jglue_app.tasks.item_text import gold_with_choice
from jglue_app.types import Item, Source
from jglue_app.ui.views import MARKS, Rows, question, shared_source, short, subset_title
from jglue_app.ui.views.reading import reading_rule
from jglue_app.ui.views.signs import visible

FILTERS = ("all", "disagree", "only_a", "only_b", "knows", "form", "unreadable")
SORTS = ("order", "a", "b", "apart")
UNANSWERED = (None, "overflow", "error", "unscored", "cosine")
"""Outcomes without an answer to compare: a cosine is on a scale of its own."""
FORMAT_FAILURES = ("unreadable", "unfinished_thought", "truncated", "empty", "overflow", "error")
WORDS = (
    *("filter", "search", "sort", "task", "every", "items", "count", "none", "regex", "regex_wrong", "regex_slow"),
    *(
        "more",
        "clear",
        "any",
        "outcome",
        "label",
        "rule",
        "length",
        "empty",
        "marked",
        "any_mark",
        "noted",
        "keys",
        "unsaved",
    ),
)
"""Labels of the list, all named `list_…`."""
SCRIPTS = ("items.js", "item_filters.js", "item_open.js")
"""Files of `static/` that are the script of the list, one after the other."""
NOTE = 200
"""Characters of a note that the list has."""
MORE_FILTERS = ("ao", "bo", "l", "m", "ar", "br", "an", "bn")
"""Further filters, by the fields of a row (see `item_rows`): outcome, gold label, marks, rule, characters. An address
has them behind the filter: `disagree;ao=wrong;m=star`."""
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
    marks: tuple[Marks, Marks] = (NO_MARKS, NO_MARKS),
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
        marks: what people have put on the items of each run.
    """
    rows = item_rows(a, b, lang, sources, marks)
    source = shared_source(_sources(a, b, sources), lang)
    first = most_informative_item(a, b) if open_first else None
    return {
        "a": names[0],
        "b": names[1],
        **packed(rows, lang),
        "filters": [[name, word(f"filter_{name}", lang)] for name in FILTERS if b is not None or name not in PAIRED],
        "sorts": [[name, word(f"sort_{name}", lang)] for name in SORTS if b is not None or name in ("order", "a")],
        "marks": {name: [mark, word(f"outcome_{name}", lang)] for name, mark in MARKS.items()},
        "words": {name: word(f"list_{name}", lang) for name in WORDS} | {"gold": word("gold", lang)},
        "signs": {name: [sign, word(f"mark_{name}", lang)] for name, sign in SIGNS.items()},
        "open": {"task": first[0], "id": first[1]} if first else None,
        "fetch": fetch,
        "source": source or "",
        **({} if link is None else {"link": f"?{link}" if link else ""}),
    }


def item_rows(
    a: Rows,
    b: Rows | None,
    lang: str,
    sources: Mapping[str, Source] | None = None,
    marks: tuple[Marks, Marks] = (NO_MARKS, NO_MARKS),
) -> list[dict[str, Any]]:
    """One row for each item: `t` subset, `k` its key, `i` id, `q` question, `g` gold, `l` the gold label where there
    are few, `f` filters; and of each run, the name begun with `a` or `b`: the output, `o` its outcome (empty while
    unanswered), `r` the rule that it was read by, `n` its characters (None without a text), `m` what people have put on
    it, if anything."""
    out = []
    several = shared_source(_sources(a, b, sources), lang) is None
    for task in TASKS:
        left, right = a.get(task, {}), (b or {}).get(task, {})
        # A source that all share stands once above the list.
        title = subset_title(task, (sources or {}).get(task, "official") if several else "official", lang)
        for id_ in dict.fromkeys((*left, *right)):
            x, y = left.get(id_), right.get(id_)
            answered = x or y
            assert answered is not None
            row: dict[str, Any] = {
                "t": title,
                "k": task,
                "i": id_,
                "q": question(answered.item),
                "g": short(gold_with_choice(answered.item), 24),
                "l": _gold_label(answered.item),
                "f": matching_filters(x, y),
            }
            for side, scored, of in zip("ab", (x, y) if b is not None else (x,), marks, strict=False):
                row |= _side(side, scored)
                if marked := of.get((task, id_)):
                    row[f"{side}m"] = marks_of(marked)
            out.append(row)
    return out


def _sources(a: Rows, b: Rows | None, sources: Mapping[str, Source] | None) -> list[Source]:
    """Where the items that are listed came from."""
    return [(sources or {}).get(task, "official") for task in TASKS if a.get(task) or (b or {}).get(task)]


def marks_of(found: ItemMarks) -> dict[str, Any]:
    """Marks and the beginning of the note, as the list takes them."""
    return {"marks": list(found.marks), "note": short(found.note, NOTE)}


def _side(side: str, scored: ScoredItem | None) -> dict[str, Any]:
    """What a row has of one run."""
    output = scored.record.output if scored else None
    return {
        side: _output_text(scored),
        f"{side}o": scored.judgement.outcome if scored else "",
        f"{side}r": scored.judgement.strict.rule if scored else "",
        f"{side}n": len(output.text) if output and output.text is not None else None,
    }


def _gold_label(item: Item) -> str:
    """The gold label of a choice, of a similarity the whole numbers around it; empty for texts, of which each is
    another."""
    if isinstance(item.gold, float):
        low = math.floor(item.gold)
        return f"{low}–{low + 1}" if low < 5 else str(low)
    return gold_with_choice(item).split(" ")[0] if item.choices else ""


def unknown_filter(text: str, filters: Sequence[str]) -> str:
    """The first name in a filter of an address that is neither one of `filters` nor a further one; empty if there is
    none."""
    first, *more = text.split(";")
    names = [first] if first not in filters else [one.split("=")[0] for one in more]
    return next((name for name in names if name not in MORE_FILTERS), "")


def packed(rows: Sequence[Mapping[str, Any]], lang: str) -> dict[str, Any]:
    """Rows as `static/items.js` unpacks them: what many rows have in common stands once, in tables, and a row is a list
    of values without their names."""
    tables: dict[str, dict[str, int]] = {name: {} for name in ("tasks", "golds", "labels", "outcomes", "rules")}
    titles: dict[str, str] = {}

    def place(table: str, value: str) -> int:
        return tables[table].setdefault(value, len(tables[table]))

    lists: list[list[Any]] = []
    for row in rows:
        titles[row["k"]] = row["t"]
        bits = sum(1 << FILTERS.index(name) for name in row["f"])
        values = [place("tasks", row["k"]), row["i"], row["q"]]
        values += [place("golds", row["g"]), place("labels", row["l"]), bits]
        for side in "ab" if "bo" in row else "a":
            values += [row[side], place("outcomes", row[f"{side}o"]), place("rules", row[f"{side}r"]), row[f"{side}n"]]
        lists.append(values)
    marked = {f"{row['k']}/{row['i']}": {side: row[f"{side}m"] for side in "ab" if f"{side}m" in row} for row in rows}
    return {
        "rows": lists,
        "bits": list(FILTERS),
        "tasks": [[name, titles[name]] for name in tables["tasks"]],
        "rules": [[name, reading_rule(name, lang) if name else ""] for name in tables["rules"]],
        **{name: list(tables[name]) for name in ("golds", "labels", "outcomes")},
        "marked": {key: of for key, of in marked.items() if of},
        # Ids are what the server is asked by; those that are not to be shown as they are.
        "ids": {row["i"]: visible(row["i"]) for row in rows if visible(row["i"]) != row["i"]},
    }


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
    compared = compared_outcomes(x, y) if x and y else None
    both_answered = compared is not None and not any(outcome in UNANSWERED for outcome in compared)
    correct = [outcome == "correct" for outcome in compared or ()]
    matches = {
        "disagree": both_answered and compared is not None and compared[0] != compared[1],
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
