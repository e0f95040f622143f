"""The label of a run in the words of the page; stored files and programs have the one of its specification."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from jglue_app.messages import Message, listed, say, word
from jglue_app.results.library import StoredRun
from jglue_app.results.run_label import MAX_DIFFERENCES, differing_settings, distinct_labels
from jglue_app.scoring.model_change import STYLES
from jglue_app.types import EMBEDDING_SOURCES
from jglue_app.ui.views.option_words import option_name, option_value

_SHOTS = re.compile(r"(\d+(?:–\d+)?)-shot")
_PENALTY = re.compile(r"repetition penalty (\S+)")
_PREFIX = re.compile(r'prefix "(.*)"', re.DOTALL)
_SETTINGS = {
    "id": Message("Model"),
    "model files": Message("Model files"),
    "data": Message("Data file"),
    "data version": Message("Data version"),
    "style file": Message("Wording file"),
    "version": Message("Version"),
    "prefix": Message("Prefix"),
}
"""What a label calls a setting that is no option of a run → what the page calls it."""


def labels_of(runs: Mapping[str, StoredRun], lang: str) -> dict[str, str]:
    """Name → label of stored runs, told apart by what differs. A name that somebody gave is left as it is."""
    if lang == "en":
        return distinct_labels(runs, {name: run_text(run, lang) for name, run in runs.items()})
    differing = differing_settings(runs)

    def label(name: str, *, whole: bool) -> str:
        settings = differing[name]
        shown = listed((setting_text(*one, lang, whole=whole) for one in settings[:MAX_DIFFERENCES]), lang)
        more = " …" if len(settings) > MAX_DIFFERENCES else ""
        return " · ".join(filter(None, (run_text(runs[name], lang), shown + more)))

    labels = {name: label(name, whole=False) for name in differing}
    counts = Counter(labels.values())
    # Two wordings of one file name are told apart by their folders.
    return {name: label(name, whole=True) if counts[text] > 1 else text for name, text in labels.items()}


def setting_text(name: str, value: str, lang: str, *, whole: bool = False) -> str:
    """One setting with its value, such as `例題選びのシード 0`; `whole` for the value as it was given."""
    if name in _SETTINGS:
        return f"{say(_SETTINGS[name], lang)} {value}"
    option = name.replace(" ", "_")
    return f"{option_name(option, lang)} {value if whole else option_value(option, value, lang)}"


def run_text(run: StoredRun, lang: str) -> str:
    """What a stored run is called."""
    return label_text(run.label, lang, named=run.is_named)


def label_text(label: str, lang: str, *, named: bool) -> str:
    """A run's label in a language; a name that somebody gave (`named`) is left as it is."""
    return label if named else run_label_text(label, lang)


def run_label_text(label: str, lang: str) -> str:
    """A run's label, such as `gemma-3-270m · plain · ja-labels · 3-shot`, in the words of a language: a wording by what
    it asks for, as sentences call it."""
    # The first part is the name of the model, whatever it is.
    name, *parts = label.split(" · ")
    return " · ".join([name, *(_part(part, lang) for part in parts)])


def shots_text(shots: str, lang: str) -> str:
    """A number of examples, or a range of numbers."""
    return word("no_shots", lang) if shots == "0" else word("shots_short", lang).format(shots)


def style_text(style: str, lang: str) -> str:
    """A wording in a label; one that has no words by its own name."""
    return say(Message(STYLES[style]), lang) if style in STYLES else style


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
    return word(f"label_run_{keys[part]}", lang) if part in keys else style_text(part, lang)
