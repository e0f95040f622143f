"""A run request as text: a one-line summary, and how to repeat it."""

from __future__ import annotations

from jglue_app.messages import Message, say, word
from jglue_app.runs.request import RunRequest, Side
from jglue_app.runs.request_text import to_command_line, to_url_query
from jglue_app.ui import controls, views

NOT_ONE_COMMAND = Message(
    "The settings of this page cannot express how this was made (by another version of this application, "
    "say). Go on with the command "
    "that made it."
)
"""Shown for a stored run that no request of the page can reproduce."""


def setup_html(request: RunRequest, lang: str) -> str:
    """One line on what a click on Run would do."""
    limit = word("all_items", lang) if request.limit is None else word("each_items", lang).format(f"{request.limit:,}")
    subsets = word("subset_count", lang).format(len(request.tasks))
    facts = [
        word(f"data_{controls.data_choice(request)}", lang),
        f"{subsets} × {limit}",
        word(f"method_{request.method}", lang),
    ]
    sides = [{"name": name.upper(), "text": side_text(side, lang)} for name, side in request.sides.items()]
    return views.render("setup", {"sides": sides, "facts": " · ".join(facts)}, lang)


def side_text(side: Side, lang: str) -> str:
    """A short summary of a model and its prompt."""
    parts = [side.model.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1], side.format, side.style]
    parts.append(word("shots_short", lang).format(side.shots) if side.shots else word("no_shots", lang))
    parts += [] if side.quantization == "none" else [side.quantization]
    if side.thinking != "off":
        parts.append(word("thinking_is", lang).format(word(f"thinking_{side.thinking}", lang)))
    if side.repetition_penalty != 1:
        parts.append(word("repetition_penalty_is", lang).format(f"{side.repetition_penalty:g}"))
    return " · ".join(parts)


def repeat_html(request: RunRequest, lang: str, *, link: bool = True) -> str:
    """The command line of the request and, with `link`, its URL query."""
    payload = {"command": to_command_line(request), "link": to_url_query(request) if link else ""}
    return views.render("repeat", payload, lang)


def no_repeat_html(reason: str, lang: str) -> str:
    """Why there is no command line, as a message."""
    return views.render("repeat", {"error": say(reason, lang)}, lang)
