"""A stored run as one row per item, in files that other programs read: JSON Lines, CSV, Parquet.

Every column has one type, independent of the subsets and methods of the run; see `columns`. Lists are texts in JSON,
and so is `gold`, which is a number for JSTS and a list of accepted answers elsewhere: `json.loads` restores either.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jglue_app.errors import StoreError, UnknownNameError, reason_of
from jglue_app.results.marks import NO_MARKS, Marks
from jglue_app.results.rows import ResultRow, result_rows
from jglue_app.results.surrogates import escape_as_json
from jglue_app.runs.serialization import dumps
from jglue_app.scoring.judged import Judged, judge_run
from jglue_app.scoring.protocols import protocol_names
from jglue_app.types import RunData
from jglue_app.whole_files import put_in_place, scratch_folder

_UNSEEN = r"\s\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff"
_FORMULA = re.compile(rf"[\t\r\n]|[{_UNSEEN}]*[=+@＝＋－＠−-]")
"""How a cell begins that a spreadsheet program evaluates as a formula: with its sign, also after what the program takes
away, or does not show, before it; or with a tab or a line end, after which it may begin a cell of its own."""
NUMBER_COLUMNS: Mapping[str, type] = {"prompt_tokens": int, "new_tokens": int, "seconds": float}
"""Columns that hold numbers, beside the verdicts; all others are text."""


def rows(
    data: RunData, judged: Mapping[str, Judged] | None = None, marks: Marks = NO_MARKS, name: str = ""
) -> list[dict[str, Any]]:
    """One row per answered item, in the order of the records: the item, the prompt, the output, and the score under
    every protocol.

    Args:
        data: the run.
        judged: protocol → result of `judge_run`; None to compute it.
        marks: what people have put on the run's items: the columns `marks` and `note`, which are left out where no item
            has any.
        name: what somebody called the run; empty if nobody did.
    """
    judged = judged or {name: judge_run(data, name) for name in protocol_names("all")}
    by_key = {row.key: row for task in data.items for row in result_rows(judged, task, marks=marks)}
    with_marks = any(row.marked for row in by_key.values())
    return [
        _cells(data, row, with_marks, name)
        for record in data.records
        if (row := by_key.get((record.task, record.item_id))) is not None
    ]


def _cells(data: RunData, row: ResultRow, with_marks: bool, name: str) -> dict[str, Any]:
    return {
        "run": row.record.spec_id,
        "label": data.spec.label,
        "run_name": name or None,
        "task": row.record.task,
        "item_id": row.record.item_id,
        "source": data.sources[row.record.task],
        **{f"field/{name}": text for name, text in row.item.fields.items()},
        "gold": dumps(row.item.gold),
        "prompt": row.record.prompt.text,
        "shot_ids": dumps(row.record.prompt.shot_ids),
        "answers": dumps(row.record.prompt.answers),
        "raw": row.raw,
        "finish": row.finish,
        "error": row.error,
        "choice_logprobs": dumps(row.choice_logprobs) if row.choice_logprobs else None,
        "prompt_tokens": row.prompt_tokens,
        "new_tokens": row.new_tokens,
        "seconds": row.seconds,
        "strict": _text(row.official.strict.value),
        "strict_status": row.official.strict.status,
        "strict_rule": row.official.strict.rule,
        "lenient": _text(row.official.lenient.value),
        "lenient_status": row.official.lenient.status,
        "lenient_rule": row.official.lenient.rule,
        "choice": row.official.choice,
        "outcome": row.official.outcome,
        **({"marks": dumps(row.marked.marks), "note": row.marked.note} if with_marks else {}),
        **{f"verdict/{name}": value for name, value in row.verdicts.items()},
    }


def _text(value: str | float | None) -> str | None:
    return None if value is None else str(value)


def write(table_rows: Sequence[Mapping[str, Any]], path: Path, format: str) -> None:
    """Write rows to a file.

    Raises:
        UnknownNameError: no such format.
        StoreError: the file cannot be written.
    """
    if format not in FORMATS:
        raise UnknownNameError("export format", format, FORMATS)
    try:
        # Written to a temporary file and renamed: a failed write leaves no truncated file.
        with scratch_folder(path.parent, ".export-") as scratch:
            FORMATS[format](table_rows, scratch / path.name)
            put_in_place(scratch / path.name, path)
    except OSError as e:
        raise StoreError(
            "{path} cannot be written ({reason}). Choose another place, or free some space.",
            path=path,
            reason=reason_of(e),
        ) from e


def _jsonl(table_rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(dumps(row) + "\n" for row in table_rows)


def columns(table_rows: Sequence[Mapping[str, Any]]) -> dict[str, type]:
    """Name → `str`, `int` or `float` of every column of some rows; any value may be missing. The fields of all subsets
    come after `source`, the verdicts of all protocols last."""
    names = dict.fromkeys(name for row in table_rows for name in row)
    field_columns = [name for name in names if name.startswith("field/")]
    verdict_columns = [name for name in names if name.startswith("verdict/")]
    others = [name for name in names if name not in field_columns and name not in verdict_columns]
    source_end = others.index("source") + 1 if others else 0
    types = {**NUMBER_COLUMNS, **dict.fromkeys(verdict_columns, float)}
    return {
        name: types.get(name, str)
        for name in (*others[:source_end], *field_columns, *others[source_end:], *verdict_columns)
    }


def _csv(table_rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """With a byte-order mark, so that spreadsheet programs read it as UTF-8; no cell starts a formula. Every cell is
    quoted: otherwise a lone carriage return in an output would start a new row in Python up to 3.12."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, columns(table_rows), quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(
            {name: _without_formula(_without_surrogates(value)) for name, value in row.items()} for row in table_rows
        )


def _parquet(table_rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Types are declared, not guessed from the values: a column without values has its type too."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in columns(table_rows).items()])
    cells = [{name: _without_surrogates(value) for name, value in row.items()} for row in table_rows]
    pq.write_table(pa.Table.from_pylist(cells, schema=schema), path)


def _without_surrogates(value: Any) -> Any:
    return escape_as_json(value) if isinstance(value, str) else value


def _without_formula(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


FORMATS: dict[str, Callable[[Sequence[Mapping[str, Any]], Path], None]] = {
    "jsonl": _jsonl,
    "csv": _csv,
    "parquet": _parquet,
}
