"""Views of one stored run or of two side by side: provenance, scoreboard, item list, single item."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jglue_app.errors import StoreError
from jglue_app.messages import Message, say, word
from jglue_app.results.embedding_references import (
    EmbeddingReference,
    ItemCosine,
    cosine_in,
    embedding_references,
    is_embedding,
)
from jglue_app.results.library import Ids, StoredRun
from jglue_app.results.marks import NO_ITEM_MARKS, Marks
from jglue_app.results.showcase import SHIPPED
from jglue_app.scoring.item_groups import GroupScore
from jglue_app.scoring.judged import Judged, ScoredItem
from jglue_app.scoring.model_change import change_between
from jglue_app.scoring.types import Judgement
from jglue_app.types import Item, RunData
from jglue_app.ui import views
from jglue_app.ui.address import Address
from jglue_app.ui.state import AppState
from jglue_app.ui.views.board import board
from jglue_app.ui.views.first import first_card
from jglue_app.ui.views.groups import group_rows
from jglue_app.ui.views.item import SideView, item_view
from jglue_app.ui.views.items import item_list
from jglue_app.ui.views.run_labels import run_text
from jglue_app.ui.views.share import board_image, image_words


@dataclass(frozen=True, slots=True)
class Pair:
    """One or two runs to show."""

    a: str
    """Name of a run; see `AppState.path`."""
    b: str = ""
    """Empty for none."""
    ids_a: Ids | None = None
    """Items that were requested; None for all stored items."""
    ids_b: Ids | None = None


def load(state: AppState, owner: str, name: str, ids: Ids | None) -> RunData | None:
    """A run's items and records; None if it does not exist (yet, or was deleted)."""
    if not name:
        return None
    try:
        return state.data(owner, name, ids)
    except StoreError:
        return None


def load_both(state: AppState, owner: str, pair: Pair) -> tuple[RunData | None, RunData | None]:
    """Both runs; see `load`."""
    return load(state, owner, pair.a, pair.ids_a), load(state, owner, pair.b, pair.ids_b)


def board_html(
    state: AppState, owner: str, pair: Pair, lang: str, *, links: bool = True, protocol: str = "official"
) -> str:
    """The scoreboard."""
    a, b = load_both(state, owner, pair)
    if a is None:
        return views.empty(word("gone" if pair.a else "empty_board", lang))
    named = _named(state, owner, pair)
    if b is None:
        report = state.report(owner, pair.a, protocol, pair.ids_a)
        payload = board(report, None, None, lang, _embeddings(state, owner, pair, a, None), named)
    else:
        comparison = state.comparison(owner, pair.a, pair.b, protocol, pair.ids_a, pair.ids_b)
        payload = board(comparison.a, comparison.b, comparison, lang, _embeddings(state, owner, pair, a, b), named)
    rows = group_rows(*_groups(state, owner, pair, a, b, protocol), lang)
    return views.render("board", {**payload, "groups": rows, "links": links}, lang)


def first_html(
    state: AppState, owner: str, pair: Pair, lang: str, *, links: bool = True, protocol: str = "official"
) -> str:
    """The first card."""
    a, b = load_both(state, owner, pair)
    if a is None:
        return views.empty(word("gone" if pair.a else "empty_board", lang))
    judged, named = judged_pair(state, owner, pair, protocol), _named(state, owner, pair)
    if b is None:
        report = state.report(owner, pair.a, protocol, pair.ids_a)
        payload = first_card(report, None, None, (judged[0], None), lang, links=links, named=named)
    else:
        found = state.comparison(owner, pair.a, pair.b, protocol, pair.ids_a, pair.ids_b)
        change = change_between(a.spec, b.spec)
        payload = first_card(found.a, found.b, found, judged, lang, change=change, links=links, named=named)
    source = views.source_text(a.sources.values(), lang)
    image = {"share": board_image(payload, protocol, lang, source), "share_words": image_words(lang)}
    return views.render("first", {**payload, **image}, lang)


def _named(state: AppState, owner: str, pair: Pair) -> tuple[bool, bool]:
    """Whether somebody gave each run its name; nobody did while a run is not there yet."""

    def named(name: str) -> bool:
        try:
            return bool(name) and state.stored(owner, name).is_named
        except StoreError:
            return False

    return named(pair.a), named(pair.b)


def judged_pair(state: AppState, owner: str, pair: Pair, protocol: str) -> tuple[Judged, Judged | None]:
    """The judged items of both runs: those that both have, or those of the single run."""
    a, b = load_both(state, owner, pair)
    rows_a: Judged = state.judged(owner, pair.a, protocol, pair.ids_a) if a else {}
    rows_b: Judged = state.judged(owner, pair.b, protocol, pair.ids_b) if b else {}
    if a and b:
        left_out = other_items(a, b)
        rows_a, rows_b = _without(rows_a, left_out), _without(rows_b, left_out)
    if pair.b and pair.ids_a is None:
        # For two runs from different requests, items that only one of them has cannot be compared.
        rows_a, rows_b = _common_rows(rows_a, rows_b), _common_rows(rows_b, rows_a)
    return rows_a, rows_b if pair.b else None


