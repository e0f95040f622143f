"""How far two runs agree, as tables of the command line."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from rich.table import Table

from jglue_app.results.first_differences import FirstDifferences
from jglue_app.scoring.agreement import sentences
from jglue_app.scoring.scoreboard import significant, significant_text
from jglue_app.scoring.types import Comparison
from jglue_app.tasks import TASKS

_MAX_ANSWER = 40
"""Characters of an answer in a line of a table."""


def agreement_parts(comparison: Comparison) -> Iterator[Table | str]:
    """Tables and lines on log-probabilities and texts, for the subsets where both have some."""
    of_logprobs, of_texts = _logprob_table(comparison), _text_table(comparison)
    if of_logprobs.row_count:
        yield from (
            "",
            of_logprobs,
            "KL(A‖B) and total variation: between the answers' probabilities, renormalised over the choices. Bits per "
            "character: of the gold answer. |Δ ln P|: how far the summed log-probabilities of an answer are apart.",
        )
    if of_texts.row_count:
        yield from ("", of_texts, "first difference: how many characters both texts begin with, where they differ.")
    for task, agreement in comparison.agreement.items():
        for sentence in sentences(agreement):
            yield f"note: {TASKS[task].title}: {sentence}"


def _logprob_table(comparison: Comparison) -> Table:
    bits = ("bits/char A", "bits/char B", "B − A")
    gap = ("mean |Δ ln P|", "largest |Δ ln P|", "in item", "answer")
    table = _table("log-probabilities in", "items", "KL(A‖B), nats", "total variation", *bits, *gap)
    for task in TASKS:
        agreement = comparison.agreement.get(task)
        if agreement is None or (of := agreement.logprobs) is None:
            continue
        means = (of.kl, of.total_variation, of.bits_a, of.bits_b)
        table.add_row(
            TASKS[task].title,
            str(of.kl.n),
            *(significant_text(mean) for mean in means),
            significant_text(of.bits_difference, sign=True),
            significant_text(of.mean_difference),
            significant(of.largest.size),
            of.largest.item_id,
            _line(of.largest.answer),
        )
    return table


def _text_table(comparison: Comparison) -> Table:
    table = _table("texts in", "items", "identical", "first difference (median)", "earliest", "in item")
    for task in TASKS:
        agreement = comparison.agreement.get(task)
        if agreement is None or (of := agreement.texts) is None:
            continue
        same = f"{of.identical} ({100 * of.identical / of.n:.1f} %)"
        median = "–" if of.median is None else f"{of.median:g}"
        earliest = "–" if of.earliest is None else str(of.earliest)
        table.add_row(TASKS[task].title, str(of.n), same, median, earliest, of.earliest_item)
    return table


def token_parts(found: FirstDifferences) -> Iterator[Table | str]:
    """Where texts first differ in tokens: by subset the median and the earliest, with both sides' tokens there."""
    if not found.tasks:
        return
    table = _table(
        "first differing token in", "items that differ", "median", "earliest", "in item", "token of A", "token of B"
    )
    for task in TASKS:
        if differences := found.tasks.get(task):
            first = min(differences, key=lambda d: d.token)
            median = f"{statistics.median(d.token for d in differences):g}"
            tokens = (_line(token) or "(end)" for token in (first.token_a, first.token_b))
            table.add_row(TASKS[task].title, str(len(differences)), median, str(first.token), first.item_id, *tokens)
    yield from ("", table, f"How many tokens both begin with; tokens of {found.tokenizer}, of both texts.")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, name in enumerate(columns):
        table.add_column(name, justify="right" if i else "left", no_wrap=True)
    return table


def _line(text: str) -> str:
    line = text.replace("\n", "⏎")
    return line if len(line) <= _MAX_ANSWER else line[:_MAX_ANSWER] + "…"
