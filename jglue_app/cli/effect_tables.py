"""The effects of a grid's factors as tables of the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from jglue_app.cli.counts import counted
from jglue_app.scoring.effect_types import AVERAGE, EffectTable, Levels, MetricEffects, Stability
from jglue_app.scoring.scoreboard import estimate_text, number
from jglue_app.tasks import TASKS

READINGS = ("strict", "choose")
"""Those that are shown; the lenient one is in the JSON."""
EVIDENCE = {"text": "text", "log_likelihood": "log-likelihood", "both": "text, log-likelihood"}
GROUPS = {"model": "all of model", "prompt": "all of prompt"}
"""Group of factors → the column with what they account for together; a factor has the name of its option."""
SHARES_NOTE = (
    "pairs: what two factors do beyond the sum of both. rest: three and more together, and what no factor explains."
)
LEVELS_NOTE = "Least-squares means: as if every combination of the other factors' levels had been run equally often."
STABILITY_NOTE = (
    "of items: the part of sd that other items alone would give. beyond: sd without it. best in: share of the prompts "
    "under which the model scores highest."
)
MAX_LEFT_OUT = 10
"""Runs that are named."""


def effect_parts(table: EffectTable) -> Iterator[Table | str]:
    """What a grid says, in tables and lines."""
    yield f"Grid {table.grid}: {counted(len(table.runs), 'run')}, protocol {table.protocol}"
    tried = [out for out in table.left_out if out.begun]
    yield from (f"left out: {levels_text(out.levels) or out.run}: {out.why}" for out in tried[:MAX_LEFT_OUT])
    if len(tried) > MAX_LEFT_OUT:
        yield f"left out: {len(tried) - MAX_LEFT_OUT:,} more, which --json has"
    yield from table.notices
    shown = [effects for reading in READINGS for effects in table.main(reading)]
    if not shown:
        yield "There is nothing to compare yet: fewer than two complete runs have a score."
        return
    yield ""
    yield "What the variance between runs comes from (shares of it; sampling of items taken off and shown as one):"
    yield _shares(table, shown)
    yield SHARES_NOTE
    for reading in READINGS:
        main = table.main(reading)
        word = EVIDENCE[table.evidence(main)]
        if main:
            yield ""
            yield f"Means of levels, {word} (least squares, 95 % interval over items, wordings and seeds):"
            yield _levels(table, main)
            yield LEVELS_NOTE
            yield ""
            yield f"Stability over prompts, {word} (standard deviation over wordings, formats, examples and seeds):"
            yield _stability(table, main)
            yield STABILITY_NOTE
    notices: dict[str, list[str]] = {}
    for effects in shown:
        for notice in effects.notices:
            notices.setdefault(notice, []).append(metric_text(table, effects))
    yield from [""] if notices else []
    yield from (f"{notice} ({', '.join(metrics)})" for notice, metrics in notices.items())


def metric_text(table: EffectTable, effects: MetricEffects) -> str:
    """Subset, metric, and what decided the answers."""
    task = "average" if effects.task == AVERAGE else TASKS[effects.task].title
    metric = "" if effects.task == AVERAGE else f" {effects.metric}"
    return f"{task}{metric} ({EVIDENCE[table.evidence([effects])]})"


def levels_text(levels: Levels) -> str:
    """The levels of a run, those that do not concern it left out."""
    return ", ".join(f"{name} {level}" for name, level in levels.items() if level is not None)


def percent(share: float | None) -> str:
    """A share in whole percents."""
    return "–" if share is None else f"{share:.0%}"


def _head(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i == 0 else "right", no_wrap=True)
    return table


def _shares(table: EffectTable, shown: Sequence[MetricEffects]) -> Table:
    names = [f.name for f in table.factors if any(f.name in e.levels for e in shown)]
    head = _head("metric", "runs", "mean", "sd", "items", *GROUPS.values(), *names, "pairs", "rest")
    for effects in shown:
        of = {share.term: share.beyond_items for share in effects.shares}
        pairs = sum(share for term, share in of.items() if len(term) == 2)
        has_shares = bool(effects.shares)
        head.add_row(
            metric_text(table, effects),
            str(effects.runs),
            number(effects.mean),
            number(effects.deviation),
            percent(effects.items_share),
            *(percent(effects.by_group.get(name, 0.0) if has_shares else None) for name in GROUPS),
            *(percent(of.get((name,))) for name in names),
            percent(pairs if has_shares else None),
            percent(of.get((), 0.0) if has_shares else None),
        )
    return head


def _levels(table: EffectTable, main: Sequence[MetricEffects]) -> Table:
    head = _head("level", "runs", *(metric_text(table, effects).split(" (")[0] for effects in main))
    for factor in table.factors:
        for level in factor.levels:
            cells = [next((one for one in e.levels.get(factor.name, ()) if one.level == level), None) for e in main]
            if any(cells):
                runs = max(one.runs for one in cells if one)
                head.add_row(
                    f"{factor.name} {level}", str(runs), *(estimate_text(one.mean) if one else "–" for one in cells)
                )
    return head


def _stability(table: EffectTable, main: Sequence[MetricEffects]) -> Table:
    head = _head("model, metric", "runs", "mean", "sd", "of items", "beyond", "lowest", "highest", "best in")
    for effects in main:
        for one in effects.stability:
            name = f"{one.model}, " if one.model else ""
            head.add_row(f"{name}{metric_text(table, effects).split(' (')[0]}", str(one.runs), *_spread(one, table))
    return head


def _spread(one: Stability, table: EffectTable) -> tuple[str, ...]:
    lowest, highest = (
        f"{number(value)} ({_prompt(table, run)})"
        for value, run in ((one.lowest, one.lowest_run), (one.highest, one.highest_run))
    )
    spreads = (number(value) for value in (one.spread, one.items, one.beyond_items))
    return (estimate_text(one.mean), *spreads, lowest, highest, percent(one.best))


def _prompt(table: EffectTable, run: int) -> str:
    """How a run was asked, in short."""
    levels = {f.name: table.levels[run].get(f.name) for f in table.factors if f.group != "model"}
    return levels_text(levels)
