"""Which item a log's answer is to: by the item's own id, checked by its texts, else by the texts alone. Pure.

Texts are compared after NFKC and without white space. Nothing is guessed: an answer that two items fit is told from
them by other fields, or it is left out.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, permutations

from rapidfuzz import fuzz

from jglue_app.results.importers.log import Row
from jglue_app.types import Dataset, Item

MAIN_FIELDS = {
    "jcommonsenseqa": ("question",),
    "jsquad": ("question",),
    "jnli": ("sentence1", "sentence2"),
    "jsts": ("sentence1", "sentence2"),
}
"""Subset → the fields that nearly always name an item; of a subset that is not here, all its fields."""
MIN_SIMILARITY = 75.0
"""Percent: with the same id, texts at least as alike are one text that was corrected."""
ANCHOR_CHARS = 6
"""Characters by which the beginning of an item's text is found in a longer one."""

Spans = tuple[tuple[int, int], ...]
"""Of each main text, its first character in a longer text and the one after its last."""


@dataclass(frozen=True, slots=True)
class Match:
    """What an answer was aligned with."""

    candidates: tuple[int, ...]
    """Indices of the items it may be to: one if it is aligned, several if that cannot be told, none if none fits."""
    changed: bool = False
    """The item was asked with a text that is like the data's and not the same."""
    unchecked: bool = False
    """The id is that of the item, and the log has no text to check it by."""
    forward: tuple[int, ...] | None = None
    """Those of the candidates whose texts stand in a longer text in the order that they have in the data; None where
    texts were not looked for there, or are one alone. Two items may be the same pair of sentences turned round."""


def plain(text: str) -> str:
    """A text without differences of width and white space."""
    return "".join(unicodedata.normalize("NFKC", text).split())


class Index:
    """The items of a dataset, to be found by id or by text."""

    def __init__(self, dataset: Dataset) -> None:
        self.items = dataset.items
        self._ids = {item.id: k for k, item in enumerate(self.items)}
        self._texts = [{name: plain(text) for name, text in item.fields.items()} for item in self.items]
        names = dataset.items[0].fields if dataset.items else ()
        self._main = MAIN_FIELDS.get(dataset.task, tuple(names))
        by_text: dict[tuple[str, str], set[int]] = defaultdict(set)
        for k, texts in enumerate(self._texts):
            for name in self._main:
                by_text[name, texts[name]].add(k)
        self._by_text: Mapping[tuple[str, str], set[int]] = by_text
        anchors = [texts[self._main[-1]] for texts in self._texts]
        self._size = min([ANCHOR_CHARS, *(len(text) for text in anchors if text)])
        self._anchors: dict[str, list[int]] = defaultdict(list)
        for k, text in enumerate(anchors):
            self._anchors[text[: self._size]].append(k)

    def find(self, row: Row) -> Match:
        """The items that an answer may be to."""
        given = {name: plain(text) for name, text in row.fields.items() if text.strip()}
        text = "" if set(self._main) <= set(given) else plain(row.inside)
        k = self._ids.get(row.id) if row.id else None
        if k is not None:
            known = {name: own for name, own in given.items() if name in self._texts[k]}
            if not known and not text:
                return Match((k,), unchecked=True)
            if known and all(self._texts[k][name] == own for name, own in known.items()):
                return Match((k,), unchecked=not set(known) & set(self._main))
            if text and k in self._inside(text):
                return Match((k,), self._changed(k, given, row.choices), forward=self._forward({k}, text))
        found = self._with_choices(self._inside(text) if text else self._by_fields(given), row.choices)
        if found or k is None:
            changed = len(found) == 1 and self._changed(min(found), given, row.choices)
            return Match(tuple(sorted(found)), changed, forward=self._forward(found, text))
        ours = "".join(self._texts[k].get(name, "") for name in given)
        alike = bool(given) and fuzz.ratio("".join(given.values()), ours) >= MIN_SIMILARITY
        return Match((k,), changed=True) if alike else Match(())

    def _changed(self, k: int, given: Mapping[str, str], choices: Sequence[str]) -> bool:
        """Whether an item was asked with another text beside the main ones; another order of choices is none."""
        own = self._texts[k]
        known = [name for name in given if name in own]
        if sorted(given[name] for name in known) != sorted(own[name] for name in known):
            return True
        ours = {text for name, text in own.items() if name.startswith("choice")}
        return 0 < len(ours - set(map(plain, choices))) < len(ours)

    def _by_fields(self, given: Mapping[str, str]) -> set[int]:
        if not set(self._main) <= set(given):
            return set()
        found = set.intersection(*(self._by_text.get((name, given[name]), set()) for name in self._main))
        if len(found) < 2:
            return found
        others = [name for name in given if name not in self._main]
        return {k for k in found if all(self._texts[k].get(name) in (given[name], None) for name in others)}

    def _with_choices(self, found: Iterable[int], choices: Sequence[str]) -> set[int]:
        """Those whose choices were shown, where several items have the same question and the log has other texts."""
        found = set(found)
        if len(found) < 2 or not choices:
            return found
        shown = sorted(map(plain, choices))
        same = {k for k in found if sorted(t for n, t in self._texts[k].items() if n.startswith("choice")) == shown}
        return same or found

    def _inside(self, text: str) -> set[int]:
        """The items whose texts stand last in a longer text: examples stand before the question."""
        places: dict[int, Spans] = {}
        for at in range(len(text) - self._size + 1 if text else 0):
            for k in self._anchors.get(text[at : at + self._size], ()):
                if k not in places and text.startswith(self._texts[k][self._main[-1]], at):
                    place = self._spans_in(k, text)
                    if place is not None:
                        places[k] = place
        if not places:
            return set()
        last = max(max(end for _, end in spans) for spans in places.values())
        ends = {k: spans for k, spans in places.items() if max(end for _, end in spans) == last}
        # A text may end with that of another item, which then stands inside it.
        whole = {k: spans for k, spans in ends.items() if not any(_holds(other, spans) for other in ends.values())}
        start = max(min(begin for begin, _ in spans) for spans in whole.values())
        found = {k for k, spans in whole.items() if min(begin for begin, _ in spans) == start}
        return self._by_context(found, text)

    def _forward(self, found: set[int], text: str) -> tuple[int, ...] | None:
        if len(self._main) < 2 or not text:
            return None
        places = {k: self._spans_in(k, text) or () for k in found}
        return tuple(sorted(k for k, spans in places.items() if list(spans) == sorted(spans)))

    def _by_context(self, found: set[int], text: str) -> set[int]:
        """Of items with the same main texts, those whose other texts are there as well."""
        if len(found) < 2:
            return found
        others = {k: sum(t in text for n, t in self._texts[k].items() if n not in self._main) for k in found}
        return {k for k, count in others.items() if count == max(others.values())}

    def _spans_in(self, k: int, text: str) -> Spans | None:
        """Where the main texts of an item stand last in a text, one after another in any order; None if they do not."""
        found = [spans for order in permutations(self._main) if (spans := self._in_order(k, text, order))]
        return max(found, key=lambda spans: (max(end for _, end in spans), min(spans)), default=None)

    def _in_order(self, k: int, text: str, order: Sequence[str]) -> Spans | None:
        """The same for one order."""
        spans: dict[str, tuple[int, int]] = {}
        end = len(text)
        for name in reversed(order):
            own = self._texts[k][name]
            at = text.rfind(own, 0, end)
            if at < 0:
                return None
            spans[name] = at, at + len(own)
            end = at
        return tuple(spans[name] for name in self._main)


