"""What the factors of a grid move, as the page shows it. Its words are sentences, not labels: labels are sent to every
browser ahead, and few visitors have a grid."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from jglue_app.messages import Message, listed, named, say, word
from jglue_app.scoring.effect_types import AVERAGE, EffectTable, LevelMean, Levels, MetricEffects, Stability
from jglue_app.scoring.scoreboard import number
from jglue_app.tasks import TASKS
from jglue_app.ui.views.board import interval, span_of
from jglue_app.ui.views.metrics import metric_name
from jglue_app.ui.views.option_words import option_name, option_value

READINGS = ("strict", "choose")
"""Those that the page shows."""
EVIDENCE = {
    "text": Message("Generated text, strict reading"),
    "log_likelihood": Message("Log-likelihood ranking"),
    "both": Message("Generated text or log-likelihood ranking, as the protocol has it for each subset"),
}
"""What decided the answers → heading."""
SIDES = {"model": Message("Model factors together"), "prompt": Message("Prompt factors together")}
"""Group of factors → what its share of the variance is called; that of one factor has the name of its option."""
LEAST_SHARE = 0.005
"""Shares of the variance below it are not drawn."""
MAX_LEFT_OUT = 5
WORDS = {
    "sources": Message("Where differences between runs come from"),
    "sources_note": Message(
        "Shares of the variance between the runs' scores (η² of an analysis of variance with interactions of two "
        "factors). What other items alone would have changed is taken off the factors, and stands as a share of its "
        "own. No share is below 0, so that they may add up to a little more than 100 %."
    ),
    "levels": Message("Mean of each level"),
    "levels_note": Message(
        "Least-squares means: over equally many runs of every level of the other factors [95 % interval over other "
        "items, and over other wordings and seeds]."
    ),
    "stability": Message("Prompt stability of each model"),
    "stability_note": Message(
        "The spread of a model's score over its prompts (wordings, formats, examples, seeds), as a standard deviation: "
        "small is stable. A part of it would be there by the choice of items alone."
    ),
    "runs": Message("Runs"),
    "mean": Message("Mean"),
    "deviation": Message("Standard deviation"),
    "shares": Message("Share of the variance"),
    "level": Message("Level"),
    "model": Message("Model"),
    "spread": Message("Spread over prompts"),
    "of_items": Message("of it by items alone"),
    "beyond": Message("beyond items"),
    "lowest": Message("Lowest"),
    "highest": Message("Highest"),
    "metric": Message("Metric"),
}


def effects_view(table: EffectTable, lang: str) -> dict[str, Any]:
    """Payload of the tables."""
    readings = [
        {
            "title": say(EVIDENCE[table.evidence(main)], lang),
            "sources": [_sources(effects, table, lang) for effects in main],
            "heads": [_metric(effects, lang) for effects in main],
            "levels": _levels(table, main, lang),
            "stability": [
                row for effects in main for row in (_stability(one, effects, table, lang) for one in effects.stability)
            ],
            "models": any(one.model for effects in main for one in effects.stability),
            "notices": _notices(main, lang),
        }
        for reading in READINGS
        if (main := table.main(reading))
    ]
    tried = [out for out in table.left_out if out.begun]
    left_out = [
        named(listed(level_texts(out.levels, lang), lang) or out.run, say(out.why, lang), lang)
        for out in tried[:MAX_LEFT_OUT]
    ]
    if len(tried) > MAX_LEFT_OUT:
        left_out.append(say(Message("… and {count:,} more.", count=len(tried) - MAX_LEFT_OUT), lang))
    return {
        "t": {name: say(text, lang) for name, text in WORDS.items()},
        "summary": say(_summary(table), lang),
        "readings": readings,
        "notices": [*(say(notice, lang) for notice in table.notices), *left_out],
        "nothing": ""
        if readings
        else say(Message("There is nothing to compare yet: fewer than two complete runs have a score."), lang),
    }


def _summary(table: EffectTable) -> Message:
    return Message(
        "Grid {name}: {runs:,} runs, scored by {protocol}.",
        name=table.grid,
        runs=len(table.runs),
        protocol=table.protocol,
    )


def level_texts(levels: Levels, lang: str) -> list[str]:
    """The levels of a run, each with its factor; those that do not concern it left out."""
    there = {name: level for name, level in levels.items() if level}
    return [named(option_name(name, lang), option_value(name, level, lang), lang) for name, level in there.items()]


def _metric(effects: MetricEffects, lang: str) -> str:
    if effects.task == AVERAGE:
        return word("average", lang)
    return f"{TASKS[effects.task].title} {metric_name(effects.metric, lang)}"


def percent(share: float, lang: str) -> str:
    """A share in whole percents."""
    return word("percent", lang).format(f"{100 * share:.0f}")


def _sources(effects: MetricEffects, table: EffectTable, lang: str) -> dict[str, Any]:
    shares = [(_term(share.term, lang), share.beyond_items) for share in effects.shares]
    if effects.items_share is not None:
        shares.append((say(Message("choice of items"), lang), effects.items_share))
    shown = sorted(((name, share) for name, share in shares if share >= LEAST_SHARE), key=lambda one: -one[1])
    sides = [
        named(say(title, lang), percent(effects.by_group.get(group, 0.0), lang), lang)
        for group, title in SIDES.items()
        if any(factor.group == group and factor.name in effects.levels for factor in table.factors)
    ]
    return {
        "metric": _metric(effects, lang),
        "runs": f"{effects.runs:,}",
        "mean": number(effects.mean),
        "deviation": number(effects.deviation),
        "sides": listed(sides, lang) if effects.shares else "",
        "shares": [
            {"name": name, "text": percent(share, lang), "width": f"{100 * min(1.0, share):.1f}"}
            for name, share in shown
        ],
    }


def _term(term: Sequence[str], lang: str) -> str:
    if not term:
        return say(Message("three or more factors together"), lang)
    return " × ".join(option_name(name, lang) for name in term)


def _levels(table: EffectTable, main: Sequence[MetricEffects], lang: str) -> list[dict[str, Any]]:
    found = []
    for factor in table.factors:
        rows = []
        for level in factor.levels:
            cells = [_level(effects, factor.name, level) for effects in main]
            if any(cells):
                runs = max(one.runs for one in cells if one)
                scores = [_score(one, effects) for one, effects in zip(cells, main, strict=True)]
                row = {"level": option_value(factor.name, level, lang), "runs": f"{runs:,}", "cells": scores}
                rows.append(row)
        if rows:
            found.append({"title": option_name(factor.name, lang), "rows": rows})
    return found


def _level(effects: MetricEffects, factor: str, level: str) -> LevelMean | None:
    return next((one for one in effects.levels.get(factor, ()) if one.level == level), None)


def _score(one: LevelMean | None, effects: MetricEffects) -> dict[str, Any]:
    mean = one.mean if one else None
    return {
        "value": number(mean.value if mean else None),
        "interval": interval(mean),
        "range": span_of(mean, signed=effects.low < 0),
    }


def _stability(one: Stability, effects: MetricEffects, table: EffectTable, lang: str) -> dict[str, Any]:
    prompt = {factor.name for factor in table.factors if factor.group != "model"}

    def of_run(run: int) -> list[str]:
        levels = table.levels[run]
        return level_texts({name: level for name, level in levels.items() if name in prompt}, lang)

    return {
        "model": option_value("model", one.model, lang),
        "metric": _metric(effects, lang),
        "runs": f"{one.runs:,}",
        "mean": number(one.mean.value),
        "interval": interval(one.mean),
        "spread": number(one.spread),
        "of_items": number(one.items),
        "beyond": number(one.beyond_items),
        "lowest": number(one.lowest),
        "lowest_run": of_run(one.lowest_run),
        "highest": number(one.highest),
        "highest_run": of_run(one.highest_run),
        "best": ""
        if one.best is None
        else say(Message("best under {share} of the prompts", share=percent(one.best, lang)), lang),
    }


def _notices(main: Iterable[MetricEffects], lang: str) -> list[str]:
    found: dict[str, list[str]] = {}
    for effects in main:
        for notice in effects.notices:
            found.setdefault(say(notice, lang), []).append(_metric(effects, lang))
    return [named(listed(metrics, lang), notice, lang) for notice, metrics in found.items()]
