"""What a report shows of stored runs: the views of the page, in both languages, for each pair of runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from jglue_app.errors import InputError
from jglue_app.messages import LANGUAGES, word
from jglue_app.results.embedding_references import ItemCosine, cosine_in, is_embedding
from jglue_app.results.library import Ids, StoredRun
from jglue_app.results.marks import NO_ITEM_MARKS, Marks
from jglue_app.runs.request import RunRequest, Side
from jglue_app.runs.request_text import to_command_line
from jglue_app.scoring.judged import Judged
from jglue_app.scoring.protocols import get_protocol, judge_all
from jglue_app.scoring.types import Judgement
from jglue_app.tasks import TASKS
from jglue_app.types import Item, RunData
from jglue_app.ui.state import AppState
from jglue_app.ui.static_report.shared_values import SharedValues
from jglue_app.ui.views import comparison
from jglue_app.ui.views.comparison import Pair
from jglue_app.ui.views.item import SideView, item_view
from jglue_app.ui.views.run_labels import labels_of

MAX_ITEMS = 20_000
"""Items of all pairs together in one report. A pair over all official dev files has 15,971."""
MAX_RUNS = 12
BLOCK_SIZE = 64
"""Items that the browser unpacks at once."""


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """What a report is to show."""

    names: tuple[str, ...]
    """Runs; the first is the one that the others are compared with."""
    protocol: str = "official"
    items: Ids | None = None
    """The items that were requested, where only those are shown; None for all that are stored."""

    @property
    def pairs(self) -> list[Pair]:
        """The single run, or each other run with the first."""
        first, *others = self.names
        return [Pair(first, other, self.items, self.items if other else None) for other in others or [""]]


def check(request: ReportRequest) -> None:
    """Raise InputError or UnknownNameError if there can be no such report."""
    get_protocol(request.protocol)
    if not request.names:
        raise InputError("Choose at least one run for the report.")
    if len(request.names) > MAX_RUNS:
        raise InputError("A report holds at most {max_runs} runs. Choose fewer.", max_runs=MAX_RUNS)
    if len(set(request.names)) < len(request.names):
        raise InputError("A report shows each run once. Name each of them once.")


@dataclass(frozen=True, slots=True)
class ReportedRun:
    """One run as it is shown, read once for all of its items."""

    run: StoredRun
    """Without paths of this machine: labels are made of it."""
    data: RunData
    judged: Judged
    marks: Marks
    """What its people have put on its items, as far as the owner sees it."""


class Contents:
    """The views of some runs, as far as their owner may see them. All of it is read when it is made.

    Raises StoreError if one of the runs is gone, and InputError if they have too many items.
    """

    def __init__(self, state: AppState, owner: str, request: ReportRequest) -> None:
        check(request)
        self.state, self.owner, self.request = state, owner, request
        self.pairs = request.pairs
        self.runs = {
            name: ReportedRun(
                _with_names(state.stored(owner, name)),
                state.data(owner, name, request.items),
                state.judged(owner, name, request.protocol, request.items),
                comparison.marks_of(state, owner, name),
            )
            for name in request.names
        }
        self._records = {
            name: {(record.task, record.item_id): record for record in read.data.records}
            for name, read in self.runs.items()
        }
        self._judgements: dict[tuple[str, str, str], dict[str, Judgement]] = {}
        self._embeddings = [
            (run, state.data(owner, name))
            for name, run in state.runs(owner).items()
            if "jsts" in self.runs[request.names[0]].data.items and is_embedding(run) and name not in self.runs
        ]
        self.lists = [{lang: self._list(pair, lang) for lang in LANGUAGES} for pair in self.pairs]
        self.listed_keys = [_keys(lists["ja"]) for lists in self.lists]
        self.keys = list(dict.fromkeys(key for keys in self.listed_keys for key in keys))
        shown = sum(map(len, self.listed_keys))
        if shown > MAX_ITEMS:
            raise InputError(
                "A report holds at most {max_items:,} items, and these are {items:,}. Choose fewer or shorter runs, "
                "or export the rows of one run as .jsonl or .parquet.",
                max_items=MAX_ITEMS,
                items=shown,
            )

    def _list(self, pair: Pair, lang: str) -> dict[str, Any]:
        return comparison.item_list_value(
            self.state, self.owner, pair, lang, open_first=True, fetch=True, protocol=self.request.protocol
        )

    # --- whole comparisons ----------------------------------------------------------------------------------

    def listed(self, pair: int, lang: str) -> dict[str, Any]:
        """The value of the item list, with the place of each row among all items of the report; None where it is that
        among the rows."""
        places = {key: place for place, key in enumerate(self.keys)}
        of_rows = [places[key] for key in self.listed_keys[pair]]
        value = self.lists[pair][lang]
        # Marks are shown here, and not set.
        words = {**value["words"], "keys": word("report_keys", lang)}
        return {**value, "words": words, "places": None if of_rows == list(range(len(of_rows))) else of_rows}

    def labels(self, lang: str) -> dict[str, str]:
        """Run → what it is called; where two would be called the same, with what tells them apart."""
        return labels_of({name: self.runs[name].run for name in self.request.names}, lang)

    def first_html(self, pair: int, lang: str) -> str:
        """The first card: one sentence, items that show why it holds, and a strip for each subset."""
        return comparison.first_html(self.state, self.owner, self.pairs[pair], lang, protocol=self.request.protocol)

    def board_html(self, pair: int, lang: str) -> str:
        """The scoreboard."""
        return comparison.board_html(self.state, self.owner, self.pairs[pair], lang, protocol=self.request.protocol)

    def origin_html(self, pair: int, lang: str) -> str:
        """Where the runs are from, and the command that makes them again."""
        return comparison.provenance_html(self.state, self.owner, self.pairs[pair], lang, self.command(pair))

    def command(self, pair: int) -> str:
        """The commands that make the runs of a pair again: one if it can be one; empty if none can."""
        names = [name for name in (self.pairs[pair].a, self.pairs[pair].b) if name]
        specs = [self.runs[name].data.spec for name in names]
        together = RunRequest.of_pair(*specs) if len(specs) == 2 else None
        requests = [together] if together else [RunRequest.of_spec(spec) for spec in specs]
        return "\n".join(to_command_line(_without_folders(request)) for request in requests if request)

    # --- items ----------------------------------------------------------------------------------------------

    def add_items(self, values: SharedValues) -> None:
        """Put the views of all items into blocks: for each pair one of each item, or None."""
        nothing = values.add(None, None)
        rows = list(map(set, self.listed_keys))
        for start in range(0, len(self.keys), BLOCK_SIZE):
            block = self.keys[start : start + BLOCK_SIZE]
            values.add_block(
                values.add(*(self.item(pair, *key, lang) for lang in LANGUAGES)) if key in rows[pair] else nothing
                for pair in range(len(self.pairs))
                for key in block
            )

    def item(self, pair: int, task: str, id_: str, lang: str) -> dict[str, Any]:
        """The payload of the item view, as on the page but without what needs a server."""
        names = [("A", self.pairs[pair].a), ("B", self.pairs[pair].b)]
        sides: list[SideView] = []
        for side, name in names:
            if name:
                sides.append(comparison.paired_side(sides, self._side(side, name, task, id_), lang))
        item = next(side.row.item for side in sides if side.row)
        sources = self.runs[self.pairs[pair].b or self.pairs[pair].a].data.sources
        source = word(f"source_{sources.get(task, 'official')}", lang)
        cosines = list(self._cosines(item))
        return item_view(sides, lang, source, cosines=cosines, protocol=self.request.protocol)

    def _side(self, side: str, name: str, task: str, id_: str) -> SideView:
        read = self.runs[name]
        row = read.judged.get(task, {}).get(id_)
        view = comparison.side_view(side, read.run, read.data, row, self._judged_by_all(name, task, id_))
        return replace(view, marked=read.marks.get((task, id_), NO_ITEM_MARKS))

    def _judged_by_all(self, name: str, task: str, id_: str) -> dict[str, Judgement]:
        """Protocol → judgement of one record; judged once for both languages and all pairs."""
        key = name, task, id_
        if key not in self._judgements:
            record, item = self._records[name].get((task, id_)), self.runs[name].data.items.get(task, {}).get(id_)
            known = record is not None and item is not None
            self._judgements[key] = judge_all(TASKS[task], item, record) if known and record and item else {}
        return self._judgements[key]

    def _cosines(self, item: Item) -> Iterator[ItemCosine]:
        """The cosines of a JSTS item in stored runs of embeddings."""
        for run, data in self._embeddings if item.task == "jsts" else ():
            cosine = cosine_in(run, data, item)
            if cosine is not None:
                yield cosine

    @property
    def sources(self) -> list[str]:
        """Where the items are from: `official`, `user`, `sample`."""
        used = {read.data.sources.get(task, "official") for read in self.runs.values() for task in read.data.items}
        return [source for source in ("official", "user", "sample") if source in used]


def _keys(listed: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(Subset, item id) of each row of an item list; see `views.items.packed`."""
    return [(listed["tasks"][row[0]][0], row[1]) for row in listed["rows"]]


