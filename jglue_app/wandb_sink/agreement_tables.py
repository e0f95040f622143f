"""The tables of how far two runs agree, with one row per subset or per item. Pure."""

from __future__ import annotations

from jglue_app.results import surrogates
from jglue_app.scoring.agreement import common_items, is_approximate, item_agreement
from jglue_app.scoring.types import Comparison
from jglue_app.tasks import TASKS
from jglue_app.types import RunData
from jglue_app.wandb_sink.tables import Cell, Table

SUBSET_COLUMNS = (
    *("subset", "n", "kl_nats", "total_variation", "bits_per_character_a", "bits_per_character_b"),
    *("mean_logprob_difference", "largest_logprob_difference", "largest_item_id", "largest_answer"),
    *("texts", "identical_texts", "median_first_difference", "least_first_difference", "least_item_id"),
    *("other_answers", "approximate"),
)
ITEM_COLUMNS = ("subset", "item_id", "kl_nats", "total_variation", "first_difference")


def agreement_table(comparison: Comparison) -> Table:
    """One row for each subset in which log-probabilities or texts of both runs can be compared, or not all can; see
    `scoring.types.Agreement`."""
    rows: list[list[Cell]] = []
    for task, agreement in comparison.agreement.items():
        logprobs, texts = agreement.logprobs, agreement.texts
        row: list[Cell] = [TASKS[task].title]
        if logprobs:
            means = (logprobs.kl, logprobs.total_variation, logprobs.bits_a, logprobs.bits_b, logprobs.mean_difference)
            largest = logprobs.largest
            row += [logprobs.kl.n, *(mean.value for mean in means)]
            row += [largest.size, surrogates.escape(largest.item_id), surrogates.escape(largest.answer)]
        else:
            row += [None] * 9
        if texts:
            row += [texts.n, texts.identical, texts.median, texts.earliest, surrogates.escape(texts.earliest_item)]
        else:
            row += [None] * 5
        rows.append([*row, agreement.other_answers, agreement.approximate])
    return Table(SUBSET_COLUMNS, rows)


def agreement_item_table(a: RunData, b: RunData) -> Table:
    """One row for each item in which log-probabilities of both runs can be compared, or whose texts differ;
    `first_difference` is the number of characters that both texts begin with."""
    approximate = is_approximate(a.model) or is_approximate(b.model)
    rows: list[list[Cell]] = []
    for task, both in common_items(a, b).items():
        for item, record_a, record_b in both:
            found = item_agreement(item, record_a, record_b, approximate=approximate)
            if found.kl is not None or found.first_difference is not None:
                cells = (found.kl, found.total_variation, found.first_difference)
                rows.append([TASKS[task].title, surrogates.escape(item.id), *cells])
    return Table(ITEM_COLUMNS, rows)
