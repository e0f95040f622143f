"""Results of the auditor: findings with their reasons, published scores, and rankings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jglue_app.audit.auditor import ScoreAudit, TableAudit
from jglue_app.audit.benchmarks import system_title
from jglue_app.audit.published import model_title, sources
from jglue_app.audit.sentences import Finding, sentence
from jglue_app.messages import Joined, Message, say, word

MAX_PUBLISHED = 12
"""Published scores to list at most."""
MAX_INDISTINGUISHABLE = 6
"""Models to name at most in a row of a ranking."""


def score_view(audit: ScoreAudit, lang: str) -> dict[str, Any]:
    """Payload of the findings on one score, with the nearest published scores."""
    rows = [
        {
            "model": say(model_title(comparison.published.model), lang),
            "score": comparison.published.score.text,
            "system": say(system_title(comparison.published.system), lang),
            "prompt": comparison.published.prompt,
            "n": f"{comparison.published.n:,}" if comparison.published.n else "–",
            "apart": ""
            if comparison.differs is None
            else word("audit_apart" if comparison.differs else "audit_not_apart", lang),
            "source": sources()[comparison.published.source].title,
            "url": sources()[comparison.published.source].url,
        }
        for comparison in audit.published[:MAX_PUBLISHED]
    ]
    return {"findings": _findings(audit.findings, lang), "published": rows, "all": len(audit.published)}


def table_view(audit: TableAudit, lang: str) -> dict[str, Any]:
    """Payload of the findings on a leaderboard, with the ranking of each of its columns."""
    rankings = [
        {
            "title": ranking.title,
            "rows": [
                {
                    "place": place,
                    "model": standing.model,
                    "score": standing.query.score.text,
                    "interval": " – ".join(standing.query.score.show(end) for end in standing.interval)
                    if standing.interval
                    else "–",
                    "alike": _indistinguishable_models(standing.indistinguishable, lang),
                }
                for place, standing in enumerate(ranking.standings, 1)
            ],
        }
        for ranking in audit.rankings
        if ranking.standings
    ]
    return {"findings": _findings(audit.findings, lang), "rankings": rankings}


def _indistinguishable_models(models: Sequence[str], lang: str) -> str:
    text = say(Joined(", ", models[:MAX_INDISTINGUISHABLE]), lang)
    if len(models) > MAX_INDISTINGUISHABLE:
        text += say(Message(" … (+{count})", count=len(models) - MAX_INDISTINGUISHABLE), lang)
    return text or "–"


def _findings(findings: Sequence[Finding], lang: str) -> list[dict[str, Any]]:
    """Findings grouped by weight, each group with a heading."""
    groups = []
    for weight in ("alert", "note", "info"):
        rows = [_row(f, lang) for f in findings if f.weight == weight]
        if rows:
            groups.append({"weight": weight, "head": word(f"audit_{weight}", lang), "rows": rows})
    return groups


def _row(finding: Finding, lang: str) -> dict[str, str]:
    statement, reason = sentence(finding)
    return {"what": say(statement, lang), "why": say(reason, lang)}
