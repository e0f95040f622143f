"""What a ranking needs of a run, in a few hundred bytes: its main metrics, and which items they rest on. No I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from jglue_app.scoring.columns import Column, column_of
from jglue_app.scoring.judged import Judged, ScoredItem
from jglue_app.scoring.leaderboard import RunScores
from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.protocols.judging import is_scored
from jglue_app.scoring.report import NO_DATA, has_score, metrics_of, why_unscored
from jglue_app.scoring.types import Estimate, ScoringProtocol
from jglue_app.tasks import TASKS
from jglue_app.types import Item, RunData


@dataclass(frozen=True, slots=True)
class SubsetSummary:
    """A run on one subset."""

    score: Estimate
    """Its main metric, as in a report."""
    items: str
    """Checksum of the items that it was given, whatever their order."""
    planned: int
    """How many these are."""
    scorable: int
    """Those of them that the protocol scores."""
    reading: str
    """`strict`, or `choose` where only a ranking of the choices is scored."""
    column: str
    """Fingerprint of its column; empty where nothing counts."""
    unscored: str = ""
    """Why nothing of it is scored, as in a report; empty where something is, even if it gives no value."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run under one protocol."""

    label: str
    split: str
    subsets: Mapping[str, SubsetSummary]
    """Subset that the protocol scores → what it says of it."""

    @property
    def scores(self) -> RunScores:
        """The same as `leaderboard.run_scores` gives of its report."""
        return RunScores(self.label, {task: subset.score for task, subset in self.subsets.items()})


def summarise(data: RunData, protocol: str, judged: Judged) -> tuple[RunSummary, dict[str, Column]]:
    """The summary of a run, and subset → its column.

    Args:
        data: what is stored of the run.
        protocol: a key of `PROTOCOLS`.
        judged: what `judge_run` makes of it.
    """
    scoring = get_protocol(protocol)
    subsets, columns = {}, {}
    for task, rows in judged.items():
        if task not in scoring.metrics:
            continue
        items, reading = data.items[task], _reading(rows.values(), scoring)
        column = column_of(TASKS[task], rows, items, reading, scoring)
        if column is not None:
            columns[task] = column
        subsets[task] = SubsetSummary(
            next(iter(metrics_of(scoring, TASKS[task], list(rows.values())).values()), NO_DATA),
            _checksum(items),
            len(items),
            sum(is_scored(scoring.rules[task], item) for item in items.values()),
            reading,
            column.fingerprint if column is not None else "",
            why_unscored(scoring, TASKS[task], list(rows.values())),
        )
    return RunSummary(data.spec.label, data.spec.split, subsets), columns


def _reading(rows: Iterable[ScoredItem], protocol: ScoringProtocol) -> str:
    return "strict" if any(has_score(row, protocol) for row in rows) else "choose"


def _checksum(items: Mapping[str, Item]) -> str:
    checksum = hashlib.sha256()
    for id_ in sorted(items):
        item = items[id_]
        fields = sorted(item.fields.items())
        checksum.update(repr((item.task, id_, fields, item.gold, item.choices)).encode("utf-8", "surrogatepass"))
    return checksum.hexdigest()[:32]
