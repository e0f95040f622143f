"""Outputs made elsewhere: a file of predictions → records that can be scored like any run.

Each line is `{"item_id": …, "text": "…"}`; `"choice_logprobs": [...]` (natural logarithms, one for each of the item's
labels in their official order) may stand beside the text or in place of it, and `"choices": [...]` says how the labels
were asked for or which texts were ranked. Where these are the labels in another order, the logarithms stand in that
order too; both are put in the official one. `"thought": "<think>"` names the mark that the prompt left open, and `""`
says that it left none. Without it a thought that some lines close and do not open is taken to have been opened in all
of them.
"""

from __future__ import annotations

import hashlib
import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from string import Template
from typing import Any

from jglue_app import messages
from jglue_app.data import user_files
from jglue_app.errors import DataError
from jglue_app.messages import Joined, Message
from jglue_app.prompts import thoughts
from jglue_app.prompts.styles import Style, load_style, style_names
from jglue_app.tasks import TASKS
from jglue_app.tasks.rows import json_lines, load_json
from jglue_app.types import (
    Dataset,
    Decoding,
    Item,
    ModelSpec,
    Notice,
    Output,
    Prompt,
    PromptSpec,
    Record,
    RunData,
    RunSpec,
)
from jglue_app.version import __version__


def read_predictions(path: Path, dataset: Dataset, *, partial: bool = False) -> RunData:
    """Read predictions for a dataset. Legal answers are the official labels unless a line names others.

    Args:
        path: JSON Lines, each `{"item_id": …, "text": …}`, with `choice_logprobs` beside the text or instead of it;
            or a JSON array, CSV, Parquet or Arrow table of these. In CSV an empty cell is an empty text, and lists
            are written as JSON. A log-probability that is not finite makes the item an error under protocols that
            rank. With `choices`, texts are read against these; their order is that of `choice_logprobs`. `thought` is
            the mark that the prompt left open.
        dataset: the items they answer.
        partial: accept predictions for a part of the items; only that part is scored.

    Raises:
        DataError: unreadable file, a line not in the format, an unknown, duplicate or missing id; names the line.
    """
    content = user_files.read(path, Message("Give the path of a JSON Lines file."))
    rows = json_lines(content.text) if content.rows is None else map(_cells, content.rows)
    items = {item.id: item for item in dataset.items}
    outputs: dict[str, Output] = {}
    choices: dict[str, tuple[str, ...]] = {}
    opened: dict[str, str | None] = {}
    try:
        for where, row in rows:
            id_ = row.get("item_id")
            if not isinstance(id_, str | int) or isinstance(id_, bool):
                raise _not_a_prediction(where, row)
            if str(id_) not in items:
                raise ValueError(
                    Message(
                        "{where}: there is no item {id!r} in {task}/{split}",
                        where=where,
                        id=id_,
                        task=dataset.task,
                        split=dataset.split,
                    )
                )
            if str(id_) in outputs:
                raise ValueError(Message("{where}: item {id!r} was answered before", where=where, id=id_))
            output = _output(row, items[str(id_)], where)
            choices[str(id_)], order = _choices(row, items[str(id_)], where)
            if output.choice_logprobs is not None:
                output = replace(output, choice_logprobs=tuple(output.choice_logprobs[k] for k in order))
            outputs[str(id_)] = output
            opened[str(id_)] = _thought(row, where)
    except ValueError as e:
        raise DataError(
            "{path}, {reason}. Check --task, --split and --data, and that every item stands once.",
            path=path,
            reason=messages.of(e),
        ) from e
    if not outputs:
        raise DataError('{path}: holds no predictions. Give lines of {{"item_id": …, "text": "…"}}.', path=path)
    missing = len(items) - len(outputs)
    if missing and not partial:
        raise DataError(
            "{path}: {missing} of {count} items have no prediction (the first is {item!r}). Add "
            "them, or give --partial to score the others alone.",
            path=path,
            missing=missing,
            count=len(items),
            item=next(i for i in items if i not in outputs),
        )
    spec = _spec(path, dataset)
    mark, assumed = assumed_thought({id_: outputs[id_].text or "" for id_, given in opened.items() if given is None})
    return RunData(
        spec,
        {dataset.task: {id_: items[id_] for id_ in items if id_ in outputs}},
        {dataset.task: dataset.source},
        [
            _record(spec, items[id_], choices[id_], mark if (given := opened[id_]) is None else given, output)
            for id_, output in outputs.items()
        ],
        assumed=assumed,
    )


