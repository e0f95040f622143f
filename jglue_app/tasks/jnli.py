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
    distributed=True,
    sha256={  # The checksum of the train file is not known here.
        "valid": "ca0353efc7c2eebfb6de4e13f16295053c8b1ee65e7b0849190c90426fbc495f",
        "test": "f40849584d4291ec172dcd869646800cc8c82457cde2260a0f45934eda307792",
    },
)
