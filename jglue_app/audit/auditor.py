"""The two questions that the command line, the page and programs ask: about one score, and about a whole table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jglue_app.audit import leaderboard_audit, score_audit, table, table_parser
from jglue_app.audit.benchmarks import SIGNED, benchmark, metric_of, system_of
from jglue_app.audit.leaderboard_audit import Ranking
from jglue_app.audit.published import published, sources
from jglue_app.audit.published_comparison import PublishedComparison
from jglue_app.audit.query import AuditQuery
from jglue_app.audit.reported_score import SCALES, Scale, is_nan, parse
from jglue_app.audit.sentences import Finding, finding, sentence
from jglue_app.errors import DataError, InputError, UnknownNameError, reason_of

MAX_ITEMS = 10_000_000
"""No benchmark has more items."""


@dataclass(frozen=True, slots=True)
class ScoreAudit:
    """What one score is consistent with."""

    task: str
    metric: str
    """That was said, or the usual one of the subset."""
    score: str
    """As it was given."""
    value: float | None
    """As a fraction of 1; None for NaN."""
    n: int | None
    """Items that the interval is for."""
    interval: tuple[float, float] | None
    findings: tuple[Finding, ...]
    """The weightiest first."""
    published: tuple[PublishedComparison, ...]
    """Published scores of the same subset and metric, the nearest first."""

    def plain(self) -> dict[str, Any]:
        """As JSON has it, with the findings as English sentences and the published scores with their sources."""
        return {
            **{"task": self.task, "metric": self.metric, "score": self.score, "value": self.value, "n": self.n},
            "interval": self.interval,
            "findings": [_plain(item) for item in self.findings],
            "published": [
                {
                    **{"model": c.published.model, "system": c.published.system, "prompt": c.published.prompt},
                    **{"value": c.published.score.text, "n": c.published.n, "p": c.p, "told_apart": c.differs},
                    **{"source": sources()[c.published.source].title, "url": sources()[c.published.source].url},
                }
                for c in self.published
            ],
        }


@dataclass(frozen=True, slots=True)
class TableAudit:
    """What a leaderboard is consistent with."""

    findings: tuple[Finding, ...]
    """The weightiest first."""
    rankings: tuple[Ranking, ...]
    """One for each column of scores."""

    def plain(self) -> dict[str, Any]:
        """As JSON has it, with the findings as English sentences."""
        return {
            "findings": [_plain(item) for item in self.findings],
            "columns": [
                {
                    **{"column": r.title, "task": r.task, "metric": r.metric, "groups": r.groups},
                    "models": [
                        {
                            **{"model": s.model, "score": s.query.score.text, "value": s.query.value, "n": s.n},
                            **{"interval": s.interval, "not_told_from": s.indistinguishable},
                        }
                        for s in r.standings
                    ],
                }
                for r in self.rankings
            ],
        }


def audit_score(
    task: str,
    score: str | float,
    *,
    n: int | None = None,
    metric: str | None = None,
    system: str | None = None,
    scale: str | None = None,
) -> ScoreAudit:
    """What a published score is consistent with: floors, numbers of items, its interval, other published scores.

    Args:
        task: a subset, in any usual spelling.
        score: the score as it is printed; a text keeps its digits.
        n: the number of items; None if it is not known.
        metric: such as `acc`, `balanced_accuracy` or `pearson`; None if it is not known.
        system: whose protocol gave it, such as `wandb-2023-0shot`; None if it is not known.
        scale: `fraction` or `percent`; None to decide by the value.

    Raises:
        InputError: the score or n is out of range.
        UnknownNameError: no such subset, metric, system or scale.
    """
    subset = benchmark(task)
    kind = metric_of(metric, subset) if metric else None
    known = system_of(system) if system else None
    if n is not None and (isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= MAX_ITEMS):
        raise InputError(
            "n is the number of items, from 1 to {max_items:,}, and not {n}.", max_items=MAX_ITEMS, n=str(n)[:30]
        )
    effective_metric = kind or subset.metrics[0]
    if effective_metric in SIGNED and is_nan(score):
        return ScoreAudit(
            subset.name, effective_metric, str(score), None, n, None, (finding("constant_nan", "alert"),), ()
        )
    query = AuditQuery(subset, parse(score, effective_metric, _scale(scale)), kind, n, known)
    findings, compared = score_audit.score_findings(query, published())
    items = query.items()[0]
    interval = query.interval(items)
    text = query.score.text
    return ScoreAudit(
        subset.name, effective_metric, text, query.value, items, interval, tuple(findings), tuple(compared)
    )


def audit_table(
    source: str | bytes | Path,
    *,
    columns: Mapping[str, str] | None = None,
    model_column: str = "",
    system: str | None = None,
    scale: str | None = None,
) -> TableAudit:
    """What a leaderboard is consistent with: scores on floors, impossible scores, groups that cannot be told apart.

    Args:
        source: the path of a file, or a text or its bytes: CSV, TSV, a Markdown table or JSON.
        columns: head of a column → what it is, such as `jnli:acc`; see `table.read`.
        model_column: head of the column with the models.
        system: whose protocol gave the scores; None if it is not known.
        scale: `fraction` or `percent`; None to decide by the values of each column.

    Raises:
        DataError: the file cannot be read, is too long, or holds no score that is known here.
        UnknownNameError: no such column, subset, metric, system or scale.
    """
    known = system_of(system) if system else None
    chosen = _scale(scale)
    if isinstance(source, Path):
        source = _bytes(source)
    text = table_parser.decode(source) if isinstance(source, bytes) else source
    findings, rankings = leaderboard_audit.audit_leaderboard(table.read(text, columns, model_column), known, chosen)
    return TableAudit(tuple(findings), tuple(rankings))


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # One byte more than is read shows that there is more, without reading all of it.
            return file.read(table_parser.MAX_BYTES + 1)
    except (OSError, ValueError) as e:
        raise DataError(
            "{path}: cannot be read ({reason}). Give the path of a readable file.", path=path, reason=reason_of(e)
        ) from e


def _scale(scale: str | None) -> Scale | None:
    if scale is None or scale == "":
        return None
    if scale not in SCALES:
        raise UnknownNameError("scale", scale, SCALES)
    return "percent" if scale == "percent" else "fraction"


def _plain(item: Finding) -> dict[str, Any]:
    what, why = sentence(item)
    return {"kind": item.kind, "weight": item.weight, "text": what, "why": why, "facts": dict(item.facts)}
