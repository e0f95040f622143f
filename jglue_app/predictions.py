"""Outputs made elsewhere: a file of `{"item_id", "text"}` lines → records that can be scored like any run."""

from __future__ import annotations

import hashlib
from pathlib import Path

from jglue_app import __version__
from jglue_app.errors import DataError
from jglue_app.tasks.rows import json_lines
from jglue_app.types import (
    Dataset,
    Decoding,
    Item,
    ModelSpec,
    Output,
    Prompt,
    PromptSpec,
    Record,
    RunData,
    RunSpec,
)


def read_predictions(path: Path, dataset: Dataset, *, partial: bool = False) -> RunData:
    """Read predictions for a dataset. Legal answers are the official labels.

    Args:
        path: JSON Lines, each `{"item_id": …, "text": …}`.
        dataset: the items they answer.
        partial: accept predictions for a part of the items; only that part is scored.

    Raises:
        DataError: unreadable file, a line not in the format, an unknown, duplicate or missing id; names the line.
    """
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8-sig")
    except OSError as e:
        raise DataError(f"{path}: cannot be read ({e.strerror}). Give the path of a JSON Lines file.") from e
    except UnicodeDecodeError as e:
        line = raw[: e.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: not UTF-8. Save the file as UTF-8 and try again.") from e
    items = {item.id: item for item in dataset.items}
    texts: dict[str, str] = {}
    try:
        for where, row in json_lines(text):
            id_, answer = row.get("item_id"), row.get("text")
            if not isinstance(id_, str | int) or isinstance(id_, bool) or not isinstance(answer, str):
                raise ValueError(f'{where}: expected {{"item_id": …, "text": "…"}}, found {str(dict(row))[:200]}')
            if str(id_) not in items:
                raise ValueError(f"{where}: there is no item {id_!r} in {dataset.task}/{dataset.split}")
            if str(id_) in texts:
                raise ValueError(f"{where}: item {id_!r} was answered before")
            texts[str(id_)] = answer
    except ValueError as e:
        raise DataError(f"{path}, {e}. Check --task, --split and --data, and that every item stands once.") from e
    if not texts:
        raise DataError(f'{path}: holds no predictions. Give lines of {{"item_id": …, "text": "…"}}.')
    missing = len(items) - len(texts)
    if missing and not partial:
        raise DataError(
            f"{path}: {missing} of {len(items)} items have no prediction (the first is "
            f"{next(i for i in items if i not in texts)!r}). Add them, or give --partial to score the others alone."
        )
    spec = _spec(path, dataset)
    return RunData(
        spec,
        {dataset.task: {id_: items[id_] for id_ in items if id_ in texts}},
        {dataset.task: dataset.source},
        [_record(spec, items[id_], answer) for id_, answer in texts.items()],
    )


def _spec(path: Path, dataset: Dataset) -> RunSpec:
    return RunSpec(
        model=ModelSpec(path.name, backend="predictions"),
        tasks=(dataset.task,),
        data_version=dataset.version,
        data_sha256={f"{dataset.task}/{dataset.split}": dataset.sha256},
        prompt=PromptSpec(style="unknown", format="unknown"),
        style_sha256="",
        decoding=Decoding(),
        code_version=__version__,
        split=dataset.split,
    )


def _record(spec: RunSpec, item: Item, text: str) -> Record:
    empty = hashlib.sha256(b"").hexdigest()
    prompt = Prompt(item.task, item.id, "", None, (), item.choices, "", (), empty)
    return Record(spec.spec_id, item.task, item.id, prompt, Output(text, "stop", 0, 0, 0.0))
