"""A stored run as result rows, one for each item: the source of result files and W&B tables. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jglue_app.results.marks import NO_ITEM_MARKS, NO_MARKS, ItemMarks, Marks
from jglue_app.scoring.judged import Judged, verdict
from jglue_app.scoring.types import Judgement
from jglue_app.types import Item, Record


@dataclass(frozen=True, slots=True)
class ResultRow:
    """An item that has a record: the prompt, the output, and the score under every protocol."""

    item: Item
    """With the gold labels that the chosen protocol uses."""
    record: Record
    judgement: Judgement
    """The chosen protocol's; where that does not score the subset, `official`'s."""
    official: Judgement
    """Only this one has two readings, the ranked choice and the outcome."""
    verdicts: Mapping[str, float | None]
    """Protocol → verdict (see `judged.verdict`), of every protocol that scores the item."""
    marked: ItemMarks = NO_ITEM_MARKS
    """What somebody put on the item."""

    @property
    def key(self) -> tuple[str, str]:
        """(task, item id)."""
        return self.record.task, self.record.item_id

    @property
    def raw(self) -> str | None:
        """The output as it was generated; None if there is no text."""
        return self.record.output.text if self.record.output else None

    @property
    def error(self) -> str | None:
        """Why there is no output."""
        return self.record.error.message if self.record.error else None

    @property
    def finish(self) -> str | None:
        """How generation ended; see `types.Output`."""
        return self.record.output.finish if self.record.output else None

    @property
    def prompt_tokens(self) -> int | None:
        return self.record.output.prompt_tokens if self.record.output else None

    @property
    def new_tokens(self) -> int | None:
        return self.record.output.new_tokens if self.record.output else None

    @property
    def seconds(self) -> float | None:
        """The item's share of the time its batch took."""
        return self.record.output.seconds if self.record.output else None

    @property
    def choice_logprobs(self) -> tuple[float, ...] | None:
        """Summed log-probability of each choice; None if they were not requested."""
        return (self.record.output.choice_logprobs or None) if self.record.output else None


def result_rows(
    judged: Mapping[str, Judged], task: str, protocol: str = "official", marks: Marks = NO_MARKS
) -> list[ResultRow]:
    """The rows of one subset of a run, in item order.

    Args:
        judged: protocol → the run's judged items under it; `official` and the chosen one at least.
        task: the subset; no rows if the run does not have it.
        protocol: whose judgement to take.
        marks: what people have put on the run's items.
    """
    official = judged["official"].get(task, {})
    return [
        ResultRow(
            row.item,
            row.record,
            row.judgement,
            official[id_].judgement,
            {name: verdict(by_task[task][id_]) for name, by_task in judged.items() if id_ in by_task.get(task, {})},
            marks.get((task, id_), NO_ITEM_MARKS),
        )
        for id_, row in (judged[protocol].get(task) or official).items()
    ]
