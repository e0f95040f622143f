"""Which item a row of a log answers: by the id of the item, checked against its texts, else by the texts alone. Pure.

Texts are compared after NFKC and without white space. Nothing is guessed: a row that matches two items is resolved by
other fields, or it is left out.
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
"""Subset → the fields that identify nearly every item; for a subset that is not here, all its fields."""
MIN_SIMILARITY = 75.0
"""Percent: with the same id, texts at least this similar count as one text that was corrected."""
ANCHOR_CHARS = 6
"""Characters of the beginning of an item's text by which it is looked up in a longer text."""

Spans = tuple[tuple[int, int], ...]
"""For each main text, its (start, end) in a longer text; the end is exclusive."""


@dataclass(frozen=True, slots=True)
class Match:
    """The items that a row may answer."""

    candidates: tuple[int, ...]
    """Indices of the items: one if it is matched, several if it is ambiguous, none if no item matches."""
    changed: bool = False
    """The text in the log is similar to the one in the data, but not the same."""
    unchecked: bool = False
    """The id is that of the item, and the log has no text to check it against."""
    forward: tuple[int, ...] | None = None
    """The candidates whose texts occur in a longer text in the order that they have in the data; None where there was
    no longer text, or only one main text. Two items may be the same pair of sentences in opposite order."""


def plain(text: str) -> str:
    """A text without differences of width and white space."""
    return "".join(unicodedata.normalize("NFKC", text).split())


class Index:
    """The items of a dataset, indexed by id and by text."""

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
        """The items that a row may answer."""
        given = {name: plain(text) for name, text in row.fields.items() if text.strip()}
        text = "" if set(self._main) <= set(given) else plain(row.containing_text)
        k = self._ids.get(row.id) if row.id else None
        if k is not None:
            known = {name: given_text for name, given_text in given.items() if name in self._texts[k]}
            if not known and not text:
                return Match((k,), unchecked=True)
            if known and all(self._texts[k][name] == given_text for name, given_text in known.items()):
                return Match((k,), unchecked=not set(known) & set(self._main))
            if text and k in self._inside(text):
                return Match((k,), self._changed(k, given, row.choices), forward=self._forward({k}, text))
        candidates = self._with_choices(self._inside(text) if text else self._by_fields(given), row.choices)
        if candidates or k is None:
            changed = len(candidates) == 1 and self._changed(min(candidates), given, row.choices)
            return Match(tuple(sorted(candidates)), changed, forward=self._forward(candidates, text))
        item_text = "".join(self._texts[k].get(name, "") for name in given)
        similar = bool(given) and fuzz.ratio("".join(given.values()), item_text) >= MIN_SIMILARITY
        return Match((k,), changed=True) if similar else Match(())

    def _changed(self, k: int, given: Mapping[str, str], choices: Sequence[str]) -> bool:
        """Whether a text other than the main ones differs from the item's; a different order of choices does not
        count."""
        texts = self._texts[k]
        known = [name for name in given if name in texts]
        if sorted(given[name] for name in known) != sorted(texts[name] for name in known):
            return True
        ours = {text for name, text in texts.items() if name.startswith("choice")}
        return 0 < len(ours - set(map(plain, choices))) < len(ours)

    def _by_fields(self, given: Mapping[str, str]) -> set[int]:
        if not set(self._main) <= set(given):
            return set()
        candidates = set.intersection(*(self._by_text.get((name, given[name]), set()) for name in self._main))
        if len(candidates) < 2:
            return candidates
        others = [name for name in given if name not in self._main]
        return {k for k in candidates if all(self._texts[k].get(name) in (given[name], None) for name in others)}

    def _with_choices(self, candidates: Iterable[int], choices: Sequence[str]) -> set[int]:
        """The candidates that have these choices, where several items share a question; all if none has them."""
        candidates = set(candidates)
        if len(candidates) < 2 or not choices:
            return candidates
        sorted_choices = sorted(map(plain, choices))
        same = {
            k
            for k in candidates
            if sorted(t for n, t in self._texts[k].items() if n.startswith("choice")) == sorted_choices
        }
        return same or candidates

    def _inside(self, text: str) -> set[int]:
        """The items whose texts occur last in a longer text: few-shot examples come before the question."""
        spans_of: dict[int, Spans] = {}
        for at in range(len(text) - self._size + 1 if text else 0):
            for k in self._anchors.get(text[at : at + self._size], ()):
                if k not in spans_of and text.startswith(self._texts[k][self._main[-1]], at):
                    item_spans = self._spans_in(k, text)
                    if item_spans is not None:
                        spans_of[k] = item_spans
        if not spans_of:
            return set()
        last = max(max(end for _, end in spans) for spans in spans_of.values())
        ends = {k: spans for k, spans in spans_of.items() if max(end for _, end in spans) == last}
        # A text may end with that of another item, which is then contained in it.
        whole = {k: spans for k, spans in ends.items() if not any(_holds(other, spans) for other in ends.values())}
        start = max(min(begin for begin, _ in spans) for spans in whole.values())
        candidates = {k for k, spans in whole.items() if min(begin for begin, _ in spans) == start}
        return self._by_context(candidates, text)

    def _forward(self, candidates: set[int], text: str) -> tuple[int, ...] | None:
        if len(self._main) < 2 or not text:
            return None
        spans_of = {k: self._spans_in(k, text) or () for k in candidates}
        return tuple(sorted(k for k, spans in spans_of.items() if list(spans) == sorted(spans)))

    def _by_context(self, candidates: set[int], text: str) -> set[int]:
        """Of items with the same main texts, those with the most other texts in the longer text."""
        if len(candidates) < 2:
            return candidates
        others = {k: sum(t in text for n, t in self._texts[k].items() if n not in self._main) for k in candidates}
        return {k for k, count in others.items() if count == max(others.values())}

    def _spans_in(self, k: int, text: str) -> Spans | None:
        """The last place where the main texts of an item occur in a text, one after another in any order; None if they
        do not."""
        all_spans = [spans for order in permutations(self._main) if (spans := self._in_order(k, text, order))]
        return max(all_spans, key=lambda spans: (max(end for _, end in spans), min(spans)), default=None)

    def _in_order(self, k: int, text: str, order: Sequence[str]) -> Spans | None:
        """The same for one order."""
        spans: dict[str, tuple[int, int]] = {}
        end = len(text)
        for name in reversed(order):
            field_text = self._texts[k][name]
            at = text.rfind(field_text, 0, end)
            if at < 0:
                return None
            spans[name] = at, at + len(field_text)
            end = at
        return tuple(spans[name] for name in self._main)


