"""What the auditor has found: sentences with their reasons, published scores, and rankings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jglue_app.audit.auditor import ScoreAudit, TableAudit
from jglue_app.audit.benchmarks import system_title
from jglue_app.audit.published import model_title, sources
from jglue_app.audit.sentences import Finding, sentence
from jglue_app.messages import Joined, Message, say, word

MAX_PUBLISHED = 12
"""Published scores that are listed."""
MAX_INDISTINGUISHABLE = 6
"""Models that a row of a ranking names."""


def score_view(audit: ScoreAudit, lang: str) -> dict[str, Any]:
    """Payload of the findings on one score, with the nearest published scores."""
    rows = [
        {
            "model": say(model_title(c.published.model), lang),
            "score": c.published.score.text,
            "system": say(system_title(c.published.system), lang),
            "prompt": c.published.prompt,
            "n": f"{c.published.n:,}" if c.published.n else "–",
            "apart": "" if c.differs is None else word("audit_apart" if c.differs else "audit_not_apart", lang),
            "source": sources()[c.published.source].title,
            "url": sources()[c.published.source].url,
        }
        for c in audit.published[:MAX_PUBLISHED]
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
                    "model": s.model,
                    "score": s.query.score.text,
                    "interval": " – ".join(s.query.score.show(end) for end in s.interval) if s.interval else "–",
                    "alike": _alike(s.indistinguishable, lang),
                }
                for place, s in enumerate(ranking.standings, 1)
            ],
        }
        for ranking in audit.rankings
        if ranking.standings
    ]
    return {"findings": _findings(audit.findings, lang), "rankings": rankings}


def _alike(models: Sequence[str], lang: str) -> str:
    text = say(Joined(", ", models[:MAX_INDISTINGUISHABLE]), lang)
    if len(models) > MAX_INDISTINGUISHABLE:
        text += say(Message(" … (+{count})", count=len(models) - MAX_INDISTINGUISHABLE), lang)
    return text or "–"


def _findings(found: Sequence[Finding], lang: str) -> list[dict[str, Any]]:
    """Findings of each weight under one head; those on how the score was read are folded."""
    groups = []
    for weight in ("alert", "note", "info"):
        rows = [_row(f, lang) for f in found if f.weight == weight]
        if rows:
            groups.append({"weight": weight, "head": word(f"audit_{weight}", lang), "rows": rows})
    return groups


def _row(found: Finding, lang: str) -> dict[str, str]:
    what, why = sentence(found)
    return {"what": say(what, lang), "why": say(why, lang)}
