"""The label of a run in the language of the page; stored files and programs have the English one."""

from __future__ import annotations

import re
from collections.abc import Mapping

from jglue_app.messages import word
from jglue_app.results.library import StoredRun
from jglue_app.results.run_label import distinct_labels
from jglue_app.types import EMBEDDING_SOURCES

_SHOTS = re.compile(r"(\d+(?:–\d+)?)-shot")
_PENALTY = re.compile(r"repetition penalty (\S+)")
_PREFIX = re.compile(r'prefix "(.*)"', re.DOTALL)


def labels_of(runs: Mapping[str, StoredRun], lang: str) -> dict[str, str]:
    """Name → label of stored runs, told apart by what differs. A name that somebody gave is left as it is."""
    return {name: label_text(label, lang, named=runs[name].is_named) for name, label in distinct_labels(runs).items()}


def run_text(run: StoredRun, lang: str) -> str:
    """What a stored run is called."""
    return label_text(run.label, lang, named=run.is_named)


def label_text(label: str, lang: str, *, named: bool) -> str:
    """A run's label in a language; a name that somebody gave (`named`) is left as it is."""
    return label if named else run_label_text(label, lang)


def run_label_text(label: str, lang: str) -> str:
    """A run's label, such as `gemma-3-270m · plain · ja-labels · 3-shot`, whose words are in a language."""
    # The first part is the name of the model, whatever it is.
    name, *parts = label.split(" · ")
    return " · ".join([name, *(_part(part, lang) for part in parts)])


def shots_text(shots: str, lang: str) -> str:
    """A number of examples, or a range of numbers."""
    return word("no_shots", lang) if shots == "0" else word("shots_short", lang).format(shots)


def _part(part: str, lang: str) -> str:
    if found := _SHOTS.fullmatch(part):
        return shots_text(found[1], lang)
    if found := _PENALTY.fullmatch(part):
        return word("label_run_penalty", lang).format(found[1])
    if found := _PREFIX.fullmatch(part):
        return word("label_run_prefix", lang).format(found[1])
    if part in EMBEDDING_SOURCES.values():
        source = next(source for source, text in EMBEDDING_SOURCES.items() if text == part)
        return word(f"label_run_{source}", lang)
    keys = {"thinking": "on", "thinking by default": "default", "oracle length": "oracle"}
    return word(f"label_run_{keys[part]}", lang) if part in keys else part
