"""One item: its question, each side's prompt and output, how the output is parsed, and its score under every
protocol."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jglue_app.messages import Message, listed, named, say, word
from jglue_app.prompt_lab import TYPED
from jglue_app.prompts import thoughts
from jglue_app.results.embedding_references import ItemCosine
from jglue_app.results.marks import NO_ITEM_MARKS, SIGNS, ItemMarks
from jglue_app.scoring.judged import ScoredItem
from jglue_app.scoring.protocols import PROTOCOLS
from jglue_app.scoring.protocols.common import is_cosine
from jglue_app.scoring.types import Judgement, Parsed
from jglue_app.tasks import TASKS
from jglue_app.tasks.item_text import gold_with_choice
from jglue_app.types import Item, Prompt
from jglue_app.ui.views import MARKS
from jglue_app.ui.views.agreement import agreement_line, agreement_of
from jglue_app.ui.views.item_diff import Layers, side_by_side
from jglue_app.ui.views.metrics import metric_name
from jglue_app.ui.views.pieces import layered, part_of, pieces, special_pieces, special_spans
from jglue_app.ui.views.reading import reading_rule
from jglue_app.ui.views.run_labels import label_text
from jglue_app.ui.views.share import image_words, item_image

MAX_CHARS = 20_000
"""Characters of a text to show; the number of the others is given."""


@dataclass(frozen=True, slots=True)
class SideView:
    """One side of an item."""

    name: str
    """`A` or `B`."""
    label: str
    """The run's label."""
    row: ScoredItem | None
    """None where there is no answer to the item."""
    bos: str = ""
    """Text of the BOS token that the tokenizer adds; empty if it adds none."""
    eos: str = ""
    judged: Mapping[str, Judgement] = field(default_factory=dict)
    """Protocol → its judgement of the output."""
    approximate: bool = False
    """Whether log-probabilities are not of whole answers; see `types.ModelInfo.ranking`."""
    cosine: ItemCosine | None = None
    """Of a run of embeddings: the item's cosine among those of the run."""
    run: str = ""
    """The stored run's name, where marks and a note can be put on the item."""
    marked: ItemMarks = NO_ITEM_MARKS
    """Those that it has."""
    is_named: bool = False
    """Whether the label is a name that somebody gave it."""
    missing: str = ""
    """Why there is no row, in the language of the page; empty where the run has not answered the item."""


def item_view(
    sides: Sequence[SideView],
    lang: str,
    source: str = "",
    *,
    lab: Mapping[str, str] | None = None,
    steps: bool = True,
    cosines: Sequence[ItemCosine] = (),
    marks_note: str = "",
    protocol: str = "official",
) -> dict[str, Any]:
    """The item view's payload.

    Args:
        sides: at least one of them with a row.
        lang: `ja` or `en`.
        source: where the items came from, in that language; empty for official ones.
        lab: what the button to the prompt lab passes on; None for no button.
        steps: whether to offer the previous and next item.
        cosines: of the item, in stored runs of embeddings.
        marks_note: who sees the marks, in that language; empty where there is nothing to know.
        protocol: what the runs are scored by.
    """
    item = next(side.row.item for side in sides if side.row)
    rows = [side.row for side in sides if side.row]
    both = [side.row for side in sides]
    agreement = agreement_of(both, approximate=any(side.approximate for side in sides))
    # Texts that have no beginning in common need no mark.
    differs_at = (agreement.first_difference or None) if agreement else None
    diffs = _diffs(both, sides, lang)
    gold = gold_with_choice(item) + gold_forms(item, rows) if item.gold != () else word("no_gold", lang)
    return {
        "title": TASKS[item.task].title,
        "asks": say(Message(TASKS[item.task].question), lang),
        "source": source,
        "id": word("own_item", lang) if item.id == TYPED else item.id,
        "key": f"{item.task}/{item.id}",
        "fields": [_field(item, name, text, lang) for name, text in item.fields.items() if text],
        "gold": gold,
        "agreement": agreement_line(both, agreement, lang),
        "sides": [
            {**_side(side, lang, differs_at), **{name: diff.get(side.name.lower(), []) for name, diff in diffs.items()}}
            for side in sides
        ],
        "diffs": {name: {"on": "a" in diff, "note": diff.get("note", "")} for name, diff in diffs.items()},
        "cosines": [
            {"label": label_text(cosine.label, lang, named=cosine.is_named), "text": _ranked_cosine(cosine, lang)}
            for cosine in cosines
        ],
        "protocols": _protocols(item, sides, lang, protocol),
        "lab": lab,
        "steps": steps,
        "share": item_image(
            item,
            gold,
            [(side.name, label_text(side.label, lang, named=side.is_named), side.row) for side in sides],
            lang,
            source,
        ),
        "share_words": image_words(lang),
        "marks_note": marks_note,
    }


