"""Reading the files of logs within size limits, and the values in them.

Lines are read one by one, so that a log of any number of lines takes no more memory than its longest line. A document
that can only be read as a whole is refused above `MAX_DOCUMENT`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from jglue_app.errors import DataError, reason_of
from jglue_app.messages import Message
from jglue_app.tasks.rows import load_json

MAX_LINE = 2**26
"""Bytes of one line."""
MAX_DOCUMENT = 2**28
"""Bytes of a JSON document that is not JSON Lines."""
MAX_LOG = 2**34
"""Bytes of a log."""


def lines(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield ("line N", object) for every non-blank line, holding one line at a time.

    Raises:
        DataError: unreadable, not UTF-8, or a line that is no JSON object; names the file and the line.
    """
    number = 0
    try:
        with path.open("rb") as file:
            while raw := file.readline(MAX_LINE):
                number += 1
                if len(raw) == MAX_LINE and not raw.endswith(b"\n"):
                    raise DataError(
                        "{path}, line {number}: longer than {max_line} MiB. Give a log in lines.",
                        path=path,
                        number=number,
                        max_line=MAX_LINE >> 20,
                    )
                raw = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
                if not raw.strip():
                    continue
                where = Message("line {line}", line=number)
                yield where, _object(path, where, raw)
    except OSError as e:
        raise _unreadable(path, e) from e


def entries(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (place, object) for every object of a JSON Lines file or a JSON array.

    Raises:
        DataError: as `lines` and `read_json`.
    """
    if not first_bytes(path).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        yield from lines(path)
        return
    content = read_json(path)
    for number, row in enumerate(content if isinstance(content, list) else [], start=1):
        if not isinstance(row, dict):
            raise row_error(path, Message("entry {entry}", entry=number), not_an_object(row))
        yield Message("entry {entry}", entry=number), row


def first_bytes(path: Path, count: int = 4096) -> bytes:
    """The first bytes of a file; raises DataError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as e:
        raise _unreadable(path, e) from e


def read_json(path: Path) -> Any:
    """The value of a JSON document.

    Raises:
        DataError: unreadable, too large, not UTF-8 or not JSON; names the file.
    """
    try:
        if path.stat().st_size > MAX_DOCUMENT:
            raise DataError(
                "{path}: a JSON document of more than {max_document} MiB. Give a log in lines, or "
                "one subset at a time.",
                path=path,
                max_document=MAX_DOCUMENT >> 20,
            )
        with path.open("rb") as file:
            raw = read_bounded(file, path, MAX_DOCUMENT)
    except OSError as e:
        raise _unreadable(path, e) from e
    return parse_json(path, "", raw.removeprefix(b"\xef\xbb\xbf"))


def read_bounded(file: IO[bytes], path: Path, max_bytes: int) -> bytes:
    """The content of a file of at most `max_bytes`; raises DataError if there is more."""
    parts, remaining = [], max_bytes + 1
    while remaining > 0 and (block := file.read(min(remaining, 1 << 20))):
        parts.append(block)
        remaining -= len(block)
    if remaining <= 0:
        raise DataError(
            "{path}: unpacks to more than {max_size} MiB. Give a smaller log.", path=path, max_size=max_bytes >> 20
        )
    return b"".join(parts)


def parse_json(path: Path, where: str, raw: bytes) -> Any:
    """The value of JSON in UTF-8; raises DataError that names the place."""
    place = Message("{path}, {where}", path=path, where=where) if where else path
    try:
        return load_json(raw.decode("utf-8"))
    except UnicodeDecodeError as e:
        raise DataError("{place}: not UTF-8. Save the file as UTF-8 and try again.", place=place) from e
    except json.JSONDecodeError as e:
        if not where:
            place = Message("{path}, line {line}, column {column}", path=path, line=e.lineno, column=e.colno)
        raise DataError(
            "{place}: not valid JSON ({reason}). The log is truncated or damaged: copy it again.",
            place=place,
            reason=e.msg,
        ) from e
    except (ValueError, RecursionError) as e:
        raise DataError(
            "{place}: JSON beyond what can be read ({reason}). Copy the log again.", place=place, reason=e
        ) from e


def _object(path: Path, where: str, raw: bytes) -> Mapping[str, Any]:
    obj = parse_json(path, where, raw)
    if not isinstance(obj, dict):
        raise DataError(
            "{path}, {where}: expected a JSON object, found {kind}. Give a harness's log.",
            path=path,
            where=where,
            kind=type(obj).__name__,
        )
    return obj


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError("{path}: cannot be read ({reason}). Give the path of a log.", path=path, reason=reason_of(error))


def sha256(path: Path) -> str:
    """Checksum of a file, 64 hex digits; raises DataError if it cannot be read or is larger than `MAX_LOG`."""
    digest = hashlib.sha256()
    try:
        if path.stat().st_size > MAX_LOG:
            raise DataError(
                "{path}: more than {max_log} GiB. Give one subset at a time.", path=path, max_log=MAX_LOG >> 30
            )
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as e:
        raise _unreadable(path, e) from e
    return digest.hexdigest()


# --- values -------------------------------------------------------------------------------------------------


def row_error(path: Path, where: str, reason: Message) -> DataError:
    """The error for a row that is not in the expected format."""
    return DataError(
        "{path}, {where}: {reason}. The log is of another version, or was changed: give it as it was made.",
        path=path,
        where=where,
        reason=reason,
    )


def not_an_object(value: object) -> Message:
    """The reason why a value is not a row."""
    return Message("expected a JSON object, found {kind}", kind=type(value).__name__)


def not_a_text(value: object) -> Message:
    """The reason why a value is not a generated text."""
    return Message("a generated text was expected, found {found!r}", found=str(value)[:50])


def text_of(value: Any) -> str:
    """A string or number as a string; empty for anything else."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def texts_of(values: Any) -> tuple[str, ...]:
    """The strings of a list; empty unless all of its values are strings or numbers."""
    if not isinstance(values, Sequence) or isinstance(values, str):
        return ()
    texts = tuple(map(text_of, values))
    return texts if all(texts) else ()


def number_of(value: Any) -> float | None:
    """A number, or a string that Python parses as one; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def logprob_of(path: Path, where: str, raw: Any) -> float:
    """A log-probability; NaN and −∞ are kept, for the item is then an error.

    Raises:
        DataError: not a number, or above 0.
    """
    number = number_of(raw)
    if number is None:
        raise row_error(path, where, Message("a log-probability was expected, found {found!r}", found=str(raw)[:50]))
    if number > 0 and not math.isnan(number):
        # Sums of single-precision numbers may end a little above 0.
        if number > 1e-3:
            reason = Message("{number!r} is no logarithm of a probability, for it is above 0", number=number)
            raise row_error(path, where, reason)
        return 0.0
    return number


def scores_of(metrics: Any) -> dict[str, float]:
    """The finite numbers of a table of metrics."""
    if not isinstance(metrics, dict):
        return {}
    pairs = {str(name): number_of(score) for name, score in metrics.items() if not isinstance(score, str)}
    return {name: score for name, score in pairs.items() if score is not None and math.isfinite(score)}
