"""What is seen of a report: payloads (plain tables of texts) and the templates that draw them.

The templates are Jinja in `templates/`, rendered here with every value escaped. (Gradio's own `html_template` would
not do: it evaluates `${…}` in what Handlebars has put out, so model output could run as script.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from jinja2 import ChainableUndefined, Environment, FileSystemLoader

from jglue_app.references import REFERENCES, references_of
from jglue_app.report import Answered
from jglue_app.scoreboard import (
    OUTCOMES,
    USUAL_OUTCOMES,
    ScoreRow,
    count_text,
    estimate_text,
    number,
    p_text,
    score_rows,
)
from jglue_app.tasks import TASKS
from jglue_app.types import Comparison, Estimate, Item, Notice, Parsed, Report, Source
from jglue_app.ui.words import table, word

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=ChainableUndefined,
)
MARKS = {
    "correct": "○",
    "wrong_form": "△",
    "wrong": "×",
    "unreadable": "？",
    "truncated": "…",
    "empty": "∅",
    "overflow": "≫",
    "error": "！",
    "unscored": "－",
}
SHORT = 44

Rows = Mapping[str, Mapping[str, Answered]]
"""Task → item id → item, record, judgement."""


def render(view: str, payload: Mapping[str, Any]) -> str:
    """HTML of a view (`status`, `board` or `item`), every text escaped."""
    return _TEMPLATES.get_template(f"{view}.html").render(payload)


# --- status ---------------------------------------------------------------------------------------------


def error_status(message: str, lang: str) -> dict[str, Any]:
    """A sentence about what went wrong."""
    return {"head": word("failed", lang), "error": message}


# --- scoreboard -----------------------------------------------------------------------------------------


def empty_board(lang: str) -> dict[str, Any]:
    """The scoreboard before anything has run."""
    return {"empty": word("empty_board", lang)}


def board(a: Report, b: Report | None, comparison: Comparison | None, lang: str) -> dict[str, Any]:
    """The scoreboard's payload for one report or two."""
    rows = score_rows(a, b, comparison)
    keys = list(dict.fromkeys((row.task, row.metric) for row in rows))
    lines = []
    for i, (task, metric) in enumerate(keys):
        same = {row.reading: row for row in rows if (row.task, row.metric) == (task, metric)}
        line = _board_line(same, first=i == 0 or keys[i - 1][0] != task, paired=b is not None, lang=lang)
        for side, report in zip(line["sides"], (a, b), strict=False):
            side["mark"] = _floor_mark(report, task, metric, lang)
        lines.append(line)
    return {
        "w": table(lang),
        "a": a.label,
        "b": b.label if b else "",
        "rows": lines,
        "averages": [_average(side, r, lang) for side, r in (("A", a), ("B", b)) if r],
        "references": _references(a, lang),
        "knows": [line for side, r in (("A", a), ("B", b)) if r for line in _knows(side, r, lang)],
        "notices": [line for side, r in (("A", a), ("B", b)) if r for line in _notices(side, r, lang)],
        "legend": [
            {"name": name, "mark": MARKS[name], "text": word(f"outcome_{name}", lang)}
            for name in OUTCOMES
            if name in USUAL_OUTCOMES or any(name in t.outcomes for r in (a, b) if r for t in r.tasks.values())
        ],
        "has_jsts": "jsts" in a.tasks,
        "pictures": _pictures(a, b, lang),
    }


def _board_line(same: Mapping[str, ScoreRow], *, first: bool, paired: bool, lang: str) -> dict[str, Any]:
    main = same.get("strict") or same["choose"]
    verdict = main.difference.verdict if main.difference else "none"
    found = main.difference.difference if main.difference else None
    if found is None or found.value is None:
        verdict = "none"
    return {
        "first": "jg-first" if first else "",
        "title": TASKS[main.task].title if first else "",
        "source": " / ".join(text for source in main.sources if (text := word(f"source_{source}", lang))),
        "metric": main.metric,
        "sides": [_side(same, side, lang) for side in (("a", "b") if paired else ("a",))],
        "paired": paired,
        "difference": number(found.value, sign=True) if found else "–",
        "interval": _interval(found, sign=True),
        "verdict": word(f"verdict_{verdict}", lang),
        "test": _test(main, lang),
        "verdict_class": f"jg-verdict-{verdict}",
        "floor": number(main.floor),
    }


