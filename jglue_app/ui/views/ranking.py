"""The list of stored runs: rankings of those on the same items, and apart from them the others, some folded into one
line. And bars of a few runs with their intervals."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jglue_app.messages import listed as names_in
from jglue_app.messages import say, word
from jglue_app.results.embedding_references import is_embedding
from jglue_app.results.library import StoredRun
from jglue_app.results.rankings import Ranking, Rankings
from jglue_app.results.run_folds import Fold, folds
from jglue_app.results.showcase import SHIPPED
from jglue_app.scoring.leaderboard import Entry
from jglue_app.scoring.ranking import Place
from jglue_app.scoring.scoreboard import number
from jglue_app.scoring.types import Estimate
from jglue_app.tasks import TASKS
from jglue_app.ui.views.board import CORRELATIONS, interval, span_of
from jglue_app.ui.views.run_labels import labels_of, run_label_text, run_text

MAX_PICTURED = 4
"""Runs in a picture; more would be indistinguishable."""
MAX_NAMED = 5
"""Runs that are named as those from which one cannot be told apart."""


@dataclass(frozen=True, slots=True)
class Listed:
    """Runs with their scores and ranks."""

    entries: Sequence[Entry]
    """The scores."""
    rankings: Rankings
    before: Mapping[str, Place]
    """Run → its place under the protocol whose ranks are compared."""
    tasks: Sequence[str]
    """Subsets that count."""
    protocol: str
    against: str
    """The protocol whose ranks are compared."""


@dataclass(frozen=True, slots=True)
class Marked:
    """What a visitor has chosen in the list."""

    a: str = ""
    b: str = ""
    ticked: Collection[str] = field(default=())


def order_of_rows(listed: Listed, runs: Mapping[str, StoredRun]) -> list[str]:
    """The runs in the order of the list: those that are ranked, then the others."""
    names = [entry.name for entry in listed.entries if entry.name in runs]
    ranked = [name for one in listed.rankings.rankings for name in one.places if name in runs]
    return list(dict.fromkeys((*ranked, *names)))


def matching(names: Sequence[str], runs: Mapping[str, StoredRun], text: str, lang: str) -> list[str]:
    """Those of some runs that have every word of a text in their label, how they were made, their description, or
    their id."""
    words = _folded(text).split()

    def about(name: str) -> str:
        run = runs[name]
        return _folded(" ".join((run.label, run_text(run, lang), run.made_as, run.description, name)))

    return [name for name in names if all(word in about(name) for word in words)] if words else list(names)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def ranking(
    listed: Listed,
    runs: Mapping[str, StoredRun],
    lang: str,
    marked: Marked | None = None,
    shown: Collection[str] | None = None,
    grids: Mapping[str, Collection[str]] | None = None,
) -> dict[str, Any]:
    """Payload of the list.

    Args:
        listed: the runs; those that are not in `runs` are left out.
        runs: name → run, for its metadata.
        lang: `ja` or `en`.
        marked: what is chosen.
        shown: runs that have a row; None for all.
        grids: name → its runs, which stand in one line.
    """
    rows = _Rows(listed, runs, lang, marked or Marked(), shown)
    folded = folds({name: runs[name] for name in rows.names}, grids)
    sections = [rows.section(one, folded) for one in listed.rankings.rankings]
    ranked = {name for one in listed.rankings.rankings for name in one.places}
    members = {name for fold in folded for name in fold.names}
    others = sorted((name for name in rows.names if name not in ranked), key=lambda name: name in members)
    if others:
        sections.append({"title": word("unranked", lang), "parts": rows.parts(others, folded)})
    return {
        "heads": [TASKS[name].title for name in listed.tasks],
        "columns": len(listed.tasks) + 5,
        "sections": [section for section in sections if section["parts"]],
        "ranked": bool(ranked),
        "listed": word("rows_listed", lang).format(f"{len(shown):,}", f"{len(rows.names):,}")
        if shown is not None and len(shown) < len(rows.names)
        else "",
        "moves_text": word("moves", lang).format(listed.against, listed.protocol)
        if listed.protocol != listed.against
        else "",
    }


class _Rows:
    """Makes rows of the list, each once it is asked for."""

    def __init__(
        self,
        listed: Listed,
        runs: Mapping[str, StoredRun],
        lang: str,
        marked: Marked,
        shown: Collection[str] | None,
    ) -> None:
        self._shown = None if shown is None else frozenset(shown)
        self._entries = {entry.name: entry for entry in listed.entries if entry.name in runs}
        self.names = list(self._entries)
        self._listed, self._runs, self._lang, self._marked = listed, runs, lang, marked
        self._labels = labels_of({name: runs[name] for name in self.names}, lang)

    def section(self, one: Ranking, folded: Sequence[Fold]) -> dict[str, Any]:
        """A ranking."""
        names = [name for name in one.places if name in self._entries]
        scored_by = {task: f" · {word('choose', self._lang)}" for task in one.by_likelihood}
        items = names_in(
            (f"{TASKS[task].title} {count:,}{scored_by.get(task, '')}" for task, count in one.items.items()),
            self._lang,
        )
        title = word("ranking_of", self._lang).format(f"{len(names):,}", items)
        return {"title": title, "parts": self.parts(names, folded, one.places)}

    def parts(
        self, names: Sequence[str], folded: Sequence[Fold], places: Mapping[str, Place] | None = None
    ) -> list[dict[str, Any]]:
        """The rows of some runs in their order. The members of a fold stand together where the first of them does."""
        names = [name for name in names if self._shown is None or name in self._shown]
        fold_of = {name: i for i, fold in enumerate(folded) for name in fold.names}
        parts: list[dict[str, Any]] = []
        done: set[int] = set()
        for name in names:
            i = fold_of.get(name)
            members = [other for other in names if fold_of.get(other) == i] if i is not None else []
            if i is None or len(members) < 2:
                row = self._row(name, places)
                if parts and not parts[-1]["fold"]:
                    parts[-1]["rows"].append(row)
                else:
                    parts.append({"fold": "", "open": True, "id": "", "rows": [row]})
            elif i not in done:
                done.add(i)
                model = self._runs[members[0]].made_as.partition(" · ")[0]
                chosen = {*self._marked.ticked, self._marked.a, self._marked.b}
                parts.append(
                    {
                        "fold": word(f"fold_{folded[i].kind}", self._lang).format(
                            f"{len(members):,}", folded[i].grid or model
                        ),
                        "open": any(member in chosen for member in members),
                        "id": f"jg-fold-{members[0].removeprefix(SHIPPED)[:16]}",
                        "rows": [self._row(member, places) for member in members],
                    }
                )
        return parts

    def _row(self, name: str, places: Mapping[str, Place] | None) -> dict[str, Any]:
        entry, run, tasks = self._entries[name], self._runs[name], self._listed.tasks
        place = places.get(name) if places else None
        reason = self._listed.rankings.apart.get(name)
        return {
            "name": name,
            "label": self._labels[name],
            "made_as": run_label_text(run.made_as, self._lang) if run.is_named else "",
            "description": run.description,
            "embedding": is_embedding(run),
            **self._rank(name, place),
            "average": _score(entry.average),
            "why_not": say(reason, self._lang) if reason is not None else "",
            "tasks": [
                _score(entry.tasks.get(task), TASKS[task].title, signed=TASKS[task].metrics[0] in CORRELATIONS)
                for task in tasks
            ],
            "facts": facts(run, self._lang, shipped=name.startswith(SHIPPED)),
            "a": name == self._marked.a,
            "b": name == self._marked.b,
            "ticked": name in self._marked.ticked,
        }

    def _rank(self, name: str, place: Place | None) -> dict[str, str]:
        if place is None:
            return {"rank": "–", "range": "", "alike": "", "moved": "", "moved_text": ""}
        before = self._listed.before.get(name)
        moved = before.rank - place.rank if before else 0
        alike = [self._labels[other] for other in place.alike if other in self._labels]
        names = names_in(alike[:MAX_NAMED], self._lang) + (" …" if len(alike) > MAX_NAMED else "")
        return {
            "rank": str(place.rank),
            "range": f"{place.rank}–{place.last}" if place.last > place.rank else "",
            "alike": word("alike", self._lang).format(len(alike), names) if alike else "",
            "moved": "" if not moved else f"▲{moved}" if moved > 0 else f"▼{-moved}",
            "moved_text": word("moved_up" if moved > 0 else "moved_down", self._lang).format(abs(moved))
            if moved
            else "",
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
    return f"{run_text(run, lang)} · {run.done:,} · {created} · {name.removeprefix(SHIPPED)[:8]}"


def _score(estimate: Estimate | None, title: str = "", *, signed: bool = False) -> dict[str, Any]:
    return {
        "title": title,
        "value": number(estimate.value if estimate else None),
        "interval": interval(estimate),
        "range": span_of(estimate, signed=signed),
        "n": estimate.n if estimate else 0,
    }


def pictures(
    entries: Sequence[Entry], tasks: Sequence[str], lang: str, labels: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Payload of the bars of some runs; `labels` are run → label in the language, where they are not those of the
    entries."""
    labels = {entry.name: run_label_text(entry.label, lang) for entry in entries} | dict(labels or {})
    pictured = [entry for entry in entries if any(entry.tasks.get(t) for t in tasks)][:MAX_PICTURED]
    return {
        "groups": [
            {
                "title": TASKS[task].title,
                "bars": [
                    {
                        "series": i,
                        "letter": "ABCD"[i],
                        "label": labels[entry.name],
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
        "series": [{"series": i, "letter": "ABCD"[i], "label": labels[entry.name]} for i, entry in enumerate(pictured)],
    }