def _with_names(run: StoredRun) -> StoredRun:
    """The run with the names of files and folders in place of their paths in what its spec says."""
    model, prompt = (
        dict(part) if isinstance(part := run.spec.get(key), Mapping) else {} for key in ("model", "prompt")
    )
    for table, key in ((model, "id"), (model, "adapter"), (prompt, "style")):
        if isinstance(table.get(key), str):
            table[key] = last_part(table[key])
    return replace(run, spec={**run.spec, "model": model, "prompt": prompt})


def _without_folders(request: RunRequest) -> RunRequest:
    """The request with the names of files and folders in place of their paths, which are of one machine."""
    b = None if request.b is None else _side_without_folders(request.b)
    return replace(request, a=_side_without_folders(request.a), b=b)


def _side_without_folders(side: Side) -> Side:
    adapter = last_part(side.adapter) if side.adapter else side.adapter
    return replace(side, model=last_part(side.model), adapter=adapter, style=last_part(side.style))


def last_part(text: str) -> str:
    """The name of what a path leads to; any other text, such as a Hub id, as it is."""
    plain = text.replace("\\", "/").rstrip("/")
    is_path = plain.startswith(("/", "./", "../", "~")) or plain[1:3] == ":/" or plain.count("/") > 1
    return plain.rpartition("/")[2] if is_path else text
