"""Views of runs: payloads (plain tables of texts) and the templates that render them, one file for each view.

The templates are Jinja in `ui/templates/`, rendered here with every value escaped. (Gradio's `html_template` is
not safe: it evaluates `${…}` in the output of Handlebars, so model output could run as script.)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from jinja2 import ChainableUndefined, Environment, FileSystemLoader
from markdown_it import MarkdownIt

from jglue_app.messages import bracketed, say, table, word
from jglue_app.messages import of as messages_of
from jglue_app.scoring.judged import ScoredItem
from jglue_app.tasks import TASKS
from jglue_app.tasks.item_text import question_line
from jglue_app.types import Item, Source
from jglue_app.ui.views.signs import visible

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent.with_name("templates")),
    autoescape=True,
    undefined=ChainableUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    # No text reaches a page with characters that are not seen or that change how others are laid out.
    finalize=lambda value: visible(value) if type(value) is str else value,
)
_MARKDOWN = MarkdownIt("commonmark", {"html": False})
STATIC = Path(__file__).parent.with_name("static")
MARKS = {
    "correct": "○",
    "wrong_form": "△",
    "wrong": "×",
    "unreadable": "？",
    "unfinished_thought": "◔",
    "truncated": "…",
    "empty": "∅",
    "overflow": "≫",
    "error": "！",
    "unscored": "－",
    "cosine": "∠",
}
SHORT = 60

Rows = Mapping[str, Mapping[str, ScoredItem]]
"""Task → item id → item, record, judgement."""


def render(view: str, payload: Mapping[str, Any], lang: str = "ja") -> str:
    """HTML of a view, by the name of its template; every text is escaped."""
    return TEMPLATES.get_template(f"{view}.html").render({"w": SimpleNamespace(**table(lang)), **payload})


def markdown(text: str) -> str:
    """HTML of a label in Markdown; what is HTML in it already is shown as text. Links open a page of their own."""
    return str(_MARKDOWN.render(text)).replace("<a ", '<a target="_blank" rel="noopener" ')


def empty(text: str) -> str:
    """A placeholder for a view that has nothing to show yet, with what to do."""
    return render("empty", {"text": text})


def failure(error: Exception, lang: str, *, head: str = "") -> str:
    """The message of an error, under a heading for its class."""
    kind = next((c.__name__ for c in type(error).__mro__ if f"error_{c.__name__}" in table(lang)), "JglueAppError")
    return sentence(say(messages_of(error), lang), lang, head=head or f"error_{kind}")


def sentence(message: str, lang: str, *, head: str = "failed") -> str:
    """An error message under a heading."""
    return render("status", {"head": word(head, lang), "error": message})


def note(text: str) -> str:
    """A status message; empty for an empty text."""
    return render("status", {"text": text}) if text else ""


def subset_title(task: str, source: Source, lang: str) -> str:
    """A subset's title, with where its items came from unless they are official."""
    mark = word(f"source_{source}", lang)
    return bracketed(TASKS[task].title, mark, lang) if mark else TASKS[task].title


def shared_source(sources: Collection[Source], lang: str) -> str | None:
    """Where all items come from, to be said once: empty for official ones. None where they come from several places,
    which is said of each subset."""
    return word(f"source_{next(iter(sources))}", lang) if len(set(sources)) == 1 else None


def source_text(sources: Iterable[Source], lang: str) -> str:
    """Where items come from, of several places each; empty for official ones."""
    return " / ".join(text for source in dict.fromkeys(sources) if (text := word(f"source_{source}", lang)))


def short(text: str, length: int = SHORT) -> str:
    """A text on one line, cut to `length` characters; characters that are not seen are written as signs."""
    line = " ⏎ ".join(text[: 4 * length].splitlines())
    return visible(line if len(line) <= length else line[: length - 1] + "…")


def question(item: Item) -> str:
    """The question of an item on one short line."""
    return short(question_line(item))