def other_items(a: RunData, b: RunData) -> set[tuple[str, str]]:
    """(Subset, id) of the items that differ between two runs in more than their answers: text, choices or gold."""
    return {
        (task, id_)
        for task, items in a.items.items()
        for id_, item in b.items.get(task, {}).items()
        if id_ in items and items[id_] != item
    }


def _without(rows: Judged, left_out: Collection[tuple[str, str]]) -> Judged:
    if not left_out:
        return rows
    return {
        task: {id_: row for id_, row in answered.items() if (task, id_) not in left_out}
        for task, answered in rows.items()
    }


def _embeddings(
    state: AppState, owner: str, pair: Pair, a: RunData, b: RunData | None
) -> tuple[EmbeddingReference, ...]:
    """The runs of embeddings that the owner may see, on the JSTS items that are compared."""
    if "jsts" not in a.items:
        return ()
    return embedding_references(
        a,
        state.runs(owner).values(),
        lambda run: state.data(owner, run.name),
        lambda run, ids: state.report(owner, run.name, "official", ids),
        items=_same_items(a, b, "jsts") if b and "jsts" in b.items else None,
        leave_out=(pair.a, pair.b),
    )


def _same_items(a: RunData, b: RunData, task: str) -> set[str]:
    """Ids of a subset's items that two runs share."""
    return {id_ for id_, item in a.items[task].items() if b.items[task].get(id_) == item}


def _cosines(state: AppState, owner: str, names: Collection[str], item: Item) -> list[ItemCosine]:
    """The cosines of a JSTS item in other runs that the owner may see."""
    cosines = []
    for run in state.runs(owner).values() if item.task == "jsts" else ():
        if is_embedding(run) and run.name not in names:
            with contextlib.suppress(StoreError):
                cosines.append(cosine_in(run, state.data(owner, run.name), item))
    return [cosine for cosine in cosines if cosine is not None]


def _groups(
    state: AppState, owner: str, pair: Pair, a: RunData, b: RunData | None, protocol: str
) -> tuple[Sequence[GroupScore], Sequence[GroupScore] | None]:
    """Scores of both sides with and without faulty, repeated, leaked and relabelled items. As in the scoreboard, items
    that only one of the runs has are left out of subsets that both have."""
    if b is None:
        return state.groups(owner, pair.a, protocol, pair.ids_a), None
    common = {name: _same_items(a, b, name) for name in a.items if name in b.items}
    items_a, items_b = ({name: common.get(name, set(run.items[name])) for name in run.items} for run in (a, b))
    return state.groups(owner, pair.a, protocol, items_a), state.groups(owner, pair.b, protocol, items_b)


def item_list_value(
    state: AppState,
    owner: str,
    pair: Pair,
    lang: str,
    *,
    open_first: bool = False,
    fetch: bool = False,
    link: str | None = None,
    protocol: str = "official",
    view: Address | None = None,
) -> dict[str, Any]:
    """The value of the item list: the items that both runs have, or those of the single run.

    Args:
        state, owner: whose runs may be seen.
        pair: the runs.
        lang: `ja` or `en`.
        open_first, fetch, link: see `item_list`.
        protocol: which judges the items.
        view: how the list begins; None to leave it as it is. Its item is opened if it is among those of the list.
    """
    a, b = load_both(state, owner, pair)
    rows_a, rows_b = judged_pair(state, owner, pair, protocol)
    data = a or b
    listed = item_list(
        rows_a,
        rows_b,
        lang,
        names=(pair.a, pair.b),
        sources=data.sources if data else {},
        marks=(marks_of(state, owner, pair.a), marks_of(state, owner, pair.b)),
        open_first=open_first,
        fetch=fetch,
        link=link,
    )
    left_out = len(other_items(a, b)) if a and b else 0
    if left_out:
        note = say(_left_out(left_out), lang)
        listed["source"] = f"{listed['source']} · {note}" if listed["source"] else note
    listed["protocol"] = protocol
    # Whether the list has only the items that were requested, and not all that are stored.
    listed["part"] = pair.ids_a is not None
    if view is not None:
        listed["view"] = view.item_list_view()
        if view.item and any(view.item[1] in rows.get(view.item[0], {}) for rows in (rows_a, rows_b or {})):
            listed["open"] = listed["view"]["open"]
    return listed


def _left_out(count: int) -> Message:
    return Message("Same id but another text in B, and not compared: {n}", n=f"{count:,}")


def _common_rows(rows: Judged, others: Judged) -> Judged:
    return {
        task: {id_: row for id_, row in answered.items() if id_ in others.get(task, {})}
        for task, answered in rows.items()
    }


