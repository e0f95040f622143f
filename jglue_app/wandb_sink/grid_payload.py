"""What W&B is sent of a grid: its name and factors with each of its runs, and a W&B run with its tables. Pure.

Every run of a grid has its levels under `factors` in the config, numbers as numbers: W&B's panels for sweeps (parallel
coordinates, parameter importance) draw scores against these. The levels are a run's own options, so that a run of
several grids has those of all.

    grid/<subset>/<metric>/mean               over the runs; …/deviation, …/runs, …/items_share next to it
    grid/<subset>/<metric>/share/<factor>     of the variance between runs, without the sampling of items
    grid/<subset>/<metric>/group/<group>      the same of all factors of the model, of the prompt …
    grid/<subset>/lenient|choose/<metric>/…   the lenient reading, the ranking by log-likelihood
    grid/levels, shares, stability, runs      tables
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from jglue_app.grid.members import StoredGrid
from jglue_app.results import surrogates
from jglue_app.results.local_paths import shareable
from jglue_app.runs.serialization import dumps
from jglue_app.scoring.effect_types import EffectTable, Levels, MetricEffects
from jglue_app.scoring.types import Estimate
from jglue_app.tasks import TASKS
from jglue_app.wandb_sink.membership import GRIDS, united
from jglue_app.wandb_sink.payload import FORMAT, GRID, MAX_NAME, Payload, Summary, run_id, usable_tags
from jglue_app.wandb_sink.tables import Cell, Table

FACTORS = "factors"
"""Config key of a run's levels, and of a grid's factors."""


def grid_id(name: str) -> str:
    """Id of the W&B run with the tables of a grid. The same for the same name, as its group is."""
    return f"jglue-grid-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def in_grid(payload: Payload, name: str, levels: Levels) -> Payload:
    """The payload of a run as one of a grid.

    Args:
        payload: of the run.
        name: of the grid.
        levels: factor → level; what does not concern the run is left out.
    """
    values = {factor: _number(level) for factor, level in sorted(levels.items()) if level is not None}
    return replace(
        payload,
        group=name,
        tags=usable_tags([*payload.tags, name]),
        config=payload.config | {FACTORS: values},
        joins=united(payload.joins, {GRIDS: (name,)}),
    )


def _number(level: str) -> str | int | float:
    """A level as a number if it is one: W&B puts texts on an axis in no order."""
    for kind in (int, float):
        try:
            number = kind(level)
        except ValueError:
            continue
        # Not another way of writing it, such as 1_000, and not `nan`.
        return number if f"{number}" == level and math.isfinite(number) else level
    return level


def grid_payload(grid: StoredGrid, table: EffectTable) -> Payload:
    """The payload of the W&B run with a grid's tables.

    Args:
        grid: as it is stored.
        table: what its factors move.
    """
    summary: Summary = {"push/format": FORMAT, "push/protocol": table.protocol}
    summary |= {"grid/runs_in_tables": len(table.runs), "grid/runs_left_out": len(table.left_out)}
    for effects in table.metrics:
        summary |= dict(_effect_keys(effects))
    config = {
        "protocol": table.protocol,
        "created": grid.created,
        # The id of a run that was not begun may be another once its server answers.
        "members": [run_id(member.run) for member in grid.runs if member.begun],
        FACTORS: {factor.name: list(factor.levels) for factor in grid.factors},
    }
    tables = {
        "grid/levels": _level_table(table),
        "grid/shares": _share_table(table),
        "grid/stability": _stability_table(table),
        "grid/runs": _run_table(grid, table),
        "notices": _notice_table(table),
    }
    return Payload(
        id=grid_id(grid.name),
        name=f"grid {grid.name}"[:MAX_NAME],
        job_type=GRID,
        group=grid.name,
        tags=usable_tags(["jglue", GRID, table.protocol, grid.name]),
        config=json.loads(dumps(config)),
        summary=summary,
        tables={key: rows for key, rows in tables.items() if rows.rows},
        joins={GRIDS: (grid.name,)},
    )


def _effect_keys(effects: MetricEffects) -> Iterator[tuple[str, str | float | int | bool]]:
    reading = "" if effects.reading == "strict" else f"{effects.reading}/"
    key = f"grid/{effects.task}/{reading}{effects.metric}"
    values: dict[str, float | int | None] = {"mean": effects.mean, "deviation": effects.deviation}
    values |= {"runs": effects.runs, "items": effects.items, "items_share": effects.items_share}
    values |= {f"share/{_term(share.term)}": share.beyond_items for share in effects.shares}
    values |= {f"group/{group}": share for group, share in effects.by_group.items()}
    yield from ((f"{key}/{name}", value) for name, value in values.items() if value is not None)


def _term(term: tuple[str, ...]) -> str:
    """Factors that act together are joined by `*`; what is left of the variance is `rest`."""
    return "*".join(term) or "rest"


# --- tables ------------------------------------------------------------------------------------------------

METRIC_COLUMNS = ("subset", "metric", "reading")


def _metric(effects: MetricEffects) -> list[Cell]:
    title = TASKS[effects.task].title if effects.task in TASKS else effects.task
    return [title, effects.metric, effects.reading]


def _interval(estimate: Estimate) -> list[Cell]:
    return [estimate.value, estimate.low, estimate.high]


def _level_table(table: EffectTable) -> Table:
    """Mean and effect of every level of every factor."""
    head = (*METRIC_COLUMNS, "factor", "level", "runs", "mean", "low", "high", "effect", "effect_low", "effect_high")
    rows: list[list[Cell]] = [
        [
            *_metric(effects),
            factor,
            surrogates.escape(one.level),
            one.runs,
            *_interval(one.mean),
            *_interval(one.effect),
        ]
        for effects in table.metrics
        for factor, levels in effects.levels.items()
        for one in levels
    ]
    return Table(head, rows)


def _share_table(table: EffectTable) -> Table:
    """Share of the variance of every factor, and of every two together."""
    head = (*METRIC_COLUMNS, "term", "group", "df", "observed", "beyond_items", "omega_squared")
    rows: list[list[Cell]] = [
        [*_metric(effects), _term(one.term), one.group, one.df, one.observed, one.beyond_items, one.omega]
        for effects in table.metrics
        for one in effects.shares
    ]
    return Table(head, rows)


def _stability_table(table: EffectTable) -> Table:
    """How far each model's score depends on how it is asked."""
    head = (*METRIC_COLUMNS, "model", "runs", "mean", "low", "high", "spread", "of_items", "beyond_items")
    tail = ("lowest", "lowest_run", "highest", "highest_run", "best_in")
    rows: list[list[Cell]] = []
    for effects in table.metrics:
        for one in effects.stability:
            spread = [one.spread, one.items, one.beyond_items]
            lowest, highest = (run_id(table.runs[number]) for number in (one.lowest_run, one.highest_run))
            rows.append(
                [
                    *_metric(effects),
                    surrogates.escape(one.model),
                    one.runs,
                    *_interval(one.mean),
                    *spread,
                    *(one.lowest, lowest, one.highest, highest),
                    one.best,
                ]
            )
    return Table((*head, *tail), rows)


def _run_table(grid: StoredGrid, table: EffectTable) -> Table:
    """Every run of the grid with its levels, and why one is not in the other tables."""
    names = [factor.name for factor in grid.factors]
    why: Mapping[str, str] = {out.run: shareable(out.why) for out in table.left_out}
    rows: list[list[Cell]] = [
        [
            run_id(member.run),
            *(None if (level := member.levels.get(name)) is None else surrogates.escape(level) for name in names),
            member.run in table.runs,
            why.get(member.run, ""),
        ]
        for member in grid.runs
    ]
    return Table(("run", *names, "in_tables", "left_out_because"), rows)


def _notice_table(table: EffectTable) -> Table:
    rows: list[list[Cell]] = [["", "", "", shareable(notice)] for notice in table.notices]
    rows += [[*_metric(effects), shareable(notice)] for effects in table.metrics for notice in effects.notices]
    return Table((*METRIC_COLUMNS, "notice"), rows)
