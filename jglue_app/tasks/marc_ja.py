"""MARC-ja: is a product review positive or negative?

The official reviews were withdrawn by their owner; see `data/files.py` for where items come from today.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jglue_app.messages import mark
from jglue_app.tasks.rows import id_field, json_lines, label_field, text_field
from jglue_app.types import Item, Task

LABELS = ("positive", "negative")
ALIASES = {
    "positive": ("肯定的", "肯定", "ポジティブ", "好意的", "高評価", "好評", "満足"),
    "negative": ("否定的", "否定", "ネガティブ", "批判的", "低評価", "不評", "不満足", "不満"),
}


def item(row: Mapping[str, Any]) -> Item:
    """Row `{review_id, sentence, label}` → Item."""
    fields = {"sentence": text_field(row, "sentence")}
    return Item("marc_ja", id_field(row, "review_id"), fields, (label_field(row, LABELS),), LABELS)


TASK = Task(
    name="marc_ja",
    title="MARC-ja",
    question=mark("Is a product review positive or negative?"),
    kind="choice",
    labels=LABELS,
    metrics=("accuracy",),
    fields=("sentence",),
    rows=json_lines,
    item=item,
    aliases=lambda _: ALIASES,
    stratum=lambda i: str(i.gold),
)
