"""A stored run as one row per item, in files that other programs read: JSON Lines, CSV, Parquet.

Every column holds one type, whatever subsets and methods the run has; `columns` tells which. Lists are texts in JSON,
and so is `gold`, which is a number for JSTS and a list of accepted answers elsewhere: `json.loads` gives either back.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jglue_app.errors import StoreError, UnknownNameError, reason_of
from jglue_app.results.rows import ResultRow, result_rows
from jglue_app.results.surrogates import escape_as_json
from jglue_app.runs.serialization import dumps
from jglue_app.scoring.judged import Judged, judge_run
from jglue_app.scoring.protocols import protocol_names
from jglue_app.types import RunData

FORMULA_STARTS = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")
"""What makes a spreadsheet program compute a cell instead of showing it."""
NUMBERS: Mapping[str, type] = {"prompt_tokens": int, "new_tokens": int, "seconds": float}
"""Columns that hold numbers, beside the verdicts; all others are text."""


def rows(data: RunData, judged: Mapping[str, Judged] | None = None) -> list[dict[str, Any]]:
    """One plain row per answered item, in the order of the records: the item, the prompt, the output, and how every
    protocol counts it.

    Args:
        data: the run.
        judged: protocol → what `judge_run` has made of the run already.
    """
    judged = judged or {name: judge_run(data, name) for name in protocol_names("all")}
    by_key = {row.key: row for task in data.items for row in result_rows(judged, task)}
    return [
        _cells(data, row) for record in data.records if (row := by_key.get((record.task, record.item_id))) is not None
    ]


def _cells(data: RunData, row: ResultRow) -> dict[str, Any]:
    return {
        "run": row.record.spec_id,
        "label": data.spec.label,
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
        **{f"verdict/{name}": value for name, value in row.verdicts.items()},
    }


def _text(value: str | float | None) -> str | None:
    return None if value is None else str(value)


def write(found: Sequence[Mapping[str, Any]], path: Path, format: str) -> None:
    """Write rows to a file.

    Raises:
        UnknownNameError: no such format.
        StoreError: the file cannot be written.
    """
    if format not in FORMATS:
        raise UnknownNameError("export format", format, FORMATS)
    try:
        # Beside the file and then in its place: what cannot be written to its end leaves nothing torn behind.
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as scratch:
            FORMATS[format](found, Path(scratch) / path.name)
            (Path(scratch) / path.name).replace(path)
    except OSError as e:
        raise StoreError(
            "{path} cannot be written ({reason}). Choose another place, or free some space.",
            path=path,
            reason=reason_of(e),
        ) from e


def _jsonl(found: Sequence[Mapping[str, Any]], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(dumps(row) + "\n" for row in found)


def columns(found: Sequence[Mapping[str, Any]]) -> dict[str, type]:
    """Name → `str`, `int` or `float` of every column of some rows; any value may be missing. The fields of all subsets
    come after `source`, the verdicts of all protocols last."""
    names = dict.fromkeys(name for row in found for name in row)
    fields = [name for name in names if name.startswith("field/")]
    verdicts = [name for name in names if name.startswith("verdict/")]
    others = [name for name in names if name not in fields and name not in verdicts]
    place = others.index("source") + 1 if others else 0
    kinds = {**NUMBERS, **dict.fromkeys(verdicts, float)}
    return {name: kinds.get(name, str) for name in (*others[:place], *fields, *others[place:], *verdicts)}


def _csv(found: Sequence[Mapping[str, Any]], path: Path) -> None:
    """With a byte-order mark, so that spreadsheet programs read it as UTF-8; no cell begins a formula. Every cell is
    quoted: a lone carriage return in an output would else begin a row of its own in Python up to 3.12."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        table = csv.DictWriter(file, columns(found), quoting=csv.QUOTE_ALL)
        table.writeheader()
        table.writerows({name: _harmless(_writable(value)) for name, value in row.items()} for row in found)


def _parquet(found: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Types are declared, not guessed from the values: a column without any value has its type all the same."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in columns(found).items()])
    rows = [{name: _writable(value) for name, value in row.items()} for row in found]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def _writable(value: Any) -> Any:
    return escape_as_json(value) if isinstance(value, str) else value


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


FORMATS: dict[str, Callable[[Sequence[Mapping[str, Any]], Path], None]] = {
    "jsonl": _jsonl,
    "csv": _csv,
    "parquet": _parquet,
}
