"""A run request as text: a one-line summary, and how to repeat it."""

from __future__ import annotations

from typing import Any

from jglue_app.messages import Message, say, word
from jglue_app.messages.labels import LABELS
from jglue_app.runs.request import RunRequest, Side
from jglue_app.runs.request_options import Option, as_text, options
from jglue_app.runs.request_text import to_command_line, to_url_query
from jglue_app.ui import controls, views
from jglue_app.ui.views.run_labels import shots_text, style_text

NOT_ONE_COMMAND = Message(
    "The settings of this page cannot express how this was made (by another version of this application, "
    "say). Go on with the command "
    "that made it."
)
"""Shown for a stored run that no request of the page can reproduce."""
ALWAYS_NAMED = ("tasks", "data", "limit", "method", "model", "format", "style", "shots")
"""Options that a summary names whatever their values are; of the others it names what is not the default."""
BARE = ("split", "quantization", "dtype")
"""Options whose values need no label."""


def setup_html(request: RunRequest, lang: str) -> str:
    """One line on what a click on Run would do."""
    limit = word("all_items", lang) if request.limit is None else word("each_items", lang).format(f"{request.limit:,}")
    subsets = word("subset_count", lang).format(len(request.tasks))
    facts = [
        word(f"data_{controls.data_choice(request)}", lang),
        f"{subsets} × {limit}",
        word(f"method_{request.method}", lang),
    ]
    # A split that the choice of data implies is named with the data.
    of_data = {"split"} if controls.run_values(request)["split"] == controls.BY_DATA else set()
    facts += [text for name, text in _changes(request, lang).items() if name not in of_data]
    sides = [{"name": name.upper(), "text": side_text(side, lang)} for name, side in request.sides.items()]
    return views.render("setup", {"sides": sides, "facts": " · ".join(facts)}, lang)


def side_text(side: Side, lang: str) -> str:
    """A summary of a model and its prompt: what every one has, and whatever is not the default."""
    parts = [side.model.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1], side.format, style_text(side.style, lang)]
    parts.append(shots_text(str(side.shots), lang))
    return " · ".join([*parts, *_changes(side, lang).values()])


def _changes(part: RunRequest | Side, lang: str) -> dict[str, str]:
    """Name → text of each option whose value is not the default and that is not named anyway."""
    texts = {}
    for name, option in options(type(part)).items():
        value = getattr(part, name)
        if name not in ALWAYS_NAMED and value != option.default:
            texts[name] = _text(option, value, lang)
    return texts


def _text(option: Option, value: Any, lang: str) -> str:
    """A value with its label, or in the shorter words that there are for it."""
    key = controls.choice_key(option, value) if option.choices else ""
    text = word(key, lang) if key else f"{value:g}" if option.kind == "number" else as_text(option, value)
    if option.name in BARE:
        return text
    if f"summary_{option.name}" in LABELS:
        return word(f"summary_{option.name}", lang).format(text)
    label = word(controls.label_keys(option)[0], lang)
    return label if value is True else f"{label} {text}"


def repeat_html(request: RunRequest, lang: str, *, link: bool = True) -> str:
    """The command line of the request and, with `link`, its URL query."""
    payload = {"command": to_command_line(request), "link": to_url_query(request) if link else ""}
    return views.render("repeat", payload, lang)


def no_repeat_html(reason: str, lang: str) -> str:
    """Why there is no command line, as a message."""
    return views.render("repeat", {"error": say(reason, lang)}, lang)
