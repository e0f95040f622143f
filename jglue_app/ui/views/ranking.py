"""The leaderboard, and pictures of a few of its runs: a radar over the subsets and bars with their intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jglue_app.messages import listed, word
from jglue_app.results.library import StoredRun
from jglue_app.results.showcase import SHIPPED
from jglue_app.scoring.leaderboard import Entry
from jglue_app.scoring.scoreboard import number
from jglue_app.scoring.types import Estimate
from jglue_app.tasks import TASKS
from jglue_app.ui.views.board import CORRELATIONS, interval, span_of
from jglue_app.ui.views.run_labels import run_label_text

MAX_PICTURED = 4
"""Runs in a picture; more lines would be indistinguishable."""
RADIUS, MARGIN = 120.0, 134.0


def ranking(
    entries: Sequence[Entry],
    runs: Mapping[str, StoredRun],
    tasks: Sequence[str],
    lang: str,
    *,
    protocol: str,
    against: str,
    chosen: tuple[str, str] = ("", ""),
) -> dict[str, Any]:
    """Payload of the leaderboard.

    Args:
        entries: the ranked runs.
        runs: name → run, for its metadata.
        tasks: the subsets that count.
        lang: `ja` or `en`.
        protocol, against: the protocol of the ranking, and the one whose ranks it is compared with.
        chosen: names of the runs picked as A and B.
    """
    return {
        "heads": [TASKS[name].title for name in tasks],
        "moves": protocol != against,
        "protocol": protocol,
        "against": against,
        "uneven": len({runs[e.name].done for e in entries if e.rank is not None and e.name in runs}) > 1,
        "moves_text": word("moves", lang).format(against, protocol),
        "rows": [_row(entry, runs[entry.name], tasks, lang, chosen) for entry in entries if entry.name in runs],
    }


def _row(entry: Entry, run: StoredRun, tasks: Sequence[str], lang: str, chosen: tuple[str, str]) -> dict[str, Any]:
    rank_change = entry.moved
    missing = listed((TASKS[name].title for name in entry.missing), lang)
    return {
        "name": entry.name,
        "label": run_label_text(entry.label, lang),
        "rank": "–" if entry.rank is None else str(entry.rank),
        "moved": "" if not rank_change else f"▲{rank_change}" if rank_change > 0 else f"▼{-rank_change}",
        "moved_text": word("moved_up" if (rank_change or 0) > 0 else "moved_down", lang).format(abs(rank_change))
        if rank_change
        else "",
        "average": _score(entry.average),
        "why_not": word("ranking_missing", lang).format(missing) if missing else "",
        "tasks": [
            _score(entry.tasks.get(name), TASKS[name].title, signed=TASKS[name].metrics[0] in CORRELATIONS)
            for name in tasks
        ],
        "facts": facts(run, lang, shipped=entry.name.startswith(SHIPPED)),
        "a": entry.name == chosen[0],
        "b": entry.name == chosen[1],
    }


def facts(run: StoredRun, lang: str, *, shipped: bool = False) -> str:
    """When a run was made, and its progress."""
    progress = f"{run.done:,}/{run.planned:,} {word('n', lang)}"
    shipped_mark = f"{word('shipped', lang)} · " if shipped else ""
    run_id = "" if shipped else f" · {run.name[:8]}"
    return f"{shipped_mark}{run.created[:16].replace('T', ' ')} UTC · {progress}{run_id}"


def run_label(run: StoredRun, name: str, lang: str) -> str:
    """A run's label, distinguished from others of the same label by items, date and time, and the beginning of its
    id."""
    created = run.created[5:16].replace("T", " ")
    return f"{run_label_text(run.label, lang)} · {run.done:,} · {created} · {name.removeprefix(SHIPPED)[:8]}"


def _score(estimate: Estimate | None, title: str = "", *, signed: bool = False) -> dict[str, Any]:
    return {
        "title": title,
        "value": number(estimate.value if estimate else None),
        "interval": interval(estimate),
        "range": span_of(estimate, signed=signed),
        "n": estimate.n if estimate else 0,
    }


def pictures(entries: Sequence[Entry], tasks: Sequence[str], lang: str) -> dict[str, Any]:
    """Payload of the pictures of some runs: coordinates are numbers for an SVG."""
    pictured = [entry for entry in entries if any(entry.tasks.get(t) for t in tasks)][:MAX_PICTURED]
    return {
        "radar": _radar(pictured, tasks) if len(tasks) >= 3 and pictured else None,
        "groups": [
            {
                "title": TASKS[task].title,
                "bars": [
                    {
                        "series": i,
                        "letter": "ABCD"[i],
                        "label": run_label_text(entry.label, lang),
                        "value": number(e.value),
                        "width": f"{100 * min(1.0, max(0.0, e.value)):.1f}",
                        "low": f"{100 * max(0.0, e.low if e.low is not None else e.value):.1f}",
                        "span": f"{100 * max(0.0, min(1.0, e.high or 0.0) - max(0.0, e.low or 0.0)):.1f}",
                    }
                    for i, entry in enumerate(pictured)
                    if (e := entry.tasks.get(task)) is not None and e.value is not None
                ],
            }
            for task in tasks
        ],
        "series": [
            {"series": i, "letter": "ABCD"[i], "label": run_label_text(entry.label, lang)}
            for i, entry in enumerate(pictured)
        ],
    }


def _radar(entries: Sequence[Entry], tasks: Sequence[str]) -> dict[str, Any]:
    def at(i: int, value: float, radius: float = RADIUS) -> tuple[float, float]:
        angle = 2 * math.pi * i / len(tasks) - math.pi / 2
        return radius * value * math.cos(angle), radius * value * math.sin(angle)

    def path(values: Sequence[float]) -> str:
        return " ".join("{:.1f},{:.1f}".format(*at(i, value)) for i, value in enumerate(values))

    labels = []
    for i, task in enumerate(tasks):
        x, y = at(i, 1.0, RADIUS + 16)
        anchor = "middle" if abs(x) < 10 else "start" if x > 0 else "end"
        labels.append({"text": TASKS[task].title, "x": f"{x:.1f}", "y": f"{y + 4:.1f}", "anchor": anchor})
    return {
        "rings": [path([share] * len(tasks)) for share in (0.25, 0.5, 0.75, 1.0)],
        "axes": ["{:.1f},{:.1f}".format(*at(i, 1.0)) for i in range(len(tasks))],
        "labels": labels,
        "shapes": [
            {"series": i, "path": path([_clipped(entry.tasks.get(task)) for task in tasks])}
            for i, entry in enumerate(entries)
            if not entry.missing
        ],
        "box": f"{-RADIUS - MARGIN:.0f} {-RADIUS - 36:.0f} {2 * (RADIUS + MARGIN):.0f} {2 * (RADIUS + 36):.0f}",
    }


def _clipped(estimate: Estimate | None) -> float:
    return min(1.0, max(0.0, estimate.value)) if estimate and estimate.value is not None else 0.0