def _not_a_prediction(where: str, row: Mapping[str, Any]) -> ValueError:
    return ValueError(
        Message('{where}: expected {{"item_id": …, "text": "…"}}, found {row}', where=where, row=str(dict(row))[:200])
    )


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
            wanted = (
                Message("one number each for {labels}", labels=Joined(", ", item.choices))
                if item.choices
                else Message("none: its answers are open")
            )
            raise ValueError(
                Message(
                    "{where}: 'choice_logprobs' of item {item!r} must be {wanted}",
                    where=where,
                    item=item.id,
                    wanted=wanted,
                )
            )
        positive = next((p for p in logprobs if 0 < p < math.inf), None)
        if positive is not None:
            raise ValueError(
                Message(
                    "{where}: 'choice_logprobs' of item {item!r} holds {positive!r}, and no logarithm "
                    "of a probability is above 0: give natural logarithms, not {numbers}",
                    where=where,
                    item=item.id,
                    positive=positive,
                    numbers=_kind_of(logprobs),
                )
            )
        if len(logprobs) > 1 and not any(logprobs):
            raise ValueError(
                Message(
                    "{where}: 'choice_logprobs' of item {item!r} are all 0, as if every label were "
                    "certain: give natural logarithms, or leave them out",
                    where=where,
                    item=item.id,
                )
            )
        try:
            scores = tuple(float(p) for p in logprobs)
        except OverflowError as e:
            raise ValueError(
                Message(
                    "{where}: 'choice_logprobs' of item {item!r} holds a number beyond any float",
                    where=where,
                    item=item.id,
                )
            ) from e
    return Output(text, "scored" if text is None else "stop", 0, 0, 0.0, scores)


def _kind_of(numbers: Sequence[float]) -> Message:
    """What numbers that are not logarithms of probabilities probably are."""
    if all(0 <= p <= 1 for p in numbers):
        return Message("probabilities")
    return Message("losses, logits or percentages")


def _cells(located_row: user_files.Row) -> user_files.Row:
    """A row of a table: lists that are written as JSON are read, and an empty list is none."""
    where, row = located_row
    changed = dict(row)
    for name in ("choice_logprobs", "choices"):
        value = row.get(name)
        if isinstance(value, str):
            try:
                changed[name] = load_json(value) if value.strip() else None
            except (ValueError, RecursionError) as e:
                raise ValueError(
                    Message("{where}: {name!r} must be a list in JSON, such as [-0.5, -1.25]", where=where, name=name)
                ) from e
    return where, changed


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


