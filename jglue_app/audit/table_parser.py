"""The cells of a leaderboard as a file or text: CSV, TSV, a Markdown table or JSON. No I/O."""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from jglue_app.errors import DataError

MAX_BYTES = 5_000_000
MAX_ROWS = 500
"""Each is compared with each: more would take minutes, and no leaderboard has so many models."""
TWO_SCORES = re.compile(r"\s*\*{0,2}[\d.]+%?\*{0,2}\s*/\s*\*{0,2}[\d.]+%?\*{0,2}\s*")
"""Two scores in one cell."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decode(raw: bytes) -> str:
    """Text in UTF-8, in UTF-16 or UTF-32 with a byte-order mark, or in the Windows code page of Japanese.

    Raises:
        DataError: it is in none of them, or too long.
    """
    if len(raw) > MAX_BYTES:
        raise DataError(
            "The table has more than {max_bytes:,} bytes: no leaderboard does. Give its scores alone.",
            max_bytes=MAX_BYTES,
        )
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            candidates: tuple[str, ...] = (encoding,)
            break
    else:
        candidates = ("utf-8", "cp932")
    for encoding in candidates:
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise DataError("The table is neither in UTF-8 nor in Shift_JIS. Save it as CSV in UTF-8 and try again.")


def grid(text: str) -> tuple[list[str], list[list[str]]]:
    """Heads, and rows with as many cells.

    Raises:
        DataError: it is no table, or too long.
    """
    text = text.lstrip("\ufeff")
    if len(text) > MAX_BYTES:
        raise DataError(
            "The table has more than {max_bytes:,} characters: no leaderboard does. Give its scores alone.",
            max_bytes=MAX_BYTES,
        )
    if text.lstrip()[:1] in ("[", "{"):
        return _json(text)
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise DataError("The table is empty. It takes a head, such as model,JNLI, and a row for each model.")
    if len(lines) > 2 * MAX_ROWS:
        raise DataError("The table has more than {max_rows:,} rows. Give a part of it.", max_rows=MAX_ROWS)
    if lines[0].lstrip().startswith("|"):
        cells = [_markdown(line) for line in lines if line.lstrip().startswith("|")]
        rows = [row for row in cells if not all(re.fullmatch(r":?-*:?", c) for c in row)]
    else:
        comma = "\t" if "\t" in lines[0] else ";" if lines[0].count(";") > lines[0].count(",") else ","
        try:
            rows = list(csv.reader(lines, delimiter=comma, strict=True))
        except csv.Error as e:
            raise DataError("The table is not valid CSV ({reason}). Correct it, and give it again.", reason=e) from e
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    head = [cell.strip() for cell in rows[0]] if rows else []
    if len(rows) - 1 > MAX_ROWS:
        raise DataError(
            "The table has {count:,} rows; at most {max_rows:,} are compared. Give a part of it.",
            count=len(rows) - 1,
            max_rows=MAX_ROWS,
        )
    # A second head, such as the metrics under the subsets, has no model; where it names metrics they are added.
    if len(rows) > 1 and not rows[1][0].strip() and not any(_is_number(cell) for cell in rows[1]):
        below = [cell.strip() for cell in rows.pop(1)]
        head = [f"{a} {b}".strip() for a, b in zip(head, below + [""] * len(head), strict=False)]
    for number, row in enumerate(rows[1:], 2):
        if len(row) > len(head):
            raise DataError(
                "Row {number} of the table has more cells than the head has names. Correct it.", number=number
            )
    if len(set(filter(None, head))) != len([h for h in head if h]):
        raise DataError("A column appears twice in the head of the table. Name each column once.")
    return head, [row + [""] * (len(head) - len(row)) for row in rows[1:]]


def _is_number(cell: str) -> bool:
    return bool(re.fullmatch(r"[-+*\s]*\d*\.?\d+%?[*\s]*", cell)) or bool(TWO_SCORES.fullmatch(cell))


def _markdown(line: str) -> list[str]:
    inner = line.strip().removeprefix("|").removesuffix("|")
    return [cell.replace("\\|", "|").strip() for cell in re.split(r"(?<!\\)\|", inner)]


def _json(text: str) -> tuple[list[str], list[list[str]]]:
    """Objects as rows; the digits of numbers stay as they are written."""
    try:
        objects = json.loads(text, parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=_object)
    except DataError:
        raise
    except (ValueError, RecursionError) as e:
        raise DataError("The table begins as JSON and is not valid JSON. Correct it, or give CSV.") from e
    if isinstance(objects, dict):
        objects = [{"model": name, **row} for name, row in objects.items() if isinstance(row, dict)]
    if not isinstance(objects, list) or not all(isinstance(row, dict) for row in objects):
        raise DataError("JSON has to be a list of objects, one for each model, or an object of objects by model.")
    if len(objects) > MAX_ROWS:
        raise DataError(
            "The table has {count:,} rows; at most {max_rows:,} are compared. Give a part of it.",
            count=len(objects),
            max_rows=MAX_ROWS,
        )
    flat = [_flat(row) for row in objects]
    head = list(dict.fromkeys(name for row in flat for name in row))
    return head, [[row.get(name, "") for name in head] for row in flat]


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, in which nothing stands twice: the last one alone would count."""
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise _twice(twice)
    return values


def _twice(name: str) -> DataError:
    return DataError("{name!r} stands twice in one object of the table. Leave one of them.", name=name[:80])


def _flat(row: Mapping[str, Any]) -> dict[str, str]:
    """`{"jnli": {"acc": 0.5}}` as `jnli acc`."""
    flat: dict[str, str] = {}
    for name, value in row.items():
        inner = {f"{name} {key}": v for key, v in value.items()} if isinstance(value, dict) else {name: value}
        if twice := next((key for key in inner if key in flat), None):
            raise _twice(twice)
        flat |= {key: _text(v) for key, v in inner.items()}
    return flat


def _text(value: Any) -> str:
    return "" if value is None or isinstance(value, (list, dict, bool)) else str(value)