def _test(row: ScoreRow, lang: str) -> str:
    """p after correction, and the items that would tell a difference of this size."""
    found = row.difference
    if found is None or found.p_holm is None:
        return ""
    text = f"p {p_text(found.p_holm)}"
    if found.needed is None or found.needed <= found.difference.n:
        return text
    return f"{text} · {word('needed', lang).format(count_text(found.needed))}"


def _side(same: Mapping[str, ScoreRow], side: str, lang: str) -> dict[str, str]:
    def estimate(reading: str) -> Estimate | None:
        row = same.get(reading)
        return (row.a if side == "a" else row.b) if row else None

    main = estimate("strict") or estimate("choose")
    strict_row = same.get("strict")
    details = [f"{main.n if main else 0} {word('n', lang)}"]
    if estimate("strict") is not None:
        details += [
            f"{word(reading, lang)} {number(found.value)}"
            for reading in ("lenient", "choose", "imputed")
            if (found := estimate(reading)) is not None
        ]
        if strict_row:
            count = strict_row.unreadable_a if side == "a" else strict_row.unreadable_b
            details.append(f"{word('unreadable_count', lang)} {count}")
    elif main is not None:
        details.append(word("choose", lang))
    return {"value": number(main.value if main else None), "interval": _interval(main), "detail": " · ".join(details)}


def _floor_mark(report: Report | None, task: str, metric: str, lang: str) -> str:
    """Two words on a score that is no better than a floor."""
    found = report.tasks[task].notices if report and task in report.tasks else ()
    return next((word(f"mark_{n.kind}", lang) for n in found if n.metric == metric and n.reading == "strict"), "")


def _interval(estimate: Estimate | None, *, sign: bool = False) -> str:
    if estimate is None or estimate.low is None:
        return ""
    return f"[{number(estimate.low, sign=sign)}, {number(estimate.high, sign=sign)}]"


def _average(side: str, report: Report, lang: str) -> dict[str, str]:
    if report.average_without:
        names = ", ".join(TASKS[name].title for name in report.average_without)
        return {"side": side, "text": word("average_without", lang).format(names)}
    names = ", ".join(named(name, t.source, lang) for name, t in report.tasks.items())
    return {"side": side, "text": f"{word('average_of', lang).format(names)}: {estimate_text(report.average)}"}


def _knows(side: str, report: Report, lang: str) -> list[dict[str, str]]:
    """Knowledge that is lost to form, where both methods were used."""
    known = {name: task.knows for name, task in report.tasks.items() if task.knows is not None}
    if not known:
        return []
    each = ", ".join(f"{TASKS[name].title} {count}" for name, count in known.items())
    return [{"side": side, "text": word("knows", lang).format(each)}]


def _references(report: Report, lang: str) -> list[dict[str, str]]:
    """Scores of people and of fine-tuned models on the official dev files."""
    found = {name: of for name, task in report.tasks.items() if (of := references_of(task, report.split))}
    if not found:
        return []
    out = []
    for who in REFERENCES:
        each = [
            f"{TASKS[name].title} {' / '.join(number(of[who][m]) for m in TASKS[name].metrics)}"
            for name, of in found.items()
        ]
        out.append({"who": word(f"reference_{who.split()[0].lower()}", lang), "text": " · ".join(each)})
    return out


def _notices(side: str, report: Report, lang: str) -> list[dict[str, str]]:
    """What has to be known before the scores of one side are believed."""
    found = [(None, notice) for notice in report.notices]
    tasks = [(TASKS[name].title, notice) for name, task in report.tasks.items() for notice in task.notices]
    return [
        {"side": side, "title": title or "", "text": notice_text(notice, lang)} for title, notice in [*found, *tasks]
    ]


def notice_text(notice: Notice, lang: str) -> str:
    """A notice in words."""
    text = word(f"notice_{notice.kind}", lang).format(**notice.facts)
    return f"{word('choose', lang)}: {text}" if notice.reading == "choose" else text


def _pictures(a: Report, b: Report | None, lang: str) -> list[dict[str, Any]]:
    out = []
    for name in a.tasks:
        for side, report in (("A", a), ("B", b)):
            if report is None or name not in report.tasks or not report.tasks[name].outcomes:
                continue
            counts = report.tasks[name].outcomes
            parts = [
                {"name": o, "mark": MARKS[o], "count": counts[o], "text": word(f"outcome_{o}", lang)}
                for o in OUTCOMES
                if counts.get(o)
            ]
            out.append({"name": f"{named(name, report.tasks[name].source, lang)} {side}", "parts": parts})
    return out


