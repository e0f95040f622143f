"""Which subset a log's row belongs to, and its texts by our field names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jglue_app.results.importers.log_files import text_of, texts_of
from jglue_app.tasks import TASKS, jsquad

NAMES = {
    "jcommonsenseqa": re.compile(r"jcommonsense[-_ ]?qa", re.IGNORECASE),
    "jnli": re.compile(r"(?<![a-z])jnli", re.IGNORECASE),
    "jsquad": re.compile(r"(?<![a-z])jsquad", re.IGNORECASE),
    "jsts": re.compile(r"(?<![a-z])jsts", re.IGNORECASE),
    "marc_ja": re.compile(r"(?<![a-z])marc[-_ ]?ja", re.IGNORECASE),
    "jcola": re.compile(r"(?<![a-z])jcola", re.IGNORECASE),
}
"""Subset → pattern of the names that harnesses give it."""
IDS = {
    "jcommonsenseqa": ("q_id",),
    "jnli": ("sentence_pair_id", "pair_id"),
    "jsts": ("sentence_pair_id", "pair_id"),
    "jsquad": ("id",),
    "marc_ja": ("review_id",),
    "jcola": ("uid", "id"),
}
"""Subset → the fields that hold the id of an item."""


def subset_named(name: str) -> str:
    """The subset that a task is named after; empty if none or several match."""
    subsets = [subset for subset, pattern in NAMES.items() if subset in TASKS and pattern.search(name)]
    return subsets[0] if len(subsets) == 1 else ""


def subset_shaped(doc: Mapping[str, Any]) -> str:
    """The subset whose fields a row of data has; empty if it is not clear."""
    names = set(doc)
    if "question" in names and ({"choice0", "choice4"} <= names or len(texts_of(doc.get("choices"))) == 5):
        return "jcommonsenseqa"
    if {"context", "question"} <= names:
        return "jsquad"
    if {"sentence1", "sentence2"} <= names:
        label = doc.get("label")
        # Similarities are written with a decimal point everywhere; integers are label numbers.
        if (isinstance(label, str) and label in TASKS["jnli"].labels) or (type(label) is int and 0 <= label < 3):
            return "jnli"
        return "jsts" if isinstance(label, float) else ""
    if "review_id" in names and "sentence" in names:
        return "marc_ja"
    return ""


def fields_of(subset: str, doc: Mapping[str, Any]) -> dict[str, str]:
    """The texts of a row of data that our items have as well, by our field names."""
    texts = {name: text for name in TASKS[subset].fields if (text := text_of(doc.get(name)))}
    if subset == "jcommonsenseqa" and len(choices := texts_of(doc.get("choices"))) == 5:
        texts = {f"choice{k}": text for k, text in enumerate(choices)} | texts
    if subset == "jsquad" and jsquad.SEPARATOR.strip() in texts.get("context", ""):
        title, _, body = texts["context"].partition(jsquad.SEPARATOR.strip())
        texts |= {"title": title.strip(), "context": body.strip()}
    return texts


def id_of(subset: str, doc: Mapping[str, Any]) -> str:
    """The id of the item in a row of data; empty if there is none."""
    ids = (text_of(doc.get(name)) for name in IDS.get(subset, ()))
    return next((id_ for id_ in ids if id_), "")


def gold_of(subset: str, doc: Mapping[str, Any]) -> tuple[str, ...]:
    """The gold answers or label of a row of data, as written there; empty if it has none."""
    if subset != "jsquad":
        label = text_of(doc.get("label"))
        return (label,) if label else ()
    answers = doc.get("answers")
    if isinstance(answers, Mapping):
        return texts_of(answers.get("text"))
    if isinstance(answers, list):
        answer_texts = tuple(text_of(a.get("text")) if isinstance(a, Mapping) else text_of(a) for a in answers)
        return answer_texts if all(answer_texts) else ()
    return ()