def _holds(outer: Spans, inner: Spans) -> bool:
    """Whether every span of `inner` lies within a span of `outer`, and one of them is shorter."""
    pairs = list(zip(sorted(outer), sorted(inner), strict=True))
    return any(a != b for a, b in pairs) and all(a[0] <= b[0] and b[1] <= a[1] for a, b in pairs)


def resolve_by_direction(matches: Sequence[Match]) -> list[Match]:
    """The matches with those to two items that are the same sentences in opposite order resolved, where all matches to
    a single item agree on the order."""
    matched = [match for match in matches if len(match.candidates) == 1 and match.forward is not None]
    n_forward = sum(match.forward == match.candidates for match in matched)
    if not matched or n_forward not in (0, len(matched)):
        return list(matches)
    out = []
    for match in matches:
        if len(match.candidates) > 1 and match.forward is not None:
            narrowed = match.forward if n_forward else tuple(k for k in match.candidates if k not in match.forward)
            match = replace(match, candidates=narrowed) if narrowed else match
        out.append(match)
    return out


def resolve_by_order(matches: Sequence[Match], total: int) -> list[Match]:
    """The matches with ambiguous ones resolved by their neighbours: between two matched rows with as many rows as items
    between them, the rows answer these items in that order.

    Args:
        matches: of all rows in the order of the log.
        total: items in the data.
    """
    out = list(matches)
    matched = [(-1, -1), *((p, match.candidates[0]) for p, match in enumerate(matches) if len(match.candidates) == 1)]
    for (p, k), (next_p, next_k) in pairwise([*matched, (len(matches), total)]):
        between = range(k + 1, next_k)
        if next_p - p == next_k - k and all(
            i in match.candidates for i, match in zip(between, matches[p + 1 : next_p], strict=True)
        ):
            out[p + 1 : next_p] = [Match((i,)) for i in between]
    return out


def label_of(item: Item) -> str:
    """The item as messages name it: its id and the beginning of its first text."""
    first = next(iter(item.fields.values()), "")
    return f"{item.id} ({first[:20]})"