def _diffs(rows: Sequence[ScoredItem | None], sides: Sequence[SideView], lang: str) -> dict[str, dict[str, Any]]:
    """What differs between the two outputs (`raw_diff`) and between the two prompts (`prompt_diff`)."""
    if len(rows) != 2 or rows[0] is None or rows[1] is None:
        return {"raw_diff": {}, "prompt_diff": {}}
    a, b = rows[0].record, rows[1].record
    text_a, text_b = (record.output.text if record.output else None for record in (a, b))
    read: tuple[Layers, Layers] = {"mark": _read_span(rows[0])}, {"mark": _read_span(rows[1])}
    special: tuple[Layers, Layers] = _special_layer(sides[0], a.prompt), _special_layer(sides[1], b.prompt)
    return {
        "raw_diff": side_by_side(text_a, text_b, read, lang),
        "prompt_diff": side_by_side(a.prompt.text, b.prompt.text, special, lang),
    }


def _special_layer(side: SideView, prompt: Prompt) -> Layers:
    return {"special": special_spans(prompt.text, (side.bos, side.eos), chat=prompt.messages is not None)}


def _read_span(row: ScoredItem) -> list[tuple[int, int]]:
    """The characters that the answer was read from: those of the strict reading, else of the lenient one."""
    judgement = row.judgement
    span = (judgement.strict if judgement.strict.value is not None else judgement.lenient).span
    return [span] if span else []


def _field(item: Item, name: str, text: str, lang: str) -> dict[str, Any]:
    """A field's text; in a paragraph the accepted answers are marked, as the gold choice is."""
    gold = item.gold if isinstance(item.gold, tuple) else ()
    spans = []
    if name == "context":
        spans = [(m.start(), m.end()) for answer in gold if answer for m in re.finditer(re.escape(answer), text)]
    return {
        "name": word(f"field_{name}", lang, default=name),
        "pieces": pieces(text, spans),
        "gold": name.startswith("choice") and name.removeprefix("choice") in gold,
    }


def gold_forms(item: Item, rows: list[ScoredItem]) -> str:
    """The forms of the gold label that the prompts ask for, if they differ from the label."""
    if not isinstance(item.gold, tuple) or not item.choices or not item.gold:
        return ""
    index = item.choices.index(item.gold[0])
    forms = dict.fromkeys(row.record.prompt.answers[index] for row in rows if row.record.prompt.answers)
    other = [form for form in forms if form != item.gold[0]]
    return f" （{' / '.join(other)}）" if other else ""


def _ranked_cosine(cosine: ItemCosine, lang: str) -> str:
    """A cosine with its place among those of its run, as the number alone says little."""
    return word("cosine_rank", lang).format(f"{cosine.value:.3f}", f"{cosine.rank:,}", f"{cosine.n:,}")


