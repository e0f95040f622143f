"""What every importer gives: a log's head and its answers, one at a time; and how its files are read within bounds.

Lines are read one by one, so that a log of any number of lines takes no more memory than its longest line. A document
that can only be read as a whole is refused above `MAX_DOCUMENT`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from jglue_app.errors import DataError, reason_of
from jglue_app.messages import Message
from jglue_app.tasks.rows import load_json
from jglue_app.types import Finish

MAX_LINE = 2**26
"""Bytes of one line."""
MAX_DOCUMENT = 2**28
"""Bytes of a JSON document that is no JSON Lines."""
MAX_LOG = 2**34
"""Bytes of a log."""


@dataclass(frozen=True, slots=True)
class Row:
    """One answer of a log, as far as the log tells."""

    where: str
    """Its place in the file, for messages."""
    subset: str = ""
    """Key of `TASKS`; empty where the row does not tell."""
    task: str = ""
    """The name that the log has for the subset; empty if it has none."""
    version: str = ""
    """Of the task in that harness; empty if not told."""
    id: str = ""
    """The item's own id in the data; empty if not told."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """The item's texts, by the names of `Item.fields`."""
    inside: str = ""
    """A text in which the item's texts stand, such as the prompt, where `fields` is empty."""
    text: str | None = None
    """The output as it was generated; None if answers were ranked alone."""
    logprobs: tuple[float, ...] | None = None
    """Summed log-probability (natural logarithm) of each of `choices`, in that order."""
    choices: tuple[str, ...] = ()
    """What was ranked, or which answers were shown, in the log's order."""
    symbols: tuple[str, ...] = ()
    """What an answer is asked for as, one for each of `choices`, where that is another text: `A`, `B`, …"""
    gold: tuple[str, ...] = ()
    """What the log takes to be right; empty if not told."""
    gold_index: int | None = None
    """Which of `choices` it takes to be right; None if not told."""
    prompt: str = ""
    messages: tuple[Mapping[str, str], ...] | None = None
    shots: int | None = None
    """Examples in the prompt; None if not told."""
    lead: str = ""
    """Text between prompt and answer."""
    finish: Finish = "stop"
    failed: str = ""
    """Why there is no output; empty if there is one."""
    note: str = ""
    """One of `NOTES`: how the output differs from what the model wrote, or from what that harness has scored."""


NOTES = ("several", "trimmed", "number", "processed")
"""Several outputs for the item; cut, trimmed and NFKC; a number for what could not be read; scored after filters."""


@dataclass(slots=True)
class Log:
    """A log that is being read."""

    path: Path
    harness: str
    """Such as `lm-eval`."""
    rows: Iterator[Row]
    """Raises DataError where the file is not what it has to be."""
    version: str = ""
    """Of the harness; empty if the log does not tell."""
    model: str = ""
    """What answered; empty if the log does not tell."""
    printed: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Task as the log names it → metric → the score that the harness has printed."""
    beside: tuple[Path, ...] = ()
    """Other files that were read: results, metrics or configuration."""
    left_out: tuple[str, ...] = ()
    """Tasks in the log that are no subset of JGLUE."""

    @property
    def name(self) -> str:
        """Harness and version, such as `lm-eval 0.4.13`."""
        return f"{self.harness} {self.version}".strip()


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
    """The objects of a file in lines, or of one that is a JSON array; each with its place.

    Raises:
        DataError: as `lines` and `document`.
    """
    if not first_bytes(path).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        yield from lines(path)
        return
    found = document(path)
    for number, row in enumerate(found if isinstance(found, list) else [], start=1):
        if not isinstance(row, dict):
            raise bad(path, Message("entry {entry}", entry=number), not_an_object(row))
        yield Message("entry {entry}", entry=number), row


def first_bytes(path: Path, count: int = 4096) -> bytes:
    """How a file begins; raises DataError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as e:
        raise _unreadable(path, e) from e


