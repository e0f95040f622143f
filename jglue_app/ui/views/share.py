"""What an image of one item or of a comparison shows; `static/share.js` draws it in the browser, 1200 × 630.

Everything in it is a text or a place in percent, cut to what fits, with signs in place of characters that cannot be
seen or would turn a line around.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jglue_app.messages import word
from jglue_app.prompts import thoughts
from jglue_app.scoring.judged import ScoredItem
from jglue_app.scoring.key_items import gold_share
from jglue_app.tasks import TASKS
from jglue_app.tasks.item_text import question_line
from jglue_app.types import Item
from jglue_app.ui.views import MARKS, short
from jglue_app.ui.views.signs import visible

QUESTION, OUTPUT, LABEL = 220, 200, 90
"""Most characters of a question, of an output, and of a label or gold answer."""
WORDS = ("title", "save", "copy", "copied", "not_copied", "copy_alt", "alt", "close")
"""What the dialog with the image says: labels `share_…`."""


def image_words(lang: str) -> dict[str, str]:
    """What the dialog with the image says."""
    return {name: word(f"share_{name}", lang) for name in WORDS}


def item_image(
    item: Item, gold: str, sides: Sequence[tuple[str, str, ScoredItem | None]], lang: str, source: str = ""
) -> dict[str, Any]:
    """One item with each side's answer.

    Args:
        item: the item.
        gold: its gold answer as it is shown.
        sides: `A` or `B`, what the run is called in that language, and the answered item; None if it was not answered.
        lang: `ja` or `en`.
        source: where the item is from, in that language; empty for an official one.
    """
    drawn = [_side(name, label, row, lang) for name, label, row in sides]
    title, lead = TASKS[item.task].title, visible(short(question_line(item), QUESTION))
    gold_text = f"{word('gold', lang)} {visible(short(gold, LABEL))}"
    answers = [
        f"{side['side']} {side['label']}: {side['text']} ({side['outcome_text']}. {side['read']})" for side in drawn
    ]
    return {
        "kind": "item",
        "name": f"{item.task}-{short(item.id)}",
        "title": f"{title} · {visible(short(item.id))}",
        "lead": lead,
        "gold": gold_text,
        "sides": drawn,
        "foot": _foot(lang, source),
        "alt": " / ".join([f"{title}: {lead}", gold_text, *answers]),
    }


def _side(name: str, label: str, row: ScoredItem | None, lang: str) -> dict[str, str]:
    side = {
        "side": name,
        "label": visible(short(label, LABEL)),
        "share": "",
        "percent": "",
        "read": "",
    }
    if row is None:
        return side | {"outcome": "none", "mark": "", "outcome_text": word("not_run", lang), "text": "–"}
    outcome, share = row.judgement.outcome, gold_share(row)
    if share is not None:
        percent = f"{100 * share:.0f}"
        side |= {"share": f"{word('gold_share', lang)} {percent}%", "percent": percent}
    read = row.judgement.strict.value
    if isinstance(read, str) and f"choice{read}" in row.item.fields:
        read = f"{read} {row.item.fields[f'choice{read}']}"
    reading = word("no_reading", lang) if read is None else visible(short(str(read), LABEL))
    return side | {
        "read": f"{word('reading_strict', lang)}: {reading}",
        "outcome": outcome,
        "mark": MARKS[outcome],
        "outcome_text": word(f"outcome_{outcome}", lang),
        "text": _answer(row, lang),
    }


def _answer(row: ScoredItem, lang: str) -> str:
    """What a model wrote, without its thoughts."""
    output = row.record.output
    if output is None:
        return "–"
    if output.text is None:
        return word("no_text", lang)
    answer = output.text[thoughts.split(output.text, row.record.prompt.thought).answer or 0 :].strip()
    return visible(short(answer, OUTPUT)) if answer else word("empty_text", lang)


def board_image(card: Mapping[str, Any], protocol: str, lang: str, source: str = "") -> dict[str, Any]:
    """A comparison: its sentence, its runs, and a strip for each subset.

    Args:
        card: the payload of the first card.
        protocol: under which it is.
        lang: `ja` or `en`.
        source: where the items are from, in that language; empty for official ones.
    """
    sides = [{"side": side["side"], "label": visible(short(side["title"], LABEL))} for side in card["sides"]]
    strips = [
        {
            **{name: strip[name] for name in ("title", "floor", "verdict", "verdict_class")},
            "n": f"{strip['n']} {word('n', lang)}",
            "lines": [{name: line[name] for name in ("tag", "value", "interval", "marks")} for line in strip["lines"]],
        }
        for strip in card["strips"]
    ]
    scores = [
        f"{strip['title']} {', '.join(line['spoken'] for line in strip['lines'])}: {strip['verdict']}"
        for strip in card["strips"]
    ]
    return {
        "kind": "board",
        "name": "comparison",
        "title": card["headline"],
        "sides": sides,
        "strips": strips,
        "legend": {name: word(name, lang) for name in ("strict", "lenient", "choose")}
        | {"floor": word("strip_floor_name", lang)},
        "foot": _foot(lang, source, protocol),
        "alt": " / ".join([card["headline"], *(f"{side['side']} {side['label']}" for side in sides), *scores]),
    }


def _foot(lang: str, *more: str) -> str:
    """The line at the foot: the name of the application, and what has to be known of the scores."""
    return " · ".join([word("title", lang), *filter(None, more)])