def _side(side: SideView, lang: str, differs_at: int | None = None) -> dict[str, Any]:
    """One side; `differs_at` is the character from which on its text differs from that of the other side."""
    head: dict[str, Any] = {
        "name": side.name,
        "class": side.name.lower(),
        "label": label_text(side.label, lang, named=side.is_named),
    }
    row = side.row
    if row is None:
        return head | {"missing": side.missing or word("not_run", lang)}
    head |= {"run": side.run, "marks": _marks(side.marked, lang), "my_note": side.marked.note}
    judgement, output, prompt = row.judgement, row.record.output, row.record.prompt
    scores = " · ".join(f"{metric_name(metric, lang)} {value:.3f}" for metric, value in judgement.scores.items())
    if isinstance(row.item.gold, float) and isinstance(judgement.lenient.value, float):
        scores = word("distance", lang).format(f"{abs(judgement.lenient.value - row.item.gold):.1f}")
    if side.cosine is not None:
        scores = _ranked_cosine(side.cosine, lang)
    specials = [{"text": side.bos, "special": True}] if side.bos and prompt.messages is None else []
    head |= {
        "outcome": judgement.outcome,
        "mark": MARKS[judgement.outcome],
        "outcome_text": word(f"outcome_{judgement.outcome}", lang),
        "scores": scores,
        "prompt_title": word("prompt_turns" if prompt.thinking else "prompt", lang),
        "special_start": specials,
        "prompt": specials + _prompt(prompt.text, (side.bos, side.eos), prompt.messages is not None, lang),
        "ranked": specials + _prompt(prompt.ranked_text, (side.bos, side.eos), prompt.messages is not None, lang)
        if prompt.ranked_text and output is not None and output.choice_logprobs
        else [],
    }
    if output is None:
        return head | {"note": say(row.record.error.sentence, lang) if row.record.error else ""}
    facts = [word("tokens", lang).format(output.prompt_tokens, output.new_tokens, f"{output.seconds:.2f}")]
    if output.finish in ("length", "overflow"):
        facts.append(word(f"finish_{output.finish}", lang))
    if prompt.shot_ids:
        facts.append(named(word("shots_used", lang), listed(prompt.shot_ids, lang), lang))
    head |= {"facts": " · ".join(facts), "bars": bars(row)}
    if output.reasoning:
        tokens = output.reasoning_tokens
        head["reasoning"] = {
            "name": word("thought_apart", lang).format(f"{len(output.reasoning):,}")
            + (word("thought_tokens", lang).format(f"{tokens:,}") if tokens else ""),
            "pieces": pieces(output.reasoning[:MAX_CHARS], []),
            "rest": _rest(output.reasoning, lang),
        }
    if output.text is None:
        return head | {"note": word("no_text", lang)}
    if not output.text:
        head["note"] = word("empty_text", lang)
    readings = [("strict", judgement.strict)]
    readings += [] if is_cosine(row.record) else [("lenient", judgement.lenient)]
    return head | {
        **_raw(output.text, prompt.thought, _read_span(row), lang, differs_at),
        "embedded": is_cosine(row.record),
        "readings": [_reading(word(f"reading_{kind}", lang), parsed, row.item, lang) for kind, parsed in readings],
    }


def _marks(found: ItemMarks, lang: str) -> list[dict[str, Any]]:
    """A button for each mark."""
    return [
        {"name": name, "sign": sign, "on": name in found.marks, "text": word(f"mark_{name}", lang)}
        for name, sign in SIGNS.items()
    ]


def _raw(
    text: str, opened: str, spans: Sequence[tuple[int, int]], lang: str, differs_at: int | None = None
) -> dict[str, Any]:
    """A raw output in three parts: the text before the thinking, the thinking, which is collapsed, and the rest."""
    parts = thoughts.split(text, opened)
    begin, answer = parts.opened, len(text) if parts.answer is None else parts.answer

    def part(start: int, end: int) -> list[dict[str, Any]]:
        differs = None
        # Where a text is the beginning of the other, its end is marked.
        if differs_at is not None and start < end and (start <= differs_at < end or differs_at == end == len(text)):
            differs = differs_at - start, word("agreement_here", lang)
        return _part_of(text, start, end, spans, differs)

    if begin is None or begin >= answer:
        return {"raw": part(0, len(text)), "raw_rest": _rest(text, lang)}
    kind = "thought_unfinished" if parts.unfinished else "thought"
    return {
        "before": part(0, begin),
        "thought": {
            "name": word(kind, lang).format(f"{answer - begin:,}"),
            "pieces": part(begin, answer),
            "rest": _rest(text[begin:answer], lang),
            # A protocol that does not handle thinking may have parsed its answer there.
            "open": any(begin <= start < answer for start, _ in spans),
        },
        "raw": part(answer, len(text)),
        "raw_rest": _rest(text[answer:], lang),
    }


def _part_of(
    text: str, start: int, end: int, spans: Sequence[tuple[int, int]], differs: tuple[int, str] | None
) -> list[dict[str, Any]]:
    """A part of a text in pieces, cut if it is very long; the spans are positions in the whole text, `differs` is one
    in the part."""
    return layered(text[start:end][:MAX_CHARS], part_of({"mark": spans}, start, end), differs)


