"""JSTS: how similar in meaning are two sentences, from 0 to 5?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jglue_app.messages import mark
from jglue_app.tasks.rows import id_field, json_lines, score_field, text_field
from jglue_app.types import Item, Task


def item(row: Mapping[str, Any]) -> Item:
    """Row `{sentence_pair_id, sentence1, sentence2, label}` → Item with a float gold."""
    fields = {name: text_field(row, name) for name in ("sentence1", "sentence2")}
    return Item("jsts", id_field(row, "sentence_pair_id"), fields, score_field(row, 0.0, 5.0))


def _stratum(i: Item) -> str:
    assert isinstance(i.gold, float)
    return str(round(i.gold))


TASK = Task(
    name="jsts",
    title="JSTS",
    question=mark("How similar are two sentences (0–5)?"),
    kind="score",
    labels=(),
    metrics=("pearson", "spearman"),
    fields=("sentence1", "sentence2"),
    rows=json_lines,
    item=item,
    aliases=lambda _: {},
    stratum=_stratum,
    distributed=True,
    sha256={
        "train": "db6bd653270ac9786759920413a48973164d322998f34dd4ae32202af5e66969",
        "valid": "7c0bdcb381179f01096c635d058853d96da1e1248d23fe3f5c2beed5dc2d9b1a",
        "test": "b31ff21e07f47d580b7eb90802da45bf6a60e34fec886e28df7a21faf4469089",
    },
)
