"""What the auditor has found: sentences with their reasons, published scores, and rankings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jglue_app.audit.auditor import ScoreAudit, TableAudit
from jglue_app.audit.facts import SYSTEMS
from jglue_app.audit.published import sources
from jglue_app.audit.wording import Found
from jglue_app.messages import word
from jglue_app.ui.audit_words import and_more, model_name, system_title, told

NEAREST = 12
"""Published scores that are listed."""
ALIKE = 6
"""Models that a row of a ranking names."""


def score_view(audit: ScoreAudit, lang: str) -> dict[str, Any]:
    """Payload of the findings on one score, with the nearest published scores."""
    rows = [
        {
            "model": model_name(c.published.model, lang),
            "score": c.published.printed.text,
            "system": _system(c.published.system, lang),
            "prompt": c.published.prompt,
            "n": f"{c.published.n:,}" if c.published.n else "–",
            "apart": "" if c.apart is None else word("audit_apart" if c.apart else "audit_not_apart", lang),
            "source": sources()[c.published.source].title,
            "url": sources()[c.published.source].url,
        }
        for c in audit.published[:NEAREST]
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
                    "score": s.asked.printed.text,
                    "interval": " – ".join(s.asked.printed.show(end) for end in s.interval) if s.interval else "–",
                    "alike": _alike(s.alike, lang),
                }
                for place, s in enumerate(ranking.standings, 1)
            ],
        }
        for ranking in audit.rankings
        if ranking.standings
    ]
    return {"findings": _findings(audit.findings, lang), "rankings": rankings}


def _system(name: str, lang: str) -> str:
    return system_title(SYSTEMS[name].title, lang) if name in SYSTEMS else name


def _alike(models: Sequence[str], lang: str) -> str:
    comma = ", " if lang == "en" else "、"
    more = and_more(len(models) - ALIKE, lang) if len(models) > ALIKE else ""
    return comma.join(models[:ALIKE]) + more or "–"


def _findings(found: Sequence[Found], lang: str) -> list[dict[str, Any]]:
    """Findings of each weight under one head; those on how the score was read are folded."""
    groups = []
    for weight in ("alert", "note", "info"):
        rows = [dict(zip(("what", "why"), told(f, lang), strict=True)) for f in found if f.weight == weight]
        if rows:
            groups.append({"weight": weight, "head": word(f"audit_{weight}", lang), "rows": rows})
    return groups
