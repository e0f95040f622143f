"""By which rule an answer was read, in words."""

from __future__ import annotations

from jglue_app.messages import say
from jglue_app.scoring.rules import RULES, explain


def reading_rule(rule: str, lang: str) -> str:
    """The explanation of a reading rule, or of several joined by `+`; the rule itself if it is unknown."""
    return say(explain(rule), lang) if set(rule.split("+")) <= set(RULES) else rule
