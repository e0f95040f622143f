"""How a score changes from one protocol to another: one row for each decision, with the items that it changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jglue_app.messages import say, word
from jglue_app.scoring.protocols.decisions import decision_text
from jglue_app.scoring.scoreboard import number
from jglue_app.scoring.types import Estimate
from jglue_app.scoring.waterfall import Moved, Switch, Waterfall
from jglue_app.tasks import TASKS
from jglue_app.ui.views.metrics import metric_name, metric_names

MAX_ITEMS = 5
"""Items to list for a step."""
MAX_CHARS = 80


def waterfall_view(waterfalls: Mapping[str, Waterfall], lang: str) -> dict[str, Any]:
    """Payload of the template `waterfall`: a table for each subset, then the decisions that need other outputs."""
    first = next(iter(waterfalls.values()))
    return {
        "start": first.start,
        "end": first.end,
        "ways": [_waterfall(waterfall, lang) for waterfall in waterfalls.values()],
        "other": [
            {
                "name": say(decision_text(o.decision), lang),
                "before": say(o.before, lang),
                "after": say(o.after, lang),
                "source": str(o.source) if o.source else "",
            }
            for o in first.other_outputs
        ],
        "command": f"python -m jglue_app run --protocol {first.end} --tasks {','.join(waterfalls)}",
    }


def _waterfall(waterfall: Waterfall, lang: str) -> dict[str, Any]:
    names = list(dict.fromkeys([*waterfall.scores, *waterfall.end_scores]))
    return {
        "title": TASKS[waterfall.task].title,
        "n": f"{waterfall.n:,}",
        "metrics": metric_names(names, lang),
        "start": [_bar(waterfall.scores.get(name)) for name in names],
        "steps": [_step(switch, waterfall, names, lang) for switch in waterfall.switches if switch.moves],
        "still": [_step(switch, waterfall, names, lang) for switch in waterfall.switches if not switch.moves],
        "end": [_bar(waterfall.end_scores.get(name)) for name in names],
        "sentences": _sentences(waterfall, lang),
    }


def _bar(score: Estimate | None) -> dict[str, Any]:
    value = score.value if score else None
    return {"value": number(value), "share": 0 if value is None else round(100 * min(max(value, 0.0), 1.0), 1)}


def _step(switch: Switch, waterfall: Waterfall, names: list[str], lang: str) -> dict[str, Any]:
    listed = [m for m in switch.moved if m.change or TASKS[waterfall.task].kind == "score"]
    return {
        "name": say(decision_text(switch.decision), lang),
        "before": say(switch.before, lang),
        "after": say(switch.after, lang),
        "source": str(switch.source) if switch.source else "",
        "scores": [
            _bar(switch.scores.get(name))
            | {"change": number(switch.change[name], sign=True) if _changes_score(switch, name) else ""}
            for name in names
        ],
        "moved": _moved_counts(switch, lang),
        "items": [_item(m, lang) for m in listed[:MAX_ITEMS]],
        "more": max(0, len(listed) - MAX_ITEMS),
    }


def _changes_score(switch: Switch, name: str) -> bool:
    return abs(switch.change.get(name, 0.0)) > 5e-5


def _moved_counts(switch: Switch, lang: str) -> str:
    up, down = (sum(m.change * sign > 0 for m in switch.moved) for sign in (1, -1))
    parts = [word("way_up", lang).format(up)] if up else []
    parts += [word("way_down", lang).format(down)] if down else []
    parts += [word("way_left_out", lang).format(switch.left_out)] if switch.left_out else []
    parts += [word("way_taken_in", lang).format(switch.taken_in)] if switch.taken_in else []
    if not parts and switch.moved:
        parts = [word("way_otherwise", lang).format(len(switch.moved))]
    return " · ".join(parts) or word("way_none", lang)


def _item(moved: Moved, lang: str) -> dict[str, str]:
    values = (word("way_nothing", lang) if v is None else _cut(str(v)) for v in (moved.before, moved.after))
    before, after = values
    return {"id": moved.item_id, "text": _cut(moved.text or ""), "before": before, "after": after}


def _cut(text: str) -> str:
    line = text.replace("\n", "⏎")
    return line if len(line) <= MAX_CHARS else line[:MAX_CHARS] + "…"


def _sentences(waterfall: Waterfall, lang: str) -> list[str]:
    """A summary sentence for each metric."""
    out = []
    for name, score in waterfall.scores.items():
        start, end = score.value, waterfall.end_scores[name].value if name in waterfall.end_scores else None
        if start is None or end is None:
            continue
        largest = max(waterfall.switches, key=lambda s: abs(s.change.get(name, 0.0)), default=None)
        if largest is None or not _changes_score(largest, name):
            out.append(word("way_same", lang).format(metric=metric_name(name, lang), score=number(start)))
            continue
        out.append(
            word("way_largest", lang).format(
                metric=metric_name(name, lang),
                start=number(start),
                end=number(end),
                difference=number(end - start, sign=True),
                decision=say(decision_text(largest.decision), lang),
                before=say(largest.before, lang),
                after=say(largest.after, lang),
                change=number(largest.change[name], sign=True),
            )
        )
    return out
