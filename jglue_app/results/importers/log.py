"""What every importer gives: a log's description and its answers, one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jglue_app.types import Finish


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
    reported_scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Task as the log names it → metric → the score that the harness has printed."""
    beside: tuple[Path, ...] = ()
    """Other files that were read: results, metrics or configuration."""
    left_out: tuple[str, ...] = ()
    """Tasks in the log that are no subset of JGLUE."""

    @property
    def name(self) -> str:
        """Harness and version, such as `lm-eval 0.4.13`."""
        return f"{self.harness} {self.version}".strip()