def _prompt(text: str, special_texts: tuple[str, str], chat: bool, lang: str) -> list[dict[str, Any]]:
    """A prompt; of a very long one the beginning, and the end with the question."""
    if len(text) <= MAX_CHARS:
        return special_pieces(text, special_texts, chat=chat)
    gap = word("left_out_between", lang).format(f"{len(text) - MAX_CHARS:,}")
    first, last = (
        special_pieces(part, special_texts, chat=chat) for part in (text[: MAX_CHARS // 2], text[-MAX_CHARS // 2 :])
    )
    return [*first, {"text": gap, "special": True}, *last]


def _rest(text: str, lang: str) -> str:
    return word("more_characters", lang).format(f"{len(text) - MAX_CHARS:,}") if len(text) > MAX_CHARS else ""


def _reading(name: str, parsed: Parsed, item: Item, lang: str) -> dict[str, Any]:
    return {
        "name": name,
        "value": _value(parsed.value, item, lang),
        "read": parsed.value is not None,
        "rule": parsed.rule,
        "because": reading_rule(parsed.rule, lang),
    }


def _value(value: str | float | None, item: Item, lang: str) -> str:
    if value is None:
        return word("no_reading", lang)
    if isinstance(value, str) and f"choice{value}" in item.fields:
        return f"{value} {item.fields[f'choice{value}']}"
    return str(value)[:300]


def bars(row: ScoredItem) -> list[dict[str, Any]]:
    """Log-likelihoods of the choices as numbers; as widths of bars, probabilities renormalised over the choices."""
    logprobs = row.record.output.choice_logprobs if row.record.output else None
    if not logprobs or not len(logprobs) == len(row.item.choices) == len(row.record.prompt.answers):
        return []  # In an imported run any of these may be missing.
    finite = [value for value in logprobs if math.isfinite(value)]
    weights = [math.exp(value - max(finite, default=0.0)) if math.isfinite(value) else 0.0 for value in logprobs]
    total = sum(weights) or 1.0
    gold = row.item.gold if isinstance(row.item.gold, tuple) else ()
    return [
        {
            "name": " ".join(dict.fromkeys((answer, row.item.fields.get(f"choice{label}", answer)))),
            "gold": label in gold,
            "best": weight == max(weights) and weight > 0,
            "value": f"{value:.2f}",
            "share": f"{100 * weight / total:.0f}",
        }
        for label, answer, value, weight in zip(
            row.item.choices, row.record.prompt.answers, logprobs, weights, strict=True
        )
    ]


def _protocols(item: Item, sides: Sequence[SideView], lang: str, scored_by: str) -> list[dict[str, Any]]:
    """One row for each protocol: how it scores each side's output. Of variants, which parse texts the same way, only
    the one that the runs are scored by has a row, in the place of the protocol that they are variants of."""
    judged = any(side.judged for side in sides)
    names = [name for name, protocol in PROTOCOLS.items() if judged and not protocol.variant_of]
    if original := PROTOCOLS[scored_by].variant_of:
        names = [scored_by if name == original else name for name in names]
    return [
        {
            "name": name,
            "about": word(f"protocol_{name}", lang, default=""),
            "cells": [_verdict(item, side, name, lang) for side in sides],
        }
        for name in names
    ]


def _verdict(item: Item, side: SideView, name: str, lang: str) -> dict[str, str]:
    judgement = side.judged.get(name)
    cell = {"side": side.name, "class": side.name.lower()}
    if side.row is None:
        return cell | {"mark": "", "value": "–"}
    covered = item.task in PROTOCOLS[name].metrics
    if judgement is None or not covered or judgement.outcome == "unscored":
        text = "unscored_short" if covered else "not_covered_short"
        return cell | {"mark": "－", "class": "none", "value": word(text, lang)}
    scores = judgement.scores
    score = scores.get("exact_match", scores.get("accuracy", max(scores.values(), default=None)))
    kind: str = judgement.outcome
    mark = MARKS[judgement.outcome]
    if isinstance(item.gold, float) and judgement.strict.value is not None:
        mark, kind = "", "number"  # No number is right or wrong by itself.
    f1 = scores.get("f1")
    value = _value(judgement.strict.value, item, lang)
    if mark and score == 1.0 and judgement.outcome != "correct":
        value += f" · {word('counted_right', lang)}"  # A default for what cannot be read may hit the gold answer.
    return cell | {
        "mark": mark,
        "class": kind,
        "name": word(f"outcome_{judgement.outcome}", lang) if mark else "",
        "value": value + (f" · F1 {f1:.2f}" if f1 is not None else ""),
        "because": reading_rule(judgement.strict.rule, lang),
    }