def _choices(row: Mapping[str, Any], item: Item, where: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """What was asked for, one text for each label in their official order; and where each stands in the row."""
    given = row.get("choices")
    if given is None:
        return item.choices, tuple(range(len(item.choices)))
    texts = isinstance(given, list) and all(isinstance(c, str) and c.strip() for c in given)
    if not texts or len(given) != len(item.choices) or len(set(given)) != len(given):
        wanted = (
            Message("a different text each for {labels}", labels=Joined(", ", item.choices))
            if item.choices
            else Message("left out: answers are open")
        )
        raise ValueError(
            Message("{where}: 'choices' of item {item!r} must be {wanted}", where=where, item=item.id, wanted=wanted)
        )
    order = _order(given, item)
    if order is None:
        raise ValueError(
            Message(
                "{where}: it cannot be told which of the 'choices' of item {item!r} stands for which "
                "label: give them, and 'choice_logprobs', in the order {choices}",
                where=where,
                item=item.id,
                choices=Joined(", ", item.choices),
            )
        )
    return tuple(given[k] for k in order), order


def _order(given: Sequence[str], item: Item) -> tuple[int, ...] | None:
    """Where the text for each official label stands among some; None if that is not clear.

    Labels, and the words of a style for them, go by name. Other texts go by position, unless one of them means the
    label of another place. Numbers name labels only where the labels are numbers; otherwise they count up.
    """
    texts = [_plain(text) for text in given]
    by_position = tuple(range(len(texts)))
    namings = [[_plain(text) for text in naming] for naming in (item.choices, *_forms(item))]
    orders = {
        tuple(map(texts.index, names))
        for names in namings
        if len(set(names)) == len(names) and sorted(names) == sorted(texts)
    }
    if orders:
        return by_position if by_position in orders else orders.pop() if len(orders) == 1 else None
    if all(map(str.isdecimal, texts)):
        values = [int(text) for text in texts]
        return by_position if values == list(range(values[0], values[0] + len(values))) else None
    task = TASKS[item.task]
    aliases = task.aliases(item)
    words = {label: (*aliases.get(label, ()), *task.whole_answers.get(label, ())) for label in item.choices}
    for k, label in enumerate(item.choices):
        names = {forms[k] for forms in namings} | {_plain(word) for word in words.get(label, ())}
        if any(text in names and at != k for at, text in enumerate(texts)):
            return None
    return by_position


def _plain(text: str) -> str:
    """A text without differences of width, case and white space around it."""
    return unicodedata.normalize("NFKC", text).casefold().strip()


def _forms(item: Item) -> list[list[str]]:
    """How each style that comes with the application has the item's labels answered, but for mere numbers."""
    return [forms(item) for forms in label_forms(item.task)]


@cache
def label_forms(task: str) -> tuple[Callable[[Item], list[str]], ...]:
    """How each style that comes with the application has the labels of a subset answered: item → one text for each
    label in the official order. Styles that have them answered with mere numbers are left out."""
    styles = [style.tasks[task].answers for style in _styles() if task in style.tasks]
    return tuple(
        partial(_substituted, answers)
        for answers in styles
        if answers and not all(answer.template.isdecimal() for answer in answers.values())
    )


def _substituted(answers: Mapping[str, Template], item: Item) -> list[str]:
    return [answers[label].substitute(item.fields) for label in item.choices]


@cache
def _styles() -> list[Style]:
    return [load_style(name) for name in style_names()]


def _thought(row: Mapping[str, Any], where: str) -> str | None:
    """The mark of a thought that the prompt left open; None if the line says nothing of it."""
    given = row.get("thought")
    if given is None:
        return None
    known = isinstance(given, str) and (
        given in ("", thoughts.FREE, thoughts.FRAME) or thoughts.closings(given.strip())
    )
    if not known:
        raise ValueError(
            Message(
                "{where}: 'thought' must be the mark that the prompt left open, such as \"<think>\", or "
                '"" for none; found {given}',
                where=where,
                given=f"{given!r:.60}",
            )
        )
    return str(given).strip()


def assumed_thought(texts: Mapping[str, str]) -> tuple[str, tuple[Notice, ...]]:
    """The mark that the prompts of these texts have opened, by those that close one without opening it; and what has
    to be said of that. Empty where no text does."""
    closing = {id_: opener for id_, text in texts.items() if (opener := thoughts.opener_of(text))}
    if not closing:
        return "", ()
    mark, end = Counter(closing.values()).most_common(1)[0][0]
    cut = sum(thoughts.split(text, mark).unfinished for text in texts.values())
    facts: dict[str, str | float] = {"k": len(closing), "n": len(texts), "cut": cut, "mark": mark, "closing": end}
    return mark, (Notice("assumed_thought", facts=facts),)


def _record(spec: RunSpec, item: Item, answers: tuple[str, ...], thought: str, output: Output) -> Record:
    empty = hashlib.sha256(b"").hexdigest()
    prompt = Prompt(item.task, item.id, "", None, (), answers, "", (), empty, thought)
    return Record(spec.spec_id, item.task, item.id, prompt, output)
