"""What every importer returns: a log with its metadata, and its rows (answers) one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jglue_app.types import Finish


@dataclass(frozen=True, slots=True)
class Row:
    """One answer of a log, as far as the log has it."""

    where: str
    """Its place in the file, for messages."""
    subset: str = ""
    """Key of `TASKS`; empty where the row does not say."""
    task: str = ""
    """The name of the subset in the log; empty if it has none."""
    version: str = ""
    """Of the task in that harness; empty if unknown."""
    id: str = ""
    """The id of the item in the data; empty if unknown."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """The item's texts, by the names of `Item.fields`."""
    containing_text: str = ""
    """A text that contains the item's texts, such as the prompt, where `fields` is empty."""
    text: str | None = None
    """The output as generated; None if answers were only ranked."""
    logprobs: tuple[float, ...] | None = None
    """Summed log-probability (natural logarithm) of each of `choices`, in that order."""
    choices: tuple[str, ...] = ()
    """The answers that were ranked or shown, in the order of the log."""
    symbols: tuple[str, ...] = ()
    """The symbols to answer with, one for each of `choices`, where they differ from the texts: `A`, `B`, …"""
    gold: tuple[str, ...] = ()
    """The gold answers in the log; empty if it has none."""
    gold_index: int | None = None
    """Index of the gold answer in `choices`; None if unknown."""
    prompt: str = ""
    messages: tuple[Mapping[str, str], ...] | None = None
    shots: int | None = None
    """Few-shot examples in the prompt; None if unknown."""
    lead: str = ""
    """Text between prompt and answer."""
    finish: Finish = "stop"
    failed: str = ""
    """Why there is no output; empty if there is one."""
    note: str = ""
    """One of `NOTES`: how the output differs from what the model wrote, or from what that harness scored; or empty."""


NOTES = ("several", "trimmed", "number", "processed")
"""Several outputs for the item; cut, trimmed and NFKC; a number for what could not be read; scored after filters."""


@dataclass(slots=True)
class Log:
    """A log that is being read."""

    path: Path
    harness: str
    """Such as `lm-eval`."""
    rows: Iterator[Row]
    """Raises DataError where the file is not in the expected format."""
    version: str = ""
    """Of the harness; empty if unknown."""
    model: str = ""
    """The model; empty if unknown."""
    reported_scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Task as named in the log → metric → the score that the harness reported."""
    other_files: tuple[Path, ...] = ()
    """Other files that were read: results, metrics or configuration."""
    left_out: tuple[str, ...] = ()
    """Tasks in the log that are not subsets of JGLUE."""

    @property
    def name(self) -> str:
        """Harness and version, such as `lm-eval 0.4.13`."""
        return f"{self.harness} {self.version}".strip()
