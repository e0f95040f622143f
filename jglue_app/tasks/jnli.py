"""JNLI: does the first sentence entail, contradict or leave open the second?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jglue_app.messages import mark
from jglue_app.tasks.rows import id_field, json_lines, label_field, text_field
from jglue_app.types import Item, Task

LABELS = ("entailment", "contradiction", "neutral")
ALIASES = {
    "entailment": ("含意", "内包", "必然"),
    "contradiction": ("矛盾", "相反"),
    "neutral": ("中立", "無関係"),
}


def item(row: Mapping[str, Any]) -> Item:
    """Row `{sentence_pair_id, sentence1, sentence2, label}` → Item; sentence1 is the premise."""
    fields = {name: text_field(row, name) for name in ("sentence1", "sentence2")}
    return Item("jnli", id_field(row, "sentence_pair_id"), fields, (label_field(row, LABELS),), LABELS)


TASK = Task(
    name="jnli",
    title="JNLI",
    question=mark("Does the premise entail the hypothesis?"),
    kind="choice",
    labels=LABELS,
    metrics=("accuracy",),
    fields=("sentence1", "sentence2"),
    rows=json_lines,
    item=item,
    aliases=lambda _: ALIASES,
    stratum=lambda i: str(i.gold),
)
