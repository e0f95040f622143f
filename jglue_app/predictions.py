"""Outputs made elsewhere: a file of predictions → records that can be scored like any run.

Each line is `{"item_id": …, "text": "…"}`; `"choice_logprobs": [...]` (natural logarithms, one for each of the item's
labels in their official order) may stand beside the text or in place of it, and `"choices": [...]` says how the labels
were asked for or which texts were ranked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    """Read predictions for a dataset. Legal answers are the official labels unless a line names others.

    Args:
        path: JSON Lines, each `{"item_id": …, "text": …}`, with `choice_logprobs` beside the text or instead of it.
            A log-probability that is not finite makes the item an error under protocols that rank. With `choices`,
            texts are read against these.
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
    outputs: dict[str, Output] = {}
    asked: dict[str, tuple[str, ...]] = {}
    try:
        for where, row in json_lines(text):
            id_ = row.get("item_id")
            if not isinstance(id_, str | int) or isinstance(id_, bool):
                raise _not_a_prediction(where, row)
            if str(id_) not in items:
                raise ValueError(f"{where}: there is no item {id_!r} in {dataset.task}/{dataset.split}")
            if str(id_) in outputs:
                raise ValueError(f"{where}: item {id_!r} was answered before")
            outputs[str(id_)] = _output(row, items[str(id_)], where)
            asked[str(id_)] = _choices(row, items[str(id_)], where)
    except ValueError as e:
        raise DataError(f"{path}, {e}. Check --task, --split and --data, and that every item stands once.") from e
    if not outputs:
        raise DataError(f'{path}: holds no predictions. Give lines of {{"item_id": …, "text": "…"}}.')
    missing = len(items) - len(outputs)
    if missing and not partial:
        raise DataError(
            f"{path}: {missing} of {len(items)} items have no prediction (the first is "
            f"{next(i for i in items if i not in outputs)!r}). Add them, or give --partial to score the others alone."
        )
    spec = _spec(path, dataset)
    return RunData(
        spec,
        {dataset.task: {id_: items[id_] for id_ in items if id_ in outputs}},
        {dataset.task: dataset.source},
        [_record(spec, items[id_], asked[id_], output) for id_, output in outputs.items()],
    )


def _not_a_prediction(where: str, row: Mapping[str, Any]) -> ValueError:
    return ValueError(f'{where}: expected {{"item_id": …, "text": "…"}}, found {str(dict(row))[:200]}')


def _output(row: Mapping[str, Any], item: Item, where: str) -> Output:
    text, logprobs = row.get("text"), row.get("choice_logprobs")
    if not isinstance(text, str) and not (text is None and logprobs is not None):
        raise _not_a_prediction(where, row)
    scores: tuple[float, ...] | None = None
    if logprobs is not None:
        numbers = isinstance(logprobs, list) and all(
            isinstance(p, int | float) and not isinstance(p, bool) for p in logprobs
        )
        if not numbers or not item.choices or len(logprobs) != len(item.choices):
            labels = f"one number each for {', '.join(item.choices)}" if item.choices else "none: its answers are open"
            raise ValueError(f"{where}: 'choice_logprobs' of item {item.id!r} must be {labels}")
        try:
            scores = tuple(float(p) for p in logprobs)
        except OverflowError as e:
            raise ValueError(f"{where}: 'choice_logprobs' of item {item.id!r} holds a number beyond any float") from e
    return Output(text, "scored" if text is None else "stop", 0, 0, 0.0, scores)


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


def _choices(row: Mapping[str, Any], item: Item, where: str) -> tuple[str, ...]:
    given = row.get("choices")
    if given is None:
        return item.choices
    texts = isinstance(given, list) and all(isinstance(c, str) and c.strip() for c in given)
    if not texts or len(given) != len(item.choices) or len(set(given)) != len(given):
        wanted = (
            f"a different text each for {', '.join(item.choices)}" if item.choices else "left out: answers are open"
        )
        raise ValueError(f"{where}: 'choices' of item {item.id!r} must be {wanted}")
    return tuple(given)


def _record(spec: RunSpec, item: Item, asked: tuple[str, ...], output: Output) -> Record:
    empty = hashlib.sha256(b"").hexdigest()
    prompt = Prompt(item.task, item.id, "", None, (), asked, "", (), empty)
    return Record(spec.spec_id, item.task, item.id, prompt, output)