# --- item table -----------------------------------------------------------------------------------------


def headers(lang: str) -> list[str]:
    """Column names of the item table."""
    names = ("task", "id", "question", "gold", "a", "a_mark", "b", "b_mark")
    return [word(f"col_{name}", lang) for name in names]


def item_rows(
    a: Rows,
    b: Rows,
    which: str = "all",
    sources: Mapping[str, Mapping[str, Source]] | None = None,
    lang: str = "ja",
) -> list[list[str]]:
    """The item table, filtered.

    Args:
        a, b: what each run answered.
        which: all, disagree, only_a, only_b, form or unreadable.
        sources: side → task → where its items came from, named beside the subset.
        lang: `ja` or `en`.
    """
    out = []
    for name in TASKS:
        left, right = a.get(name, {}), b.get(name, {})
        for id_ in dict.fromkeys((*left, *right)):
            x, y = left.get(id_), right.get(id_)
            if _shown(x, y, which):
                out.append([named(name, _source_of(sources or {}, name), lang), *_item_cells(id_, x, y)])
    return out


def named(task: str, source: Source, lang: str) -> str:
    """A subset's title, with where its items came from unless they are official."""
    mark = word(f"source_{source}", lang)
    return TASKS[task].title + (f" ({mark})" if mark else "")


def _source_of(sources: Mapping[str, Mapping[str, Source]], task: str) -> Source:
    return next((found[task] for found in sources.values() if task in found), "official")


def _item_cells(id_: str, x: Answered | None, y: Answered | None) -> list[str]:
    some = x or y
    assert some is not None
    cells = [id_, question(some.item), gold_text(some.item)]
    for row in (x, y):
        cells += [_said(row), MARKS[row.judgement.outcome] if row else ""]
    return cells


def _said(row: Answered | None) -> str:
    if row is None:
        return ""
    if row.record.output is None:
        return row.record.error.message if row.record.error else ""
    if row.record.output.text is None:
        return row.judgement.choice or ""
    return short(row.record.output.text)


def _shown(x: Answered | None, y: Answered | None, which: str) -> bool:
    outcomes = [row.judgement.outcome if row else None for row in (x, y)]
    right = [o == "correct" for o in outcomes]
    return {
        "all": True,
        "disagree": outcomes[0] != outcomes[1] and None not in outcomes,
        "only_a": right == [True, False],
        "only_b": right == [False, True],
        "form": "wrong_form" in outcomes,
        "unreadable": any(o in ("unreadable", "truncated", "empty", "overflow", "error") for o in outcomes),
    }[which]


def short(text: str) -> str:
    """One line of a text, cut."""
    line = " ⏎ ".join(text.splitlines())
    return line if len(line) <= SHORT else line[: SHORT - 1] + "…"


def question(item: Item) -> str:
    """What an item asks, in one short line."""
    fields = item.fields
    if "question" in fields:
        return short(fields["question"])
    return short(" / ".join(fields.values()))


def gold_text(item: Item) -> str:
    """The gold answer for people: JCommonsenseQA with the choice's text."""
    if isinstance(item.gold, float):
        return f"{item.gold:.1f}"
    answers = list(dict.fromkeys(item.gold))
    if f"choice{answers[0]}" in item.fields:
        return f"{answers[0]} {item.fields[f'choice{answers[0]}']}"
    return " / ".join(answers)


# --- one item -------------------------------------------------------------------------------------------


def empty_item(lang: str) -> dict[str, Any]:
    """The item view before a row is chosen."""
    return {"empty": word("empty_item", lang)}


def item_view(sides: Sequence[tuple[str, str, Answered | None, str]], lang: str, source: str = "") -> dict[str, Any]:
    """The item view's payload.

    Args:
        sides: (`A` or `B`, the run's label, the item's row or None, text of the BOS the tokenizer adds or "").
        lang: `ja` or `en`.
        source: where the items came from, in that language; empty for official ones.
    """
    item = next(row.item for _, _, row, _ in sides if row)
    return {
        "w": table(lang),
        "title": TASKS[item.task].title,
        "source": source,
        "id": item.id,
        "fields": [{"name": word(f"field_{name}", lang), "text": text} for name, text in item.fields.items()],
        "gold": gold_text(item) + _asked_as(item, [row for _, _, row, _ in sides if row]),
        "sides": [_item_side(name, label, row, bos, lang) for name, label, row, bos in sides],
    }


