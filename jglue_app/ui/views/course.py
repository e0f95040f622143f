"""What a step of the course shows of stored runs: answers to one item, and one run's outputs under two protocols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jglue_app.messages import word
from jglue_app.results.showcase import SHIPPED
from jglue_app.runs.request import Side
from jglue_app.scoring.judged import ScoredItem
from jglue_app.scoring.report import main_metric
from jglue_app.scoring.scoreboard import estimate_text
from jglue_app.tasks import TASKS
from jglue_app.ui import views
from jglue_app.ui.address import Address, to_query
from jglue_app.ui.state import AppState
from jglue_app.ui.views.item import SideView, item_view
from jglue_app.ui.views.reading import reading_rule
from jglue_app.ui.views.request import side_text
from jglue_app.ui.views.waterfall import waterfall_view

END_LINES = 7
"""Lines of a prompt's end to show."""
MAX_ITEMS = 6
"""Items to list of those that two protocols score differently."""
MAX_CHARS = 40
"""Characters of an output in that list."""


def answers_html(state: AppState, owner: str, runs: Sequence[str], task: str, id_: str, lang: str) -> str:
    """What shipped runs hold of an item: the end of the prompt, the output, what was read and how it was scored.

    Raises:
        StoreError: one of the runs is not there.
    """
    sides = []
    for side, run in zip("AB", runs, strict=False):
        name = SHIPPED + run
        stored, spec = state.stored(owner, name), state.data(owner, name).spec
        bos = str(stored.model.get("prefix") or (stored.model.get("bos", "") if stored.model.get("adds_bos") else ""))
        row = state.judged(owner, name)[task][id_]
        label = side_text(Side.of(spec.model, spec.prompt, spec.decoding), lang)
        sides.append(SideView(side, label, row, bos, str(stored.model.get("eos", ""))))
    payload = item_view(sides, lang, word("source_sample", lang), steps=False)
    for shown in payload["sides"]:
        shown["end"] = prompt_end(shown["prompt"])
        shown["cut"] = shown["end"] != shown["prompt"]
    return views.render("course_answers", payload, lang)


def prompt_end(pieces: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last lines of a prompt that is in pieces, after a mark for what is left out."""
    lines = 0
    for i in range(len(pieces) - 1, -1, -1):
        lines += bool(pieces[i].get("eol"))
        if lines > END_LINES:
            return [{"text": "…", "special": True, "eol": True}, *pieces[i + 1 :]]
    return list(pieces)


def two_scores_html(state: AppState, owner: str, run: str, task: str, protocols: tuple[str, str], lang: str) -> str:
    """The outputs of a shipped run under two protocols: both scores, the items that they score differently, and the
    decisions between them.

    Raises:
        StoreError: the run is not there.
    """
    name = SHIPPED + run
    spec = state.data(owner, name).spec
    rows = [state.judged(owner, name, protocol)[task] for protocol in protocols]
    pairs = [(rows[0][id_], rows[1][id_]) for id_ in rows[0] if id_ in rows[1]]
    apart = [pair for pair in pairs if is_right(pair[0]) != is_right(pair[1])]
    waterfall = state.waterfalls(owner, name, *protocols)[task]
    payload = {
        "title": TASKS[task].title,
        "run": side_text(Side.of(spec.model, spec.prompt, spec.decoding), lang),
        "scores": [_score(state, owner, name, task, protocol, lang) for protocol in protocols],
        "summary": word("course_apart", lang).format(n=len(apart), total=len(pairs)),
        "items": [_apart(pair, lang) for pair in apart[:MAX_ITEMS]],
        "more": word("course_apart_more", lang).format(len(apart) - MAX_ITEMS) if len(apart) > MAX_ITEMS else "",
        "waterfall": views.render("waterfall", waterfall_view({task: waterfall}, lang), lang),
        "link": "?" + to_query(Address(tab="results", run_a=name, protocol=protocols[1], subset=task)),
    }
    return views.render("course_two_scores", payload, lang)


def is_right(row: ScoredItem) -> bool:
    """Whether a protocol counts an output as right."""
    scores = row.judgement.scores
    return scores.get("exact_match", scores.get("accuracy")) == 1.0


def _score(state: AppState, owner: str, name: str, task: str, protocol: str, lang: str) -> dict[str, str]:
    score = main_metric(state.report(owner, name, protocol).tasks[task], protocol)
    return {
        "name": protocol,
        "about": word(f"protocol_{protocol}", lang, default=""),
        "score": estimate_text(score),
    }


def _apart(pair: tuple[ScoredItem, ScoredItem], lang: str) -> dict[str, Any]:
    first = pair[0]
    gold = first.item.gold
    return {
        "id": first.item.id,
        "question": views.question(first.item),
        "gold": gold[0] if isinstance(gold, tuple) else f"{gold:g}",
        "text": views.short(first.record.output.text or "" if first.record.output else "", MAX_CHARS),
        "verdicts": [
            {
                "mark": "○" if is_right(row) else "×",
                "class": "correct" if is_right(row) else "wrong",
                "name": word("right" if is_right(row) else "wrong_short", lang),
                "because": reading_rule(row.judgement.strict.rule, lang),
            }
            for row in pair
        ],
    }