def document(path: Path) -> Any:
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
            raw = bounded(file, path, MAX_DOCUMENT)
    except OSError as e:
        raise _unreadable(path, e) from e
    return value(path, "", raw.removeprefix(b"\xef\xbb\xbf"))


def bounded(file: IO[bytes], path: Path, most: int) -> bytes:
    """All that can be read from a file, up to a number of bytes; raises DataError if there is more."""
    parts, left = [], most + 1
    while left > 0 and (block := file.read(min(left, 1 << 20))):
        parts.append(block)
        left -= len(block)
    if left <= 0:
        raise DataError(
            "{path}: unpacks to more than {max_size} MiB. Give a smaller log.", path=path, max_size=most >> 20
        )
    return b"".join(parts)


def value(path: Path, where: str, raw: bytes) -> Any:
    """JSON from bytes of UTF-8; raises DataError with the place."""
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
    found = value(path, where, raw)
    if not isinstance(found, dict):
        raise DataError(
            "{path}, {where}: expected a JSON object, found {kind}. Give a harness's log.",
            path=path,
            where=where,
            kind=type(found).__name__,
        )
    return found


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError("{path}: cannot be read ({reason}). Give the path of a log.", path=path, reason=reason_of(error))


def sha256(path: Path) -> str:
    """Checksum of a file, 64 hex digits; raises DataError if it cannot be read or is larger than `MAX_LOG`."""
    found = hashlib.sha256()
    try:
        if path.stat().st_size > MAX_LOG:
            raise DataError(
                "{path}: more than {max_log} GiB. Give one subset at a time.", path=path, max_log=MAX_LOG >> 30
            )
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                found.update(block)
    except OSError as e:
        raise _unreadable(path, e) from e
    return found.hexdigest()


# --- values -------------------------------------------------------------------------------------------------


def bad(path: Path, where: str, reason: Message) -> DataError:
    """The error of a row that is not as its format has it."""
    return DataError(
        "{path}, {where}: {reason}. The log is of another version, or was changed: give it as it was made.",
        path=path,
        where=where,
        reason=reason,
    )


def not_an_object(value: object) -> Message:
    """Why a value is no row."""
    return Message("expected a JSON object, found {kind}", kind=type(value).__name__)


def not_a_text(value: object) -> Message:
    """Why a value is no generated text."""
    return Message("a generated text was expected, found {found!r}", found=str(value)[:50])


def text_of(found: Any) -> str:
    """A text or a number as text; empty for everything else."""
    if isinstance(found, str):
        return found
    return str(found) if isinstance(found, int | float) and not isinstance(found, bool) else ""


def texts_of(found: Any) -> tuple[str, ...]:
    """The texts of a list; none unless all of them are texts or numbers."""
    if not isinstance(found, Sequence) or isinstance(found, str):
        return ()
    texts = tuple(map(text_of, found))
    return texts if all(texts) else ()


def number_of(found: Any) -> float | None:
    """A number, or a text that Python reads as one; None for everything else."""
    if isinstance(found, bool) or not isinstance(found, int | float | str):
        return None
    try:
        return float(found)
    except (ValueError, OverflowError):
        return None


def logprob_of(path: Path, where: str, found: Any) -> float:
    """A log-probability; NaN and −∞ are kept, for the item is then an error.

    Raises:
        DataError: no number, or one that is the logarithm of no probability.
    """
    number = number_of(found)
    if number is None:
        raise bad(path, where, Message("a log-probability was expected, found {found!r}", found=str(found)[:50]))
    if number > 0 and not math.isnan(number):
        # Sums of single-precision numbers may end a little above 0.
        if number > 1e-3:
            reason = Message("{number!r} is no logarithm of a probability, for it is above 0", number=number)
            raise bad(path, where, reason)
        return 0.0
    return number


def scores_of(found: Any) -> dict[str, float]:
    """The finite numbers of a table of metrics."""
    if not isinstance(found, dict):
        return {}
    pairs = {str(name): number_of(score) for name, score in found.items() if not isinstance(score, str)}
    return {name: score for name, score in pairs.items() if score is not None and math.isfinite(score)}
