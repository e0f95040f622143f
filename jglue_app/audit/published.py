"""The published scores that come with the application: `assets/published/*.csv`, sources in `sources.toml`."""

from __future__ import annotations

import csv
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jglue_app.audit.benchmarks import BENCHMARKS
from jglue_app.audit.reported_score import ReportedScore, parse
from jglue_app.errors import DataError, JglueAppError
from jglue_app.messages import Joined, Message
from jglue_app.settings import ASSETS

FOLDER = ASSETS / "published"
FIELDS = (
    *("model", "system", "prompt", "task", "metric", "value", "n"),
    *("shots", "labels", "split", "source", "path", "note"),
)
SPLITS = ("dev", "test", "")


@dataclass(frozen=True, slots=True)
class Source:
    """Where scores were published."""

    title: str
    url: str
    commit: str
    """Commit or tag; empty for what has none."""
    date: str
    licence: str
    """A licence, or `facts` where single numbers are taken from a text."""
    note: str


@dataclass(frozen=True, slots=True)
class Published:
    """One published score."""

    model: str
    system: str
    """Name of the protocol, or of what else has scored it."""
    prompt: str
    """Version of the prompt, as the source names it."""
    task: str
    metric: str
    score: ReportedScore
    n: int | None
    """Items; None where it is not known."""
    shots: int | None
    labels: str
    """`v1.1` or `v1.3` where labels differ between versions."""
    split: str
    source: str
    """A key of `sources`."""
    path: str
    """File in the source."""
    note: str

    @property
    def value(self) -> float:
        """As a fraction of 1."""
        return float(self.score.value)


def model_title(name: str) -> str:
    """How a sentence calls a published model; a message where the name holds words: `(char)`, `fine-tuned`."""
    plain = name.removesuffix(", fine-tuned")
    tuned = plain != name
    noted = re.fullmatch(r"(.+) \(([^()]*)\)", plain)
    if noted and tuned:
        return Message("{model} ({note}), fine-tuned", model=noted[1], note=noted[2])
    if noted:
        return Message("{model} ({note})", model=noted[1], note=noted[2])
    return Message("{model}, fine-tuned", model=plain) if tuned else name


@cache
def sources() -> Mapping[str, Source]:
    """Every source by its key.

    Raises:
        DataError: the file is damaged.
    """
    try:
        table = tomllib.loads((FOLDER / "sources.toml").read_text("utf-8"))
        return {name: Source(**row) for name, row in table.items()}
    except (OSError, ValueError, TypeError) as e:
        raise DataError(
            "{path}: cannot be used ({reason}). Install the application again.",
            path=FOLDER / "sources.toml",
            reason=e,
        ) from e


@cache
def published() -> tuple[Published, ...]:
    """Every published score, in the order of the files.

    Raises:
        DataError: a row that is out of range, or names no known source, task or metric; names the line.
    """
    return tuple(row for path in sorted(FOLDER.glob("*.csv")) for row in read(path, sources()))


def read(path: Path, known: Mapping[str, Source]) -> list[Published]:
    """The scores of one file, checked.

    Raises:
        DataError: as `published`.
    """
    rows = []
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != FIELDS:
            raise DataError(
                "{path}: the columns are not {fields}. Install the application again.",
                path=path,
                fields=Joined(", ", FIELDS),
            )
        for row in reader:
            try:
                rows.append(_row(row, known))
            except (ValueError, JglueAppError) as e:
                raise DataError("{path}, line {line}: {reason}", path=path, line=reader.line_num, reason=e) from e
    return rows


def _row(row: Mapping[str, str], known: Mapping[str, Source]) -> Published:
    task, metric = row["task"], row["metric"]
    if task not in BENCHMARKS or metric not in BENCHMARKS[task].metrics:
        raise ValueError(Message("no such task or metric: {task} {metric}", task=task, metric=metric))
    if row["source"] not in known:
        raise ValueError(Message("no such source: {source}", source=row["source"]))
    if row["split"] not in SPLITS or not row["model"] or not row["system"]:
        raise ValueError(Message("a model, a system and a split that is dev, test or empty are needed"))
    n = int(row["n"]) if row["n"] else None
    if n is not None and n < 1:
        raise ValueError(Message("{n} is no number of items", n=n))
    score = parse(row["value"], metric)
    shots = int(row["shots"]) if row["shots"] else None
    return Published(
        *(row["model"], row["system"], row["prompt"], task, metric, score, n, shots),
        *(row["labels"], row["split"], row["source"], row["path"], row["note"]),
    )
