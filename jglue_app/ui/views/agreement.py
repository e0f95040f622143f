"""How far two runs agree: the small table below the scores, and the line of one item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jglue_app.messages import say, word
from jglue_app.scoring.agreement import item_agreement, sentences
from jglue_app.scoring.judged import ScoredItem
from jglue_app.scoring.scoreboard import significant, significant_text
from jglue_app.scoring.types import Agreement, Comparison, Estimate, ItemAgreement
from jglue_app.tasks import TASKS
from jglue_app.ui.views import short


def agreement_rows(comparison: Comparison | None, lang: str) -> list[dict[str, Any]]:
    """One row for each subset in which log-probabilities or texts of both runs can be compared, or with the reason why
    they cannot."""
    agreements = comparison.agreement if comparison else {}
    return [_row(task, agreements[task], lang) for task in TASKS if task in agreements]


def _row(task: str, agreement: Agreement, lang: str) -> dict[str, Any]:
    logprobs, texts = agreement.logprobs, agreement.texts
    row: dict[str, Any] = {
        "title": TASKS[task].title,
        "notes": [say(sentence, lang) for sentence in sentences(agreement)],
        "n": f"{logprobs.kl.n:,} {word('n', lang)}" if logprobs else "",
        "identical": f"{texts.identical:,}/{texts.n:,}" if texts else "–",
        "share": word("percent", lang).format(f"{100 * texts.identical / texts.n:.1f}") if texts else "",
        "median": f"{texts.median:g}" if texts and texts.median is not None else "–",
        "earliest": "",
    }
    if logprobs:
        largest = logprobs.largest
        row |= {
            "kl": _cell(logprobs.kl),
            "total_variation": _cell(logprobs.total_variation),
            "bits": [{"side": "A", **_cell(logprobs.bits_a)}, {"side": "B", **_cell(logprobs.bits_b)}],
            "bits_difference": f"B−A {significant_text(logprobs.bits_difference, sign=True)}",
            "mean": _cell(logprobs.mean_difference),
            "largest": word("agreement_largest", lang).format(
                significant(largest.size), short(largest.item_id), short(largest.answer)
            ),
        }
    if texts and texts.earliest is not None:
        row["earliest"] = word("agreement_earliest", lang).format(texts.earliest, short(texts.earliest_item))
    return row


def _cell(estimate: Estimate) -> dict[str, str]:
    value, _, interval = significant_text(estimate).partition(" ")
    return {"value": value, "interval": interval}


def agreement_of(rows: Sequence[ScoredItem | None], *, approximate: bool = False) -> ItemAgreement | None:
    """How far two sides agree on an item; None unless both have a record of the same item."""
    if len(rows) != 2:
        return None
    a, b = rows
    if a is None or b is None or a.item != b.item:
        return None
    return item_agreement(a.item, a.record, b.record, approximate=approximate)


def agreement_line(rows: Sequence[ScoredItem | None], agreement: ItemAgreement | None, lang: str) -> str:
    """The same on one line; empty where nothing can be compared."""
    if agreement is None:
        return ""
    parts = []
    if agreement.kl is not None:
        parts.append(f"KL(A‖B) {significant(agreement.kl)} {word('nats', lang)}")
        parts.append(f"{word('agreement_tv', lang)} {significant(agreement.total_variation)}")
    outputs = [row.record.output if row else None for row in rows]
    if agreement.first_difference == 0:
        parts.append(word("agreement_differs_at_once", lang))
    elif agreement.first_difference is not None:
        parts.append(word("agreement_differs", lang).format(f"{agreement.first_difference:,}"))
    elif all(output is not None and output.text is not None and output.finish != "overflow" for output in outputs):
        parts.append(word("agreement_identical", lang))
    return " · ".join(parts)