def _holds(outer: Spans, inner: Spans) -> bool:
    """Whether every text of an item stands inside a text of another, and one of them is shorter."""
    pairs = list(zip(sorted(outer), sorted(inner), strict=True))
    return any(a != b for a, b in pairs) and all(a[0] <= b[0] and b[1] <= a[1] for a, b in pairs)


def resolve_by_direction(places: Sequence[Match]) -> list[Match]:
    """The same, with pairs of texts that are two items told apart by their order, where all answers to one item alone
    have one order."""
    sure = [found for found in places if len(found.candidates) == 1 and found.forward is not None]
    ahead = sum(found.forward == found.candidates for found in sure)
    if not sure or ahead not in (0, len(sure)):
        return list(places)
    out = []
    for found in places:
        if len(found.candidates) > 1 and found.forward is not None:
            kept = found.forward if ahead else tuple(k for k in found.candidates if k not in found.forward)
            found = replace(found, candidates=kept) if kept else found
        out.append(found)
    return out


def resolve_by_order(places: Sequence[Match], total: int) -> list[Match]:
    """The same, with answers that two items fit told apart by the answers around them: as many answers as there are
    items between two that follow each other in the data are to these items, in that order.

    Args:
        places: of all answers in the log's order.
        total: items in the data.
    """
    out = list(places)
    sure = [(-1, -1), *((p, f.candidates[0]) for p, f in enumerate(places) if len(f.candidates) == 1)]
    for (p, k), (next_p, next_k) in pairwise([*sure, (len(places), total)]):
        between = range(k + 1, next_k)
        if next_p - p == next_k - k and all(
            i in found.candidates for i, found in zip(between, places[p + 1 : next_p], strict=True)
        ):
            out[p + 1 : next_p] = [Match((i,)) for i in between]
    return out


def label_of(item: Item) -> str:
    """An item for a message: its id and the beginning of its first text."""
    first = next(iter(item.fields.values()), "")
    return f"{item.id} ({first[:20]})"
