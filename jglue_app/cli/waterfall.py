"""`rescore --explain`: the way from one protocol's score to another's, printed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.table import Table

from jglue_app.cli.tables import print_lines, print_table, quoted
from jglue_app.scoring.protocols.decisions import decision_text
from jglue_app.scoring.types import Estimate
from jglue_app.scoring.waterfall import Switch, Waterfall
from jglue_app.tasks import TASKS


def print_waterfalls(waterfalls: Mapping[str, Waterfall], run: str, items: int) -> None:
    """One table for each subset, then what cannot be switched, then the items that moved."""
    for waterfall in waterfalls.values():
        _print(waterfall, items)
    first = next(iter(waterfalls.values()))
    if first.other_outputs:
        print_lines(["", f"What {first.end} does otherwise before an answer is read needs other outputs:"])
        print_lines(
            f"  {decision_text(o.decision)}: {o.before} → {o.after}" + (f"  [{o.source}]" if o.source else "")
            for o in first.other_outputs
        )
        print_lines([f"Run the model as {first.end} does: {run}"])


def _print(waterfall: Waterfall, items: int) -> None:
    count = f"{waterfall.n:,} {'item' if waterfall.n == 1 else 'items'}"
    head = f"{TASKS[waterfall.task].title}, {count}: from {waterfall.start} to {waterfall.end}"
    if not waterfall.switches:
        print_lines(["", f"{head}: both decide alike, so the score is the same, {_scores(waterfall.scores)}."])
        return
    print_lines(["", head])
    names = list(dict.fromkeys([*waterfall.scores, *waterfall.end_scores]))
    table = Table("decision", "from", "to", *names, "items moved", box=None, pad_edge=False)
    table.add_row(waterfall.start, "", "", *(_number(waterfall.scores.get(name)) for name in names), "")
    for switch in (s for s in waterfall.switches if s.moves):
        table.add_row(
            decision_text(switch.decision),
            switch.before,
            switch.after,
            *(_changed(switch, name) for name in names),
            _moved(switch),
        )
    table.add_row(waterfall.end, "", "", *(_number(waterfall.end_scores.get(name)) for name in names), "")
    print_table(table)
    unchanged = [f"{decision_text(s.decision)} ({s.before} → {s.after})" for s in waterfall.switches if not s.moves]
    if unchanged:
        print_lines([f"  Differences that move nothing here: {'; '.join(unchanged)}."])
    print_lines(_sentences(waterfall))
    for switch in waterfall.switches:
        moved_items = [m for m in switch.moved if m.change or TASKS[waterfall.task].kind == "score"][:items]
        if moved_items:
            print_lines([f"  {decision_text(switch.decision)}, for example:"])
        for moved in moved_items:
            read = " → ".join("nothing" if v is None else quoted(str(v)) for v in (moved.before, moved.after))
            print_lines([f"    item {moved.item_id}: output {quoted(moved.text or '')} read as {read}"])


def _sentences(waterfall: Waterfall) -> Iterator[str]:
    """What one learns of each metric: how far it goes, and its largest step."""
    for name, score in waterfall.scores.items():
        start, end = score.value, waterfall.end_scores[name].value if name in waterfall.end_scores else None
        if start is None or end is None:
            continue
        largest = max(waterfall.switches, key=lambda s: abs(s.change.get(name, 0.0)))
        change = largest.change.get(name, 0.0)
        if abs(change) < 1e-12:
            yield f"  {name}: {start:.3f} under both; no decision moves it."
            continue
        yield (
            f"  {name}: {start:.3f} → {end:.3f} ({end - start:+.3f}). The largest step ({change:+.3f}): "
            f"{decision_text(largest.decision)}, {largest.before} → {largest.after}"
            + (f"  [{largest.source}]" if largest.source else "")
        )


def _scores(scores: Mapping[str, Estimate]) -> str:
    return ", ".join(f"{name} {_number(e)}" for name, e in scores.items())


def _number(score: Estimate | None) -> str:
    return "–" if score is None or score.value is None else f"{score.value:.3f}"


def _changed(switch: Switch, name: str) -> str:
    score = _number(switch.scores.get(name))
    return f"{score} ({switch.change[name]:+.3f})" if name in switch.change else score


def _moved(switch: Switch) -> str:
    up, down = (sum(m.change * sign > 0 for m in switch.moved) for sign in (1, -1))
    parts = [f"{up} up, {down} down"] if up or down else []
    parts += [f"{switch.left_out} left out"] if switch.left_out else []
    parts += [f"{switch.taken_in} taken in"] if switch.taken_in else []
    return ", ".join(parts) or (f"{len(switch.moved)} read or scored otherwise" if switch.moved else "none")