def _asked_as(item: Item, rows: list[Answered]) -> str:
    """How the prompts wanted the gold label written, where that is not the label itself."""
    if not isinstance(item.gold, tuple) or not item.choices:
        return ""
    index = item.choices.index(item.gold[0])
    forms = dict.fromkeys(row.record.prompt.answers[index] for row in rows if row.record.prompt.answers)
    other = [form for form in forms if form != item.gold[0]]
    return f" （{' / '.join(other)}）" if other else ""


def _item_side(name: str, label: str, row: Answered | None, bos: str, lang: str) -> dict[str, Any]:
    head: dict[str, Any] = {"name": name, "class": name.lower(), "label": label}
    if row is None:
        return head | {"missing": word("not_run", lang)}
    judgement, output, prompt = row.judgement, row.record.output, row.record.prompt
    scores = " · ".join(f"{metric} {value:.3f}" for metric, value in judgement.scores.items())
    if isinstance(row.item.gold, float) and isinstance(judgement.lenient.value, float):
        scores = word("distance", lang).format(f"{abs(judgement.lenient.value - row.item.gold):.1f}")
    specials = [{"text": bos, "special": True, "eol": False}] if bos and prompt.messages is None else []
    head |= {
        "outcome": judgement.outcome,
        "mark": MARKS[judgement.outcome],
        "outcome_text": word(f"outcome_{judgement.outcome}", lang),
        "scores": scores,
        "prompt": specials + pieces(prompt.text, None),
    }
    if output is None:
        return head | {"note": row.record.error.message if row.record.error else ""}
    facts = word("tokens", lang).format(output.prompt_tokens, output.new_tokens, f"{output.seconds:.2f}")
    if output.finish in ("length", "overflow"):
        facts += " · " + word(f"finish_{output.finish}", lang)
    if prompt.shot_ids:
        facts += f" · {word('shots_used', lang)}: {', '.join(prompt.shot_ids)}"
    head |= {"facts": facts, "bars": _bars(row)}
    if output.text is None:
        return head | {"note": word("no_text", lang)}
    marked = judgement.strict if judgement.strict.value is not None else judgement.lenient
    if not output.text:
        head["note"] = word("empty_text", lang)
    return head | {
        "raw": pieces(output.text, marked.span),
        "readings": [
            _reading(word(f"reading_{kind}", lang), parsed, row.item, lang)
            for kind, parsed in (("strict", judgement.strict), ("lenient", judgement.lenient))
        ],
    }


def _reading(name: str, parsed: Parsed, item: Item, lang: str) -> dict[str, str]:
    value = word("no_reading", lang) if parsed.value is None else str(parsed.value)
    if isinstance(parsed.value, str) and f"choice{parsed.value}" in item.fields:
        value = f"{parsed.value} {item.fields[f'choice{parsed.value}']}"
    return {"name": name, "value": value, "rule": f"{word('rule', lang)}: {parsed.rule}"}


def _bars(row: Answered) -> list[dict[str, str]]:
    """Log-likelihoods as figures; as widths, probabilities renormalised over the choices."""
    logprobs = row.record.output.choice_logprobs if row.record.output else None
    if not logprobs:
        return []
    weights = [math.exp(value - max(logprobs)) for value in logprobs]
    gold = row.item.gold if isinstance(row.item.gold, tuple) else ()
    return [
        {
            "name": f"{MARKS['correct']} {answer}" if label in gold else answer,
            "value": f"{value:.2f}",
            "percent": f"{100 * weight / sum(weights):.0f}",
            "class": "jg-fill-gold" if label in gold else "",
        }
        for label, answer, value, weight in zip(
            row.item.choices, row.record.prompt.answers, logprobs, weights, strict=True
        )
    ]


def pieces(text: str, span: tuple[int, int] | None) -> list[dict[str, Any]]:
    """A text in pieces that are marked or not, each ending at a line end or a border of the span."""
    borders = sorted({0, len(text), *(span or ())})
    out = []
    for start, end in pairwise(borders):
        marked = span is not None and span[0] <= start < span[1]
        lines = text[start:end].split("\n")
        out += [{"text": line, "mark": marked, "eol": i < len(lines) - 1} for i, line in enumerate(lines)]
    return out
