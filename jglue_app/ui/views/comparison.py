"""What is seen of a pair of stored runs: where they came from, the scoreboard, the item list, one item."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jglue_app.errors import StoreError
from jglue_app.messages import word
from jglue_app.results.showcase import SHIPPED
from jglue_app.runs.store import RunStore
from jglue_app.scoring.comparison import compare_runs
from jglue_app.scoring.item_groups import GroupScore, groups, with_and_without
from jglue_app.scoring.judged import Answered, only
from jglue_app.scoring.protocols import judge_all
from jglue_app.scoring.report import report_run
from jglue_app.tasks import TASKS
from jglue_app.types import RunData
from jglue_app.ui import views
from jglue_app.ui.state import AppState
from jglue_app.ui.views.board import board
from jglue_app.ui.views.groups import group_rows
from jglue_app.ui.views.item import SideView, item_view
from jglue_app.ui.views.items import item_list

Ids = Mapping[str, Collection[str]]
"""Task → ids of the items that were asked for."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two runs, or one, that somebody looks at."""

    a: str
    """Name of a run; see `AppState.path`."""
    b: str = ""
    """Empty for none."""
    ids_a: Ids | None = None
    """None for all that is stored."""
    ids_b: Ids | None = None


def load(state: AppState, owner: str, name: str, ids: Ids | None) -> RunData | None:
    """A run's items and records; None where there is none (yet, or any more)."""
    if not name:
        return None
    try:
        data = state.data(owner, name)
    except StoreError:
        return None
    return data if ids is None else only(data, ids)


def both(state: AppState, owner: str, pair: Pair) -> tuple[RunData | None, RunData | None]:
    """What is stored of either run."""
    return load(state, owner, pair.a, pair.ids_a), load(state, owner, pair.b, pair.ids_b)


def board_html(
    state: AppState, owner: str, pair: Pair, lang: str, *, links: bool = True, protocol: str = "official"
) -> str:
    """The scoreboard."""
    a, b = both(state, owner, pair)
    if a is None:
        return views.empty(word("gone" if pair.a else "empty_board", lang))
    if b is None:
        payload = board(report_run(a, protocol), None, None, lang)
    else:
        comparison = compare_runs(a, b, protocol)
        payload = board(comparison.a, comparison.b, comparison, lang)
    rows = group_rows(*_groups(state, owner, pair, (a, b), protocol), lang)
    return views.render("board", {**payload, "groups": rows, "links": links}, lang)


def _groups(
    state: AppState, owner: str, pair: Pair, both_data: tuple[RunData, RunData | None], protocol: str
) -> tuple[Sequence[GroupScore], Sequence[GroupScore] | None]:
    """Scores of both sides with and without faulty, repeated, leaked and relabelled items; of items that only one of
    two runs was asked in a subset that both have, as little as in the scoreboard."""
    a, b = both_data
    if b is not None:
        common = {name: set(a.items[name]) & set(b.items[name]) for name in a.items if name in b.items}
        a, b = (only(run, {name: common.get(name, set(run.items[name])) for name in run.items}) for run in (a, b))
    found = [
        with_and_without(data, protocol, _judged(state, owner, name, data, protocol)) if data and groups(data) else ()
        for name, data in ((pair.a, a), (pair.b, b))
    ]
    return found[0], found[1] if b is not None else None


def _judged(state: AppState, owner: str, name: str, data: RunData, protocol: str) -> dict[str, dict[str, Answered]]:
    """What a protocol makes of the items of a run."""
    judged = state.judged(owner, name, protocol)
    return {
        task: {id_: row for id_, row in judged.get(task, {}).items() if id_ in items}
        for task, items in data.items.items()
    }


def list_value(
    state: AppState,
    owner: str,
    pair: Pair,
    lang: str,
    *,
    open_first: bool = False,
    fetch: bool = False,
    link: str | None = None,
) -> dict[str, Any]:
    """What the item list is given: the items that both runs were asked, or those of the one."""
    a, b = both(state, owner, pair)
    rows = [_rows(state, owner, name, data) for name, data in ((pair.a, a), (pair.b, b))]
    if pair.b and pair.ids_a is None:
        # Runs that were put side by side later: what only one was asked is no comparison.
        for name in TASKS:
            common = set(rows[0].get(name, {})) & set(rows[1].get(name, {}))
            for found in rows:
                if found.get(name):
                    found[name] = {id_: row for id_, row in found[name].items() if id_ in common}
    some = a or b
    sources = some.sources if some else {}
    names = (pair.a, pair.b)
    return item_list(
        rows[0],
        rows[1] if pair.b else None,
        lang,
        names=names,
        sources=sources,
        open_first=open_first,
        fetch=fetch,
        link=link,
    )


def _rows(state: AppState, owner: str, name: str, data: RunData | None) -> dict[str, dict[str, Any]]:
    if data is None:
        return {}
    return _judged(state, owner, name, data, "official")


def origin_html(state: AppState, owner: str, pair: Pair, lang: str, command: str = "") -> str:
    """Which models, when and on what machine: for runs that nobody has just watched; and the command that makes them
    anew."""
    sides = []
    for side, name in (("A", pair.a), ("B", pair.b)):
        if not name:
            continue
        try:
            run = state.stored(owner, name)
        except StoreError:
            continue
        machine = run.machine
        model = RunStore(run.path).manifest().get("model") or {}
        where = word("machine", lang).format(
            machine.get("cores", "?"), machine.get("memory_gb", "?"), model.get("device", "?"), model.get("dtype", "?")
        )
        sides.append({"side": side, "label": run.label, "made": run.created[:10], "where": where, "n": f"{run.done:,}"})
    shipped = pair.a.startswith(SHIPPED) and (not pair.b or pair.b.startswith(SHIPPED))
    return views.render("origin", {"sides": sides, "shipped": shipped, "command": command}, lang)


def item_html(
    state: AppState, owner: str, names: Mapping[str, str], task: str, id_: str, lang: str, *, steps: bool = True
) -> str:
    """One item of one or two runs, whatever a browser has sent as their names."""
    sides: list[SideView] = []
    source = ""
    lab: dict[str, str] | None = None
    for side in ("a", "b"):
        name = names.get(side, "")
        if not name:
            continue
        try:
            path = state.path(owner, name)
            found = state.judged(owner, name).get(task, {}).get(id_)
            manifest = RunStore(path).manifest()
            data = state.data(owner, name)
        except StoreError:
            sides.append(SideView(side.upper(), word("gone_side", lang), None))
            continue
        model = manifest.get("model") or {}
        # Older runs name BOS alone.
        bos = str(model.get("prefix") or (model.get("bos", "") if model.get("adds_bos") else ""))
        judged = judge_all(TASKS[task], found.item, found.record) if found else {}
        sides.append(
            SideView(side.upper(), str(manifest.get("label", "")), found, bos, str(model.get("eos", "")), judged)
        )
        source = word(f"source_{data.sources.get(task, 'official')}", lang)
        lab = lab or {"task": task, "id": id_, "a": names.get("a", ""), "b": names.get("b", "")}
    if not any(side.row for side in sides):
        return views.empty(word("gone" if names.get("a") else "empty_item", lang))
    return views.render("item", item_view(sides, lang, source, lab=lab if steps else None, steps=steps), lang)


def failed_items(state: AppState, owner: str, pair: Pair) -> int:
    """Items that ended in an error."""
    count = 0
    for name, ids in ((pair.a, pair.ids_a), (pair.b, pair.ids_b)):
        if data := load(state, owner, name, ids):
            count += sum(r.error is not None and r.item_id in data.items.get(r.task, {}) for r in data.records)
    return count
