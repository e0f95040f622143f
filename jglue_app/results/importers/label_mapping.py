"""How a log writes labels: which of the ranked texts, and which of the gold answers, means which label. Pure.

The meaning of a text is inferred from the text and the choices in the log, never from the gold answer of the same item.
Where a number could mean several labels, the numbering that fits nearly all items of the log is taken, or none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from jglue_app.results.importers.item_matching import plain
from jglue_app.results.importers.log import Row
from jglue_app.runs.predictions import label_forms
from jglue_app.tasks import TASKS
from jglue_app.types import Item

AFFIXES = (("", ""), ('"', '"'), ("「", "」"), ("'", "'"), ("『", "』"), ("(", ")"), (" ", ""), ("", "。"), ("`", "`"))
"""What may surround a label in a reference."""
MIN_FITTING_SHARE = 0.6
"""Share of items whose gold answer agrees under a mapping, from which the mapping is accepted. For numbers it is the
share among the items of each label: where one label is frequent, a numbering that swaps the two others still fits most
items."""
LETTERS, KANA = "ABCDEFGHIJ", "アイウエオカキクケコ"


@dataclass(frozen=True, slots=True)
class LabelMapping:
    """A way of writing the labels of every item."""

    forms: Callable[[Item], Sequence[str]]
    """Item → the text for each label in the official order."""
    before: str = ""
    after: str = ""

    def texts(self, item: Item) -> tuple[str, ...]:
        """The texts of the labels of an item, in the official order."""
        return tuple(f"{self.before}{form}{self.after}" for form in self.forms(item))


def order_of(row: Row, item: Item) -> tuple[int, ...] | None:
    """For each label in the official order, the index of its text in `Row.choices`; None if it is not clear for every
    label."""
    count = len(item.choices)
    if len(row.choices) != count:
        return None
    texts = [_normalized(choice) for choice in row.choices]
    if len(set(texts)) != count:
        return None
    if item.task == "jcommonsenseqa":
        expected = [_normalized(item.fields[f"choice{label}"]) for label in item.choices]
        missing, unexpected = (
            [text for text in expected if text not in texts],
            [text for text in texts if text not in expected],
        )
        # A single corrected text is identified by elimination.
        if len(missing) <= 1 and len(missing) == len(unexpected):
            corrected = dict(zip(missing, unexpected, strict=True))
            return tuple(texts.index(corrected.get(text, text)) for text in expected)
    if any(texts == [_normalized(label) for label in series] for series in _series(count)):
        # Numbers and letters refer to the choices in the order shown, which is unknown for other subsets.
        return _order_of_choices(row, item) if item.task == "jcommonsenseqa" else None
    for forms in (form(item) for form in _word_forms(item.task)):
        expected = [_normalized(form) for form in forms]
        if sorted(expected) == sorted(texts):
            return tuple(map(texts.index, expected))
    words = _aliases(item)
    labels = [words.get(text) for text in texts]
    if None in labels or len(set(labels)) < count:
        return None
    return tuple(labels.index(label) for label in item.choices)


def _order_of_choices(row: Row, item: Item) -> tuple[int, ...] | None:
    """The index of each choice among those in the log; the official order if the log has none."""
    names = [f"choice{label}" for label in item.choices]
    given = [plain(row.fields.get(name, "")) for name in names]
    if not any(given):
        return tuple(range(len(names)))
    item_texts = [plain(item.fields[name]) for name in names]
    return (
        tuple(map(given.index, item_texts))
        if sorted(given) == sorted(item_texts) and len(set(item_texts)) == len(item_texts)
        else None
    )


def label_mapping_of(pairs: Iterable[tuple[Row, Item]]) -> LabelMapping | None:
    """The mapping that the gold answers of a log use; None if it is ambiguous, or the log has none. It is ambiguous
    where two mappings fit equally many items, as two numberings do that share the only label that occurs.

    Args:
        pairs: rows with the items that they answer, all of one `choice` subset.
    """
    with_gold = [(row.gold[0], item) for row, item in pairs if row.gold]
    if not with_gold:
        return None
    best: list[tuple[LabelMapping, list[tuple[str, ...]]]] = []
    max_count = 0
    totals = Counter(_label(item) for _, item in with_gold)
    task = with_gold[0][1].task
    # The number of one label does not imply those of the others; choices that differ by item are numbered as shown.
    identifiable = task == "jcommonsenseqa" or len(totals) >= len(TASKS[task].labels) - 1
    for mapping, counts in _candidate_mappings(task):
        if counts and not identifiable:
            continue
        label_texts = [mapping.texts(item) for _, item in with_gold]
        if not all(gold in texts for (gold, _), texts in zip(with_gold, label_texts, strict=True)):
            continue
        n_correct = _n_correct(with_gold, label_texts)
        # Words are unambiguous; numbers have to fit the items of every label.
        shares = [n_correct[label] / total for label, total in totals.items()]
        share = min(shares) if counts else n_correct.total() / len(with_gold)
        if share < MIN_FITTING_SHARE:
            continue
        count = n_correct.total()
        if count > max_count:
            best, max_count = [(mapping, label_texts)], count
        elif count == max_count and all(label_texts != other for _, other in best):
            best.append((mapping, label_texts))
    return best[0][0] if len(best) == 1 else None


def _n_correct(with_gold: Sequence[tuple[str, Item]], label_texts: Sequence[tuple[str, ...]]) -> Counter[str]:
    """Label → number of its items whose gold answer is written as the mapping writes that label."""
    pairs = zip(with_gold, label_texts, strict=True)
    return Counter(_label(item) for (gold, item), texts in pairs if texts[item.choices.index(_label(item))] == gold)


def _label(item: Item) -> str:
    assert isinstance(item.gold, tuple)
    return item.gold[0]


def _candidate_mappings(task: str) -> Iterable[tuple[LabelMapping, bool]]:
    """Candidate mappings, each with whether it writes labels as numbers or letters."""
    for before, after in AFFIXES:
        for forms in _word_forms(task):
            yield LabelMapping(forms, before, after), False
        for forms in _number_forms(task):
            yield LabelMapping(forms, before, after), True


@cache
def _word_forms(task: str) -> tuple[Callable[[Item], Sequence[str]], ...]:
    """Ways to write labels as words: the labels themselves, the words of our prompt styles, the texts of the
    choices."""
    forms: list[Callable[[Item], Sequence[str]]] = []
    if task == "jcommonsenseqa":
        forms.append(lambda item: [item.fields[f"choice{label}"] for label in item.choices])
    forms.append(lambda item: item.choices)
    forms += label_forms(task)
    return tuple(forms)


def _number_forms(task: str) -> Iterable[Callable[[Item], Sequence[str]]]:
    count = len(TASKS[task].labels)
    for series in _series(count):
        yield lambda item, series=series: series[: len(item.choices)]  # type: ignore[misc]  # a default's type
    if task != "jcommonsenseqa":
        # Exports of the same data number the labels in different orders.
        for series in _series(count):
            yield lambda item, series=series: series[len(item.choices) - 1 :: -1]  # type: ignore[misc]  # as above


def _series(count: int) -> tuple[tuple[str, ...], ...]:
    numbers = tuple(map(str, range(count + 1)))
    return numbers[:count], numbers[1:], tuple(LETTERS[:count]), tuple(LETTERS[:count].lower()), tuple(KANA[:count])


def _aliases(item: Item) -> Mapping[str, str]:
    """Alias → label, without aliases that two labels share."""
    task = TASKS[item.task]
    pairs = [
        (_normalized(word), label)
        for names in (task.aliases(item), task.whole_answers)
        for label, words in names.items()
        for word in words
    ]
    pairs += [(_normalized(label), label) for label in item.choices]
    label_of_word = dict(pairs)
    shared = {word for word, label in pairs if label_of_word[word] != label}
    return {word: label for word, label in label_of_word.items() if word not in shared}


def _normalized(text: str) -> str:
    """A text without differences of width, case and white space, and without its affixes."""
    normalized = plain(text).casefold()
    for before, after in AFFIXES:
        inner = normalized.removeprefix(before).removesuffix(after)
        if before and after and inner and len(inner) == len(normalized) - len(before) - len(after):
            return inner
    return normalized.removesuffix("。") or normalized
