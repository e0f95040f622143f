"""Every decision of a protocol, with the place in the original system's code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jglue_app.messages import say
from jglue_app.scoring.protocols import get_protocol
from jglue_app.scoring.protocols.decisions import Decision, decision_text, decisions_of
from jglue_app.tasks import TASKS


def decisions_view(name: str, lang: str) -> dict[str, Any]:
    """Payload of the template `decisions`: a list for each subset, then the decisions that affect the outputs of all
    subsets.

    Raises:
        UnknownNameError: no such protocol.
    """
    protocol = get_protocol(name)
    by_task = {task: decisions_of(protocol, task) for task in protocol.rules}
    shaping = [d for d in next(iter(by_task.values())) if d.needs_run]
    subsets = [
        (TASKS[task].title, _rows((d for d in decisions if not d.needs_run), lang))
        for task, decisions in by_task.items()
    ]
    return {"protocol": name, "variant_of": protocol.variant_of, "subsets": subsets, "outputs": _rows(shaping, lang)}


def _rows(decisions: Iterable[Decision], lang: str) -> list[dict[str, str]]:
    return [
        {
            "name": say(decision_text(d.name), lang),
            "value": say(d.value, lang),
            "source": str(d.source) if d.source else "",
            "url": d.source.url if d.source else "",
        }
        for d in decisions
    ]
