"""Records, items and specs as JSON, and back: every line of `records.jsonl` ends with its own checksum."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jglue_app.messages import Message
from jglue_app.prompts import thoughts
from jglue_app.runs.typed_json import BadValueError, finite, read
from jglue_app.tasks import TASKS
from jglue_app.types import Float32Output, Item, Record, RunSpec

CHECKSUM = "crc32"
"""The last key of a line of `records.jsonl`: the CRC-32 of the line without it, 8 hex digits."""
FLOAT32 = "float32"
"""The manifest's key under which the outputs of a sample of the items in float32 are."""
_CHECKSUM_OFFSET = -len(f', "{CHECKSUM}": "00000000"}}\n')
"""Where in a line the checksum begins, from its end."""


def dumps(value: Any, *, indent: int | None = None) -> str:
    """JSON of records, dataclasses and plain values; lone surrogates are escaped so that the text is valid UTF-8."""
    plain = _plain(value)
    text = json.dumps(plain, ensure_ascii=False, indent=indent)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = json.dumps(plain, ensure_ascii=True, indent=indent)
    return text


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: _plain(getattr(value, f.name))
            for f in dataclasses.fields(value)
            if not f.metadata.get("set_only") or getattr(value, f.name) != f.default
        }
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def record_from(row: Mapping[str, Any]) -> Record:
    """A Record from its JSON object; raises KeyError, TypeError or ValueError when it is not one."""
    if isinstance(row, dict) and CHECKSUM in row:
        row = {name: value for name, value in row.items() if name != CHECKSUM}
    record = read(Record, row)
    if record.output is not None:
        finite(record.output.seconds, "seconds")
    if "thought" not in row["prompt"]:  # Of an earlier version; what the prompt opens can be seen all the same.
        turns = record.prompt.messages
        opened = thoughts.left_open(record.prompt.text, turns[-1]["content"] if turns else "")
        record = dataclasses.replace(record, prompt=dataclasses.replace(record.prompt, thought=opened))
    return record


def spec_from(row: Mapping[str, Any]) -> RunSpec:
    """A RunSpec from its JSON object; raises KeyError, TypeError or ValueError when it is not one."""
    return read(RunSpec, row)


def item_from(row: Mapping[str, Any]) -> Item:
    """An Item from its JSON object; raises KeyError, TypeError or ValueError when it is not one of its subset."""
    item = read(Item, row)
    task = TASKS.get(item.task)
    if task is None:
        raise BadValueError(Message("there is no subset {task!r}", task=item.task[:50]))
    if missing := [name for name in task.fields if name not in item.fields]:
        raise KeyError(missing[0])
    if task.kind == "score":
        if not isinstance(item.gold, float) or not 0 <= item.gold <= 5:
            raise BadValueError(Message("gold must be a number from 0 to 5"))
    elif not isinstance(item.gold, tuple) or not item.gold:
        raise TypeError("gold must be a list of texts")
    elif task.kind == "choice" and not (item.choices and item.gold[0] in item.choices):
        raise BadValueError(Message("gold is none of the choices"))
    return item


def facts_of(items: Sequence[Item]) -> dict[str, Any]:
    """How many items there are and the checksum of their file, for the manifest: by these a reader knows that the
    items are whole."""
    return {"count": len(items), "sha256": hashlib.sha256(items_text(items).encode()).hexdigest()}


def items_text(items: Iterable[Item]) -> str:
    return "".join(dumps(item) + "\n" for item in items)


def line_of(record: Record) -> bytes:
    """A record's line, its checksum at the end."""
    body = dumps(record).encode()
    return b'%s, "%s": "%08x"}\n' % (body[:-1], CHECKSUM.encode(), zlib.crc32(body))


def parse_record_line(line: bytes) -> Record:
    """The record of a line; raises as `record_from` does, and ValueError where it is not as it was written."""
    row = json.loads(line)
    if isinstance(row, dict) and CHECKSUM in row:  # Lines of older versions have none.
        checksum = row.pop(CHECKSUM)
        # What a program has read and written again has other bytes and the same values.
        if (
            checksum != f"{zlib.crc32(line[:_CHECKSUM_OFFSET] + b'}'):08x}"
            and checksum != f"{zlib.crc32(dumps(row).encode()):08x}"
        ):
            raise BadValueError(Message("its checksum is another: it was changed"))
    return record_from(row)


def paid_beside(manifest: Mapping[str, Any]) -> float:
    """What was paid beside the stored answers of a run: for requests whose item has none, or at other prices."""
    cost = manifest.get("cost")
    value = cost.get("beside_answers", 0.0) if isinstance(cost, Mapping) else 0.0
    return float(value) if isinstance(value, int | float) else 0.0


def float32_outputs(manifest: Mapping[str, Any]) -> tuple[Float32Output, ...]:
    """What is stored of a run's items in float32: nothing in a run of float32 or of an older version.

    Raises:
        KeyError, TypeError, ValueError: it is not what was written.
    """
    rows = manifest.get(FLOAT32)
    if rows is None:
        return ()
    if not isinstance(rows, list):
        raise TypeError(f"{FLOAT32} must be a list")
    outputs = tuple(read(Float32Output, row) for row in rows)
    for one in outputs:
        finite(one.output.seconds, "seconds")
    return outputs
