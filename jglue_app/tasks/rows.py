"""Reading rows out of the two file shapes JGLUE uses, each row with its place for error messages."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from jglue_app.messages import Joined, Message


class RepeatedKeyError(ValueError):
    """A key that appears twice in an object: one of its values would be lost."""


def load_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        json.JSONDecodeError: it is not JSON.
        RepeatedKeyError: a key appears twice in an object.
        ValueError: a number too long to read.
        RecursionError: brackets in thousands of brackets.
    """
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise RepeatedKeyError(Message("the key {key!r} appears twice", key=repeated[:100]))
    return values


def json_lines(text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield ("line N", row) for every non-blank line of a JSON Lines text, or ("entry N", row) of a JSON array.

    Raises:
        ValueError: what is not a JSON object, naming the line or entry.
    """
    if text.lstrip().startswith("[") and (rows := _array(text)) is not None:
        for number, row in enumerate(rows, start=1):
            if not isinstance(row, dict):
                raise ValueError(
                    Message(
                        "{where}: expected a JSON object, found {kind}",
                        where=Message("entry {entry}", entry=number),
                        kind=type(row).__name__,
                    )
                )
            yield Message("entry {entry}", entry=number), row
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = Message("line {line}", line=number)
        try:
            row = load_json(line)
        except json.JSONDecodeError as e:
            raise ValueError(Message("{where}: not valid JSON ({reason})", where=where, reason=e.msg)) from e
        except RepeatedKeyError as e:
            raise ValueError(Message("{where}: {reason}", where=where, reason=e)) from e
        except (ValueError, RecursionError) as e:  # a number of thousands of digits; brackets in thousands of brackets
            raise ValueError(Message("{where}: JSON beyond what can be read ({reason})", where=where, reason=e)) from e
        if not isinstance(row, dict):
            raise ValueError(
                Message("{where}: expected a JSON object, found {kind}", where=where, kind=type(row).__name__)
            )
        yield where, row


def _array(text: str) -> list[Any] | None:
    """The entries of a JSON array that is the whole text; None if it is something else, or damaged."""
    try:
        value = load_json(text)
    except json.JSONDecodeError as e:
        if "".join(text[:1000].split()).startswith("[{"):
            raise ValueError(
                Message(
                    "line {line}, column {column}: not valid JSON ({reason})",
                    line=e.lineno,
                    column=e.colno,
                    reason=e.msg,
                )
            ) from e
        return None
    except RepeatedKeyError:
        raise
    except (ValueError, RecursionError) as e:
        raise ValueError(
            Message("{where}: JSON beyond what can be read ({reason})", where=Message("line {line}", line=1), reason=e)
        ) from e
    return value if isinstance(value, list) and any(isinstance(row, dict) for row in value) else None


def text_field(row: Mapping[str, Any], name: str) -> str:
    """The non-empty text of a field.

    Raises:
        ValueError: the field is missing, not text, or blank.
    """
    if name not in row:
        raise ValueError(Message("field {name!r} is missing", name=name))
    value = row[name]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(Message("field {name!r} must be a non-empty text, found {value!r}", name=name, value=value))
    return value


def id_field(row: Mapping[str, Any], name: str) -> str:
    """The identifier of a row as text; whole numbers are accepted.

    Raises:
        ValueError: the field is missing or is neither text nor a whole number.
    """
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise ValueError(
            Message("field {name!r} must be a text or a whole number, found {value!r}", name=name, value=value)
        )
    return str(value)


def label_field(row: Mapping[str, Any], labels: tuple[str, ...]) -> str:
    """The row's label.

    Raises:
        ValueError: the label is missing or is none of `labels`.
    """
    value = row.get("label")
    label = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
    if label not in labels:
        known = Joined(", ", labels)
        if (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, str) and value.isdecimal()):
            raise ValueError(
                Message(
                    "unknown label {value!r}; expected one of {known}. What a number stands for "
                    "differs from export to export: write the names, or give the Parquet file of the "
                    "dataset if it holds them",
                    value=value,
                    known=known,
                )
            )
        raise ValueError(Message("unknown label {value!r}; expected one of {known}", value=value, known=known))
    return label


def score_field(row: Mapping[str, Any], low: float, high: float) -> float:
    """The row's numeric label.

    Raises:
        ValueError: missing, not a number, or outside `low`–`high`.
    """
    value = row.get("label")
    # The comparison also refuses NaN, infinities and whole numbers too long for a float.
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(
            Message(
                "field 'label' must be a number from {low:g} to {high:g}, found {value!r}",
                low=low,
                high=high,
                value=value,
            )
        )
    return float(value)
