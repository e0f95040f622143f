"""JCommonsenseQA: which of five choices answers the question?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jglue_app.messages import mark
from jglue_app.tasks.rows import id_field, json_lines, label_field, text_field
from jglue_app.types import Item, Task

LABELS = ("0", "1", "2", "3", "4")
FIELDS = ("question", *(f"choice{label}" for label in LABELS))


def item(row: Mapping[str, Any]) -> Item:
    """Row `{q_id, question, choice0 … choice4, label}` → Item; the label is the choice's number from 0."""
    label = row.get("label")
    if isinstance(label, str) and label.removeprefix("choice") in LABELS:
        row = {**row, "label": label.removeprefix("choice")}  # The Hub's exports name the labels after the fields.
    fields = {name: text_field(row, name) for name in FIELDS}
    return Item("jcommonsenseqa", id_field(row, "q_id"), fields, (label_field(row, LABELS),), LABELS)


TASK = Task(
    name="jcommonsenseqa",
    title="JCommonsenseQA",
    question=mark("Common sense, five choices"),
    kind="choice",
    labels=LABELS,
    metrics=("accuracy",),
    fields=FIELDS,
    rows=json_lines,
    item=item,
    aliases=lambda i: {label: (i.fields[f"choice{label}"],) for label in LABELS},
    stratum=lambda i: str(i.gold),
    distributed=True,
    sha256={
        "train": "9b55fae5ecb3aedd6f8ce5bc09196c3b629864668ec6c18eee4d65c0aa48229e",
        "valid": "0d8d76f3bfa0d174866939882faccdd01fbc2bcd5a76c43748ba0c40a7b3b8d4",
        "test": "ba91ef3907c91436a5e44fa9fccbbfa3df507577e2c681f4d7e39bd987f0186d",
    },
)
