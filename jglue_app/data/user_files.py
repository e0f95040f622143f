"""Files of users: encodings and line ends, the common table formats, and the meaning of numeric labels.

Text is UTF-8, or UTF-16 and UTF-32 with a byte-order mark; line ends may be those of any system. Tables are JSON Lines,
JSON arrays, CSV and TSV, Parquet and Arrow, and responses of the Hub's dataset viewer. Nothing is guessed: a numeric
label is accepted only where the file, or the `dataset_info.json` beside it, names the labels.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jglue_app.errors import DataError, first_line, reason_of
from jglue_app.messages import Joined, Message, mark, of
from jglue_app.tasks.rows import load_json

Row = tuple[str, Mapping[str, Any]]
"""A place for error messages, and the fields there."""

SUFFIXES = (".json", ".jsonl", ".parquet", ".arrow", ".csv", ".tsv")
"""Suffixes of files that hold items, in the order in which they are looked for."""
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", mark("UTF-8 with a byte-order mark")),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_COMPRESSED = ((b"\x1f\x8b", "gzip"), (b"PK\x03\x04", mark("zip (or a spreadsheet)")), (b"\x28\xb5\x2f\xfd", "zstd"))
_ARROW_STREAM = b"\xff\xff\xff\xff"
"""First bytes of an Arrow stream as written by `datasets`."""
NO_LABEL = -1
"""The label that `datasets` writes where the label is withheld."""


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a file: a text, or the rows of a table."""

    text: str
    """With line ends LF and no byte-order mark; empty for a table."""
    rows: tuple[Row, ...] | None
    """None for JSON."""
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Field → the names of its numeric labels."""
    sha256: str = ""
    """Of the text in UTF-8, or of the file as it is; 64 hex digits."""
    changed: str = ""
    """How the text differs from the bytes of the file, such as `line ends CRLF`; empty if it does not."""


def read(path: Path, remedy: str | None = None, filename: str | None = None) -> Content:
    """Read a file in any of the formats above.

    Args:
        path: the file.
        remedy: what to do where it cannot be read, as a sentence.
        filename: its name in messages, such as the URL it was downloaded from; None for its path.

    Raises:
        DataError: unreadable, in another encoding, compressed, or a damaged table; names the file and the line.
    """
    filename = filename or str(path)
    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as e:
        raise DataError(
            "{path}: cannot be read ({reason}). {remedy}",
            path=filename,
            reason=reason_of(e),
            remedy=remedy or Message("Give the path of a readable file."),
        ) from e
    for magic, kind in _COMPRESSED:
        if raw.startswith(magic):
            raise DataError(
                "{path}: is packed as {kind}. Unpack it, or save it as JSON Lines, and give that file.",
                path=filename,
                kind=Message(kind),
            )
    if raw.startswith((b"PAR1", b"ARROW1", _ARROW_STREAM)):
        rows, names = _arrow(filename, raw)
        return Content("", rows, names or _labels_of_dataset_info(path), hashlib.sha256(raw).hexdigest())
    text, changed = _text(filename, raw)
    sha256 = hashlib.sha256(text.encode("utf-8")).hexdigest()
    if path.suffix.lower() in (".csv", ".tsv"):
        return Content("", _csv(filename, text, path.suffix.lower()), _labels_of_dataset_info(path), sha256, changed)
    if '"row_idx"' in text and text.lstrip().startswith("{") and (viewer_rows := _dataset_viewer_rows(filename, text)):
        return Content("", viewer_rows[0], viewer_rows[1], sha256, changed)
    return Content(text, None, _labels_of_dataset_info(path), sha256, changed)


def with_label_names(rows: Iterable[Row], names: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    """The rows with label names instead of numbers, in the fields whose label names are known.

    Raises:
        ValueError: a number without a name; names the place.
    """
    for where, row in rows:
        changed = dict(row)
        for name, labels in names.items():
            value = row.get(name)
            if isinstance(value, str) and value.lstrip("-").isdecimal() and value not in labels:
                value = int(value)  # CSV has no numbers.
            if not isinstance(value, int) or isinstance(value, bool):
                continue
            if not 0 <= value < len(labels):
                label_list = Joined(", ", labels)
                if value == NO_LABEL:
                    raise ValueError(
                        Message(
                            "{where}: {field} {number} (the label is kept secret) has no name; the file names {labels}",
                            where=where,
                            field=name,
                            number=value,
                            labels=label_list,
                        )
                    )
                raise ValueError(
                    Message(
                        "{where}: {field} {number} has no name; the file names {labels}",
                        where=where,
                        field=name,
                        number=value,
                        labels=label_list,
                    )
                )
            changed[name] = labels[value]
        yield where, changed


def _text(filename: str, raw: bytes) -> tuple[str, str]:
    encoding, changes = "utf-8", list[Message]()
    for byte_order_mark, name, title in _BYTE_ORDER_MARKS:
        if raw.startswith(byte_order_mark):
            encoding = name
            changes.append(Message(title))
            break
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as e:
        line = raw[: e.start].count(b"\n") + 1
        if not encoding.startswith("utf-8"):
            raise DataError(
                "{path}: begins as {encoding} and does not go on so. Save the file as UTF-8 and try again.",
                path=filename,
                encoding=changes[0],
            ) from e
        raise DataError(
            "{path}, line {line}: not UTF-8. Save the file as UTF-8 and try again.", path=filename, line=line
        ) from e
    if "\r" in text:
        changes.append(Message("line ends CRLF") if "\r\n" in text else Message("line ends CR"))
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text, Joined(", ", changes)


def _csv(filename: str, text: str, suffix: str) -> tuple[Row, ...]:
    csv.field_size_limit(1 << 30)
    dialect = "excel-tab" if suffix == ".tsv" else "excel"
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, dialect=dialect)
    rows = []
    try:
        header = reader.fieldnames or []
        for row in reader:
            if None in row or None in row.values():
                raise ValueError(Message("not as many cells as columns ({count})", count=len(header)))
            rows.append((Message("line {line}", line=reader.line_num), dict(row)))
    except (csv.Error, ValueError) as e:
        fault = Message("not valid CSV ({reason})", reason=e) if isinstance(e, csv.Error) else of(e)
        raise DataError(
            "{path}, line {line}: {fault}. Correct the file.", path=filename, line=reader.line_num, fault=fault
        ) from e
    if len(set(header)) != len(header):
        raise DataError("{path}: a column appears twice. Name each column once.", path=filename)
    return tuple(rows)


def _arrow(filename: str, raw: bytes) -> tuple[tuple[Row, ...], dict[str, Sequence[str]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        source = pa.BufferReader(raw)
        if raw.startswith(b"PAR1"):
            table = pq.read_table(source)
        elif raw.startswith(b"ARROW1"):
            table = pa.ipc.open_file(source).read_all()
        else:
            table = pa.ipc.open_stream(source).read_all()
        # Sizes and offsets are taken as they are otherwise, and may lead out of the file.
        table.validate(full=True)
        columns = {name: _values(pa, table.column(i)) for i, name in enumerate(table.column_names)}
    except (pa.ArrowException, OSError, ValueError, OverflowError, SystemError) as e:
        raise DataError(
            "{path}: not a sound Parquet or Arrow file ({reason}). Export it again.",
            path=filename,
            reason=first_line(e),
        ) from e
    if len(columns) != len(table.column_names):
        raise DataError("{path}: a column appears twice. Name each column once.", path=filename)
    rows = tuple(
        (Message("row {row}", row=i + 1), {name: values[i] for name, values in columns.items()})
        for i in range(len(table))
    )
    try:
        features = json.loads((table.schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        features = {}
    return rows, _labels(features)


def _values(pa: Any, column: Any) -> list[Any]:
    """Python values of a column; numbers of 32 bits and fewer as they are written (2.2, not 2.200000047683716)."""
    if pa.types.is_float32(column.type) or pa.types.is_float16(column.type):
        exact = column.type.to_pandas_dtype()
        return [float(str(exact(value.as_py()))) if value.is_valid else None for value in column]
    values: list[Any] = column.to_pylist()
    return values


def _dataset_viewer_rows(filename: str, text: str) -> tuple[tuple[Row, ...], dict[str, Sequence[str]]] | None:
    """Rows as the Hub's dataset viewer gives them; None if the text is something else."""
    try:
        table = load_json(text)
        features = {column["name"]: column["type"] for column in table["features"]}
        rows = [(entry["row_idx"], entry["row"], entry.get("truncated_cells")) for entry in table["rows"]]
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
    for index, _, truncated_cells in rows:
        if truncated_cells:
            raise DataError(
                "{path}, row {row}: the dataset viewer has cut a text off. Download the file of the dataset itself.",
                path=filename,
                row=index,
            )
    return tuple((Message("row {row}", row=index), row) for index, row, _ in rows if isinstance(row, dict)), _labels(
        features
    )


def _labels_of_dataset_info(path: Path) -> dict[str, Sequence[str]]:
    """Names of labels from the `dataset_info.json` that `datasets` puts beside its files."""
    try:
        return _labels(json.loads((path.parent / "dataset_info.json").read_text("utf-8"))["features"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def _labels(features: Any) -> dict[str, Sequence[str]]:
    names_of: dict[str, Sequence[str]] = {}
    for name, kind in features.items() if isinstance(features, dict) else ():
        names = kind.get("names") if isinstance(kind, dict) and kind.get("_type") == "ClassLabel" else None
        if isinstance(names, list) and names and all(isinstance(label, str) for label in names):
            names_of[name] = tuple(names)
    return names_of