def provenance_html(state: AppState, owner: str, pair: Pair, lang: str, command: str = "") -> str:
    """Provenance of stored runs: models, date and machine; and the command that reproduces them."""
    sides = []
    for side, name in (("A", pair.a), ("B", pair.b)):
        if not name:
            continue
        try:
            run = state.stored(owner, name)
        except StoreError:
            continue
        where = word("machine", lang).format(
            run.machine.get("cores", "?"),
            run.machine.get("memory_gb", "?"),
            run.model.get("device", "?"),
            run.model.get("dtype", "?"),
        )
        label = run_text(run, lang)
        sides.append({"side": side, "label": label, "made": run.created[:10], "where": where, "n": f"{run.done:,}"})
    shipped = pair.a.startswith(SHIPPED) and (not pair.b or pair.b.startswith(SHIPPED))
    return views.render("origin", {"sides": sides, "shipped": shipped, "command": command}, lang)


def item_html(
    state: AppState,
    owner: str,
    names: Mapping[str, str],
    task: str,
    id_: str,
    lang: str,
    *,
    steps: bool = True,
    protocol: str = "official",
) -> str:
    """One item of one or two runs, judged by a protocol. The names come from the browser and may be any text."""
    sides: list[SideView] = []
    source = ""
    written: dict[str, str] = {}
    """Side → run of which a model was asked something, so that it can be asked again."""
    for side in ("a", "b"):
        name = names.get(side, "")
        if not name:
            continue
        try:
            row = state.judged(owner, name, protocol).get(task, {}).get(id_)
            judgements = state.item_judgements(owner, name, task, id_) if row else {}
            run = state.stored(owner, name)
            data = state.data(owner, name)
            sources = data.sources
        except StoreError:
            sides.append(SideView(side.upper(), word("gone_side", lang), None))
            continue
        sides.append(paired_side(sides, side_view(side.upper(), run, data, row, judgements), lang))
        source = word(f"source_{sources.get(task, 'official')}", lang)
        marked = marks_of(state, owner, name).get((task, id_), NO_ITEM_MARKS)
        sides[-1] = replace(sides[-1], run=name, marked=marked)
        if not is_embedding(run):
            written[side] = name
    if not any(side.row for side in sides):
        return views.empty(word("gone" if names.get("a") else "empty_item", lang))
    item = next(side.row.item for side in sides if side.row)
    lab = {"task": task, "id": id_, "a": written.get("a", ""), "b": written.get("b", "")} if written else None
    cosines = _cosines(state, owner, set(names.values()), item)
    payload = item_view(
        sides,
        lang,
        source,
        lab=lab if steps else None,
        steps=steps,
        cosines=cosines,
        marks_note=word("marks_public", lang) if state.settings.public and steps else "",
        protocol=protocol,
    )
    link = {"run_a": names.get("a", ""), "run_b": names.get("b", ""), "item": f"{task}/{id_}"}
    # A link without a protocol opens under the official one.
    link["protocol"] = "" if protocol == "official" else protocol
    named = {key: value for key, value in link.items() if value} if steps else {}
    return views.render("item", {**payload, "link": named}, lang)


def marks_of(state: AppState, owner: str, name: str) -> Marks:
    """What the visitor sees of a run's marks; nothing where they cannot be read, which is said when one is set."""
    try:
        return state.marks.of(owner, name, state.path(owner, name)) if name else {}
    except StoreError:
        return {}


def side_view(
    name: str, run: StoredRun, data: RunData, row: ScoredItem | None, judged: Mapping[str, Judgement]
) -> SideView:
    """One side of an item.

    Args:
        name: `A` or `B`.
        run, data: where the item's record is stored.
        row: the item; None if the run has not answered it.
        judged: what every protocol makes of its record.
    """
    # Older runs have only BOS.
    bos = str(run.model.get("prefix") or (run.model.get("bos", "") if run.model.get("adds_bos") else ""))
    eos, approximate = str(run.model.get("eos", "")), bool(run.model.get("ranking"))
    cosine = cosine_in(run, data, row.item) if row and is_embedding(run) else None
    return SideView(name, run.label, row, bos, eos, judged, approximate, cosine, is_named=run.is_named)


def paired_side(before: Sequence[SideView], side: SideView, lang: str) -> SideView:
    """A side of an item; without its answer, if that is to another item than the side before it shows."""
    items = [other.row.item for other in before if other.row]
    if side.row is None or not items or side.row.item == items[0]:
        return side
    return replace(side, row=None, cosine=None, judged={}, missing=word("other_item", lang))


def failed_items(state: AppState, owner: str, pair: Pair) -> int:
    """Number of items that ended in an error."""
    return sum(
        record.error is not None and record.item_id in data.items.get(record.task, {})
        for data in load_both(state, owner, pair)
        if data is not None
        for record in data.records
    )
